/** Releasing a key from its vault: an administrator's deliberate act, for a key whose deposit will never be made. */

import { BootError } from '@dvt-relayer/common/errors.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { supersedeMessages } from '@dvt-relayer/db/queries/messages/messages.ts'
import {
  findMessageIds,
  findReservation,
  lockAllocation,
  releaseValidator,
} from '@dvt-relayer/db/queries/messages/registrations.ts'

/**
 * Ends the messages of a key and frees it. Returns the vault it was reserved for or bound to, and whether nodes may have signed a deposit.
 *
 * @throws {BootError} KEY_UNKNOWN, KEY_REGISTERED, KEY_FREE: nothing is changed then
 */
export async function releaseKey(
  db: Database,
  publicKey: Uint8Array,
): Promise<{ vault: Uint8Array; wasBound: boolean; wasSigned: boolean }> {
  return db.transaction(async (tx) => {
    await lockAllocation(tx)
    const reservation = await findReservation(tx, publicKey)
    if (reservation === undefined)
      throw new BootError(
        'KEY_UNKNOWN',
        "the database does not know this public key: is it the right key, and are DATA_DIR and DATABASE_URL the relayer's?",
      )
    if (reservation.isRegistered)
      throw new BootError('KEY_REGISTERED', 'the key is registered on chain: it is never handed out again')
    const vault = reservation.bound ?? reservation.vault
    if (vault === null) throw new BootError('KEY_FREE', 'the key belongs to no vault')
    const ids = await lockMessages(tx, await findMessageIds(tx, [reservation.id]))
    await supersedeMessages(tx, ids)
    await releaseValidator(tx, reservation.id)
    await announceMessages(tx, ids)
    const wasBound = reservation.bound !== null
    return { vault, wasBound, wasSigned: wasBound || reservation.isUnjudged }
  })
}
