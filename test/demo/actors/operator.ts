/** The vault operator: asks the relayer by the client library, in generation 3 and 4, more often than once a block. */

import { ContractError, type RelayerClient } from '@dvt-relayer/api/client.ts'
import type { RegisterRequest, RegisterResponse, ValidatorsResponse } from '@dvt-relayer/api/schemas.ts'
import { connectRelayer, RelayerRefusal } from '@dvt-relayer/client/connect.ts'
import { untilExitsReady, untilRegistrationReady } from '@dvt-relayer/client/follow.ts'
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

const POLL_MS = 1000
const TIMEOUT_MS = 10_000
/** Longer than any step of the story keeps a relayer away. */
const RETRY_MS = 600_000

/** A relayer, which is asked again while it is away or answers 5xx. */
const connect = (url: string) => connectRelayer({ url, timeoutMs: TIMEOUT_MS, retryMs: RETRY_MS })

/**
 * Posts the keys every second until all have their shares.
 *
 * @returns the shares and receipts by public key, as it was sent
 * @throws {DemoError} when the relayer refuses, or answers with other keys than it was asked for
 */
export async function askForShares(
  relayerUrl: string,
  publicKeys: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, Receipted>> {
  const relayer = connect(relayerUrl)
  const checked: Pick<RelayerClient, 'postValidators'> = {
    postValidators: async (body, asked) => ofTheseKeys(await relayer.postValidators(body, asked), publicKeys),
  }
  const { validators } = await told(untilExitsReady(checked, publicKeys, signal, POLL_MS))
  const found = new Map(
    validators.flatMap(({ public_key, oracles_exit_signature_shares: shares, receipt }) =>
      shares === null ? [] : [[public_key, { shares, receipt }] as const],
    ),
  )
  if (found.size !== publicKeys.length)
    throw new DemoError('the relayer says that all is ready, and shares are missing')
  return found
}

function ofTheseKeys(answer: ValidatorsResponse, publicKeys: readonly string[]): ValidatorsResponse {
  const keys = answer.validators.map(({ public_key }) => public_key)
  if (keys.length === publicKeys.length && publicKeys.every((key) => keys.includes(key))) return answer
  throw new DemoError('the relayer answers with other validators than the operator asked for')
}

/**
 * Posts the request every second until the answer is complete.
 *
 * @throws {DemoError} when the relayer refuses, has fewer validators, or gives a whole exit signature away
 */
export function askToRegister(
  relayerUrl: string,
  request: RegisterRequest,
  signal: AbortSignal,
): Promise<RegisterResponse> {
  const checked: Pick<RelayerClient, 'postRegister'> = {
    postRegister: (body, asked) => askOnce(relayerUrl, body, asked),
  }
  return told(untilRegistrationReady(checked, request, signal, POLL_MS))
}

/** Posts the request once. @throws {DemoError} likewise */
export async function askOnce(
  relayerUrl: string,
  request: RegisterRequest,
  signal: AbortSignal,
): Promise<RegisterResponse> {
  const answer = await told(connect(relayerUrl).postRegister(request, signal))
  const { length } = answer.validators
  if (length === request.amounts.length) return answer
  throw new DemoError(`the relayer has ${length} validators, not ${request.amounts.length}`)
}

/** What is asked for, or what the relayer says against it. A whole exit signature is no answer of the protocol. */
async function told<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof RelayerRefusal)
      throw new DemoError(`the relayer refuses the operator's request: ${error.status} ${error.code} ${error.message}`)
    if (error instanceof ContractError) throw new DemoError(error.message)
    throw error
  }
}
