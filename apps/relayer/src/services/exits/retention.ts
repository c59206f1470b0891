/**
 * EXIT_RETENTION=erase: once a finalized state has a validator, its exits are erased. The key that an exit's signatures are sealed
 * under goes first of all, in one transaction with what it seals, so that a copy of rows, log or dead tuples without that one table
 * opens nothing. The message stays as `erased`, with its oracle shares: nobody adds to it or revives it, and a rotation collects a
 * new one. Every writer of signatures locks the message and asks for its key, which an ended one does not get.
 */

import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { eraseExits, lockErasable } from '@dvt-relayer/db/queries/messages/retention.ts'
import type { Context } from '../../context.ts'
import { ROTATION_REQUESTER } from './assign.ts'

const BATCH = 250
/** Batches of one round: some hundred milliseconds of the database. */
const BATCHES = 20

/** Creates the service. */
export function createRetention({
  config,
  db,
  events,
  announced,
}: Pick<Context, 'config' | 'db' | 'events' | 'announced'>) {
  /** Erases one batch; returns how many exits it had. */
  async function eraseSome(): Promise<number> {
    const erased = await db.transaction(async (tx) => {
      const ids = await lockErasable(tx, {
        rotationRequester: ROTATION_REQUESTER,
        owners: config.owners,
        limit: BATCH,
      })
      await eraseExits(tx, ids)
      await announceMessages(tx, ids)
      return ids.length
    })
    if (erased > 0) announced()
    return erased
  }

  return {
    /** One round: erases what may be erased, unless exits are kept. What is left over is for the next one. */
    async run(): Promise<void> {
      if (config.exitRetention === 'keep') return
      let count = 0
      for (let batch = 0; batch < BATCHES; batch++) {
        const erased = await eraseSome()
        count += erased
        if (erased < BATCH) break
      }
      if (count > 0) events.exitsErased(count)
    },
  }
}
