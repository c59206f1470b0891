/** Validators: the public keys the relayer knows, and the locks under which it decides about them. One statement a function. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { RowOf } from '../rows.ts'
import { bytes, number, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, numberArray } from '../sql.ts'

const validator = {
  id: number,
  publicKey: bytes,
  threshold: orNull(number),
  /** The vault that alone may have it, where there is one. */
  owner: orNull(bytes),
}
/** A validator row, locked for the transaction that decides about its messages. */
export type ValidatorRow = RowOf<typeof validator>

/** The vault of `v`: which its lock names, to which a deposit binds it, which the list names, or which has it reserved and asks for it. */
export const OWNER: SQL = sql`coalesce(
  v.withdrawal_address,
  (select b.vault from deposit_bindings b where b.validator_id = v.id),
  v.listed_vault,
  (select d.vault from messages d where d.validator_id = v.id and d.kind = 'deposit' and d.state in ('collecting', 'ready')))`

/** Makes sure that the validators exist. */
export async function insertValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<void> {
  await db.execute(sql`
    insert into validators (public_key) select key from unnest(${bytesArray(publicKeys)}) key order by key
    on conflict (public_key) do nothing`)
}

/** The validators of these keys that exist, with the threshold of their cluster. */
export function findValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  return rows(
    db,
    validator,
    sql`select v.id, v.public_key, c.threshold, ${OWNER} as owner
        from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)})`,
  )
}

/**
 * The same, locked in one order for everybody. The lock leaves references to the rows alone: who holds a message may still bind its
 * validator to a vault. Read after the lock is there: while it was waited for, a validator may have come into another cluster.
 */
export async function lockValidators(tx: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  await tx.execute(sql`
    select v.id from validators v where v.public_key = any(${bytesArray(publicKeys)}) order by v.public_key for no key update of v`)
  return findValidators(tx, publicKeys)
}

/** How long the keys of nobody are kept after they were last asked for: with an exit that was never ready, and with one that was. */
interface KeptSeconds {
  unready: number
  ready: number
}

/**
 * Whether `v` is a key that is known because somebody asked for its exit, and for nothing else: of no lock, list or SSV cluster, never bound
 * or reserved, never seen on chain, and what was asked for is over. A deposit of it may still come to be signed, so one with a deposit stays.
 */
const isForgotten = ({ unready, ready }: KeptSeconds): SQL => sql`(
  v.cluster_id is null and v.vault is null and v.withdrawal_address is null and v.registered_at is null
  and v.listed_vault is null and not v.is_held
  and v.created_at < now() - make_interval(secs => ${unready}::float8)
  and not exists (select from deposit_bindings b where b.validator_id = v.id)
  and not exists (select from lock_deposits l where l.validator_id = v.id)
  and not exists (select from key_shares k where k.validator_id = v.id)
  and not exists (select from registry_validators r where r.public_key = v.public_key)
  and not exists (select from deposit_blocks d where d.validator_id = v.id)
  and not exists (select from erasure_clocks c where c.validator_id = v.id)
  and not exists (select from messages m where m.validator_id = v.id and (
        m.kind <> 'exit' or m.state not in ('expired', 'superseded')
        or m.requested_at > now() - make_interval(secs => case when m.signature is null then ${unready}::float8 else ${ready}::float8 end)
        or exists (select from rotation_messages i where i.message_id = m.id)
        or not exists (select from messages n where n.kind = m.kind and (n.revision, n.id) > (m.revision, m.id)))))`

/** Locks at most `limit` forgotten validators; those that somebody is at are passed over. */
export async function lockForgotten(tx: Sql, kept: KeptSeconds, limit: number): Promise<number[]> {
  const locked = await rows(
    tx,
    { id: number },
    sql`select v.id from validators v where ${isForgotten(kept)} order by v.id limit ${limit} for update of v skip locked`,
  )
  return locked.map(({ id }) => id)
}

/**
 * Deletes those of these validators that are forgotten still, with all that was made of them. Callers have locked them in a statement
 * before: what was asked for while that waited is seen by this one. Returns how many.
 */
export async function deleteForgotten(tx: Sql, validatorIds: readonly number[], kept: KeptSeconds): Promise<number> {
  if (validatorIds.length === 0) return 0
  const { rowCount } = await tx.execute(sql`
    with forgotten as materialized (
           select v.id from validators v where v.id = any(${numberArray(validatorIds)}) and ${isForgotten(kept)}),
         exits as (delete from messages m using forgotten f where m.validator_id = f.id),
         hints as (delete from key_share_hints h using forgotten f where h.validator_id = f.id)
    delete from validators v using forgotten f where v.id = f.id`)
  return rowCount ?? 0
}
