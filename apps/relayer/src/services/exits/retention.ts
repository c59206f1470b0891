/**
 * EXIT_RETENTION=erase: a day after everything that speaks for it has begun to hold (`erasure-proof.ts`), and if it holds then, a
 * registered validator's exits are erased. The key that an exit's signatures are sealed under goes first of all, in one transaction with
 * what it seals, so that a copy of rows, log or dead tuples without that one table opens nothing. The message stays as `erased`, with
 * its oracle shares: nobody adds to it or revives it, and a rotation collects a new one. Every writer of signatures locks the message
 * and asks for its key, which an ended one does not get.
 *
 * The clocks stand in the database: a restart keeps them, any number of processes may look. What is contradicted begins its day anew.
 * Where exits are kept, those of validators whose owner the chain alone names have clocks too: no copy is made before (`owner-copies.ts`).
 */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import {
  type ErasableRow,
  eraseExits,
  findErasable,
  holdErasures,
  lockErasable,
  stopErasures,
} from '@dvt-relayer/db/queries/messages/retention.ts'
import type { Context } from '../../context.ts'
import { ROTATION_REQUESTER } from './assign.ts'
import { createDepositSearch } from './deposit-search.ts'
import { createErasureProof, type ErasureProof } from './erasure-proof.ts'

/** How long everything has to hold before exits are erased. */
export const DELAY_SECONDS = 86_400
const BATCH = 250
/** Batches of one round take no longer. */
const ROUND_MS = 20_000
/** Between the beginnings of two looks at all that waits. */
const LOOK_MS = 600_000

/** Creates the service. `proof` is what looks at the chain. */
export function createRetention(
  context: Pick<Context, 'config' | 'db' | 'crypto' | 'chain' | 'events' | 'announced'>,
  proof: ErasureProof = createErasureProof(context),
) {
  const { config, db, events, announced } = context
  const search = createDepositSearch(context)
  const isErasing = config.exitRetention === 'erase'
  const waits = isErasing ? events.erasureWaits : events.copiesWait
  const kept = { rotationRequester: ROTATION_REQUESTER, owners: config.owners, delaySeconds: DELAY_SECONDS }
  let afterId = 0
  let nextLook = Number.NEGATIVE_INFINITY

  /** Erases the exits of validators whose time is over; returns how many. */
  async function erase(validatorIds: readonly number[]): Promise<number> {
    if (validatorIds.length === 0) return 0
    const erased = await db.transaction(async (tx) => {
      const ids = await lockErasable(tx, { ...kept, validatorIds })
      await eraseExits(tx, ids)
      await announceMessages(tx, ids)
      return ids.length
    })
    if (erased > 0) announced()
    return erased
  }

  /** Looks at some validators, and erases what may go; returns how many exits that was. */
  async function lookAt(rows: readonly ErasableRow[], signal: AbortSignal): Promise<number> {
    if (rows.length === 0) return 0
    const { held, broken, isDepositGone, reasons } = await proof.look(rows, signal)
    await stopErasures(db, broken)
    await holdErasures(db, held)
    if (isDepositGone) await search.beginAnew()
    for (const { reason, validators } of reasons) waits(reason, validators)
    const isHeld = new Set(held.map(({ validatorId }) => validatorId))
    if (!isErasing) return 0
    // Only what was looked at whole: of the others the deposit is asked for when their time is over.
    return erase(rows.filter(({ id, isOver }) => isOver && isHeld.has(id)).map(({ id }) => id))
  }

  /** Reads deposits on, where nobody else does. What keeps it from that keeps no exit whose deposit is known. */
  async function searchOn(signal: AbortSignal): Promise<void> {
    try {
      const reason = await search.run(signal)
      if (reason !== undefined) waits(reason)
    } catch (error) {
      signal.throwIfAborted()
      waits(messageOf(error))
    }
  }

  return {
    /** One round: looks at what may be erased or copied, and erases what may be since a day. What is left over is for the next one. */
    async run(signal: AbortSignal): Promise<void> {
      if (!isErasing && config.owners.length === 0) return
      const begun = performance.now()
      if (afterId === 0) {
        if (begun < nextLook) return
        nextLook = begun + LOOK_MS
        if ((await findErasable(db, { ...kept, isErasing, afterId, limit: 1 })).length === 0) return
        await searchOn(signal)
      }
      let count = 0
      do {
        const rows = await findErasable(db, { ...kept, isErasing, afterId, limit: BATCH })
        afterId = rows.length < BATCH ? 0 : (rows.at(-1)?.id ?? 0)
        count += await lookAt(rows, signal)
      } while (afterId > 0 && performance.now() < begun + ROUND_MS)
      if (count > 0) events.exitsErased(count)
    },
  }
}
