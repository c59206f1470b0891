/**
 * The sweep: what a lost job, a killed process or the passing of time leaves to do, found in the database alone. Running it
 * twice, or in two processes, does nothing the second time.
 */

import { deleteNonces } from '@dvt-relayer/db/queries/attendance/nonces.ts'
import { deleteManagerSignatures } from '@dvt-relayer/db/queries/manager-signatures.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { deleteSuperseded, expireMessages } from '@dvt-relayer/db/queries/messages/messages.ts'
import { claimUnverified } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { deleteForgotten, lockForgotten } from '@dvt-relayer/db/queries/messages/validators.ts'
import { deleteOldShares, giveBackMessages } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Context } from '../../context.ts'
import { createFinishable } from './finishable.ts'

const BATCH = 500
const JOB = 16
/**
 * Jobs that may wait in the queue when more are added: some seconds of one worker, so that what a request waits for comes soon after
 * them. More would be claimed anew before their turn comes.
 */
const QUEUED_JOBS = 32
/** How soon a long queue is looked at again. */
const SOON_MS = 300
/**
 * The share sets of an oracle set that was replaced are kept so long: a deposit may have been made with them just before, and the
 * queue of deposits on the beacon chain has been longer than six weeks.
 */
const OLD_SHARES_SECONDS = 60 * 86_400
/** How often they, and what else is old for months, are looked for. */
const OLD_MS = 3_600_000
/** The record of what the manager signed: for audits, far longer than a signature is good for. The database refuses to delete sooner. */
const RECORD_SECONDS = 366 * 86_400
/**
 * Keys that only a request made known: whoever comes back within a week finds what was collected, and an exit that was ready may have been
 * given to oracles for a deposit that waits in the queue of the chain for months.
 */
const FORGOTTEN_SECONDS = { unready: 7 * 86_400, ready: 180 * 86_400 }
/** What was superseded is kept for a day, for who asks what happened; indexes change with every race for them. */
const SUPERSEDED_SECONDS = 86_400
/** A signed request is good for two minutes at most; the rest is for clocks of processes that differ. */
const NONCE_SECONDS = 900
/** Batches deleted of one thing in one round: more than any rate that callers are held to can fill. */
const BATCHES = 20
/** A post verifies its own candidates; after this time it is taken for dead. */
const ABANDONED_SECONDS = 8

/** Creates the service. */
export function createSweep({
  config,
  db,
  queue,
  events,
  announced,
}: Pick<Context, 'config' | 'db' | 'queue' | 'events' | 'announced'>) {
  const finishable = createFinishable({ db })
  let nextOld = 0

  /** Returns those that the queue has not taken. */
  async function addJobs(
    name: 'finish_messages' | 'verify_partials',
    messageIds: readonly number[],
  ): Promise<readonly number[]> {
    for (let from = 0; from < messageIds.length; from += JOB)
      if ((await queue.add(name, { message_ids: messageIds.slice(from, from + JOB) })) !== 'added')
        return messageIds.slice(from)
    return []
  }

  /** Deletes in batches, up to the bound of one round. Returns whether nothing is left. */
  async function deleteAll(deleteBatch: () => Promise<number>): Promise<boolean> {
    for (let batches = 0; batches < BATCHES; batches++) if ((await deleteBatch()) < BATCH) return true
    return false
  }

  /** What is old for months: it is looked through whole, so not at every round. */
  async function deleteOld(): Promise<void> {
    if (performance.now() < nextOld) return
    const isDone = [
      // What the chain goes by stays, and is looked through again each time.
      (await deleteOldShares(db, OLD_SHARES_SECONDS, BATCH)) < BATCH,
      await deleteAll(() => db.transaction((tx) => deleteManagerSignatures(tx, RECORD_SECONDS, BATCH))),
      await deleteAll(() =>
        db.transaction(async (tx) =>
          deleteForgotten(tx, await lockForgotten(tx, FORGOTTEN_SECONDS, BATCH), FORGOTTEN_SECONDS),
        ),
      ),
    ]
    if (isDone.every(Boolean)) nextOld = performance.now() + OLD_MS
  }

  return {
    /**
     * Has finished what nobody is finishing, as much at once as the queue has room for: after a change of the oracles that is every
     * exit. Returns in how many milliseconds to look again, where there is more.
     */
    async finish(): Promise<number | undefined> {
      const counts = await queue.counts()
      // What cannot be handed out is not claimed.
      if (counts === undefined) return undefined
      const room = QUEUED_JOBS - counts.waiting
      if (room < QUEUED_JOBS / 2) return SOON_MS
      const { claimed, hasMore } = await finishable.claim(room * JOB)
      await giveBackMessages(db, await addJobs('finish_messages', claimed))
      return hasMore ? SOON_MS : undefined
    },

    /** One round of everything else. */
    async run(): Promise<void> {
      const expired = await db.transaction(async (tx) => {
        const messages = await expireMessages(tx, config.validatorLifetimeSeconds, BATCH)
        await announceMessages(
          tx,
          messages.map(({ id }) => id),
        )
        return messages
      })
      if (expired.length > 0) {
        announced()
        events.messagesExpired(
          expired.filter(({ kind }) => kind === 'exit').length,
          expired.filter(({ kind }) => kind === 'deposit').length,
        )
      }
      await deleteAll(() => deleteNonces(db, NONCE_SECONDS, BATCH))
      await deleteAll(() => deleteSuperseded(db, SUPERSEDED_SECONDS, BATCH))
      await addJobs('verify_partials', await claimUnverified(db, ABANDONED_SECONDS, BATCH))
      await deleteOld()
    },
  }
}
