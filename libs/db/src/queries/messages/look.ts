/**
 * Which live messages the sweep looks at: those that changed since its last look, those that were handed to a worker and have not come
 * back, and a slice of all others, so that no look walks through everything.
 */

import { sql } from 'drizzle-orm'
import { number, oneRow, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { numberArray } from '../sql.ts'
import { LIVE } from './messages.ts'

/** Of messages in the order of their changes. */
export interface Change {
  revision: number
  id: number
}

/** The revision of the newest change there is. While it stays, no message has changed. */
export async function findNewestRevision(db: Sql): Promise<number> {
  const row = await oneRow(db, { revision: orNull(number) }, sql`select max(revision) as revision from messages`)
  return row.revision ?? 0
}

/** The live messages that changed after another change, at most `limit`. Changes become visible in their order, so none is passed over. */
export function findChanged(db: Sql, after: Change, limit: number): Promise<Change[]> {
  return rows(
    db,
    { revision: number, id: number },
    sql`select m.revision, m.id from messages m
        where (m.revision, m.id) > (${after.revision}::bigint, ${after.id}::bigint) and m.state in ${LIVE}
        order by m.revision, m.id limit ${limit}`,
  )
}

/** The live messages that were handed to a worker and not released, those that wait longest, at most `limit`. */
export async function findQueued(db: Sql, limit: number): Promise<number[]> {
  const queued = await rows(
    db,
    { id: number },
    sql`select m.id from messages m where m.queued_at is not null and m.state in ${LIVE} order by m.queued_at limit ${limit}`,
  )
  return queued.map(({ id }) => id)
}

/** Of these messages, those that a worker has. */
export async function findQueuedAmong(db: Sql, ids: readonly number[]): Promise<number[]> {
  const queued = await rows(
    db,
    { id: number },
    sql`select m.id from messages m where m.id = any(${numberArray(ids)}) and m.queued_at is not null and m.state in ${LIVE} order by m.id`,
  )
  return queued.map(({ id }) => id)
}

/** The live messages after one of them, by id, at most `limit`. */
export async function findLiveAfter(db: Sql, id: number, limit: number): Promise<number[]> {
  const live = await rows(
    db,
    { id: number },
    sql`select m.id from messages m where m.id > ${id}::bigint and m.state in ${LIVE} order by m.id limit ${limit}`,
  )
  return live.map((row) => row.id)
}
