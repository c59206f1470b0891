/**
 * Verifying candidates under trusted public key shares. A verdict is for good.
 *
 * Of a message that others sign at the same time nothing is verified by itself at first: once enough share indexes have one candidate
 * each, a worker checks them together while it finishes the message, for the price of one (`finish.ts`,
 * docs/decisions/0013-verified-together.md). What has no verdict after half a second is verified here, batch by batch on the worker
 * threads; so is at once whatever comes from a share index that has sent something else for the message, or was wrong lately.
 *
 * A crash anywhere leaves candidates that the sweep has verified later (`verifyStored`).
 */

import { accountKey, currentAccount, onOwnAccount } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { ClaimedRow } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  claimToFinish,
  findCandidates,
  findFinishable,
  findOutcomes,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { giveBackMessages } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Context } from '../../context.ts'
import { type AwaitedVerdicts, createAwaitedVerdicts } from './awaited-verdicts.ts'
import { type Candidate, openCandidate, type TrustedVerdict, writeTrustedVerdicts } from './candidates.ts'
import type { Finishing } from './finish.ts'

/** Slices of one caller's share index that are verified at once, and that may wait: the largest post there may be, and some more. */
const LANE_LIMITS = { depth: 2, waiting: 500 }
/** Verdicts written in one transaction. */
const VERIFY_SLICE = 64
/** Validators whose messages are handed to a worker in one job: of a pair both become ready in one transaction, told of once. */
const FINISH_SLICE = 16
/** Jobs that this process does at once without the way through the queue. */
const HERE_AT_ONCE = 2
/** Milliseconds from a post on. */
export const WAITS_MS = {
  /** How long a candidate waits for others of its message: nodes that wait for work sign at about the same time. */
  together: 500,
  /** When it is looked at first what workers of other processes came to; then after twice the time, and so on. */
  look: 250,
  /** How long those are waited for, where a message has enough. */
  elsewhere: 2000,
}
/** A share index that was wrong is verified at once for this long, and so are at most this many remembered. */
const SUSPECTED_MS = 60_000
const SUSPECTS = 1000

/** A stored candidate that can be verified. */
export interface Unverified extends Candidate {
  shareIndex: number
  /** The trusted one of its share index. */
  publicKeyShare: Uint8Array
  signingRoot: Uint8Array
}

/** Of two clusters the same share index is two nodes. */
const laneOf = (shareIndex: number): string => `${accountKey(currentAccount())} ${shareIndex}`

/**
 * Creates the service.
 *
 * @param finishing what finishes messages in this process; undefined where other processes alone do
 * @param awaited where finishing tells what it came to
 * @param waits how long posts wait for whom
 */
