/** What is known of validators, to explain how they stand: set-based, for one as for many. Times are Unix seconds of the database. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { clusters, messages } from '../schema.ts'
import { type CameBy, cameBy, isGone } from './attendance/nodes-seen.ts'
import { OWNER } from './messages/validators.ts'
import type { RowOf } from './rows.ts'
import { boolean, bytes, number, oneOf, oneRow, orNull, rows, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { bytesArray, numberArray } from './sql.ts'

const seconds = (column: string): SQL => sql.raw(`floor(extract(epoch from ${column}))::bigint`)

const ofMessage = {
  id: orNull(number),
  state: orNull(oneOf<(typeof messages.$inferSelect)['state']>()),
  threshold: orNull(number),
  createdAt: orNull(number),
  requestedAt: orNull(number),
  readyAt: orNull(number),
  /** Attempts that found no signature among the candidates. */
  failedAttempts: orNull(number),
}

/** The same columns, named for the kind of message. */
type Named<Kind extends string> = {
  [Name in keyof typeof ofMessage as `${Kind}${Capitalize<Name>}`]: (typeof ofMessage)[Name]
}
const named = <Kind extends string>(kind: Kind): Named<Kind> =>
  Object.fromEntries(
    Object.entries(ofMessage).map(([name, column]) => [`${kind}${name[0]?.toUpperCase()}${name.slice(1)}`, column]),
  ) as Named<Kind>

/**
 * The messages of `v`, looked up by the validator, which `offset 0` makes sure of: PostgreSQL goes through all that are superseded while it
 * believes them few.
 */
const ofOneValidator: SQL = sql`(select kind, state from messages where validator_id = v.id offset 0)`

/** The message of a kind that counts: the live one, else the last. */
const messageOf = (kind: 'exit' | 'deposit'): SQL =>
  sql`left join lateral (
        select m.* from messages m where m.validator_id = v.id and m.kind = ${kind}
        order by m.state in ('collecting', 'ready') desc, m.id desc limit 1) ${sql.raw(kind)} on true`
const columnsOf = (kind: 'exit' | 'deposit'): SQL =>
  sql.join(
    [
      ...['id', 'state', 'threshold', 'failed_attempts'].map((name) => sql.raw(`${kind}.${name} as ${kind}_${name}`)),
      ...['created_at', 'requested_at', 'ready_at'].map(
        (name) => sql`${seconds(`${kind}.${name}`)} as ${sql.raw(`${kind}_${name}`)}`,
      ),
    ],
    sql`, `,
  )

const explained = {
  id: number,
  publicKey: bytes,
  clusterName: orNull(text),
  clusterSource: orNull(oneOf<(typeof clusters.$inferSelect)['source']>()),
  clusterThreshold: orNull(number),
  /** As the chain says, or a lock, a deposit, a reservation. */
  vault: orNull(bytes),
  /** The vault that its lock names, or that has it reserved. */
  wantedVault: orNull(bytes),
  /** The vault to which a partial signature of a deposit binds it. */
  boundVault: orNull(bytes),
  isRegistered: boolean,
  hasExited: boolean,
  beaconIndex: orNull(number),
  beaconVault: orNull(bytes),
  /** Whether a validly signed deposit of it stands in a final block. */
  isDeposited: boolean,
  /** Whether an exit of it was erased. */
  isErased: boolean,
  /** Since when everything has held that erasing its exits wants. */
  erasureHeldSince: orNull(number),
  /** Config that its shares on chain were made for. */
  chainSetCid: orNull(text),
  /** Whether that is known, and is another set than the current one; or is not known. */
  isOutdated: boolean,
  /** When it may be exited by force; null where no config says. */
  forceExitAt: orNull(number),
  ...named('exit'),
  exitIndex: orNull(number),
  ...named('deposit'),
  depositAmount: orNull(number),
  depositType: orNull(oneOf<'0x01' | '0x02'>()),
  /** Superseded exits that are still kept. */
  superseded: number,
  hasCurrentShares: boolean,
  hasOlderShares: boolean,
  /** Index that its newest shares were made for. */
  newestSharesIndex: orNull(number),
  /** Whether an open rotation hands in its exit; with a transaction that the Keeper takes until then. */
  isInRotation: boolean,
  rotationDeadline: orNull(number),
  /** Of the deposit that is asked for. */
  depositVault: orNull(bytes),
}
/** What is known of one validator. */
export type ExplainedRow = RowOf<typeof explained>

