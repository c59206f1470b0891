/** What workers count for the status page. Some of it looks at every validator: they do it once for all who look. */

import { sql } from 'drizzle-orm'
import type { ManagerAction } from '../manager-signatures.ts'
import { LIVE } from '../messages/messages.ts'
import type { RowOf } from '../rows.ts'
import { boolean, bytes, firstRow, number, oneOf, orNull, rows, text } from '../rows.ts'
import type { Sql } from '../sql.ts'

const cluster = {
  id: number,
  name: text,
  source: oneOf<'lock' | 'list' | 'ssv'>(),
  threshold: number,
  validators: number,
  /** Of its first validator, comma separated; empty where no trusted public key shares are known. */
  shareIndexes: text,
  /** Hex of the vaults of its validators, comma separated. */
  vaults: text,
}

/** Clusters that have validators, each with its nodes and whose validators they are. */
export function findStatusClusters(db: Sql, limit: number): Promise<RowOf<typeof cluster>[]> {
  return rows(
    db,
    cluster,
    sql`select c.id, c.name, c.source, c.threshold, n.validators, coalesce(n.vaults, '') as vaults, coalesce(
                 (select string_agg(k.share_index::text, ',' order by k.share_index) from key_shares k
                  where k.validator_id = (select f.id from validators f where f.cluster_id = c.id order by f.place, f.id limit 1)),
                 '') as share_indexes
        from clusters c
        join (select v.cluster_id, count(*) as validators,
                     string_agg(distinct encode(coalesce(v.beacon_vault, v.withdrawal_address, v.listed_vault, v.vault), 'hex'), ',') as vaults
              from validators v where v.cluster_id is not null group by v.cluster_id) n on n.cluster_id = c.id
        order by c.id limit ${limit}`,
  )
}

const totals = { validators: number, registered: number, exited: number, ready: number, unsplit: number }

/** How many validators there are, and how many exits are ready or wait to be split for the oracles in force. */
export async function countTotals(db: Sql): Promise<RowOf<typeof totals>> {
  const row = await firstRow(
    db,
    totals,
    sql`select v.validators, v.registered, v.exited, m.ready, m.unsplit
        from (select count(*) as validators, count(registered_at) as registered, count(exited_at) as exited from validators) v,
             (select count(*) as ready,
                     count(*) filter (where not exists (select from oracle_shares o join oracle_sets s on s.id = o.oracle_set_id and s.is_current
                                                        where o.message_id = e.id)) as unsplit
              from messages e where e.kind = 'exit' and e.state in ${LIVE} and e.state = 'ready') m`,
  )
  return row ?? { validators: 0, registered: 0, exited: 0, ready: 0, unsplit: 0 }
}

/** Messages that are collected, by cluster (null: of none), and when the first of them was asked for (Unix seconds). */
export function countCollecting(
  db: Sql,
): Promise<{ clusterId: number | null; validators: number; messages: number; oldestAt: number }[]> {
  return rows(
    db,
    { clusterId: orNull(number), validators: number, messages: number, oldestAt: number },
    sql`select v.cluster_id, count(distinct v.id) as validators, count(*) as messages,
               floor(extract(epoch from min(m.created_at)))::bigint as oldest_at
        from messages m join validators v on v.id = m.validator_id where m.state = 'collecting'
        group by v.cluster_id order by v.cluster_id`,
  )
}

/** Of the messages that are collected, those that still want a signature of a node, by cluster and share index. */
export function countWaiting(
  db: Sql,
): Promise<{ clusterId: number; shareIndex: number; messages: number; oldestAt: number }[]> {
  return rows(
    db,
    { clusterId: number, shareIndex: number, messages: number, oldestAt: number },
    sql`select v.cluster_id, k.share_index, count(*) as messages, floor(extract(epoch from min(m.created_at)))::bigint as oldest_at
        from messages m
        join validators v on v.id = m.validator_id and v.cluster_id is not null
        join key_shares k on k.validator_id = m.validator_id
        where m.state = 'collecting' and not exists (
          select from partial_signatures p where p.message_id = m.id and p.share_index = k.share_index and p.state <> 'rejected')
        group by v.cluster_id, k.share_index order by v.cluster_id, k.share_index`,
  )
}

const openRotation = {
  vault: bytes,
  isApproved: boolean,
  isSent: boolean,
  createdAt: number,
  deadline: orNull(number),
}

/** The updates of exit signatures that are under way. */
export function findOpenRotations(db: Sql, limit: number): Promise<RowOf<typeof openRotation>[]> {
  return rows(
    db,
    openRotation,
    sql`select vault, ipfs_hash is not null as is_approved, transaction_hash is not null as is_sent,
               floor(extract(epoch from created_at))::bigint as created_at, deadline
        from rotations where state = 'open' order by vault limit ${limit}`,
  )
}

const signed = { vault: bytes, action: oneOf<ManagerAction>(), signatures: number, movedGwei: text, lastAt: number }

/** What the validators-manager key has signed within so many seconds, and what of it moves something; each content once. */
export function sumManagerSignatures(db: Sql, seconds: number): Promise<RowOf<typeof signed>[]> {
  return rows(
    db,
    signed,
    sql`select vault, action, count(*) as signatures, sum(amount)::text as moved_gwei, floor(extract(epoch from max(at)))::bigint as last_at
        from (select vault, action, digest, max(amount_gwei) as amount, max(signed_at) as at from manager_signatures
              where signed_at > now() - make_interval(secs => ${seconds}::float8) group by vault, action, digest) s
        group by vault, action order by vault, action`,
  )
}