export function createVerification(
  {
    db,
    queue,
    crypto,
    sealing,
    events,
    logger,
    announced,
    patienceMs,
  }: Pick<Context, 'db' | 'queue' | 'crypto' | 'sealing' | 'events' | 'logger' | 'announced' | 'patienceMs'>,
  finishing?: Pick<Finishing, 'finish'>,
  awaited: AwaitedVerdicts = createAwaitedVerdicts(),
  waits: typeof WAITS_MS = WAITS_MS,
) {
  const background = new Set<Promise<unknown>>()
  const lanes = createKeyedQueue(LANE_LIMITS)
  /** Until when share indexes that were wrong are verified at once, by lane. */
  const suspects = new Map<string, number>()
  let here = 0

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
    if (messageIds.length === 0) return
    const ready = await claim(messageIds)
    for (const ids of jobsOf(ready)) {
      if (finishing !== undefined && here < HERE_AT_ONCE) void track(finishHere(finishing, ids)).catch(() => {})
      else void track(handOver(ids)).catch(() => {})
    }
  }

  /**
   * Claims those of these messages that have enough. What somebody else has locked is waited for: an operator who asks for it again has it for
   * some milliseconds, and would be the reason why nobody is told of the last signature that it needs.
   */
  async function claim(messageIds: readonly number[]): Promise<ClaimedRow[]> {
    const claimed = await claimToFinish(db, messageIds, messageIds.length)
    const others = [...new Set(messageIds).difference(new Set(claimed.map(({ id }) => id)))]
    const locked = others.length === 0 ? [] : await findFinishable(db, others)
    if (locked.length === 0) return claimed
    const late = await db.transaction(async (tx) => {
      await lockMessages(tx, locked)
      return claimToFinish(tx, locked, locked.length)
    })
    return [...claimed, ...late]
  }

  /** Adds the job. Where the queue does not take it, the messages are anybody's again, and not after the time that a worker has for them. */
  async function handOver(messageIds: number[]): Promise<void> {
    if ((await queue.add('finish_messages', { message_ids: messageIds })) !== 'added')
      await giveBackMessages(db, messageIds)
  }

  /** The job without the queue, on the account of the process as there. */
  async function finishHere({ finish }: Pick<Finishing, 'finish'>, messageIds: readonly number[]): Promise<void> {
    here++
    try {
      await onOwnAccount(() => finish(messageIds))
    } finally {
      here--
    }
  }

  /** What was wrong is named, and what comes from there is not waited for any more. */
  function suspect(lane: string): void {
    const now = performance.now()
    suspects.delete(lane)
    suspects.set(lane, now + SUSPECTED_MS)
    for (const [old, until] of suspects) if (suspects.size > SUSPECTS || until < now) suspects.delete(old)
  }

  /** What has become of these in the database; those a worker has, and those nobody sees to. */
  async function look<T extends Unverified>(left: readonly T[], judge: (candidate: T, isRight: boolean) => void) {
    const outcomes = new Map((await findOutcomes(db, left)).map((outcome) => [outcome.position, outcome]))
    const withWorker: T[] = []
    const alone: T[] = []
    for (const [position, candidate] of left.entries()) {
      const outcome = outcomes.get(position)
      if (outcome !== undefined && outcome.state !== 'unverified') judge(candidate, outcome.state === 'verified')
      else (outcome?.isWithWorker === true ? withWorker : alone).push(candidate)
    }
    return { withWorker, alone }
  }

  /** Tells of messages whose candidates nobody was told of when they were stored. */
  async function tell(messageIds: readonly number[]): Promise<void> {
    if (messageIds.length === 0) return
    await db.transaction(async (tx) => announceMessages(tx, await lockMessages(tx, messageIds)))
    announced()
  }

  /** Has candidates judged together with those of other nodes, and verifies those that have no verdict in time. */
  async function judgeTogether<T extends Unverified>(
    posted: readonly T[],
    onWrong: (wrong: T[]) => void,
    verifyAlone: (left: readonly T[]) => Promise<unknown>,
  ): Promise<void> {
    using wait = awaited.begin(posted)
    const began = performance.now()
    const age = () => performance.now() - began
    const verifying: Promise<unknown>[] = []
    const isWaiting = () => wait.left().length > 0 && age() < patienceMs && !awaited.isClosed()
    let isTold = false
    // What a worker of this process comes to is told: one look shows what none has.
    let lookAt = finishing === undefined ? waits.look : waits.together
    await finishLater(idsOf(posted))
    while (isWaiting()) {
      const passed = await wait.next(Math.min(lookAt, patienceMs) - age())
      onWrong(wait.takeWrong())
      if (passed.length > 0) await finishLater(passed)
      if (age() < lookAt) continue
      lookAt = Math.max(2 * lookAt, waits.look)
      const { withWorker, alone } = await look(wait.left(), wait.judge)
      onWrong(wait.takeWrong())
      if (age() < waits.together) {
        await finishLater(idsOf(alone))
        continue
      }
      const due = finishing === undefined && age() >= waits.elsewhere ? [...alone, ...withWorker] : alone
      wait.drop(due)
      if (due.length > 0) verifying.push(track(verifyAlone(due)))
      // The others have waited as long as their nodes may take it for lost.
      if (!isTold) await tell(idsOf(wait.left()))
      isTold = true
    }
    await Promise.all(verifying)
  }

  return {
    /** Whether what this share index sends may wait to be judged with others: not while it was wrong lately. */
    mayWait: (shareIndex: number): boolean => (suspects.get(laneOf(shareIndex)) ?? 0) < performance.now(),

    /**
     * Has judged what one share index posted, and names the wrong ones as soon as they are known: together with what others sent where
     * they `mayWait`. A node that floods waits for itself: what is too much for its lane is left to the sweep.
     */
    verifyPosted<T extends Unverified & { mayWait: boolean }>(
      shareIndex: number,
      posted: readonly T[],
      onWrong: (wrong: T[]) => void,
    ): Promise<unknown> {
      const lane = laneOf(shareIndex)
      const name = (wrong: T[]) => {
        if (wrong.length > 0) suspect(lane)
        onWrong(wrong)
      }
      const verifyAlone = (some: readonly T[]) =>
        Promise.all(slicesOf(some).map((slice) => lanes.run(lane, () => verifySlice(slice, name))))
      const together = posted.filter(({ mayWait }) => mayWait)
      const alone = posted.filter(({ mayWait }) => !mayWait)
      const both = [verifyAlone(alone), ...(together.length > 0 ? [judgeTogether(together, name, verifyAlone)] : [])]
      return track(Promise.all<unknown>(both))
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

    /** Lets nobody wait for others any more, for a stop. */
    close: (): void => awaited.close(),

    /** Waits for verification that outlived its request. */
    async drain(): Promise<void> {
      await Promise.allSettled(background)
    },
  }
}
export type Verification = ReturnType<typeof createVerification>

const idsOf = (of: readonly { messageId: number }[]): number[] => [...new Set(of.map(({ messageId }) => messageId))]

/** The messages of each job. */
function jobsOf(claimed: readonly ClaimedRow[]): number[][] {
  const ofValidators = [...Map.groupBy(claimed, ({ validatorId }) => validatorId).values()]
  return slicesOf(ofValidators, FINISH_SLICE).map((slice) => slice.flat().map(({ id }) => id))
}

/** So that early verdicts count early. */
const slicesOf = <T>(items: readonly T[], length = VERIFY_SLICE): T[][] =>
  Array.from({ length: Math.ceil(items.length / length) }, (_, slice) =>
    items.slice(slice * length, (slice + 1) * length),
  )
