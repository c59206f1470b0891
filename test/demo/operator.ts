/** The vault operator: asks for the oracle shares of its validators as StakeWise Operator 3 does. */

import { pause } from '@dvt-relayer/common/lifetime.ts'
import { DemoError } from './errors.ts'

/** What the operator gets for one validator, in oracle order. */
export interface EncryptedShares {
  public_keys: string[]
  encrypted_exit_signatures: string[]
}

interface Answer {
  validators: { public_key: string; oracles_exit_signature_shares: EncryptedShares | null }[]
}

const POLL_MS = 1000
const TIMEOUT_MS = 10_000

/**
 * Posts the keys every second until all have their shares. A relayer that is away or answers 5xx is asked again.
 *
 * @returns the shares by public key, as it was sent
 * @throws {DemoError} when the relayer refuses, or answers with other keys than it was asked for
 */
export async function askForShares(
  relayerUrl: string,
  publicKeys: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, EncryptedShares>> {
  for (;;) {
    signal.throwIfAborted()
    const found = await ask(relayerUrl, publicKeys, signal)
    if (found?.size === publicKeys.length) return found
    await pause(POLL_MS, signal)
  }
}

async function ask(
  relayerUrl: string,
  publicKeys: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, EncryptedShares> | undefined> {
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
    validators.flatMap(({ public_key, oracles_exit_signature_shares: shares }) =>
      shares === null ? [] : [[public_key, shares] as const],
    ),
  )
}
