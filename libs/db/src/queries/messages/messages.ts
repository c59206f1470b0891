/** Messages: exits and deposits, from an operator's request to ready. One statement a function; no rule lives here. */

import type { SQL } from 'drizzle-orm'
import { and, sql } from 'drizzle-orm'
import { messages } from '../../schema.ts'
import type { Columns, RowOf } from '../rows.ts'
import { bytes, number, oneOf, oneRow, orNull, rows, text } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, isAny, numberArray, textArray } from '../sql.ts'
import { bindProven, holdUnproven } from './deposit-bindings.ts'
import { OWNER } from './validators.ts'

/** The states of messages that count, as a list of SQL. */
export const LIVE: SQL = sql.raw(`('collecting', 'ready')`)
/** Whether a message is live. */
export const isLive: SQL = sql`${messages.state} in ${LIVE}`

export type MessageKind = (typeof messages.$inferSelect)['kind']

/** A message of a validator that counts: the live one, else the one that expired last. */
const message = {
  id: number,
  publicKey: bytes,
  state: oneOf<'collecting' | 'ready' | 'expired'>(),
  requester: orNull(text),
  /** The vault that alone may have its validator, where there is one. */
  owner: orNull(bytes),
  /** Seconds since an operator last asked. */
  idleSeconds: number,
}
const exit = { ...message, validatorIndex: number }
export type ExitRow = RowOf<typeof exit>
const deposit = { ...message, vault: bytes, amountGwei: number, validatorType: oneOf<'0x01' | '0x02'>() }
export type DepositRow = RowOf<typeof deposit>

const findMessages = <C extends Columns>(
  db: Sql,
  columns: C,
  kind: MessageKind,
  content: SQL,
  publicKeys: readonly Uint8Array[],
) =>
  rows(
    db,
    columns,
    sql`select distinct on (v.id) m.id, v.public_key, m.state, m.requester, ${OWNER} as owner, ${content},
               extract(epoch from now() - m.requested_at)::float8 as idle_seconds
        from validators v join messages m on m.validator_id = v.id and m.kind = ${kind}
        where v.public_key = any(${bytesArray(publicKeys)}) and m.state in ('collecting', 'ready', 'expired')
        order by v.id, m.state = 'expired', m.id desc`,
  )

/** The exits of these validators that are live or may come back. */
export const findExits = (db: Sql, publicKeys: readonly Uint8Array[]): Promise<ExitRow[]> =>
  findMessages(db, exit, 'exit', sql`m.validator_index`, publicKeys)

/** The deposits of these validators that are live or may come back. */
export const findDeposits = (db: Sql, publicKeys: readonly Uint8Array[]): Promise<DepositRow[]> =>
  findMessages(db, deposit, 'deposit', sql`m.vault, m.amount_gwei, m.validator_type`, publicKeys)

/** A message, and who asks for it: null takes nobody's name away. */
interface AskedMessage {
  id: number
  requester: string | null
}

/** A new exit to collect. */
interface NewExit {
  validatorId: number
  requester: string | null
  validatorIndex: number
  epoch: number
  signingRoot: Uint8Array
  threshold: number
}

/** Inserts exits in state `collecting`; returns their ids. */
export async function insertExits(tx: Sql, exits: readonly NewExit[]): Promise<number[]> {
  if (exits.length === 0) return []
  const inserted = await rows(
    tx,
    { id: number },
    sql`insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, requester)
        select e.validator_id, 'exit', e.validator_index, e.epoch, e.signing_root, e.threshold, 'collecting', e.requester
        from unnest(${numberArray(exits.map((exit) => exit.validatorId))}, ${numberArray(exits.map((exit) => exit.validatorIndex))},
                    ${numberArray(exits.map((exit) => exit.epoch))}, ${bytesArray(exits.map((exit) => exit.signingRoot))},
                    ${numberArray(exits.map((exit) => exit.threshold))}, ${textArray(exits.map((exit) => exit.requester))})
             as e (validator_id, validator_index, epoch, signing_root, threshold, requester)
        returning id`,
  )
  return inserted.map(({ id }) => id)
}

/** A new deposit to collect. */
interface NewDeposit {
  validatorId: number
  requester: string | null
  vault: Uint8Array
  amountGwei: number
  validatorType: '0x01' | '0x02'
  signingRoot: Uint8Array
  threshold: number
}

