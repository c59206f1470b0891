/**
 * Verifying: candidates under a trusted public key share, batch by batch on the worker threads. Each verdict is for good. What then
 * has enough verified signatures is handed to a worker that finishes it (`finish.ts`).
 *
 * A crash anywhere leaves candidates that the sweep has verified later (`verifyStored`).
 */

import { accountKey, currentAccount } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/keyed-queue.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { claimFinishable, findCandidates } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import type { Context } from '../../context.ts'
import { type Candidate, openCandidate, type TrustedVerdict, writeTrustedVerdicts } from './candidates.ts'

/** Slices of one caller's share index that are verified at once, and that may wait: the largest post there may be, and some more. */
const LANE_LIMITS = { depth: 2, waiting: 500 }
/** Verdicts written in one transaction. */
const VERIFY_SLICE = 64
/** Messages handed to a worker in one job. */
const FINISH_SLICE = 16

/** A stored candidate that can be verified. */
export interface Unverified extends Candidate {
  shareIndex: number
  /** The trusted one of its share index. */
  publicKeyShare: Uint8Array
  signingRoot: Uint8Array
}

/** Creates the service. */
export function createVerification({
  db,
  queue,
  crypto,
  sealing,
  events,
  logger,
  announced,
}: Pick<Context, 'db' | 'queue' | 'crypto' | 'sealing' | 'events' | 'logger' | 'announced'>) {
  const background = new Set<Promise<unknown>>()
  const lanes = createKeyedQueue(LANE_LIMITS)

  /** Keeps background work until it is done, so that a stop can wait for it. */
  function track<T>(work: Promise<T>): Promise<T> {
    const kept = work.catch((error: unknown) =>
      logger.warn({ err: error }, 'verification interrupted, the sweep goes on with it'),
    )
    background.add(kept)
    void kept.finally(() => background.delete(kept))
    return work
  }

  async function verifySlice<T extends Unverified>(slice: readonly T[], onWrong: (wrong: T[]) => void): Promise<void> {
    const isRight = await crypto.verify(
      slice.map(({ publicKeyShare, signingRoot, signature }) => ({
        publicKey: publicKeyShare,
        message: signingRoot,
        signature,
      })),
    )
    onWrong(slice.filter((_, position) => isRight[position] !== true))
    await decide(slice.map((candidate, position) => ({ ...candidate, isRight: isRight[position] === true })))
  }

  /** Writes verdicts, and has those messages finished that now have enough. */
  async function decide(judged: readonly TrustedVerdict[]): Promise<void> {
    const ids = [...new Set(judged.map(({ messageId }) => messageId))]
    const verdicts = await db.transaction(async (tx) => {
      await lockMessages(tx, ids)
      return writeTrustedVerdicts(tx, sealing, judged)
    })
    announced()
    for (const [shareIndex, group] of Map.groupBy(verdicts, (verdict) => verdict.shareIndex)) {
      const right = group.filter(({ isRight }) => isRight).length
      if (right > 0) events.partialsVerified(shareIndex, right)
      if (right < group.length) events.partialsRejected(shareIndex, group.length - right)
    }
    await finishLater(ids)
  }

  /** Asks a worker to finish those of these messages that have enough. The queue is a hint; the sweep repairs what it loses. */
  async function finishLater(messageIds: readonly number[]): Promise<void> {
    const ready = await claimFinishable(db, messageIds, messageIds.length)
    for (let from = 0; from < ready.length; from += FINISH_SLICE)
      void track(queue.add('finish_messages', { message_ids: ready.slice(from, from + FINISH_SLICE) }))
  }

  return {
    /**
     * Verifies what one share index posted, and names the wrong ones as soon as they are known. A node that floods waits for itself:
     * what is too much for its lane is left to the sweep.
     */
    verifyPosted<T extends Unverified>(
      shareIndex: number,
      posted: readonly T[],
      onWrong: (wrong: T[]) => void,
    ): Promise<unknown> {
      // Of two clusters the same share index is two nodes.
      const lane = `${accountKey(currentAccount())} ${shareIndex}`
      const inLane = slicesOf(posted).map((slice) => lanes.run(lane, () => verifySlice(slice, onWrong)))
      return track(Promise.all(inLane))
    },

    /** Verifies the stored candidates of these messages that are under trusted public key shares; for the sweep. */
    async verifyStored(messageIds: readonly number[]): Promise<void> {
      const opener = await sealing.openerFor(db, messageIds)
      const candidates = (await findCandidates(db, messageIds)).flatMap((row): Unverified[] => {
        if (row.state !== 'unverified' || row.publicKeyShare === null) return []
        const signature = openCandidate(opener, row, logger)
        return signature === undefined ? [] : [{ ...row, publicKeyShare: row.publicKeyShare, signature }]
      })
      await Promise.all(slicesOf(candidates).map((slice) => verifySlice(slice, () => {})))
    },

    finishLater,

    /** Waits for verification that outlived its request. */
    async drain(): Promise<void> {
      await Promise.allSettled(background)
    },
  }
}
export type Verification = ReturnType<typeof createVerification>

/** So that early verdicts count early. */
const slicesOf = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(items.length / VERIFY_SLICE) }, (_, slice) =>
    items.slice(slice * VERIFY_SLICE, (slice + 1) * VERIFY_SLICE),
  )
