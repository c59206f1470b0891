/** The posts of one list that are on their way: a few at once, so that a busy relayer does not hold up the signing. */

import { createSplitPosts } from '@dvt-relayer/client/split-posts.ts'
import type { ListName } from '../config.ts'
import type { SignedJob } from '../lists/work-entry.ts'
import type { SigningParts } from './parts.ts'
import { postBatch, shareOf } from './post.ts'
import type { Rest } from './rest.ts'

/** Posts on their way at once. */
const MAX_POSTS = 4

interface OutboxOptions {
  readonly rest: Rest
  readonly signal: AbortSignal
  /** The relayer has taken these. */
  onTaken(batch: readonly SignedJob[]): void
  /** A post has been answered, or has failed. */
  onEnded(): void
}

/** Creates an outbox with nothing on its way. */
export function createOutbox(
  parts: Pick<SigningParts, 'relayer' | 'workLists' | 'events'>,
  list: ListName,
  { rest, signal, onTaken, onEnded }: OutboxOptions,
) {
  const underWay = new Set<Promise<void>>()
  let isReachable = true
  const inParts = createSplitPosts<SignedJob>({
    wordsOf: (job) => shareOf(list, job),
    onTooLarge: (jobs, bytes) => {
      // All of one post are of one share index.
      for (const { keyShare } of jobs.slice(0, 1))
        parts.events.postTooLarge(list, keyShare.shareIndex, jobs.length, bytes)
    },
  })

  async function post(shareIndex: number, batch: readonly SignedJob[], start: number): Promise<void> {
    const left = await inParts(batch, async ({ items: jobs }) => {
      const outcome = await postBatch(parts, list, shareIndex, jobs, signal)
      if (outcome === 'too_large') return outcome
      settle(outcome, jobs)
      parts.events.batchAnswered((performance.now() - start) / 1000)
      return outcome === 'unreachable' ? 'stop' : 'done'
    })
    for (const job of left) parts.workLists[list].release(job)
  }

  function settle(outcome: 'taken' | 'refused' | 'unreachable', jobs: readonly SignedJob[]): void {
    if (outcome === 'taken') {
      rest.succeeded()
      onTaken(jobs)
    } else rest.failed()
    if (outcome === 'unreachable') isReachable = false
    for (const job of jobs) parts.workLists[list].release(job)
  }

  return {
    /** Whether no post of this round has found the relayer away. */
    get isReachable(): boolean {
      return isReachable
    },
    beginRound(): void {
      isReachable = true
    },
    /** Sends a batch. Waits for an answer, which a busy relayer gives after seconds, only where too many are on their way. */
    async send(shareIndex: number, batch: readonly SignedJob[], start: number): Promise<void> {
      const sent = post(shareIndex, batch, start).finally(() => {
        underWay.delete(sent)
        onEnded()
      })
      underWay.add(sent)
      if (underWay.size >= MAX_POSTS) await Promise.race(underWay)
    },
    /** Waits for all that are on their way. */
    async empty(): Promise<void> {
      await Promise.all(underWay)
    },
  }
}
export type Outbox = ReturnType<typeof createOutbox>
