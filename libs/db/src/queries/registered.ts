/** Registered validators: what a finalized state says of them, and which oracle set their shares on chain were made for. */

import type { SQL } from 'drizzle-orm'
import { eq, sql } from 'drizzle-orm'
import { erasureClocks, validators } from '../schema.ts'
import type { RowOf } from './rows.ts'
import { boolean, bytes, firstRow, number, oneRow, orNull, rows, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { bytesArray, bytesParam, numberArray } from './sql.ts'

const asked = { id: number, publicKey: bytes }
/** A validator to ask the chain about. */
export type AskedRow = RowOf<typeof asked>

/** The validators after `afterId` that oracles have shares of and no finalized state was seen to have, as of the last fold of tallies. */
export function findUnregistered(db: Sql, afterId: number, limit: number): Promise<AskedRow[]> {
  return rows(
    db,
    asked,
    sql`select v.id, v.public_key from validator_tallies t join validators v on v.id = t.validator_id
        where t.validator_id > ${afterId} and t.is_awaited and v.registered_at is null order by t.validator_id limit ${limit}`,
  )
}

/** The registered validators after `afterId` that have not left. */
export function findStaying(db: Sql, afterId: number, limit: number): Promise<(AskedRow & { beaconIndex: number })[]> {
  return rows(
    db,
    { ...asked, beaconIndex: number },
    sql`select id, public_key, beacon_index from validators
        where id > ${afterId} and registered_at is not null and exited_at is null order by id limit ${limit}`,
  )
}

/** What a finalized state says of a validator. */
export interface Registered {
  validatorId: number
  beaconIndex: number
  /** 20 bytes; undefined where its withdrawal credentials name no address. */
  vault: Uint8Array | undefined
  hasLeft: boolean
}

/** Oracle sets in the order of their announcement. */
const later = (a: string, b: string): SQL => sql.raw(`(${a}.block_number, ${a}.id) > (${b}.block_number, ${b}.id)`)

/**
 * Notes that validators are registered, each once: where it was noted before, nothing changes. The oracle set of the shares on chain
 * is the newest one announced when the first deposit was made, where that block is known, and none that the validator never had
 * shares for: those came later. Where it is not known, the oldest that may be: of an exit at the real index, else of any.
 * Returns the ids noted.
 */
export async function markRegistered(db: Sql, registered: readonly Registered[]): Promise<number[]> {
  if (registered.length === 0) return []
  const ids = numberArray(registered.map(({ validatorId }) => validatorId))
  const marked = await rows(
    db,
    { id: number },
    sql`with locked as materialized (select id from validators where id = any(${ids}) order by public_key for no key update)
        update validators v
        set beacon_index = r.beacon_index, beacon_vault = nullif(r.vault, ''::bytea), registered_at = now(),
            exited_at = case when r.has_left then now() end,
            oracle_set_id = coalesce(
              (select o.id from registry_validators g join oracle_sets o on o.block_number <= g.block_number
               where g.public_key = v.public_key and exists (
                 select from messages m join oracle_shares s on s.message_id = m.id join oracle_sets own on own.id = s.oracle_set_id
                 where m.validator_id = v.id and not ${later('o', 'own')})
               order by o.block_number desc, o.id desc limit 1),
              (select o.id from messages m join oracle_shares s on s.message_id = m.id join oracle_sets o on o.id = s.oracle_set_id
               where m.validator_id = v.id order by m.validator_index <> r.beacon_index, o.block_number, o.id limit 1))
        from locked,
             unnest(${ids}, ${numberArray(registered.map(({ beaconIndex }) => beaconIndex))},
                    ${bytesArray(registered.map(({ vault }) => vault ?? new Uint8Array()))},
                    ${sql.param(registered.map(({ hasLeft }) => hasLeft))}::boolean[]) as r (id, beacon_index, vault, has_left)
        where v.id = locked.id and v.id = r.id and v.registered_at is null
        returning v.id`,
  )
  return marked.map(({ id }) => id)
}

/** Notes that registered validators have left or are leaving, each once. Returns how many were noted. */
export async function markExited(db: Sql, validatorIds: readonly number[]): Promise<number> {
  if (validatorIds.length === 0) return 0
  const { rowCount } = await db.execute(sql`
    with locked as materialized (select id from validators where id = any(${numberArray(validatorIds)}) order by public_key for no key update)
    update validators v set exited_at = now() from locked where v.id = locked.id and v.exited_at is null`)
  return rowCount ?? 0
}

const noted = {
  id: number,
  /** Null where it is not registered. */
  beaconIndex: orNull(number),
  vault: orNull(bytes),
  hasLeft: boolean,
  /** Whether an exit of it was erased. */
  isErased: boolean,
}
/** What is noted of a validator. */
export type NotedRow = RowOf<typeof noted>

/** What is noted of a validator; undefined for a key of nobody. */
export function findNoted(db: Sql, publicKey: Uint8Array): Promise<NotedRow | undefined> {
  return firstRow(
    db,
    noted,
    sql`select v.id, v.beacon_index, v.beacon_vault as vault, v.exited_at is not null as has_left,
               exists (select from messages m where m.validator_id = v.id and m.kind = 'exit' and m.state = 'erased') as is_erased
        from validators v where v.public_key = ${bytesParam(publicKey)}`,
  )
}

/** Takes back that a validator is registered, and what hangs on it. Callers have locked it. */
export async function forgetRegistration(tx: Sql, validatorId: number): Promise<void> {
  await tx.delete(erasureClocks).where(eq(erasureClocks.validatorId, validatorId))
  await tx
    .update(validators)
    .set({ registeredAt: null, beaconIndex: null, beaconVault: null, exitedAt: null, oracleSetId: null })
    .where(eq(validators.id, validatorId))
}

/** Takes back that a registered validator has left. Callers have locked it. */
export async function forgetExited(tx: Sql, validatorId: number): Promise<void> {
  await tx.update(validators).set({ exitedAt: null }).where(eq(validators.id, validatorId))
}

const vaultNumbers = {
  /** Null: validators whose withdrawal credentials name no address. */
  vault: orNull(bytes),
  registered: number,
  /** Of the registered; the numbers below are of those that have not exited. */
  exited: number,
  /** Their shares on chain are of another oracle set than the current one. */
  outdated: number,
  /** Their newest shares were made for another index than they have. */
  wrongIndex: number,
  /** Unix seconds: the first moment at which an outdated one may be exited by force; null where no config says. */
  forceExitAt: orNull(number),
}
/** The registered validators of one vault, by numbers. */
export type VaultRow = RowOf<typeof vaultNumbers>

/** Whether `v` is outdated while `c` is the current oracle set. */
const IS_OUTDATED = sql.raw(`(v.exited_at is null and c.id is not null and v.oracle_set_id is distinct from c.id)`)

/** When validators of each oracle set may be exited by force: the time that the first set after theirs gives them. */
const deadlines = (secondsPerEpoch: number): SQL => sql`
  select o.id, extract(epoch from n.announced_at)::float8 + (n.config->>'untilForceExitEpochs')::float8 * ${secondsPerEpoch}::float8 as at
  from oracle_sets o cross join lateral (
    select announced_at, config from oracle_sets n where ${later('n', 'o')} order by n.block_number, n.id limit 1) n`

/** The vaults of registered validators, summed up from tallies: as `countByVault` counts them, as of the last fold. */
export function sumByVault(db: Sql, secondsPerEpoch: number): Promise<VaultRow[]> {
  const isOutdated = sql.raw(`(not t.has_exited and c.id is not null and t.oracle_set_id is distinct from c.id)`)
  const sum = (which: SQL) => sql`coalesce(sum(t.validators) filter (where ${which}), 0)::bigint`
  return rows(
    db,
    vaultNumbers,
    sql`with deadlines as materialized (${deadlines(secondsPerEpoch)})
        select t.beacon_vault as vault, sum(t.validators)::bigint as registered, ${sum(sql`t.has_exited`)} as exited,
               ${sum(isOutdated)} as outdated, ${sum(sql`t.is_index_wrong`)} as wrong_index, min(d.at) filter (where ${isOutdated}) as force_exit_at
        from tallies t left join oracle_sets c on c.is_current left join deadlines d on d.id = t.oracle_set_id
        where t.is_registered group by t.beacon_vault order by t.beacon_vault`,
  )
}

/**
 * The vaults of registered validators (of these vaults only, unless null), for who asks. The time that outdated ones have is that of the first
 * oracle set after their own. Nearly all have an exit of the right index and no other: only of the rest the newest shares are looked for.
 */
export function countByVault(
  db: Sql,
  { vaults, secondsPerEpoch }: { vaults: readonly Uint8Array[] | null; secondsPerEpoch: number },
): Promise<VaultRow[]> {
  const scope = vaults === null ? sql`true` : sql`v.beacon_vault = any(${bytesArray(vaults)})`
  return rows(
    db,
    vaultNumbers,
    sql`with deadlines as materialized (${deadlines(secondsPerEpoch)}),
        doubtful as materialized (
          select distinct v.id, v.beacon_index from validators v join messages m on m.validator_id = v.id and m.kind = 'exit'
          where v.registered_at is not null and v.exited_at is null and m.validator_index <> v.beacon_index and ${scope}),
        wrong as materialized (
          select u.id from doubtful u cross join lateral (
            select m.validator_index from messages m join oracle_shares s on s.message_id = m.id
            where m.validator_id = u.id order by s.revision desc, s.message_id desc limit 1) newest
          where newest.validator_index <> u.beacon_index)
        select v.beacon_vault as vault, count(*) as registered, count(v.exited_at) as exited,
               count(*) filter (where ${IS_OUTDATED}) as outdated, count(w.id) as wrong_index,
               min(d.at) filter (where ${IS_OUTDATED}) as force_exit_at
        from validators v
        left join oracle_sets c on c.is_current
        left join deadlines d on d.id = v.oracle_set_id
        left join wrong w on w.id = v.id
        where v.registered_at is not null and ${scope}
        group by v.beacon_vault order by v.beacon_vault`,
  )
}

const outdated = {
  publicKey: bytes,
  beaconIndex: number,
  /** CID of the oracle set its shares on chain were made for; null where it is not known. */
  cid: orNull(text),
}

/** The outdated validators of a vault with an index above `after`, in the order of their indexes. */
export function findOutdated(
  db: Sql,
  vault: Uint8Array,
  after: number,
  limit: number,
): Promise<RowOf<typeof outdated>[]> {
  return rows(
    db,
    outdated,
    sql`select v.public_key, v.beacon_index, o.cid
        from validators v join oracle_sets c on c.is_current left join oracle_sets o on o.id = v.oracle_set_id
        where v.registered_at is not null and v.beacon_vault = ${bytesParam(vault)} and v.beacon_index > ${after}::bigint and ${IS_OUTDATED}
        order by v.beacon_index limit ${limit}`,
  )
}

/** How many validators are outdated, of how many vaults. */
export async function countOutdated(db: Sql): Promise<{ validators: number; vaults: number }> {
  return await oneRow(
    db,
    { validators: number, vaults: number },
    sql`select count(*) as validators, count(distinct v.beacon_vault) as vaults
        from validators v join oracle_sets c on c.is_current where v.registered_at is not null and ${IS_OUTDATED}`,
  )
}
