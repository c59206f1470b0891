/** SSV clusters: one for each owner and set of operators. The position of a validator in one is its owner nonce. */

import { sql } from 'drizzle-orm'
import { type clusters, validators } from '../schema.ts'
import type { RowOf } from './rows.ts'
import { bytes, number, oneOf, oneRow, orNull, rows, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { bytesArray, isAny, numberArray } from './sql.ts'

const cover = {
  id: number,
  publicKey: bytes,
  position: orNull(number),
  source: orNull(oneOf<(typeof clusters.$inferSelect)['source']>()),
  name: orNull(text),
  lockHash: orNull(bytes),
  threshold: orNull(number),
  /** The trusted public key shares by share index: 56 bytes each, share index (8, big-endian) and public key share (48). */
  shares: bytes,
}
/** What a validator's key shares are known from, if they are. */
export type CoverRow = RowOf<typeof cover>

/** Which cluster covers each of these validators, and with which key shares; those that do not exist are left out. */
export function findCovers(db: Sql, publicKeys: readonly Uint8Array[]): Promise<CoverRow[]> {
  return rows(
    db,
    cover,
    sql`select v.id, v.public_key, v.place as position, c.source, c.name, c.lock_hash, c.threshold, coalesce(
                 (select string_agg(int8send(k.share_index) || k.public_key_share, ''::bytea order by k.share_index)
                  from key_shares k where k.validator_id = v.id), ''::bytea) as shares
        from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)})`,
  )
}

const ssvMember = {
  id: number,
  publicKey: bytes,
  /** Of its cluster. */
  name: text,
  position: number,
}

/** The validators of all SSV clusters. */
export function findSsvMembers(db: Sql): Promise<RowOf<typeof ssvMember>[]> {
  return rows(
    db,
    ssvMember,
    sql`select v.id, v.public_key, c.name, v.place as position from validators v join clusters c on c.id = v.cluster_id and c.source = 'ssv'`,
  )
}

/** Inserts an SSV cluster, or finds it by its name. Callers hold the lock of cluster imports. */
export async function insertSsvCluster(tx: Sql, cluster: { name: string; threshold: number }): Promise<number> {
  const row = await oneRow(
    tx,
    { id: number },
    sql`with found as (select id from clusters where source = 'ssv' and name = ${cluster.name}),
             made as (insert into clusters (name, threshold, source)
                      select ${cluster.name}, ${cluster.threshold}, 'ssv' where not exists (select from found) returning id)
        select id from found union all select id from made`,
  )
  return row.id
}

/** Takes validators out of their clusters: no new message is made of them by their cluster's threshold. Callers have locked them. */
export async function leaveClusters(tx: Sql, validatorIds: readonly number[]): Promise<void> {
  await tx
    .update(validators)
    .set({ clusterId: null, position: null })
    .where(isAny(validators.id, numberArray(validatorIds)))
}
