/** What is asked again and again: polls until all is there, and lists that are followed by long polling. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type {
  ExitItem,
  ExitShareItem,
  ExitSharesQuery,
  RegisterRequest,
  RegisterResponse,
  ValidatorItem,
  ValidatorsResponse,
} from '@dvt-relayer/api/schemas.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'

/** As often as there is a block. */
const POLL_MS = 12_000
/** How long a relayer may wait for a change, in seconds: of lists, and of oracles' shares. */
const WAIT = { lists: 50, shares: 25 }
/** Between two questions to a relayer that answers at once although nothing has changed. */
const PAUSE_MS = 1000

/**
 * Asks for the exits of these validators (generation 3) until each has its oracle shares.
 *
 * @param everyMs between two questions; 12,000, as often as there is a block, unless given
 */
export function untilExitsReady(
  relayer: Pick<RelayerClient, 'postValidators'>,
  publicKeys: readonly string[],
  signal: AbortSignal,
  everyMs: number = POLL_MS,
): Promise<ValidatorsResponse> {
  return poll(signal, everyMs, async () => {
    const answer = await relayer.postValidators({ public_keys: [...publicKeys] }, signal)
    return answer.ready ? answer : undefined
  })
}

/**
 * Asks for everything that registering these validators needs (generation 4), until it is there: every deposit signature, every share
 * set, and the manager's signature.
 */
export function untilRegistrationReady(
  relayer: Pick<RelayerClient, 'postRegister'>,
  request: RegisterRequest,
  signal: AbortSignal,
  everyMs: number = POLL_MS,
): Promise<RegisterResponse> {
  return poll(signal, everyMs, async () => {
    const answer = await relayer.postRegister(request, signal)
    const isReady = answer.validators.every(
      ({ deposit_signature: deposit, oracles_exit_signature_shares: shares }) => deposit !== null && shares !== null,
    )
    return isReady && answer.validators_manager_signature !== null ? answer : undefined
  })
}

async function poll<T>(signal: AbortSignal, everyMs: number, ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    await pause(everyMs, signal)
    signal.throwIfAborted()
  }
}

/** The exits to sign (generation 3): all of them first, then what has changed, as it does. Ends by the signal. */
export const followExits = (
  relayer: Pick<RelayerClient, 'getExits'>,
  signal: AbortSignal,
): AsyncGenerator<ExitItem[]> =>
  followList(signal, async (changes) => {
    const { exits, revision } = await relayer.getExits(changes, signal)
    return { items: exits, revision }
  })

/** The validators to sign for (generation 4), likewise. */
export const followValidators = (
  relayer: Pick<RelayerClient, 'getValidators'>,
  signal: AbortSignal,
): AsyncGenerator<ValidatorItem[]> =>
  followList(signal, async (changes) => {
    const { validators, revision } = await relayer.getValidators(changes, signal)
    return { items: validators, revision }
  })

async function* followList<T>(
  signal: AbortSignal,
  ask: (changes: { wait?: number; after?: number }) => Promise<{ items: T[]; revision: number | undefined }>,
): AsyncGenerator<T[]> {
  let after: number | undefined
  for (;;) {
    // Existing relayers name no revision, and are asked for everything again.
    const isFirst = after === undefined
    const { items, revision } = await ask(after === undefined ? {} : { wait: WAIT.lists, after })
    if (isFirst || items.length > 0) yield items
    if (revision === undefined || revision === after) await pause(PAUSE_MS, signal)
    signal.throwIfAborted()
    after = revision
  }
}

/**
 * An oracle's shares, oldest first, and then new ones as they come. Ends by the signal.
 *
 * @param query as of `GET /oracles/{oracle}/exit-shares`; `after` is the cursor to go on from, which every page brings
 */
export async function* followExitShares(
  relayer: Pick<RelayerClient, 'getExitShares'>,
  oracle: string,
  signal: AbortSignal,
  query: Omit<ExitSharesQuery, 'wait'> = {},
): AsyncGenerator<{ items: ExitShareItem[]; cursor: string }> {
  let { after } = query
  for (;;) {
    const asked = { ...query, wait: String(WAIT.shares), ...(after === undefined ? {} : { after }) }
    const { exit_shares: items, cursor } = await relayer.getExitShares(oracle, asked, signal)
    if (items.length > 0) yield { items, cursor }
    signal.throwIfAborted()
    after = cursor
  }
}
