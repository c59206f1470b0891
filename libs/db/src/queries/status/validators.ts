/** Validators of a page, found by index, and no further than so many rows: whatever the caller's token covers. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import { OWNER } from '../messages/validators.ts'
import { bytes, number, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, bytesParam, numberArray } from '../sql.ts'

/** What is looked for: undefined is not bound. */
interface Scope {
  vaults: readonly Uint8Array[] | undefined
  shareIndexes: readonly number[] | undefined
  clusterIds?: ReadonlySet<number> | undefined
}

/** Whether the validator `v` is of one of the vaults and of the clusters, and may have a node of one of the share indexes. */
const isCovered = ({ vaults, shareIndexes, clusterIds }: Scope): SQL => {
  const ofVault =
    vaults === undefined ? sql`true` : sql`coalesce(v.beacon_vault, ${OWNER}, v.vault) = any(${bytesArray(vaults)})`
  const ofNode =
    shareIndexes === undefined
      ? sql`true`
      : sql`(exists (select from key_shares k where k.validator_id = v.id and k.share_index = any(${numberArray(shareIndexes)}))
             or not exists (select from key_shares k where k.validator_id = v.id))`
  const ofCluster = clusterIds === undefined ? sql`true` : sql`v.cluster_id = any(${numberArray([...clusterIds])})`
  return sql`${ofVault} and ${ofNode} and ${ofCluster}`
}

/** Some validators, and where to go on; null where there are no more. */
export interface ValidatorPage {
  publicKeys: Buffer[]
  next: number | null
}

/**
 * Validators of which something is collected, by the message that was asked for first, behind `after`. Of at most `mostLooked` messages
 * those that the scope covers: a page may have fewer than `limit` and still not be the last. Which of a validator's two messages is the first
 * is looked up by the validator, which `offset 0` makes sure of: PostgreSQL goes through all that are collected while it believes them few.
 */
export async function findCollectingPage(
  db: Sql,
  scope: Scope,
  { after, limit, mostLooked }: { after: number; limit: number; mostLooked: number },
): Promise<ValidatorPage> {
  const found = await rows(
    db,
    { messageId: orNull(number), publicKey: orNull(bytes), looked: number },
    sql`with looked as materialized (
          select m.id, m.validator_id from (values ('exit'), ('deposit')) as k (kind) cross join lateral (
            select id, validator_id from messages
            where kind <= k.kind and state = 'collecting' and (kind, id) > (k.kind, ${after}::bigint)
            order by kind, id limit ${mostLooked}::int) m
          order by m.id limit ${mostLooked}::int),
        page as materialized (
          select l.id, v.public_key from looked l join validators v on v.id = l.validator_id
          where ${isCovered(scope)} and l.id = (
            select min(o.id) from (select id, state from messages where validator_id = v.id offset 0) o where o.state = 'collecting')
          order by l.id limit ${limit + 1}::int)
        select id as message_id, public_key, 0::bigint as looked from page
        union all select max(id), null::bytea, count(*) from looked order by looked, message_id`,
  )
  const end = found.at(-1)
  const page = found.slice(0, -1).slice(0, limit)
  const isFull = found.length - 1 > limit
  const isCutOff = end !== undefined && end.looked >= mostLooked
  const next = isFull ? (page.at(-1)?.messageId ?? null) : isCutOff ? end.messageId : null
  return { publicKeys: page.flatMap(({ publicKey }) => publicKey ?? []), next }
}

/** Validators whose public key lies between two, in whatever state. */
export async function findByKeyRange(
  db: Sql,
  scope: Scope,
  { from, to, limit, mostLooked }: { from: Uint8Array; to: Uint8Array; limit: number; mostLooked: number },
): Promise<Buffer[]> {
  const found = await rows(
    db,
    { publicKey: bytes },
    sql`with looked as materialized (
          select * from validators where public_key >= ${bytesParam(from)} and public_key <= ${bytesParam(to)}
          order by public_key limit ${mostLooked}::int)
        select v.public_key from looked v where ${isCovered(scope)} order by v.public_key limit ${limit}::int`,
  )
  return found.map(({ publicKey }) => publicKey)
}
