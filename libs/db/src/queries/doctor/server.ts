/** What a doctor asks of the server that a database is on, and of our rights there. Nothing is written. */

import { sql } from 'drizzle-orm'
import { boolean, firstRow, number, oneRow, text } from '../rows.ts'
import type { Sql } from '../sql.ts'

/** The server's version, what it lets us do, and its clock. */
export async function lookAtServer(db: Sql) {
  const row = await firstRow(
    db,
    {
      version: text,
      versionNumber: number,
      isReplica: boolean,
      nowSeconds: number,
      mayCreateSchema: boolean,
      mayCreateTable: boolean,
    },
    sql`select current_setting('server_version') as version, current_setting('server_version_num')::int as version_number,
               pg_is_in_recovery() as is_replica, extract(epoch from clock_timestamp())::float8 as now_seconds,
               has_database_privilege(current_database(), 'create') as may_create_schema,
               coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create_table`,
  )
  if (row === undefined) throw new Error('a select without a table returns a row')
  return row
}

/** How many of our tables and sequences we may not read or write, and how many we may not change, being another role's. */
export async function countForbidden(db: Sql): Promise<{ forbidden: number; foreign: number }> {
  return await oneRow(
    db,
    { forbidden: number, foreign: number },
    sql`select count(*) filter (where case c.relkind
                 when 'S' then not has_sequence_privilege(c.oid, 'usage')
                 else not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
                           and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')) end) as forbidden,
               count(*) filter (where not pg_has_role(c.relowner, 'usage')) as foreign
        from pg_class c where c.relkind in ('r', 'S')
          and c.relnamespace in (to_regnamespace(current_schema()::text), to_regnamespace('drizzle'), to_regnamespace('bullmq'))`,
  )
}

/** What tells this database from every other one that can be reached now, a copy of its files included: its running server, and its number there. */
export async function findPlace(db: Sql): Promise<string> {
  const row = await oneRow(
    db,
    { place: text },
    sql`select pg_postmaster_start_time()::text || ' ' || coalesce(host(inet_server_addr()), 'socket') || ' '
                 || current_setting('port') || ' ' || oid::text as place
        from pg_database where datname = current_database()`,
  )
  return row.place
}
