/** Which validators a vault has, and which it may still get (generation 4). One statement a function; no rule lives here. */

import type { SQL } from 'drizzle-orm'
import { and, eq, inArray, sql } from 'drizzle-orm'
import { clusters, depositBindings, messages, validators } from '../../schema.ts'
import type { RowOf } from '../rows.ts'
import { boolean, bytes, firstRow, number, oneOf, oneRow, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, bytesParam, isAny, numberArray } from '../sql.ts'
import { HAS_UNJUDGED, IS_BOUND, isHeld } from './deposit-bindings.ts'
import type { MessageKind } from './messages.ts'

/** Held to the end of the transaction: one allocation of keys at a time, also between processes. */
export async function lockAllocation(tx: Sql): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtext('validators.allocation'))`)
}

const reservable = { id: number, publicKey: bytes, threshold: number, isReserved: boolean }
/** A validator that a vault has, or may get. */
export type ReservableRow = RowOf<typeof reservable>

/**
 * Not registered on a finalized block or in a finalized state, and no other vault named by its lock or the list, or bound by a deposit.
 * The binding is looked up for each row: as a join, where nearly all bindings are one vault's, the planner expects none of another and
 * reads them all for every row.
 */
const isFree = (vault: Uint8Array): SQL => sql`
  (v.withdrawal_address is null or v.withdrawal_address = ${bytesParam(vault)})
  and (v.listed_vault is null or v.listed_vault = ${bytesParam(vault)})
  and v.registered_at is null and not exists (select from registry_validators r where r.public_key = v.public_key)
  and coalesce((select b.vault from deposit_bindings b where b.validator_id = v.id), ${bytesParam(vault)}) = ${bytesParam(vault)}`

/** The validators reserved for a vault that are not registered yet, in the order they were reserved. */
export function findReserved(
  db: Sql,
  vault: Uint8Array,
  { limit, excluded }: { limit: number; excluded: readonly Uint8Array[] },
): Promise<ReservableRow[]> {
  return rows(
    db,
    reservable,
    sql`select v.id, v.public_key, c.threshold, true as is_reserved
        from validators v join clusters c on c.id = v.cluster_id
        where v.vault = ${bytesParam(vault)} and ${isFree(vault)} and v.public_key <> all(${bytesArray(excluded)})
        order by v.reserved_at, v.cluster_id, v.place limit ${limit}`,
  )
}

/** Whether the free key `v` is this vault's by its lock, the list or a deposit: whoever else asks for its exit. */
const isOwned = (vault: Uint8Array): SQL => sql`(
  v.withdrawal_address = ${bytesParam(vault)} or v.listed_vault = ${bytesParam(vault)}
  or exists (select from deposit_bindings b where b.validator_id = v.id))`

/**
 * The validators a vault may have: those reserved for it, in the order they were reserved, then those free
 * for it, in the order of clusters and places. A reservation nobody has asked for within `lifetimeSeconds` is free again unless a
 * deposit binds it, or holds it for `holdSeconds`. A key without an owner whose live exit somebody else asks for is left out; a vault's
 * exit that its reservation has outlived is nobody's.
 */
export function findReservable(
  db: Sql,
  vault: Uint8Array,
  options: {
    limit: number
    lifetimeSeconds: number
    holdSeconds: number
    requester: string
    excluded: readonly Uint8Array[]
  },
): Promise<ReservableRow[]> {
  const { limit, lifetimeSeconds, holdSeconds, requester, excluded } = options
  return rows(
    db,
    reservable,
    sql`select v.id, v.public_key, c.threshold, v.vault is not distinct from ${bytesParam(vault)} as is_reserved
        from validators v join clusters c on c.id = v.cluster_id
        where ${isFree(vault)} and v.public_key <> all(${bytesArray(excluded)})
          and (v.vault is null or v.vault = ${bytesParam(vault)} or (
            v.vault_asked_at < now() - make_interval(secs => ${lifetimeSeconds}::float8) and not ${IS_BOUND} and not ${isHeld(holdSeconds)}))
          and (v.vault is not distinct from ${bytesParam(vault)} or not exists (
            select from messages m where m.validator_id = v.id and m.kind = 'exit' and m.state in ('collecting', 'ready')
              and m.requester is not null and m.requester <> ${requester} and (v.vault is null or m.requester not like 'vault:%')
              and m.requested_at > now() - make_interval(secs => ${lifetimeSeconds}::float8)) or ${isOwned(vault)})
        order by v.vault is distinct from ${bytesParam(vault)},
                 case when v.vault = ${bytesParam(vault)} then v.reserved_at end, v.cluster_id, v.place
        limit ${limit}`,
  )
}

/** How many keys a vault may still register: those that no vault has reserved, and those it has reserved itself. */
export async function countKeysLeft(db: Sql, vault: Uint8Array): Promise<{ free: number; reserved: number }> {
  return await oneRow(
    db,
    { free: number, reserved: number },
    sql`select count(*) filter (where v.vault is null) as free, count(*) filter (where v.vault is not null) as reserved
        from validators v join clusters c on c.id = v.cluster_id
        where ${isFree(vault)} and (v.vault is null or v.vault = ${bytesParam(vault)})`,
  )
}

/**
 * How many keys each vault may still register, as `countKeysLeft` counts them, from tallies; null: the keys that any vault may have. Vaults
 * that have none left stand there too.
 */
export function countKeysByVault(db: Sql): Promise<{ vault: Buffer | null; free: number; reserved: number }[]> {
  return rows(
    db,
    { vault: orNull(bytes), free: number, reserved: number },
    sql`select t.key_vault as vault, coalesce(sum(t.validators) filter (where t.key = 'free'), 0)::bigint as free,
               coalesce(sum(t.validators) filter (where t.key = 'reserved'), 0)::bigint as reserved
        from tallies t where t.key <> 'none' group by t.key_vault order by t.key_vault`,
  )
}

/** Of these validators, those that a deposit to another vault binds or holds. Callers hold their messages. */
export function findBoundElsewhere(
  tx: Sql,
  validatorIds: readonly number[],
  vault: Uint8Array,
  holdSeconds: number,
): Promise<{ id: number }[]> {
  return rows(
    tx,
    { id: number },
    sql`select v.id from validators v
        where v.id = any(${numberArray(validatorIds)}) and v.vault is distinct from ${bytesParam(vault)}
          and (${IS_BOUND} or ${isHeld(holdSeconds)}) and not exists (select from deposit_bindings b where b.validator_id = v.id and b.vault = ${bytesParam(vault)})`,
  )
}

/** Ids of the messages of these validators that are live or may come back. */
export async function findMessageIds(tx: Sql, validatorIds: readonly number[]): Promise<number[]> {
  const found = await tx
    .select({ id: messages.id })
    .from(messages)
    .where(
      and(
        isAny(messages.validatorId, numberArray(validatorIds)),
        inArray(messages.state, ['collecting', 'ready', 'expired']),
      ),
    )
    .orderBy(messages.id)
  return found.map(({ id }) => id)
}

/** Live exits that a requester has at the indexes from `first` on, `count` of them, of other validators of the vault than these. */
export async function findExitsInTheWay(
  tx: Sql,
  exits: {
    vault: Uint8Array
    validatorIds: readonly number[]
    requester: string
    first: number
    count: number
  },
): Promise<number[]> {
  const { vault, validatorIds, requester, first, count } = exits
  const found = await rows(
    tx,
    { id: number },
    sql`select m.id from messages m join validators v on v.id = m.validator_id
        where v.vault = ${bytesParam(vault)} and v.id <> all(${numberArray(validatorIds)}) and m.kind = 'exit'
          and m.state in ('collecting', 'ready') and m.requester = ${requester}
          and m.validator_index >= ${first}::bigint and m.validator_index < ${first + count}::bigint`,
  )
  return found.map(({ id }) => id)
}

/**
 * Reserves validators for a vault, or notes that it asked for them again. The caller holds the allocation's lock: the clock is read
 * under it, once for all, so that those reserved later stand later.
 */
export async function reserveValidators(tx: Sql, validatorIds: readonly number[], vault: Uint8Array): Promise<void> {
  if (validatorIds.length === 0) return
  await tx.execute(sql`
    update validators set vault = ${bytesParam(vault)}, vault_asked_at = now(), is_held = is_held and vault is not distinct from ${bytesParam(vault)},
           reserved_at = case when vault = ${bytesParam(vault)} then reserved_at else (select clock_timestamp()) end
    where id = any(${numberArray(validatorIds)})`)
}

/** Notes that a vault asked for its validators again, unless it did within `seconds`. Rows somebody else is at are passed over. */
export async function touchReservations(
  db: Sql,
  validatorIds: readonly number[],
  vault: Uint8Array,
  seconds: number,
): Promise<void> {
  await db.execute(sql`
    with old as (select id from validators where id = any(${numberArray(validatorIds)}) and vault = ${bytesParam(vault)}
                   and vault_asked_at < now() - make_interval(secs => ${seconds}::float8) for no key update skip locked)
    update validators v set vault_asked_at = now() from old where v.id = old.id`)
}

/** The sealed signatures of these messages that are ready. */
export function findSignatures(
  db: Sql,
  messageIds: readonly number[],
): Promise<{ id: number; kind: MessageKind; signature: Buffer }[]> {
  return rows(
    db,
    { id: number, kind: oneOf<MessageKind>(), signature: bytes },
    sql`select id, kind, signature from messages where id = any(${numberArray(messageIds)}) and state = 'ready'`,
  )
}

/** What stands in the way of giving a key to another vault: for the command that releases it. */
export function findReservation(
  db: Sql,
  publicKey: Uint8Array,
): Promise<
  { id: number; vault: Buffer | null; bound: Buffer | null; isUnjudged: boolean; isRegistered: boolean } | undefined
> {
  return firstRow(
    db,
    { id: number, vault: orNull(bytes), bound: orNull(bytes), isUnjudged: boolean, isRegistered: boolean },
    sql`select v.id, v.vault, b.vault as bound, ${HAS_UNJUDGED} as is_unjudged,
               v.registered_at is not null or exists (select from registry_validators r where r.public_key = v.public_key) as is_registered
        from validators v left join deposit_bindings b on b.validator_id = v.id
        where v.public_key = ${bytesParam(publicKey)} for no key update of v`,
  )
}

/** Frees a validator: no vault, no binding. The caller has ended its messages. */
export async function releaseValidator(tx: Sql, validatorId: number): Promise<void> {
  await tx.delete(depositBindings).where(eq(depositBindings.validatorId, validatorId))
  await tx
    .update(validators)
    .set({ vault: null, reservedAt: null, vaultAskedAt: null, isHeld: false })
    .where(eq(validators.id, validatorId))
}

/** What the list names no more is nobody's. Returns how many keys that were. */
export async function unlistKeys(tx: Sql, listed: readonly Uint8Array[]): Promise<number> {
  const { rowCount } = await tx.execute(sql`
    update validators v set cluster_id = null, place = null from clusters c
    where c.id = v.cluster_id and c.source = 'list' and v.public_key <> all(${bytesArray(listed)})`)
  return rowCount ?? 0
}

/** Locks these keys and all that the list has named, in the one order in which everybody locks validators. */
export async function lockListed(tx: Sql, publicKeys: readonly Uint8Array[]): Promise<void> {
  await tx.execute(sql`
    select v.id from validators v
    where v.public_key = any(${bytesArray(publicKeys)}) or v.listed_vault is not null
       or v.cluster_id = (select c.id from clusters c where c.source = 'list')
    order by v.public_key for no key update of v`)
}

/**
 * Makes the vaults of keys what the list says; those it does not name have none. Keys that nobody knew are known from now on. Returns
 * the ids of those that changed.
 */
export async function storeListedVaults(
  tx: Sql,
  listed: readonly { publicKey: Uint8Array; vault: Uint8Array }[],
): Promise<number[]> {
  const keys = bytesArray(listed.map(({ publicKey }) => publicKey))
  await tx.execute(sql`
    insert into validators (public_key) select key from unnest(${keys}) key order by key on conflict (public_key) do nothing`)
  const changed = await rows(
    tx,
    { id: number },
    sql`with listed as materialized (
          select * from unnest(${keys}, ${bytesArray(listed.map(({ vault }) => vault))}) as l (public_key, vault)),
        other as materialized (
          select v.id, l.vault from validators v left join listed l on l.public_key = v.public_key
          where v.listed_vault is distinct from l.vault order by v.public_key for no key update of v)
        update validators v set listed_vault = o.vault from other o where v.id = o.id returning v.id`,
  )
  return changed.map(({ id }) => id)
}

/** Of listed keys those whose lock names another vault, and those that a deposit binds to another one. */
export function findListedElsewhere(
  db: Sql,
  listed: readonly { publicKey: Uint8Array; vault: Uint8Array }[],
): Promise<{ publicKey: Buffer; isLocked: boolean }[]> {
  return rows(
    db,
    { publicKey: bytes, isLocked: boolean },
    sql`select v.public_key, coalesce(v.withdrawal_address <> l.vault, false) as is_locked
        from unnest(${bytesArray(listed.map(({ publicKey }) => publicKey))}, ${bytesArray(listed.map(({ vault }) => vault))}) as l (public_key, vault)
        join validators v on v.public_key = l.public_key
        where v.withdrawal_address <> l.vault
           or exists (select from deposit_bindings b where b.validator_id = v.id and b.vault <> l.vault)
        order by v.public_key`,
  )
}

/** Makes these keys the list's, in this order; keys of another cluster stay that one's. Returns how many are the list's. */
export async function storeKeyList(tx: Sql, threshold: number, publicKeys: readonly Uint8Array[]): Promise<number> {
  const cluster = await oneRow(
    tx,
    { id: number },
    sql`insert into clusters (name, threshold, source) values ('PUBLIC_KEYS_FILE', ${threshold}, 'list')
        on conflict (source) where source = 'list' do update set threshold = excluded.threshold returning id`,
  )
  const listed = await rows(
    tx,
    { id: number },
    sql`insert into validators (public_key, cluster_id, place)
        select k.public_key, ${cluster.id}::bigint, k.place from unnest(${bytesArray(publicKeys)}) with ordinality as k (public_key, place)
        order by k.public_key
        on conflict (public_key) do update set cluster_id = excluded.cluster_id, place = excluded.place
          where validators.cluster_id is null or validators.cluster_id = excluded.cluster_id
        returning id`,
  )
  return listed.length
}

/** Which of these keys a lock or an SSV cluster covers. */
export async function findLockedKeys(db: Sql, publicKeys: readonly Uint8Array[]): Promise<Buffer[]> {
  const found = await db
    .select({ publicKey: validators.publicKey })
    .from(validators)
    .innerJoin(clusters, and(eq(clusters.id, validators.clusterId), inArray(clusters.source, ['lock', 'ssv'])))
    .where(isAny(validators.publicKey, bytesArray(publicKeys)))
  return found.map((row) => row.publicKey)
}
