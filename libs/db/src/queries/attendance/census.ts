/** What metrics tell of all there is. Each statement takes a few milliseconds at 100,000 validators. All times are the database's. */

import { sql } from 'drizzle-orm'
import { boolean, bytes, number, oneOf, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { AWAY_SECONDS } from './nodes-seen.ts'

/** Partial signatures of a share index that were judged. */
export interface ShareCount {
  shareIndex: number
  verified: number
  rejected: number
}

/** Adds what was judged since the last time. A share index gets no new row once there are `mostRows`: callers may claim any. */
export async function addShareCounts(db: Sql, counts: readonly ShareCount[], mostRows: number): Promise<void> {
  const judged = counts.map(({ shareIndex, verified, rejected }) => ({ share_index: shareIndex, verified, rejected }))
  await db.execute(sql`
    insert into share_counts as c (share_index, verified, rejected)
    select s.share_index, s.verified, s.rejected
    from jsonb_to_recordset(${sql.param(JSON.stringify(judged))}::jsonb) as s (share_index bigint, verified bigint, rejected bigint)
    where exists (select from share_counts o where o.share_index = s.share_index)
       or (select count(*) from share_counts) < ${mostRows}
    order by s.share_index
    on conflict (share_index) do update set verified = c.verified + excluded.verified, rejected = c.rejected + excluded.rejected`)
}

/** What was judged of each share index; zeros for those that clusters have, by their first validators, and nothing was judged of. */
export function findShareCounts(db: Sql, limit: number): Promise<ShareCount[]> {
  return rows(
    db,
    { shareIndex: number, verified: number, rejected: number },
    sql`with known as (
          select k.share_index from (select id from clusters order by id limit ${limit}) c
          cross join lateral (select f.id from validators f where f.cluster_id = c.id order by f.place, f.id limit 1) f
          join key_shares k on k.validator_id = f.id
          union select share_index from share_counts)
        select i.share_index, coalesce(s.verified, 0) as verified, coalesce(s.rejected, 0) as rejected
        from known i left join share_counts s on s.share_index = i.share_index order by i.share_index limit ${limit}`,
  )
}

/** Of the messages that are collected, those of which a share index has handed in wrong signatures alone; none where it has none. */
export function countWrongShares(db: Sql, limit: number): Promise<{ shareIndex: number; messages: number }[]> {
  return rows(
    db,
    { shareIndex: number, messages: number },
    sql`select p.share_index, count(distinct p.message_id) as messages
        from partial_signatures p join messages m on m.id = p.message_id and m.state = 'collecting'
        where p.state = 'rejected' and not exists (
          select from partial_signatures o where o.message_id = p.message_id and o.share_index = p.share_index and o.state <> 'rejected')
        group by p.share_index order by messages desc, p.share_index limit ${limit}`,
  )
}

/**
 * The share indexes of clusters, by their first validators, and whether nothing of a node of each was ever taken: it has asked for no list,
 * has handed in nothing, and nothing of it was judged before it was noted who comes. Who is bound to no share index may be any node, as long
 * as it comes.
 */
export function findNeverSeen(db: Sql, limit: number): Promise<{ shareIndex: number; isNeverSeen: boolean }[]> {
  return rows(
    db,
    { shareIndex: number, isNeverSeen: boolean },
    sql`with known as (
          select distinct k.share_index from (select id from clusters order by id limit ${limit}) c
          cross join lateral (select f.id from validators f where f.cluster_id = c.id order by f.place, f.id limit 1) f
          join key_shares k on k.validator_id = f.id)
        select k.share_index,
               not exists (select from nodes_seen n where coalesce(n.listed_at, n.posted_at) is not null
                             and (n.share_index = k.share_index or n.share_index = 0 and n.seen_at > now() - make_interval(secs => ${AWAY_SECONDS})))
                 and not exists (select from share_counts s where s.share_index = k.share_index and s.verified + s.rejected > 0) as is_never_seen
        from known k order by k.share_index limit ${limit}`,
  )
}

/**
 * The age of the oldest message of each kind that is still collected; null where none is. It is among the first by id: those of transactions
 * that ran beside each other may stand the other way round. The kind as a range, in the order of the index of what is collected: where it is
 * one value, the planner may walk through all messages by id.
 */
export function findOldestCollecting(db: Sql): Promise<{ kind: 'exit' | 'deposit'; seconds: number | null }[]> {
  return rows(
    db,
    { kind: oneOf<'exit' | 'deposit'>(), seconds: orNull(number) },
    sql`select k.kind, extract(epoch from now() - (
                 select min(f.created_at) from (
                   select m.created_at from messages m
                   where m.kind between k.kind and k.kind and m.state = 'collecting' order by m.kind, m.id limit 32) f))::float8 as seconds
        from (values ('exit'), ('deposit')) as k (kind)`,
  )
}

/** Gwei that signatures of the manager move of each vault, as its limit counts them within `seconds`; the most first. */
export function sumMovedByVault(db: Sql, seconds: number, limit: number): Promise<{ vault: Buffer; gwei: number }[]> {
  return rows(
    db,
    { vault: bytes, gwei: number },
    sql`select vault, sum(amount)::float8 as gwei from (
          select vault, max(amount_gwei) as amount from manager_signatures
          where action <> 'register' and signed_at > now() - make_interval(secs => ${seconds}::float8) group by vault, digest) moved
        group by vault order by gwei desc, vault limit ${limit}`,
  )
}
