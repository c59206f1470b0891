/**
 * Where a database is: which PostgreSQL it is in (its system identifier, made with its files by initdb) and under which number. A dump that
 * is restored is at another place. Copies of the files, and so a standby that takes over, are at the same one.
 */

import { sql } from 'drizzle-orm'
import { boolean, firstRow, number, oneRow, text } from '../rows.ts'
import type { Sql } from '../sql.ts'

/** The key of the lock under which a place is noted. */
const LOCK_KEY = 0x6476_7073

export interface Place {
  /** 64 bits, decimal. */
  system: string
  database: number
}

/** The place of this database; undefined where the server does not tell this user. */
export async function findOwnPlace(db: Sql): Promise<Place | undefined> {
  const may = await oneRow(
    db,
    { may: boolean },
    sql`select coalesce(has_function_privilege(to_regprocedure('pg_control_system()')::oid, 'execute'), false) as may`,
  )
  if (!may.may) return undefined
  return firstRow(
    db,
    { system: text, database: number },
    sql`select system_identifier::text as system, (select oid::int8 from pg_database where datname = current_database()) as database
        from pg_control_system()`,
  )
}

/** Until the transaction ends, nobody else notes a place. */
export async function lockPlace(tx: Sql): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(${LOCK_KEY})`)
}

/**
 * How many relayers ran at the newest moment that this database knows of, by their heartbeats: in a copy, those that nobody had stopped when it
 * was made.
 */
export async function countLeftRunning(db: Sql, withinSeconds: number): Promise<number> {
  const row = await oneRow(
    db,
    { running: number },
    sql`select count(*) as running from processes
        where stopped_at is null
          and beat_at > (select max(coalesce(stopped_at, beat_at)) from processes) - make_interval(secs => ${withinSeconds})`,
  )
  return row.running
}
