/** Exits: the messages of kind `exit`, from an operator's request to ready. One statement a function; no rule lives here. */

import { sql } from 'drizzle-orm'
import type { Sql } from './sql.ts'
import { bytesArray, numberArray, rows } from './sql.ts'

const LIVE = sql.raw(`('collecting', 'ready')`)

/** A validator row, locked for the transaction that decides about its messages. */
export interface ValidatorRow {
  id: number
  public_key: Buffer
  threshold: number | null
  withdrawal_address: Buffer | null
}

/** Makes sure that the validators exist. */
export async function insertValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<void> {
  await db.execute(sql`
    insert into validators (public_key) select key from unnest(${bytesArray(publicKeys)}) key order by key
    on conflict (public_key) do nothing`)
}

/** The validators of these keys that exist, with the threshold of their cluster. */
export function findValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  return rows<ValidatorRow>(
    db,
    sql`select v.id, v.public_key, c.threshold, v.withdrawal_address
        from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)})`,
  )
}

/** The same, locked in one order for everybody. */
export function lockValidators(tx: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  return rows<ValidatorRow>(
    tx,
    sql`select v.id, v.public_key, c.threshold, v.withdrawal_address
        from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)}) order by v.public_key for update of v`,
  )
}

/** The exit of a validator that counts: its live one, else the one that expired last. */
export interface ExitRow {
  id: number
  public_key: Buffer
  validator_index: number
  state: 'collecting' | 'ready' | 'expired'
  requester: string | null
  withdrawal_address: Buffer | null
  /** Seconds since an operator last asked. */
  idle_seconds: number
}

/** The exits of these validators that are live or may come back. */
export function findExits(db: Sql, publicKeys: readonly Uint8Array[]): Promise<ExitRow[]> {
  return rows<ExitRow>(
    db,
    sql`select distinct on (v.id) m.id, v.public_key, m.validator_index, m.state, m.requester, v.withdrawal_address,
               extract(epoch from now() - m.requested_at)::float8 as idle_seconds
        from validators v join messages m on m.validator_id = v.id and m.kind = 'exit'
        where v.public_key = any(${bytesArray(publicKeys)}) and m.state in ('collecting', 'ready', 'expired')
        order by v.id, m.state = 'expired', m.id desc`,
  )
}

/** A new exit to collect. */
export interface NewExit {
  validatorId: number
  validatorIndex: number
  epoch: number
  signingRoot: Uint8Array
  threshold: number
}

/** Inserts exits in state `collecting`; returns their ids. */
export async function insertExits(tx: Sql, exits: readonly NewExit[], requester: string | null): Promise<number[]> {
  if (exits.length === 0) return []
  const inserted = await rows<{ id: number }>(
    tx,
    sql`insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, requester)
        select e.validator_id, 'exit', e.validator_index, e.epoch, e.signing_root, e.threshold, 'collecting', ${requester}::text
        from unnest(${numberArray(exits.map((exit) => exit.validatorId))}, ${numberArray(exits.map((exit) => exit.validatorIndex))},
                    ${numberArray(exits.map((exit) => exit.epoch))}, ${bytesArray(exits.map((exit) => exit.signingRoot))},
                    ${numberArray(exits.map((exit) => exit.threshold))}) as e (validator_id, validator_index, epoch, signing_root, threshold)
        returning id`,
  )
  return inserted.map(({ id }) => id)
}

/** Ends exits whose index changed: their partial signatures are void and deleted. */
export async function supersedeExits(tx: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  await tx.execute(sql`
    with voided as (delete from partial_signatures where message_id = any(${numberArray(messageIds)}))
    update messages set state = 'superseded' where id = any(${numberArray(messageIds)})`)
}

/** Brings expired exits back, with whatever was collected for them, for a requester. */
export async function reviveExits(tx: Sql, messageIds: readonly number[], requester: string | null): Promise<void> {
  if (messageIds.length === 0) return
  await tx.execute(sql`
    update messages set state = case when signature is null then 'collecting' else 'ready' end,
                        requester = ${requester}::text, requested_at = now()
    where id = any(${numberArray(messageIds)})`)
}

/** Notes that an operator asked for these exits, and which one. */
export async function touchExits(db: Sql, messageIds: readonly number[], requester: string | null): Promise<void> {
  if (messageIds.length === 0) return
  await db.execute(sql`
    with touched as (select id from messages where id = any(${numberArray(messageIds)}) order by id for update)
    update messages m set requested_at = now(), requester = ${requester}::text from touched t where m.id = t.id`)
}

/** Ends the life of exits nobody has asked for within `lifetimeSeconds`, at most `limit` at once; returns their ids. */
export async function expireExits(tx: Sql, lifetimeSeconds: number, limit: number): Promise<number[]> {
  const expired = await rows<{ id: number }>(
    tx,
    sql`with idle as (
          select id from messages
          where state in ${LIVE} and requested_at < now() - make_interval(secs => ${lifetimeSeconds}::float8)
          order by id limit ${limit} for update skip locked)
        update messages m set state = 'expired' from idle where m.id = idle.id returning m.id`,
  )
  return expired.map(({ id }) => id)
}

/** How many live exits a requester has. */
export async function countLiveExits(db: Sql, requester: string | null): Promise<number> {
  const [row] = await rows<{ count: number }>(
    db,
    sql`select count(*) as count from messages
        where kind = 'exit' and state in ${LIVE} and requester is not distinct from ${requester}::text`,
  )
  return row?.count ?? 0
}

/** How many live exits are in each state. */
export function countExitsByState(db: Sql): Promise<{ state: 'collecting' | 'ready'; count: number }[]> {
  return rows(
    db,
    sql`select state, count(*) as count from messages where kind = 'exit' and state in ${LIVE} group by state`,
  )
}

/** What a list shows of an exit. */
export interface ExitListRow {
  id: number
  revision: number
  state: 'collecting' | 'ready' | 'superseded' | 'expired'
  public_key: Buffer
  validator_index: number
  created_at_seconds: number
  /** Share indexes by state, comma separated, ascending; null when there are none. */
  verified: string | null
  unverified: string | null
  rejected: string | null
}

/** The exits that changed after a row already seen (all live ones from `start`), in the order of their changes, at most `limit`. */
export function findChangedExits(
  db: Sql,
  after: { revision: number; id: number },
  limit: number,
): Promise<ExitListRow[]> {
  return rows<ExitListRow>(
    db,
    sql`select m.id, m.revision, m.state, v.public_key, m.validator_index,
               floor(extract(epoch from m.created_at))::bigint as created_at_seconds, p.verified, p.unverified, p.rejected
        from messages m join validators v on v.id = m.validator_id
        left join lateral (
          select string_agg(distinct s.share_index::text, ',') filter (where s.state = 'verified') as verified,
                 string_agg(distinct s.share_index::text, ',') filter (where s.state = 'unverified') as unverified,
                 string_agg(distinct s.share_index::text, ',') filter (where s.state = 'rejected') as rejected
          from partial_signatures s where s.message_id = m.id and m.state in ${LIVE}) p on true
        where m.kind = 'exit' and (m.revision, m.id) > (${after.revision}::bigint, ${after.id}::bigint)
          and (${after.revision}::bigint > 0 or m.state in ${LIVE})
        order by m.revision, m.id limit ${limit}`,
  )
}
