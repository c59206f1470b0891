/**
 * Keeps the work lists up to date with the relayer's lists, each list on its own.
 *
 * A relayer whose answers carry a revision is long-polled: it is asked for what changed and answers once something has, so that an
 * idle sidecar asks a few times a minute and still learns of a new exit at once; a full list every 15 s, from a relayer with pages every
 * 5 minutes, heals whatever was missed. Any other relayer is polled every `POLL_INTERVAL`. Before the first list, after every failure and every 15 s the relayer's
 * network is compared with ours: one of another network is not listened to.
 *
 * Relayers of one generation know one of the lists only (the other is a 404 or, where the path has another method, a 405): such a
 * list is asked for again every 15 s, unless `GENERATION` says that it must be there.
 */

import { ContractError, type RelayerClient } from '@dvt-relayer/api/client.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { createBackoff } from '@dvt-relayer/common/flow/backoff.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { ListName, SidecarConfig } from '../config.ts'
import type { Events } from '../events.ts'
import type { Health } from '../health.ts'
import type { Introduction } from './introduction.ts'
import { createListReader } from './list-reader.ts'
import type { ListStates } from './list-states.ts'
import { createNetworkCheck, type NetworkCheck } from './network-check.ts'
import { createPace } from './request-pace.ts'
import type { WorkList } from './work-list.ts'

/** A relayer that is back is noticed within this time. */
const MOST_BACKOFF_MS = 10_000
/** Questions at once, and each second, to a relayer that answers every long poll at once without bringing what is new. */
const PACE = { burst: 20, perSecond: 5 }
/** The same of pages that follow one another: a list of 100,000 validators at once. */
const PAGE_PACE = { burst: 100, perSecond: 20 }

interface FollowParts {
  readonly config: Pick<SidecarConfig, 'network' | 'generation' | 'relayer'>
  readonly relayer: RelayerClient
  readonly workLists: Readonly<Record<ListName, WorkList>>
  readonly lists: ListStates
  readonly introduce: Introduction
  readonly events: Events
  readonly health: Health
}

/** Starts following every list. `onChange` is called after each answer, with whether it is the first one after a failure. */
export function startFollowing(
  parts: FollowParts,
  onChange: (list: ListName, isBack: boolean) => void,
): AsyncDisposable {
  const stop = new AbortController()
  const network = createNetworkCheck(parts, parts.introduce, stop.signal)
  const running = parts.lists.names.map((list) =>
    follow(parts, list, network, (isBack) => onChange(list, isBack), stop.signal),
  )
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all(running)
    },
  }
}

/** Whether a relayer says that it does not know the path, or not with this method. */
const isUnknown = (error: unknown) => error instanceof HttpError && (error.status === 404 || error.status === 405)

/** Follows one list until the signal aborts. */
async function follow(
  { config, relayer, workLists, lists, events }: FollowParts,
  list: ListName,
  network: NetworkCheck,
  onChange: (isBack: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const { pollIntervalMs, healIntervalMs } = config.relayer
  const reader = createListReader({ relayer, workList: workLists[list], events, healIntervalMs }, list)
  const backoff = createBackoff({ firstMs: Math.min(1000, pollIntervalMs), mostMs: MOST_BACKOFF_MS })
  const pace = createPace(PACE)
  const pagePace = createPace(PAGE_PACE)
  let isFailing = false

  /** One question; returns the milliseconds until the next. */
  async function ask(): Promise<number> {
    if (!(await network.isOurs())) return backoff.fail()
    let read: Awaited<ReturnType<typeof reader.read>>
    try {
      read = await reader.read(signal)
    } catch (error) {
      if (config.generation === 'auto' && isUnknown(error)) return missing()
      throw error
    }
    lists.set(list, 'listed')
    backoff.reset()
    onChange(isFailing)
    isFailing = false
    if (read.hasMore) return pagePace.take(performance.now())
    if (!read.isLongPolling) return pollIntervalMs
    return read.hasNews ? 0 : pace.take(performance.now())
  }

  function missing(): number {
    reader.setAbsent()
    lists.set(list, 'absent')
    backoff.reset()
    isFailing = false
    return healIntervalMs
  }

  function failed(error: unknown): number {
    isFailing = true
    reader.startAnew()
    network.forget()
    lists.set(list, { problem: messageOf(error) })
    if (!(error instanceof HttpError) && !(error instanceof ContractError)) events.loopFailed(error)
    return backoff.fail(error instanceof HttpError ? error.retryAfterMs : 0)
  }

  while (!signal.aborted) {
    const waitMs = await ask().catch((error: unknown) => (signal.aborted ? 0 : failed(error)))
    await pause(waitMs, signal)
  }
}
