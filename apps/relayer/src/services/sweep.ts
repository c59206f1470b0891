/**
 * The sweep: what a lost job, a killed process or the passing of time leaves to do, found in the database alone. Running it
 * twice, or in two processes, does nothing the second time.
 */

import { announceMessages } from '@dvt-relayer/db/queries/announce.ts'
import { countMessages, deleteSuperseded, expireMessages } from '@dvt-relayer/db/queries/messages.ts'
import { deleteNonces } from '@dvt-relayer/db/queries/oracle-fetch.ts'
import { claimFinishable, claimUnverified } from '@dvt-relayer/db/queries/partial-signatures.ts'
import type { Context } from '../context.ts'

const BATCH = 500
const JOB = 16
/** What was superseded is kept for a day, for who asks what happened; indexes change with every race for them. */
const SUPERSEDED_SECONDS = 86_400
/** A signed request is good for two minutes at most; the rest is for clocks of processes that differ. */
const NONCE_SECONDS = 900
/** A post verifies its own candidates; after this time it is taken for dead. */
const ABANDONED_SECONDS = 8

/** Creates the service. */
export function createSweep({ config, db, queue, events }: Pick<Context, 'config' | 'db' | 'queue' | 'events'>) {
  async function addJobs(name: 'finish_messages' | 'verify_partials', messageIds: readonly number[]): Promise<void> {
    for (let from = 0; from < messageIds.length; from += JOB)
      if ((await queue.add(name, { message_ids: messageIds.slice(from, from + JOB) })) !== 'added') return
  }

  return {
    /** One round. */
    async run(): Promise<void> {
      const expired = await db.transaction(async (tx) => {
        const messages = await expireMessages(tx, config.validatorLifetimeSeconds, BATCH)
        await announceMessages(
          tx,
          messages.map(({ id }) => id),
        )
        return messages
      })
      if (expired.length > 0)
        events.messagesExpired(
          expired.filter(({ kind }) => kind === 'exit').length,
          expired.filter(({ kind }) => kind === 'deposit').length,
        )
      await deleteNonces(db, NONCE_SECONDS, BATCH)
      await deleteSuperseded(db, SUPERSEDED_SECONDS, BATCH)
      await addJobs('verify_partials', await claimUnverified(db, ABANDONED_SECONDS, BATCH))
      await addJobs('finish_messages', await claimFinishable(db, null, BATCH))
      const counts = new Map((await countMessages(db)).map(({ kind, state, count }) => [`${kind} ${state}`, count]))
      for (const kind of ['exit', 'deposit'] as const)
        events.messagesCounted(kind, counts.get(`${kind} collecting`) ?? 0, counts.get(`${kind} ready`) ?? 0)
    },
  }
}
