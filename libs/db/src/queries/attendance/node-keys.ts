/** The keys that nodes already have: those in the ENRs of cluster locks. */

import { sql } from 'drizzle-orm'
import { boolean, bytes, number, type RowOf, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, numberArray } from '../sql.ts'

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
