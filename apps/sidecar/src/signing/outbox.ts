/** The posts of one list that are on their way: a few at once, so that a busy relayer does not hold up the signing. */

import type { ListName } from '../config.ts'
import type { SignedJob } from '../lists/work-entry.ts'
import type { SigningParts } from './parts.ts'
import { postBatch } from './post.ts'
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

  async function post(shareIndex: number, batch: readonly SignedJob[], start: number): Promise<void> {
    const outcome = await postBatch(parts, list, shareIndex, batch, signal)
    if (outcome === 'taken') {
      rest.succeeded()
      onTaken(batch)
    } else rest.failed()
    if (outcome === 'unreachable') isReachable = false
    for (const job of batch) parts.workLists[list].release(job)
    parts.events.batchAnswered((performance.now() - start) / 1000)
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
