/** One round of the main job: what is due is judged, signed in slices that leave the event loop free, and posted in batches. */

import type { Entry, Job } from '../lists/work-entry.ts'
import type { WorkList } from '../lists/work-list.ts'
import { judge } from './judge.ts'
import type { Outbox } from './outbox.ts'
import type { SigningParts } from './parts.ts'
import type { Rest } from './rest.ts'
import { signBatch } from './sign.ts'

/** Jobs of one post; the first of a round is small so that it leaves early. */
const FIRST_BATCH = 64
const BATCH = 500

interface RoundOptions {
  readonly workList: WorkList
  readonly outbox: Outbox
  readonly rest: Rest
  readonly signal: AbortSignal
  /** Entries that the other list serves now. */
  isHeldBack(entry: Entry): boolean
  /** Told when jobs have ended outside a post. */
  onEnded(): void
}

/** Serves these jobs. When it returns each has ended, or is in the outbox or with a keystore that is slow. */
export async function runRound(
  parts: SigningParts,
  options: RoundOptions,
  jobs: readonly Job[],
  start: number,
): Promise<void> {
  const { workList, onEnded } = options
  const kept = new Set(jobs)
  try {
    await serve(parts, options, kept, start)
  } catch (error) {
    parts.events.loopFailed(error)
    // Whatever it was, the same entries must not come back in a tight loop.
    for (const job of kept) workList.defer(job, performance.now(), 1)
  } finally {
    for (const job of kept) workList.release(job)
    onEnded()
  }
}

/** Takes what it sends, or what others finish, out of `kept`. */
async function serve(parts: SigningParts, options: RoundOptions, kept: Set<Job>, start: number): Promise<void> {
  const { workList, outbox, rest, signal, isHeldBack, onEnded } = options
  outbox.beginRound()
  const { willing, isJudged } = await judge(parts, workList, [...kept], signal)
  if (!isJudged) rest.failed()
  for (const job of kept.difference(new Set(willing))) {
    kept.delete(job)
    workList.release(job)
  }
  onEnded()
  for (const { shareIndex, batch } of batchesOf(willing)) {
    if (!outbox.isReachable || signal.aborted || !parts.health.isGood('network')) return
    // The other list may have taken some meanwhile.
    const own = batch.filter(({ entry }) => !isHeldBack(entry))
    const { signed, late } = await signBatch({ ...parts, workList }, own, signal, (job) => {
      workList.release(job)
      onEnded()
    })
    // These stay in flight until they have ended, and are posted by another round.
    for (const job of late) kept.delete(job)
    if (signed.length === 0) continue
    const sent = new Set(signed.map(({ id }) => id))
    for (const job of own) if (sent.has(job.id)) kept.delete(job)
    await outbox.send(shareIndex, signed, start)
  }
}

/** A post is for one share index. */
function* batchesOf(jobs: readonly Job[]): Generator<{ shareIndex: number; batch: Job[] }> {
  let size = FIRST_BATCH
  for (const [shareIndex, group] of Map.groupBy(jobs, ({ keyShare }) => keyShare.shareIndex))
    for (let from = 0; from < group.length; ) {
      const batch = group.slice(from, from + size)
      yield { shareIndex, batch }
      from += batch.length
      size = BATCH
    }
}
