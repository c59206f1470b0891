/**
 * Keeps the book up to date with the relayer's list.
 *
 * A relayer whose answers carry a revision is long-polled: it is asked for what changed and answers once something has, so that an
 * idle sidecar asks a few times a minute and still learns of a new exit at once; a full list every 15 s heals whatever was
 * missed. Any other relayer is polled every `POLL_INTERVAL`. Before the first list, after every failure and every 15 s the relayer's
 * network is compared with ours: one of another network is not listened to.
 */

import { ContractError } from '@dvt-relayer/api/client.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { HttpError } from '@dvt-relayer/common/http-client.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { createBackoff } from './backoff.ts'
import type { Context } from './context.ts'
import { createPace } from './request-pace.ts'

/** The longest a relayer may hold a question. */
const WAIT_SECONDS = 25
/** A relayer that is back is noticed within this time. */
const MOST_BACKOFF_MS = 10_000
/** Questions at once, and each second, to a relayer that answers every long poll at once. */
const PACE = { burst: 20, perSecond: 5 }

/** Compares the relayer's network with ours and reports it. @throws what the request throws */
export async function checkRelayerNetwork(
  { config, relayer, health }: Pick<Context, 'config' | 'relayer' | 'health'>,
  signal: AbortSignal,
): Promise<boolean> {
  const { network } = await relayer.getInfo(signal)
  const isOurs = network === config.network.name
  const said = /^[\w-]{1,32}$/.test(network) ? network : 'of an unknown name'
  health.report('network', isOurs ? undefined : `the relayer's network is ${said}, ours is ${config.network.name}`)
  return isOurs
}

/** Starts following. `onChange` is called after each list, with whether it is the first one after a failure. */
export function startFollowing(
  context: Pick<Context, 'config' | 'relayer' | 'book' | 'events' | 'health'>,
  onChange: (isBack: boolean) => void,
): AsyncDisposable {
  const { config, relayer, book, events, health } = context
  const { pollIntervalMs, healIntervalMs } = config.relayer
  const stop = new AbortController()
  const { signal } = stop
  const backoff = createBackoff({ firstMs: Math.min(1000, pollIntervalMs), mostMs: MOST_BACKOFF_MS })
  const pace = createPace(PACE)
  /** From the last answer; undefined against a relayer without long polling. */
  let revision: number | undefined
  let isLongPolling: boolean | undefined
  /** When the next full list is due. */
  let fullAt = 0
  let networkAt = 0
  let isFailing = false

  /** One question; returns the milliseconds until the next. */
  async function ask(): Promise<number> {
    if (performance.now() >= networkAt) {
      if (!(await checkRelayerNetwork(context, signal))) return backoff.fail()
      networkAt = performance.now() + healIntervalMs
    }
    const untilFull = fullAt - performance.now()
    const isFull = revision === undefined || untilFull <= 0
    const wait = Math.min(WAIT_SECONDS, Math.ceil(untilFull / 1000))
    const query = isFull || revision === undefined ? {} : { wait, after: revision }
    const answer = await relayer.getExits(query, signal)
    // A revision that went back: the relayer's database is another one, and what it lists now is all there is.
    const isReset = !isFull && answer.revision !== undefined && revision !== undefined && answer.revision < revision
    const repeated = isFull || isReset ? book.applyList(answer.exits) : book.applyChanges(answer.exits)
    if (isFull) fullAt = performance.now() + healIntervalMs
    if (repeated > 0) events.itemsDropped(repeated)
    revision = answer.revision
    if (isLongPolling !== (revision !== undefined)) {
      isLongPolling = revision !== undefined
      events.longPolling(isLongPolling)
    }
    events.exitsListed(book.openCount())
    for (const [shareIndex, indexes] of book.takeRejections()) events.rejectionSeen('LISTED', shareIndex, indexes)
    health.report('relayer')
    backoff.reset()
    onChange(isFailing)
    isFailing = false
    return revision === undefined ? pollIntervalMs : pace.take(performance.now())
  }

  function failed(error: unknown): number {
    isFailing = true
    revision = undefined
    networkAt = 0
    health.report('relayer', messageOf(error))
    if (!(error instanceof HttpError) && !(error instanceof ContractError)) events.loopFailed(error)
    return backoff.fail(error instanceof HttpError ? error.retryAfterMs : 0)
  }

  async function run(): Promise<void> {
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

  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