/** These validators, as far as they are there. */
export function findExplained(
  db: Sql,
  publicKeys: readonly Uint8Array[],
  secondsPerEpoch: number,
): Promise<ExplainedRow[]> {
  return rows(
    db,
    explained,
    sql`select v.id, v.public_key, c.name as cluster_name, c.source as cluster_source, c.threshold as cluster_threshold,
               coalesce(v.beacon_vault, ${OWNER}, v.vault) as vault, coalesce(v.withdrawal_address, v.vault) as wanted_vault,
               b.vault as bound_vault, v.registered_at is not null as is_registered, v.exited_at is not null as has_exited,
               v.beacon_index, v.beacon_vault,
               exists (select from registry_validators r where r.public_key = v.public_key)
                 or exists (select from deposit_blocks d where d.validator_id = v.id) as is_deposited,
               exists (select from ${ofOneValidator} m where m.kind = 'exit' and m.state = 'erased') as is_erased,
               ${seconds('h.held_since')} as erasure_held_since, o.cid as chain_set_cid,
               v.registered_at is not null and v.exited_at is null and s.id is not null and v.oracle_set_id is distinct from s.id as is_outdated,
               floor(f.at)::float8 as force_exit_at,
               ${columnsOf('exit')}, exit.validator_index as exit_index,
               ${columnsOf('deposit')}, deposit.amount_gwei as deposit_amount, deposit.validator_type as deposit_type,
               (select count(*) from ${ofOneValidator} m where m.kind = 'exit' and m.state = 'superseded') as superseded,
               exists (select from oracle_shares x where x.message_id = exit.id and x.oracle_set_id = s.id) as has_current_shares,
               exists (select from oracle_shares x where x.message_id = exit.id and x.oracle_set_id is distinct from s.id) as has_older_shares,
               (select m.validator_index from messages m join oracle_shares x on x.message_id = m.id where m.validator_id = v.id
                order by x.revision desc, x.message_id desc limit 1) as newest_shares_index,
               t.id is not null as is_in_rotation, t.deadline as rotation_deadline,
               deposit.vault as deposit_vault
        from validators v
        left join clusters c on c.id = v.cluster_id
        left join deposit_bindings b on b.validator_id = v.id
        left join erasure_clocks h on h.validator_id = v.id and h.beacon_index = v.beacon_index and h.oracle_set_id is not distinct from v.oracle_set_id
        left join oracle_sets s on s.is_current
        left join oracle_sets o on o.id = v.oracle_set_id
        left join lateral (
          select extract(epoch from n.announced_at)::float8 + (n.config->>'untilForceExitEpochs')::float8 * ${secondsPerEpoch}::float8 as at
          from oracle_sets n where (n.block_number, n.id) > (o.block_number, o.id) order by n.block_number, n.id limit 1) f on true
        ${messageOf('exit')}
        ${messageOf('deposit')}
        left join lateral (
          select r.id, r.deadline from rotations r join rotation_messages l on l.rotation_id = r.id
          where r.vault = v.beacon_vault and r.state = 'open' and l.message_id = exit.id) t on true
        where v.public_key = any(${bytesArray(publicKeys)})`,
  )
}

const state = orNull(oneOf<'verified' | 'unverified' | 'rejected'>())
const explainedShare = {
  validatorId: number,
  shareIndex: number,
  /** Whether its public key share is known from a source that is trusted. */
  isTrusted: boolean,
  exitState: state,
  exitAt: orNull(number),
  depositState: state,
  depositAt: orNull(number),
}
/** One share index of one validator: the best that it has handed in for each message. */
export type ExplainedShareRow = RowOf<typeof explainedShare>

