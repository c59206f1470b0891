/** Nodes that are known by a key they have: the keys in the ENRs of cluster locks and of SSV operators. */

import { sql } from 'drizzle-orm'
import { operatorKeys } from '../../schema.ts'
import { boolean, bytes, number, type RowOf, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { asBuffer, bytesArray, numberArray } from '../sql.ts'

const node = {
  lockHash: bytes,
  shareIndex: number,
  /** 33 bytes. */
  publicKey: bytes,
  /** Whether the lock's hash was recomputed from what it holds. */
  isHashKnown: boolean,
}
/** A node of an imported lock, and its key. */
export type NodeKeyRow = RowOf<typeof node>

/** Stores the keys of a lock's nodes; those that are there already stay. */
export async function storeNodeKeys(tx: Sql, keys: readonly NodeKeyRow[]): Promise<void> {
  await tx.execute(sql`
    insert into node_keys (cluster_id, share_index, public_key, is_hash_known)
    select c.id, k.share_index, k.public_key, k.is_hash_known
    from unnest(${bytesArray(keys.map(({ lockHash }) => lockHash))}, ${numberArray(keys.map(({ shareIndex }) => shareIndex))},
                ${bytesArray(keys.map(({ publicKey }) => publicKey))}, ${numberArray(keys.map(({ isHashKnown }) => Number(isHashKnown)))}::int[]::boolean[])
         as k (lock_hash, share_index, public_key, is_hash_known)
    join clusters c on c.lock_hash = k.lock_hash
    on conflict do nothing`)
}

/** The keys of all nodes of locks that any validator still belongs to. */
export function findNodeKeys(db: Sql): Promise<NodeKeyRow[]> {
  return rows(
    db,
    node,
    sql`select c.lock_hash, n.share_index, n.public_key, n.is_hash_known from node_keys n join clusters c on c.id = n.cluster_id
        where c.lock_hash is not null and exists (select from validators v where v.cluster_id = c.id) order by c.id, n.share_index`,
  )
}

const lockSize = {
  lockHash: bytes,
  /** That it still has: none where another lock has replaced it. */
  validators: number,
  /** Those of other locks with a node of it too: as many as it may have had before one of these replaced it in part. */
  most: number,
}
export type LockSize = RowOf<typeof lockSize>

/** How many validators each imported lock has. */
export function findLockSizes(db: Sql): Promise<LockSize[]> {
  return rows(
    db,
    lockSize,
    sql`with sizes as materialized (
          select c.id, c.lock_hash, coalesce(v.validators, 0) as validators from clusters c
          left join (select cluster_id, count(*) as validators from validators group by cluster_id) v on v.cluster_id = c.id
          where c.lock_hash is not null),
        kin as (
          select distinct n.cluster_id, o.cluster_id as other_id from node_keys n
          join node_keys o on o.public_key = n.public_key and o.cluster_id <> n.cluster_id)
        select s.lock_hash, s.validators,
               (s.validators + coalesce((select sum(o.validators) from kin k join sizes o on o.id = k.other_id where k.cluster_id = s.id), 0))::bigint
                 as most
        from sizes s`,
  )
}

/** The key of each SSV operator that is known: SPKI, DER. */
export function findOperatorKeys(db: Sql): Promise<{ operatorId: number; publicKey: Buffer }[]> {
  return rows(
    db,
    { operatorId: number, publicKey: bytes },
    sql`select operator_id, public_key from operator_keys order by operator_id`,
  )
}

/** Stores keys of SSV operators. The contract never gives an id to another one; what was read last counts. */
export async function storeOperatorKeys(
  db: Sql,
  keys: readonly { operatorId: number; publicKey: Uint8Array }[],
): Promise<void> {
  if (keys.length === 0) return
  await db
    .insert(operatorKeys)
    .values(keys.map(({ operatorId, publicKey }) => ({ operatorId, publicKey: asBuffer(publicKey) })))
    .onConflictDoUpdate({ target: operatorKeys.operatorId, set: { publicKey: sql`excluded.public_key` } })
}

/** Which of these validator keys are known and in none of the clusters with these locks. */
export function findOutsideLocks(
  db: Sql,
  publicKeys: readonly Uint8Array[],
  lockHashes: readonly Uint8Array[],
): Promise<{ publicKey: Buffer }[]> {
  return rows(
    db,
    { publicKey: bytes },
    sql`select v.public_key from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)}) and (c.lock_hash = any(${bytesArray(lockHashes)})) is not true`,
  )
}

/** Which of these validator keys are known and not registered with this SSV operator. */
export function findOutsideOperator(
  db: Sql,
  publicKeys: readonly Uint8Array[],
  operatorId: number,
): Promise<{ publicKey: Buffer }[]> {
  return rows(
    db,
    { publicKey: bytes },
    sql`select v.public_key from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)})
          and (c.source = 'ssv' and exists (select from key_shares k where k.validator_id = v.id and k.share_index = ${operatorId}))
              is not true`,
  )
}
