/** Work that one process at a time may do, on whatever machine: an advisory lock of the database on a connection of its own. */

import { sql } from 'drizzle-orm'
import type { Database } from './connect.ts'
import { boolean, firstRow, text } from './queries/rows.ts'

/** What became of the work: done, or left to whoever has the lock. */
export type Locked<T> = { isOurs: true; value: T } | { isOurs: false; holder: string }

/**
 * Runs `work` while nobody else does anything under this name, or says who is at it. The lock goes with its connection: the end of
 * the process, however it comes, frees it at once. A connection that is lost while `work` runs frees it too, so `work` must
 * still compare before it writes.
 */
export async function tryLock<T>(
  db: Pick<Database, 'onOneConnection'>,
  name: string,
  work: () => Promise<T>,
): Promise<Locked<T>> {
  // The form with two numbers is a space of its own, apart from the locks of transactions.
  const key = sql`hashtext('dvt-relayer'), hashtext(${name})`
  return db.onOneConnection(async (own): Promise<Locked<T>> => {
    const row = await firstRow(own, { locked: boolean }, sql`select pg_try_advisory_lock(${key}) as locked`)
    if (row?.locked === true) return { isOurs: true, value: await work() }
    const holder = await firstRow(
      own,
      { who: text },
      sql`select concat_ws(' ', coalesce(host(a.client_addr), 'this machine'), 'since',
                           to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')) as who
          from pg_locks l join pg_stat_activity a on a.pid = l.pid
          where l.locktype = 'advisory' and l.granted and l.objsubid = 2
            and l.database = (select oid from pg_database where datname = current_database())
            and l.objid::bigint = hashtext(${name})::bigint & 4294967295 limit 1`,
    )
    return { isOurs: false, holder: holder?.who ?? 'a process that has just ended' }
  })
}
