/** The relayer processes of a database: each beats while it runs, and says when it stops. All times are the database's. */

import { sql } from 'drizzle-orm'
import { processes } from '../../schema.ts'
import { boolean, number, oneOf, oneRow, orNull, rows, text } from '../rows.ts'
import type { Sql } from '../sql.ts'

/** One start of a program, and which part of the work it does. */
type ProcessRow = Pick<typeof processes.$inferInsert, 'id' | 'role' | 'version'>

/** Whether a process of this role finishes what is collected. */
const isWorker = sql`role in ('all', 'worker')`

/** When a process was last there. */
const lastThere = sql`coalesce(stopped_at, beat_at)`

/** Notes that a process is there. */
export async function storeBeat(db: Sql, process: ProcessRow): Promise<void> {
  await db
    .insert(processes)
    .values(process)
    .onConflictDoUpdate({ target: processes.id, set: { beatAt: sql`now()` } })
}

/** Notes that a process has ended in order. */
export async function storeStop(db: Sql, id: string): Promise<void> {
  await db.execute(sql`update processes set beat_at = now(), stopped_at = now() where id = ${id}`)
}

/** Forgets processes that are long gone; the worker that was there last is kept, so that it can be said since when there is none. */
export async function pruneProcesses(db: Sql, maxAgeSeconds: number): Promise<void> {
  await db.execute(sql`
    delete from processes where ${lastThere} < now() - make_interval(secs => ${maxAgeSeconds})
      and id <> coalesce((select id from processes where ${isWorker} order by ${lastThere} desc, id limit 1), '')`)
}

/** Whether a process has not stopped, and was heard within so many seconds. */
const isHeard = (withinSeconds: number) =>
  sql`stopped_at is null and beat_at > now() - make_interval(secs => ${withinSeconds})`

/** How many workers are there. */
export async function countWorkers(db: Sql, withinSeconds: number): Promise<number> {
  const row = await oneRow(
    db,
    { workers: number },
    sql`select count(*) as workers from processes where ${isWorker} and ${isHeard(withinSeconds)}`,
  )
  return row.workers
}

/** How many processes of each role and version are there. */
export function countProcesses(
  db: Sql,
  withinSeconds: number,
): Promise<{ role: string; version: string; processes: number }[]> {
  return rows(
    db,
    { role: text, version: text, processes: number },
    sql`select role, version, count(*) as processes from processes where ${isHeard(withinSeconds)} group by role, version order by role, version`,
  )
}

/** Whether a worker is there, heard within so many seconds; and where none ever was, null, else when the last one was (Unix seconds). */
export async function findNewestWorker(
  db: Sql,
  withinSeconds: number,
): Promise<{ isThere: boolean; lastSeconds: number | null }> {
  return await oneRow(
    db,
    { isThere: boolean, lastSeconds: orNull(number) },
    sql`select coalesce(bool_or(${isHeard(withinSeconds)}), false) as is_there,
               extract(epoch from max(${lastThere}))::float8 as last_seconds
        from processes where ${isWorker}`,
  )
}

/** Every process that has ever beaten and is not forgotten, the newest first; all times are Unix seconds by the database's clock. */
export function findProcesses(db: Sql, withinSeconds: number, limit: number) {
  return rows(
    db,
    {
      id: text,
      role: oneOf<'all' | 'api' | 'worker'>(),
      version: text,
      startedSeconds: number,
      lastSeconds: number,
      isThere: boolean,
    },
    sql`select id, role, version, extract(epoch from started_at)::float8 as started_seconds,
               extract(epoch from ${lastThere})::float8 as last_seconds,
               (${isHeard(withinSeconds)}) as is_there
        from processes order by ${lastThere} desc, id limit ${limit}`,
  )
}
