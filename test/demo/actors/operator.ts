/** The vault operator: asks the relayer as StakeWise Operator 3 and 4 do, the latter more often than once a block. */

import { pause } from '@dvt-relayer/common/lifetime.ts'
import { isReady, type RegisterAnswer, type RegisterRequest, register } from '../../support/operator/operator.ts'
import { OperatorFailure } from '../../support/operator/operator-http.ts'
import { DemoError } from '../errors.ts'

/** What the operator gets for one validator, in oracle order. */
export interface EncryptedShares {
  public_keys: string[]
  encrypted_exit_signatures: string[]
}

/** The shares with their receipt. */
export interface Receipted {
  shares: EncryptedShares
  receipt: string | null | undefined
}

interface Answer {
  validators: {
    public_key: string
    oracles_exit_signature_shares: EncryptedShares | null
    receipt?: string | null
  }[]
}

const POLL_MS = 1000
const TIMEOUT_MS = 10_000

/**
 * Posts the keys every second until all have their shares. A relayer that is away or answers 5xx is asked again.
 *
 * @returns the shares and receipts by public key, as it was sent
 * @throws {DemoError} when the relayer refuses, or answers with other keys than it was asked for
 */
export function askForShares(
  relayerUrl: string,
  publicKeys: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, Receipted>> {
  return poll(signal, async () => {
    const found = await ask(relayerUrl, publicKeys, signal)
    return found?.size === publicKeys.length ? found : undefined
  })
}

/**
 * Posts the request every second until the answer is complete. A relayer that is away or answers 5xx is asked again.
 *
 * @throws {DemoError} when the relayer refuses, has fewer validators, or gives a whole exit signature away
 */
export function askToRegister(
  relayerUrl: string,
  request: RegisterRequest,
  signal: AbortSignal,
): Promise<RegisterAnswer> {
  return poll(signal, async () => {
    let answer: RegisterAnswer
    try {
      answer = await register(relayerUrl, request)
    } catch (error) {
      if (!(error instanceof OperatorFailure)) throw error
      const { status = 500, text } = error
      if (status >= 500) return undefined
      throw new DemoError(`the relayer refuses the operator's request: ${status} ${text}`)
    }
    const { validators } = answer
    if (validators.length !== request.amounts.length)
      throw new DemoError(`the relayer has ${validators.length} validators, not ${request.amounts.length}`)
    if (validators.some(({ exit_signature: signature }) => signature !== null))
      throw new DemoError('the relayer gives a whole exit signature to the operator')
    return isReady(answer) ? answer : undefined
  })
}

async function poll<T>(signal: AbortSignal, look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    signal.throwIfAborted()
    const found = await look()
    if (found !== undefined) return found
    await pause(POLL_MS, signal)
  }
}

async function ask(
  relayerUrl: string,
  publicKeys: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, Receipted> | undefined> {
  let status: number
  let text: string
  try {
    const response = await fetch(`${relayerUrl}/validators`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ public_keys: publicKeys }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    })
    status = response.status
    text = await response.text()
  } catch {
    return undefined
  }
  if (status >= 500) return undefined
  if (status !== 200) throw new DemoError(`the relayer refuses the operator's request: ${status} ${text}`)
  const { validators } = JSON.parse(text) as Answer
  const keys = validators.map(({ public_key }) => public_key)
  if (keys.length !== publicKeys.length || publicKeys.some((key) => !keys.includes(key)))
    throw new DemoError('the relayer answers with other validators than the operator asked for')
  return new Map(
    validators.flatMap(({ public_key, oracles_exit_signature_shares: shares, receipt }) =>
      shares === null ? [] : [[public_key, { shares, receipt }] as const],
    ),
  )
}
