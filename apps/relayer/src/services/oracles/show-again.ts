/**
 * Letting oracles see share sets again that they may have passed: what was not theirs to have before, or whose vault was not known, gets
 * a new revision and is delivered once more (`fetch.ts`).
 */

import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import {
  findExitsToShowAgain,
  findRenewedToShowAgain,
  restampOracleShares,
} from '@dvt-relayer/db/queries/oracle-fetch.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'

/**
 * Share sets of an older oracle set that the chain now knows a validator by, and those whose vault became known. To be called in the
 * transaction that records registrations, after its last change of them.
 */
export async function showAgain(tx: Sql, validatorIds: readonly number[]): Promise<void> {
  if (validatorIds.length > 0) await restamp(tx, await findExitsToShowAgain(tx, validatorIds))
}

/** The same for validators that a rotation of this vault has renewed; in the transaction that ends it, after its last change. */
export async function showRenewed(tx: Sql, vault: Uint8Array): Promise<void> {
  await restamp(tx, await findRenewedToShowAgain(tx, vault))
}

async function restamp(tx: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  const exits = await lockMessages(tx, messageIds)
  await announceMessages(tx, exits)
  await restampOracleShares(tx, exits)
}
