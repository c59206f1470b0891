/** What is asked again and again: polls until all is there, and lists that are followed by long polling. */

import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type {
  ExitItem,
  ExitShareItem,
  ExitSharesQuery,
  ExitsResponse,
  RegisterRequest,
  RegisterResponse,
  ValidatorItem,
  ValidatorsResponse,
} from '@dvt-relayer/api/schemas.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { createListWalk, type ListEnd, type ListQuestion } from './list-walk.ts'

/** As often as there is a block. */
const POLL_MS = 12_000
/** How long a relayer may wait for new shares. */
const WAIT_SECONDS = 25
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

/**
 * The exits to sign (generation 3): all of them first, in pages where there are many, then what has changed, as it does. Ends by the signal.
 */
export const followExits = (
  relayer: Pick<RelayerClient, 'getExits'>,
  signal: AbortSignal,
): AsyncGenerator<ExitItem[]> =>
  followList(signal, async (question) => {
    const { exits, ...end } = await relayer.getExits(question, signal)
    return { items: exits, end: endOf(end) }
  })

/** The validators to sign for (generation 4), likewise. */
export const followValidators = (
  relayer: Pick<RelayerClient, 'getValidators'>,
  signal: AbortSignal,
): AsyncGenerator<ValidatorItem[]> =>
  followList(signal, async (question) => {
    const { validators, ...end } = await relayer.getValidators(question, signal)
    return { items: validators, end: endOf(end) }
  })

const endOf = ({ revision, whole: isWhole, next }: Omit<ExitsResponse, 'exits'>): ListEnd => ({
  revision,
  isWhole,
  next,
})

async function* followList<T>(
  signal: AbortSignal,
  ask: (question: ListQuestion) => Promise<{ items: T[]; end: ListEnd }>,
): AsyncGenerator<T[]> {
  const walk = createListWalk()
  for (let isFirst = true; ; isFirst = false) {
    const question = walk.nextQuestion()
    const { items, end } = await ask(question)
    const { counts, hasMore } = walk.take(end, question)
    if (counts && (isFirst || items.length > 0)) yield items
    // Existing relayers name no revision, and are asked for everything again.
    if (!hasMore && (end.revision === undefined || end.revision === question.after)) await pause(PAUSE_MS, signal)
    signal.throwIfAborted()
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
    const asked = { ...query, wait: String(WAIT_SECONDS), ...(after === undefined ? {} : { after }) }
    const { exit_shares: items, cursor } = await relayer.getExitShares(oracle, asked, signal)
    if (items.length > 0) yield { items, cursor }
    signal.throwIfAborted()
    after = cursor
  }
}
