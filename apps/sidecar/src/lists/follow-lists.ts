/**
 * Keeps the books up to date with the relayer's lists, each list on its own.
 *
 * A relayer whose answers carry a revision is long-polled: it is asked for what changed and answers once something has, so that an
 * idle sidecar asks a few times a minute and still learns of a new exit at once; a full list every 15 s heals whatever was
 * missed. Any other relayer is polled every `POLL_INTERVAL`. Before the first list, after every failure and every 15 s the relayer's
 * network is compared with ours: one of another network is not listened to.
 *
 * Relayers of one generation know one of the lists only (the other is a 404 or, where the path has another method, a 405): such a
 * list is asked for again every 15 s, unless `GENERATION` says that it must be there.
 */

import { ContractError } from '@dvt-relayer/api/client.ts'
import { createBackoff } from '@dvt-relayer/common/backoff.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { HttpError } from '@dvt-relayer/common/http-client.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import type { Context } from '../context.ts'
import { createNetworkCheck, type NetworkCheck } from '../watch/network-check.ts'
import { askForList, type ListName } from './lists.ts'
import { createPace } from './request-pace.ts'

/** The longest a relayer may hold a question. */
const WAIT_SECONDS = 25
/** A relayer that is back is noticed within this time. */
const MOST_BACKOFF_MS = 10_000
/** Questions at once, and each second, to a relayer that answers every long poll at once. */
const PACE = { burst: 20, perSecond: 5 }
/** Whether a relayer says that it does not know the path, or not with this method. */
const isUnknown = (error: unknown) => error instanceof HttpError && (error.status === 404 || error.status === 405)

type FollowContext = Pick<Context, 'config' | 'relayer' | 'books' | 'lists' | 'events' | 'health'>

/** Starts following every list. `onChange` is called after each answer, with whether it is the first one after a failure. */
export function startFollowing(
  context: FollowContext,
  onChange: (list: ListName, isBack: boolean) => void,
): AsyncDisposable {
  const stop = new AbortController()
  const network = createNetworkCheck(context, stop.signal)
  const running = context.lists.names.map((list) =>
    follow(context, list, network, (isBack) => onChange(list, isBack), stop.signal),
  )
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all(running)
    },
  }
}

/** Follows one list until the signal aborts. */
async function follow(
  { config, relayer, books, lists, events }: FollowContext,
  list: ListName,
  network: NetworkCheck,
  onChange: (isBack: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const { pollIntervalMs, healIntervalMs } = config.relayer
  const book = books[list]
  const backoff = createBackoff({ firstMs: Math.min(1000, pollIntervalMs), mostMs: MOST_BACKOFF_MS })
  const pace = createPace(PACE)
  /** From the last answer; undefined against a relayer without long polling. */
  let revision: number | undefined
  let isLongPolling: boolean | undefined
  /** When the next full list is due. */
  let fullAt = 0
  let isFailing = false

  /** One question; returns the milliseconds until the next. */
  async function ask(): Promise<number> {
    if (!(await network.isOurs())) return backoff.fail()
    try {
      return await askForChanges()
    } catch (error) {
      if (config.generation === 'auto' && isUnknown(error)) return missing()
      throw error
    }
  }

  async function askForChanges(): Promise<number> {
    const untilFull = fullAt - performance.now()
    const isFull = revision === undefined || untilFull <= 0
    const wait = Math.min(WAIT_SECONDS, Math.ceil(untilFull / 1000))
    const query = isFull || revision === undefined ? {} : { wait, after: revision }
    const answer = await askForList(relayer, list, query, signal)
    // A revision that went back: the relayer's database is another one, and what it lists now is all there is.
    const isReset = !isFull && answer.revision !== undefined && revision !== undefined && answer.revision < revision
    const repeated = isFull || isReset ? book.applyList(answer.items) : book.applyChanges(answer.items)
    if (isFull) fullAt = performance.now() + healIntervalMs
    if (repeated > 0) events.itemsDropped(repeated)
    revision = answer.revision
    if (isLongPolling !== (revision !== undefined)) {
      isLongPolling = revision !== undefined
      events.longPolling(list, isLongPolling)
    }
    events.listApplied(list, book.openCount())
    for (const [shareIndex, indexes] of book.takeRejections()) events.rejectionSeen(list, 'LISTED', shareIndex, indexes)
    lists.set(list, 'listed')
    backoff.reset()
    onChange(isFailing)
    isFailing = false
    return revision === undefined ? pollIntervalMs : pace.take(performance.now())
  }

  /** Nothing is wanted by a list that is not there. */
  function missing(): number {
    revision = undefined
    book.applyList([])
    events.listApplied(list, 0)
    lists.set(list, 'absent')
    backoff.reset()
    isFailing = false
    return healIntervalMs
  }

  function failed(error: unknown): number {
    isFailing = true
    revision = undefined
    network.forget()
    lists.set(list, { problem: messageOf(error) })
    if (!(error instanceof HttpError) && !(error instanceof ContractError)) events.loopFailed(error)
    return backoff.fail(error instanceof HttpError ? error.retryAfterMs : 0)
  }

  while (!signal.aborted) {
    let waitMs: number
    try {
      waitMs = await ask()
    } catch (error) {
      if (signal.aborted) return
      waitMs = failed(error)
    }
    await pause(waitMs, signal)
  }
}
