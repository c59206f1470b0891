/** When each node was last there, by token and share index. All times are the database's: callers say how long ago something was. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import { number, oneOf, orNull, rows, text } from '../rows.ts'
import type { Sql } from '../sql.ts'

/** What was seen of a node since the last write. */
export interface NodeSeenRow {
  token: string
  /** 0 where the token is bound to none and no request named one. */
  shareIndex: number
  /** Whether the key is ours: a share index that a caller only claims has to find room. */
  isOurs: boolean
  seenSecondsAgo: number
  listedSecondsAgo?: number
  postedSecondsAgo?: number
  refusedSecondsAgo?: number
  refusalCode?: string
  /** When the last of its requests that waited was lost. */
  goneSecondsAgo?: number
  software: string | null
  version: string | null
  /** By its list; null where that says no time. */
  clockDifferenceSeconds?: number | null
}

/** A node that is not heard of for so long is away: a sidecar asks every minute at the latest, and what is seen is written every 15 s. */
export const AWAY_SECONDS = 120
/** A node whose request was lost has so long to ask again: a proxy or a relayer that restarts cuts requests off, too. */
const GRACE_SECONDS = 8

/** When a node of `nodes_seen` was last there: it asked for a list, or posted. */
const THERE_AT = (table: string): SQL => sql.raw(`greatest(${table}.listed_at, ${table}.posted_at)`)
/** Whether its last request was lost, and none has come since. */
export const isGone = (table: string): SQL =>
  sql`coalesce(${sql.raw(table)}.gone_at >= ${THERE_AT(table)} and ${sql.raw(table)}.gone_at < now() - make_interval(secs => ${GRACE_SECONDS}), false)`

/** Which way a node comes: with a token, with a key that signs its requests, or with what charon posts, which a key has signed as well. */
export type CameBy = 'token' | 'node_key' | 'operator_key' | 'charon'
/**
 * The same of a row of `nodes_seen`; null where no tokens are set. Names of keys hold a colon, and those of tokens none; who says of itself
 * that it is charon says a version too, and what charon posts says none.
 */
export const cameBy = (table: string): SQL =>
  sql.raw(`case when ${table}.token_name like 'node:%' and ${table}.software = 'charon' and ${table}.version is null then 'charon'
                when ${table}.token_name like 'node:%' then 'node_key'
                when ${table}.token_name like 'operator:%' then 'operator_key'
                when ${table}.token_name <> 'anybody' then 'token' end`)

/**
 * Writes what was seen, newer over older, whoever writes first. Of share indexes that callers only claim, a token gets no new row once it
 * has `mostRows`.
 */
export async function storeNodesSeen(db: Sql, nodes: readonly NodeSeenRow[], mostRows: number): Promise<void> {
  const seen = nodes.map((node) => ({
    token_name: node.token,
    share_index: node.shareIndex,
    is_ours: node.isOurs,
    seen_ago: node.seenSecondsAgo,
    listed_ago: node.listedSecondsAgo,
    posted_ago: node.postedSecondsAgo,
    refused_ago: node.refusedSecondsAgo,
    refusal_code: node.refusalCode,
    gone_ago: node.goneSecondsAgo,
    software: node.software,
    version: node.version,
    clock: node.clockDifferenceSeconds,
  }))
  const ago = (column: string) => sql`now() - make_interval(secs => ${sql.raw(`s.${column}`)})`
  await db.execute(sql`
    insert into nodes_seen as n (token_name, share_index, seen_at, listed_at, posted_at, refused_at, refusal_code, software, version,
                                 clock_difference_seconds, gone_at, online_since)
    select s.token_name, s.share_index, ${ago('seen_ago')}, ${ago('listed_ago')}, ${ago('posted_ago')}, ${ago('refused_ago')},
           s.refusal_code, s.software, s.version, s.clock, ${ago('gone_ago')},
           case when coalesce(s.listed_ago, s.posted_ago) is not null then ${ago('seen_ago')} end
    from jsonb_to_recordset(${sql.param(JSON.stringify(seen))}::jsonb) as s (
           token_name text, share_index bigint, is_ours boolean, seen_ago float8, listed_ago float8, posted_ago float8,
           refused_ago float8, refusal_code text, gone_ago float8, software text, version text, clock int)
    where s.is_ours
       or exists (select from nodes_seen o where o.token_name = s.token_name and o.share_index = s.share_index)
       or (select count(*) from nodes_seen o where o.token_name = s.token_name) < ${mostRows}
    order by s.token_name, s.share_index
    on conflict (token_name, share_index) do update set
      seen_at = greatest(n.seen_at, excluded.seen_at),
      listed_at = greatest(n.listed_at, excluded.listed_at),
      posted_at = greatest(n.posted_at, excluded.posted_at),
      refused_at = greatest(n.refused_at, excluded.refused_at),
      refusal_code = case when excluded.refused_at >= coalesce(n.refused_at, '-infinity') then excluded.refusal_code else n.refusal_code end,
      software = case when excluded.seen_at >= n.seen_at then excluded.software else n.software end,
      version = case when excluded.seen_at >= n.seen_at then excluded.version else n.version end,
      clock_difference_seconds = case when excluded.listed_at >= coalesce(n.listed_at, '-infinity')
                                      then excluded.clock_difference_seconds else n.clock_difference_seconds end,
      gone_at = greatest(n.gone_at, excluded.gone_at),
      online_since = case when excluded.online_since is null then n.online_since
                          when n.online_since is null or ${isGone('n')}
                               or ${THERE_AT('n')} < excluded.online_since - make_interval(secs => ${AWAY_SECONDS})
                          then excluded.online_since else n.online_since end`)
}

