/**
 * Revisions: every change of a message that a list shows gets the next number of one sequence, and all processes are told.
 *
 * The advisory lock is held from taking the number to the commit, so numbers become visible in their order and a reader that
 * has seen revision r has seen everything before it. Callers have locked the rows of these messages already (`lockMessages`):
 * taken in the other order, two transactions could wait for each other.
 */

import { sql } from 'drizzle-orm'
import { messages } from '../../schema.ts'
import { number, oneRow } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { isAny, numberArray } from '../sql.ts'

/** The channel that carries revisions. */
export const MESSAGES_CHANNEL = 'dvt_messages'

const lockRevisions = (tx: Sql) => tx.execute(sql`select pg_advisory_xact_lock(hashtext('messages.revision'))`)

/** Gives the messages the next revision and announces it at commit. */
export async function announceMessages(tx: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  await lockRevisions(tx)
  await tx.execute(sql`
    with next as materialized (select nextval('message_revision') as revision),
         changed as (update messages set revision = next.revision from next where id = any(${numberArray(messageIds)}))
    select pg_notify(${MESSAGES_CHANNEL}, revision::text) from next`)
}

/**
 * Gives share sets just stored the next revision and announces it at commit. Their messages keep theirs: what lists show of an exit
 * that is split anew does not change, and nobody need read it again.
 */
export async function announceOracleShares(tx: Sql, oracleSetId: number, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  await lockRevisions(tx)
  await tx.execute(sql`
    with next as materialized (select nextval('message_revision') as revision),
         changed as (update oracle_shares set revision = next.revision from next
                     where oracle_set_id = ${oracleSetId} and message_id = any(${numberArray(messageIds)}))
    select pg_notify(${MESSAGES_CHANNEL}, revision::text) from next`)
}

/** A revision that none so far is above. */
export async function findLastRevision(db: Sql): Promise<number> {
  const row = await oneRow(db, { revision: number }, sql`select last_value as revision from message_revision`)
  return row.revision
}

/** Locks messages for this transaction, in one order for everybody; returns the ids that exist. */
export async function lockMessages(tx: Sql, messageIds: readonly number[]): Promise<number[]> {
  const locked = await tx
    .select({ id: messages.id })
    .from(messages)
    .where(isAny(messages.id, numberArray(messageIds)))
    .orderBy(messages.id)
    .for('update')
  return locked.map(({ id }) => id)
}