/** The share indexes of these validators: those of their clusters, and those that have handed in something for these messages. */
export function findExplainedShares(
  db: Sql,
  validatorIds: readonly number[],
  messageIds: readonly number[],
): Promise<ExplainedShareRow[]> {
  return rows(
    db,
    explainedShare,
    sql`with p as materialized (
          select distinct on (m.validator_id, m.kind, p.share_index) m.validator_id, m.kind, p.share_index, p.state,
                 nullif(${seconds('p.seen_at')}, 0) as at
          from messages m join partial_signatures p on p.message_id = m.id where m.id = any(${numberArray(messageIds)})
          order by m.validator_id, m.kind, p.share_index, p.state = 'verified' desc, p.state = 'unverified' desc, p.seen_at desc),
        i as (
          select validator_id, share_index, bool_or(is_trusted) as is_trusted from (
            select k.validator_id, k.share_index, true as is_trusted from key_shares k where k.validator_id = any(${numberArray(validatorIds)})
            union all select p.validator_id, p.share_index, false from p) known group by validator_id, share_index)
        select i.validator_id, i.share_index, i.is_trusted,
               e.state as exit_state, e.at as exit_at, d.state as deposit_state, d.at as deposit_at
        from i
        left join p e on e.validator_id = i.validator_id and e.share_index = i.share_index and e.kind = 'exit'
        left join p d on d.validator_id = i.validator_id and d.share_index = i.share_index and d.kind = 'deposit'
        order by i.validator_id, i.share_index`,
  )
}

const explainedNode = {
  shareIndex: number,
  /** When somebody of this share index last asked for a list or posted. */
  seenAt: orNull(number),
  /** The same of those whose last request was not lost. */
  presentAt: orNull(number),
  /** Since when it has been there, or was until it went. */
  onlineSince: orNull(number),
  postedAt: orNull(number),
  refusedAt: orNull(number),
  refusalCode: orNull(text),
  /** As the newest request says. */
  software: orNull(text),
  version: orNull(text),
  clockDifferenceSeconds: orNull(number),
  /** By what the newest request was known; null where no tokens are set. */
  cameBy: orNull(oneOf<CameBy>()),
  /** Whether tokens of several names were seen, and several clusters have this share index: whose it was is not known. */
  isShared: boolean,
}
/** What was seen of the nodes of one share index; of 0 are those whose tokens name none. */
export type ExplainedNodeRow = RowOf<typeof explainedNode>

/** What was seen of these share indexes; undefined: of all. */
export function findExplainedNodes(db: Sql, shareIndexes?: readonly number[]): Promise<ExplainedNodeRow[]> {
  const isWanted = (table: string) =>
    shareIndexes === undefined ? sql`true` : sql`${sql.raw(table)}.share_index = any(${numberArray(shareIndexes)})`
  const newest = (column: string) => sql.raw(`(array_agg(n.${column} order by n.seen_at desc))[1] as ${column}`)
  return rows(
    db,
    explainedNode,
    sql`with clusters_of as materialized (
          select k.share_index, count(*) as clusters
          from clusters c
          join key_shares k on k.validator_id = (select f.id from validators f where f.cluster_id = c.id order by f.place, f.id limit 1)
          where ${isWanted('k')} group by k.share_index)
        select n.share_index, ${seconds('max(greatest(n.listed_at, n.posted_at))')} as seen_at,
               floor(extract(epoch from max(greatest(n.listed_at, n.posted_at)) filter (where not ${isGone('n')})))::bigint as present_at,
               ${seconds('max(n.online_since)')} as online_since, ${seconds('max(n.posted_at)')} as posted_at,
               ${seconds('max(n.refused_at)')} as refused_at,
               (array_agg(n.refusal_code order by n.refused_at desc nulls last))[1] as refusal_code,
               ${newest('software')}, ${newest('version')}, ${newest('clock_difference_seconds')},
               (array_agg(${cameBy('n')} order by n.seen_at desc))[1] as came_by,
               count(*) > 1 and coalesce(max(o.clusters), 0) > 1 as is_shared
        from nodes_seen n left join clusters_of o on o.share_index = n.share_index
        where ${isWanted('n')} group by n.share_index`,
  )
}

/** The oracle set in force, and what time it is. */
export async function findMoment(db: Sql): Promise<{ now: number; currentSetCid: string | null }> {
  return await oneRow(
    db,
    { now: number, currentSetCid: orNull(text) },
    sql`select ${seconds('now()')} as now, (select cid from oracle_sets where is_current) as current_set_cid`,
  )
}