/** Inserts deposits in state `collecting`; returns their ids. */
export async function insertDeposits(tx: Sql, deposits: readonly NewDeposit[]): Promise<number[]> {
  if (deposits.length === 0) return []
  const inserted = await rows(
    tx,
    { id: number },
    sql`insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state, requester)
        select d.validator_id, 'deposit', d.vault, d.amount_gwei, d.validator_type, d.signing_root, d.threshold, 'collecting', d.requester
        from unnest(${numberArray(deposits.map((deposit) => deposit.validatorId))}, ${bytesArray(deposits.map((deposit) => deposit.vault))},
                    ${numberArray(deposits.map((deposit) => deposit.amountGwei))}, ${textArray(deposits.map((deposit) => deposit.validatorType))},
                    ${bytesArray(deposits.map((deposit) => deposit.signingRoot))}, ${numberArray(deposits.map((deposit) => deposit.threshold))},
                    ${textArray(deposits.map((deposit) => deposit.requester))})
             as d (validator_id, vault, amount_gwei, validator_type, signing_root, threshold, requester)
        returning id`,
  )
  return inserted.map(({ id }) => id)
}

/**
 * Ends messages whose content changed: their partial signatures are void and deleted. A deposit that had verified ones binds its
 * validator to its vault first; others hold it. Nobody asks for them any more, so `requested_at` becomes the time of their end, from
 * which they are kept. Callers hold the validators.
 */
export async function supersedeMessages(tx: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  const ids = sql`m.id = any(${numberArray(messageIds)})`
  await bindProven(tx, ids)
  await holdUnproven(tx, ids)
  await tx.execute(sql`
    with voided as (delete from partial_signatures where message_id = any(${numberArray(messageIds)}))
    update messages set state = 'superseded', requested_at = now() where id = any(${numberArray(messageIds)})`)
}

/** Brings expired messages back, with whatever was collected for them. */
export async function reviveMessages(tx: Sql, asked: readonly AskedMessage[]): Promise<void> {
  if (asked.length === 0) return
  await tx.execute(sql`
    update messages m set state = case when m.signature is null then 'collecting' else 'ready' end,
                          requester = coalesce(a.requester, m.requester), requested_at = now()
    from ${askedTable(asked)} where m.id = a.id`)
}

/** Notes that an operator asked for these messages, and which one. */
export async function touchMessages(db: Sql, asked: readonly AskedMessage[]): Promise<void> {
  if (asked.length === 0) return
  await db.execute(sql`
    with touched as (select id from messages where id = any(${numberArray(asked.map(({ id }) => id))}) order by id for update)
    update messages m set requested_at = now(), requester = coalesce(a.requester, m.requester)
    from touched t join ${askedTable(asked)} on a.id = t.id where m.id = t.id`)
}

const askedTable = (asked: readonly AskedMessage[]): SQL =>
  sql`unnest(${numberArray(asked.map(({ id }) => id))}, ${textArray(asked.map(({ requester }) => requester))}) as a (id, requester)`

/** Ends the life of messages nobody has asked for within `lifetimeSeconds`, at most `limit` at once. */
export function expireMessages(
  tx: Sql,
  lifetimeSeconds: number,
  limit: number,
): Promise<{ id: number; kind: MessageKind }[]> {
  return rows(
    tx,
    { id: number, kind: oneOf<MessageKind>() },
    sql`with idle as (
          select id from messages
          where state in ${LIVE} and requested_at < now() - make_interval(secs => ${lifetimeSeconds}::float8)
          order by id limit ${limit} for update skip locked)
        update messages m set state = 'expired' from idle where m.id = idle.id returning m.id, m.kind`,
  )
}

/** Ends the life of these messages: nobody asks for them any more. They come back, with what was collected, when somebody does. */
export async function retireMessages(tx: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  await tx
    .update(messages)
    .set({ state: 'expired' })
    .where(and(isAny(messages.id, numberArray(messageIds)), isLive))
}

/**
 * Deletes messages that were superseded more than `seconds` ago, with all that was made of them, at most `limit`. The one with the
 * newest revision of its kind stays, so that a process that starts now comes to the same revision as those that have seen it. Returns how
 * many were deleted.
 */
export async function deleteSuperseded(db: Sql, seconds: number, limit: number): Promise<number> {
  const { rowCount } = await db.execute(sql`
    with old as (select id from messages s
                 where state = 'superseded' and requested_at < now() - make_interval(secs => ${seconds}::float8)
                   and exists (select from messages n where n.kind = s.kind and (n.revision, n.id) > (s.revision, s.id))
                 order by requested_at limit ${limit} for update skip locked)
    delete from messages m using old where m.id = old.id`)
  return rowCount ?? 0
}

/** How many live exits a requester has. */
export async function countLiveExits(db: Sql, requester: string | null): Promise<number> {
  const row = await oneRow(
    db,
    { count: number },
    sql`select count(*) as count from messages
        where kind = 'exit' and state in ${LIVE} and requester is not distinct from ${requester}::text`,
  )
  return row.count
}
