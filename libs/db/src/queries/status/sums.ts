/** What workers count for the status page and metrics. What is of all validators is summed up from tallies, as of the last fold. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { ManagerAction } from '../manager-signatures.ts'
import type { RowOf } from '../rows.ts'
import { boolean, bytes, number, oneOf, oneRow, orNull, rows, text } from '../rows.ts'
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
        join (select t.cluster_id, sum(t.validators)::bigint as validators, string_agg(distinct encode(t.vault, 'hex'), ',') as vaults
              from tallies t where t.cluster_id is not null group by t.cluster_id) n on n.cluster_id = c.id
        order by c.id limit ${limit}`,
  )
}

const totals = { validators: number, registered: number, exited: number, ready: number, unsplit: number }

/** How many validators there are, and how many exits are ready or wait to be split for the oracles in force. */
export async function countTotals(db: Sql): Promise<RowOf<typeof totals>> {
  const sum = (which: SQL) => sql`coalesce(sum(t.validators) filter (where ${which}), 0)::bigint`
  return await oneRow(
    db,
    totals,
    sql`select ${sum(sql`true`)} as validators, ${sum(sql`t.is_registered`)} as registered, ${sum(sql`t.has_exited`)} as exited,
               ${sum(sql`t.exit_state = 'ready'`)} as ready,
               ${sum(sql`t.is_split_anew and (c.id is null or t.split_set_id is distinct from c.id)`)} as unsplit
        from tallies t left join oracle_sets c on c.is_current`,
  )
}

/** Live messages by kind and state. */
export async function countMessages(
  db: Sql,
): Promise<Record<'exit' | 'deposit', Record<'collecting' | 'ready', number>>> {
  const sum = (which: SQL) => sql`coalesce(sum(validators) filter (where ${which}), 0)::bigint`
  const row = await oneRow(
    db,
    { exitsCollecting: number, exitsReady: number, depositsCollecting: number, depositsReady: number },
    sql`select ${sum(sql`exit_state = 'collecting'`)} as exits_collecting, ${sum(sql`exit_state = 'ready'`)} as exits_ready,
               ${sum(sql`deposit_state = 'collecting'`)} as deposits_collecting, ${sum(sql`deposit_state = 'ready'`)} as deposits_ready
        from tallies`,
  )
  return {
    exit: { collecting: row.exitsCollecting, ready: row.exitsReady },
    deposit: { collecting: row.depositsCollecting, ready: row.depositsReady },
  }
}

/** The vaults that validators are for: which a lock names, or that have reserved them. */
export function findClaimingVaults(db: Sql, limit: number): Promise<{ vault: Buffer }[]> {
  return rows(
    db,
    { vault: bytes },
    sql`select distinct claimed_by as vault from tallies where claimed_by is not null order by vault limit ${limit}`,
  )
}

/** When the first of a tally's messages that are collected was asked for (Unix seconds). */
const firstOf = (since: 'exit_since' | 'deposit_since'): SQL => {
  const column = sql.raw(since)
  return sql`(select floor(extract(epoch from min(v.${column})))::bigint from validator_tallies v
              where v.tally_id = t.id and v.${column} is not null)`
}

/** Messages that are collected, by cluster (null: of none), and when the first of them was asked for (Unix seconds). */
export function countCollecting(
  db: Sql,
): Promise<{ clusterId: number | null; validators: number; messages: number; oldestAt: number }[]> {
  return rows(
    db,
    { clusterId: orNull(number), validators: number, messages: number, oldestAt: number },
    sql`select cluster_id, sum(validators)::bigint as validators, sum(validators * messages)::bigint as messages, min(oldest_at) as oldest_at
        from (select t.cluster_id, t.validators, (t.exit_state is not distinct from 'collecting')::int
                       + (t.deposit_state is not distinct from 'collecting')::int as messages,
                     least(${firstOf('exit_since')}, ${firstOf('deposit_since')}) as oldest_at
              from tallies t where t.exit_state = 'collecting' or t.deposit_state = 'collecting') c
        group by cluster_id order by cluster_id`,
  )
}

/** Of the messages that are collected, those that still want a signature of a node, by cluster and share index. */
export function countWaiting(
  db: Sql,
): Promise<{ clusterId: number; shareIndex: number; messages: number; oldestAt: number }[]> {
  return rows(
    db,
    { clusterId: number, shareIndex: number, messages: number, oldestAt: number },
    sql`with waiting as (
          select t.cluster_id, t.validators, t.exit_missing as missing, ${firstOf('exit_since')} as oldest_at
          from tallies t where t.exit_missing <> '{}'
          union all select t.cluster_id, t.validators, t.deposit_missing, ${firstOf('deposit_since')}
          from tallies t where t.deposit_missing <> '{}')
        select w.cluster_id, i.share_index, sum(w.validators)::bigint as messages, min(w.oldest_at) as oldest_at
        from waiting w cross join lateral unnest(w.missing) as i (share_index)
        group by w.cluster_id, i.share_index order by w.cluster_id, i.share_index`,
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
