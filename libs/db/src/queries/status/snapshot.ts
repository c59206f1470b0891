/** The one snapshot that workers write of everything, and pages read. */

import { sql } from 'drizzle-orm'
import { firstRow, json, number, oneRow, orNull, text } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { TALLIES_REVISION } from './tallies.ts'

/**
 * What changes with everything that is counted: the revision of tallies, and the oracle set in force. And the revision of the snapshot that
 * is there; 0 before the first.
 */
export async function findStamp(db: Sql): Promise<{ stamp: string; revision: number }> {
  return await oneRow(
    db,
    { stamp: text, revision: number },
    sql`select concat_ws(' ', ${TALLIES_REVISION}, (select id from oracle_sets where is_current)) as stamp,
               coalesce((select revision from status_snapshots where id = 1), 0) as revision`,
  )
}

/** Stores the snapshot where it says something else than the one that is there; returns its revision then. */
export async function storeSnapshot(db: Sql, content: unknown): Promise<number | undefined> {
  const row = await firstRow(
    db,
    { revision: number },
    sql`
    insert into status_snapshots as s (id, content) values (1, ${JSON.stringify(content)}::jsonb)
    on conflict (id) do update set content = excluded.content, revision = s.revision + 1, written_at = now()
    where s.content is distinct from excluded.content returning s.revision`,
  )
  return row?.revision
}

/** The snapshot; its content is null where it has not changed since `known`. Undefined before there is one. */
export function findSnapshot(
  db: Sql,
  known: number,
): Promise<{ revision: number; writtenAt: number; content: unknown } | undefined> {
  return firstRow(
    db,
    { revision: number, writtenAt: number, content: orNull(json) },
    sql`select revision, floor(extract(epoch from written_at))::bigint as written_at,
               case when revision = ${known}::bigint then null else content end as content
        from status_snapshots where id = 1`,
  )
}