/** Forgets nodes that nobody has seen for so long. */
export async function pruneNodesSeen(db: Sql, maxAgeSeconds: number): Promise<void> {
  await db.execute(sql`delete from nodes_seen where seen_at < now() - make_interval(secs => ${maxAgeSeconds})`)
}

/** Which programs the nodes name that were there within so many seconds, and how many name each, the most first. */
export function countPrograms(
  db: Sql,
  withinSeconds: number,
  limit: number,
): Promise<{ software: string | null; version: string | null; nodes: number }[]> {
  return rows(
    db,
    { software: orNull(text), version: orNull(text), nodes: number },
    sql`select software, version, count(*) as nodes from nodes_seen
        where greatest(listed_at, posted_at) > now() - make_interval(secs => ${withinSeconds})
        group by software, version order by nodes desc, software, version limit ${limit}`,
  )
}

/**
 * How many seconds ago a node of each share index, charon without a sidecar apart, last asked for a list or handed something in, the newest
 * first. Charon comes when it signs: a share index that it came for last is left out, unless several clusters have it. There it says
 * nothing of the others' nodes.
 */
export function findLastSeen(db: Sql): Promise<{ shareIndex: number; seconds: number }[]> {
  return rows(
    db,
    { shareIndex: number, seconds: number },
    sql`with seen as (
          select share_index, max(there_at) filter (where came_by is distinct from 'charon') as there_at,
                 (array_agg(came_by order by seen_at desc))[1] is not distinct from 'charon' as is_charons
          from (select share_index, seen_at, ${THERE_AT('nodes_seen')} as there_at, ${cameBy('nodes_seen')} as came_by from nodes_seen
                where share_index > 0 and coalesce(listed_at, posted_at) is not null) n
          group by share_index)
        select s.share_index, extract(epoch from now() - s.there_at)::float8 as seconds from seen s
        where s.there_at is not null and (not s.is_charons or 1 < (
          select count(*) from clusters c
          join key_shares k on k.share_index = s.share_index and k.validator_id = (
            select f.id from validators f where f.cluster_id = c.id order by f.place, f.id limit 1)))
        order by 2, 1`,
  )
}

/** The nodes that were seen within so many seconds and said who they are, the newest first; `seenSeconds` is Unix time. */
export function findNamedNodes(
  db: Sql,
  withinSeconds: number,
  limit: number,
): Promise<{ name: string; shareIndex: number; seenSeconds: number; cameBy: CameBy }[]> {
  return rows(
    db,
    { name: text, shareIndex: number, seenSeconds: number, cameBy: oneOf<CameBy>() },
    sql`select n.token_name as name, n.share_index, extract(epoch from n.seen_at)::float8 as seen_seconds, ${cameBy('n')} as came_by
        from nodes_seen n
        where ${cameBy('n')} is not null and n.seen_at > now() - make_interval(secs => ${withinSeconds})
        order by n.seen_at desc, n.token_name, n.share_index limit ${limit}`,
  )
}
