/** What a doctor counts in a database of a relayer. Nothing is written, and a table that is missing is no error. */

import { sql } from 'drizzle-orm'
import { boolean, bytes, firstRow, number, oneOf, oneRow, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'

/**
 * Every table, and the column with the time of its rows.
 *
 * @internal
 */
export const TABLES: Readonly<Record<string, string | undefined>> = {
  clusters: 'imported_at',
  validators: 'created_at',
  key_shares: undefined,
  node_keys: undefined,
  operator_keys: undefined,
  lock_deposits: undefined,
  key_share_hints: 'seen_at',
  deposit_bindings: 'bound_at',
  messages: 'requested_at',
  message_keys: undefined,
  partial_signatures: 'seen_at',
  oracle_sets: 'adopted_at',
  oracle_shares: 'created_at',
  request_nonces: 'seen_at',
  owner_copies: 'created_at',
  rotations: 'created_at',
  rotation_messages: undefined,
  registry_validators: undefined,
  deposit_blocks: undefined,
  erasure_clocks: 'held_since',
  manager_signatures: 'signed_at',
  checkpoints: 'updated_at',
  processes: 'beat_at',
  nodes_seen: 'seen_at',
  share_counts: undefined,
  status_snapshots: undefined,
  validator_changes: undefined,
  validator_tallies: undefined,
  tallies: undefined,
  sealing_checks: undefined,
}

/** One table: its rows, and the time of the newest (Unix seconds); undefined where it is missing. */
export interface TableCount {
  rows: number
  newestSeconds: number | null
}

/** Counts every table, or these. */
export async function countTables(
  db: Sql,
  tables: readonly string[] = Object.keys(TABLES),
): Promise<Map<string, TableCount | undefined>> {
  const found = new Map<string, TableCount | undefined>()
  for (const table of tables) found.set(table, await countTable(db, table, TABLES[table]))
  return found
}

async function countTable(db: Sql, table: string, time: string | undefined): Promise<TableCount | undefined> {
  const there = await oneRow(db, { there: boolean }, sql`select to_regclass(${table}) is not null as there`)
  if (!there.there) return undefined
  const newest = time === undefined ? sql`null` : sql`extract(epoch from max(${sql.identifier(time)}))`
  return firstRow(
    db,
    { rows: number, newestSeconds: orNull(number) },
    sql`select count(*) as rows, (${newest})::float8 as newest_seconds from ${sql.identifier(table)}`,
  )
}

/** The sealed check value of the sealing key; undefined where there is none. */
export async function findSealingCheck(db: Sql): Promise<Buffer | undefined> {
  return (await firstRow(db, { sealed: bytes }, sql`select sealed from sealing_checks where id = 1`))?.sealed
}

/** The newest full signatures, sealed. */
export function findNewestSealed(db: Sql, limit: number) {
  return rows(
    db,
    { id: number, kind: oneOf<'exit' | 'deposit'>(), signature: bytes },
    sql`select id, kind, signature from messages where signature is not null order by id desc limit ${limit}`,
  )
}

/** How many exits have a signature, and for how many of them the key that opens it is missing. */
export async function countSealedExits(db: Sql): Promise<{ exits: number; keyless: number }> {
  return await oneRow(
    db,
    { exits: number, keyless: number },
    sql`select count(*) as exits, count(*) filter (where k.message_id is null) as keyless
        from messages m left join message_keys k on k.message_id = m.id where m.kind = 'exit' and m.signature is not null`,
  )
}

/** The vaults that validators are for: which a lock names, or that have reserved them. */
export function findVaults(db: Sql, limit: number): Promise<{ vault: Buffer }[]> {
  return rows(
    db,
    { vault: bytes },
    sql`select distinct coalesce(withdrawal_address, vault) as vault from validators
        where coalesce(withdrawal_address, vault) is not null order by vault limit ${limit}`,
  )
}
