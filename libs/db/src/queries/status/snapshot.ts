/** The one snapshot that workers write of everything, and pages read. */

import { sql } from 'drizzle-orm'
import { firstRow, json, number, orNull } from '../rows.ts'
import type { Sql } from '../sql.ts'

/** Stores the snapshot where it says something else than the one that is there. */
export async function storeSnapshot(db: Sql, content: unknown): Promise<void> {
  await db.execute(sql`
    insert into status_snapshots as s (id, content) values (1, ${JSON.stringify(content)}::jsonb)
    on conflict (id) do update set content = excluded.content, revision = s.revision + 1, written_at = now()
    where s.content is distinct from excluded.content`)
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
