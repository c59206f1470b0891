/** The main job for one list: what is due is judged, signed in slices that leave the event loop free, and posted in batches. */

import { createBackoff } from '@dvt-relayer/common/backoff.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import type { Context } from '../context.ts'
import { admit } from '../lists/admit.ts'
import type { ListName } from '../lists/lists.ts'
import type { Entry } from '../lists/work-list.ts'
import { isCurrent, type Job, jobOf, type SignedJob } from './job.ts'
import { postBatch } from './post.ts'
import { signBatch } from './sign.ts'

/** Items of one post; the first of a round is small so that it leaves early. */
const FIRST_BATCH = 64
const BATCH = 500
/** Posts on their way at once. */
const MAX_POSTS = 4
const MOST_BACKOFF_MS = 10_000
const GATHER_STEP_MS = 5

export type LaneContext = Pick<
  Context,
  'config' | 'keystore' | 'relayer' | 'policy' | 'journal' | 'books' | 'events' | 'health'
>

/** What a lane minds of the other one. */
export interface LaneNeighbour {
  /** Entries that the other lane serves now. */
  isHeldBack?: (entry: Entry) => boolean
  /** Milliseconds to wait, before a round, for what the other list may say of the same validators. */
  gatherMs?: () => number
  /** These are out of hand, whatever came of them. */
  onReleased?: (jobs: readonly Job[]) => void
  /** The relayer has taken these. */
  onTaken?: (jobs: readonly SignedJob[]) => void
}

export interface Lane extends AsyncDisposable {
  /** To be called when the book has changed, with whether the relayer was away before. */
  wake(isBack: boolean): void
}

/** Starts the lane of a list. */
export function startLane(context: LaneContext, list: ListName, neighbour: LaneNeighbour = {}): Lane {
  const { config, events, health } = context
  const book = context.books[list]
  const { isHeldBack, gatherMs = () => 0, onReleased, onTaken } = neighbour
  const { pollIntervalMs } = config.relayer
  const stop = new AbortController()
  const { signal } = stop
  const backoff = createBackoff({ firstMs: Math.min(1000, pollIntervalMs), mostMs: MOST_BACKOFF_MS })
  const posts = new Set<Promise<void>>()
  let changed = Promise.withResolvers<void>()
  let isReachable = true
  let notBefore = 0

  /** Waits until something may be due: the book has changed or a time has come. */
  async function waitForWork(): Promise<void> {
    const now = performance.now()
    const next = health.isGood('network') ? Math.max(book.nextDueAt(isHeldBack), notBefore) : Number.POSITIVE_INFINITY
    if (next <= now) return
    const ended = new AbortController()
    const timer = pause(Math.min(next - now, pollIntervalMs), AbortSignal.any([signal, ended.signal]))
    await Promise.race([changed.promise, timer])
    ended.abort()
  }

  function due(): Entry[] {
    const now = performance.now()
    return now < notBefore || !health.isGood('network') || signal.aborted ? [] : book.due(now, isHeldBack)
  }

  /** Failures at about the same time are one: the next round waits longer. */
  function failed(): void {
    if (performance.now() >= notBefore) notBefore = performance.now() + backoff.fail()
  }

  function release(jobs: readonly Job[]): void {
    for (const job of jobs) if (isCurrent(job)) job.entry.isInHand = false
    onReleased?.(jobs)
  }

  /** Sends a batch; does not wait for the answer, which a busy relayer gives after seconds, unless too many are on their way. */
  async function send(shareIndex: number, batch: readonly SignedJob[], start: number): Promise<void> {
    const sent = postBatch(context, list, shareIndex, batch, signal).then((outcome) => {
      posts.delete(sent)
      if (outcome === 'taken') {
        backoff.reset()
        onTaken?.(batch)
      } else failed()
      if (outcome === 'unreachable') isReachable = false
      release(batch)
      events.batchAnswered((performance.now() - start) / 1000)
      changed.resolve()
    })
    posts.add(sent)
    if (posts.size >= MAX_POSTS) await Promise.race(posts)
  }

  /** One round: judges, signs and sends what is due. Takes what it sends, or what others finish, out of `kept`. */
  async function round(kept: Set<Job>, start: number): Promise<void> {
    isReachable = true
    const { willing, isJudged } = await admit(context, [...kept], signal)
    if (!isJudged) failed()
    const refused = kept.difference(new Set(willing))
    for (const job of refused) kept.delete(job)
    release([...refused])
    let size = FIRST_BATCH
    for (const [shareIndex, jobs] of Map.groupBy(willing, (job) => job.keyShare.shareIndex))
      for (let from = 0; from < jobs.length; ) {
        const batch = jobs.slice(from, from + size)
        from += batch.length
        size = BATCH
        if (!isReachable || signal.aborted || !health.isGood('network')) return
        // The other lane may have taken some meanwhile.
        const own = batch.filter(({ entry }) => isHeldBack?.(entry) !== true)
        const { signed, late } = await signBatch(context, own, signal, (job) => {
          release([job])
          changed.resolve()
        })
        // These stay in hand until they have ended, and are posted by another round.
        for (const job of late) kept.delete(job)
        if (signed.length === 0) continue
        const sent = new Set(signed.map(({ entry }) => entry))
        for (const job of own) if (sent.has(job.entry)) kept.delete(job)
        await send(shareIndex, signed, start)
      }
  }

  /** A round with these entries in hand. */
  async function work(entries: readonly Entry[], start: number): Promise<void> {
    const kept = new Set(entries.flatMap((entry) => jobOf(entry) ?? []))
    for (const { entry } of kept) entry.isInHand = true
    try {
      await round(kept, start)
    } catch (error) {
      events.loopFailed(error)
      // Whatever it was, the same entries must not come back in a tight loop.
      for (const entry of entries) entry.notBefore = performance.now() + pollIntervalMs
    } finally {
      release([...kept])
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await waitForWork()
      changed = Promise.withResolvers()
      const start = performance.now()
      if (due().length === 0) continue
      // In steps: where the event loop stood still, the other list's answer lies there already when the first of them ends.
      for (let waited = 0; waited < gatherMs() && !signal.aborted; waited += GATHER_STEP_MS)
        await pause(GATHER_STEP_MS, signal)
      const entries = due()
      if (entries.length > 0) await work(entries, start)
    }
  }

  const running = run()
  return {
    wake(isBack) {
      if (isBack) notBefore = 0
      changed.resolve()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      changed.resolve()
      await running
      await Promise.all(posts)
    },
  }
}
