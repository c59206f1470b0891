/** What the lists for sidecars show, in the order of its changes. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { RowOf } from '../rows.ts'
import { boolean, bytes, firstRow, number, oneOf, orNull, rows, text } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { textArray } from '../sql.ts'
import { IS_GIVEN } from './lock-deposits.ts'
import { LIVE, type MessageKind } from './messages.ts'

/** What stands in both lists. */
const listed = {
  /** What the row is about: a message of the exit list, a validator of the validator list. */
  id: number,
  /** Orders the changes, with the message that changed. */
  revision: number,
  messageId: number,
  /** Whether it is in the list now. */
  isListed: boolean,
  isReady: boolean,
  publicKey: bytes,
  validatorIndex: number,
  createdAtSeconds: number,
  /** Share indexes by state, comma separated; null when there are none. */
  verified: orNull(text),
  unverified: orNull(text),
  rejected: orNull(text),
}
/** What `GET /exits` shows of an exit. */
export type ExitListRow = RowOf<typeof listed>

const listedValidator = { ...listed, vault: bytes, amountGwei: number, validatorType: oneOf<'0x01' | '0x02'>() }
/** What `GET /validators` shows of a validator. Where it is not listed, the fields of its messages are null. */
export type ValidatorListRow = RowOf<typeof listedValidator>

/** Where a reader of changes is. */
export interface ListCursor {
  revision: number
  messageId: number
}

/** The newest revision of messages of these kinds, dead ones included; 0 where there are none. */
export async function findNewestRevision(db: Sql, kinds: readonly MessageKind[]): Promise<number> {
  const row = await firstRow(
    db,
    { revision: number },
    sql`select revision from messages where kind = any(${textArray(kinds)}) order by revision desc limit 1`,
  )
  return row?.revision ?? 0
}

/** The exits that changed after a row already seen (all live ones from `start`), in the order of their changes, at most `limit`. */
export function findChangedExits(db: Sql, after: ListCursor, limit: number): Promise<ExitListRow[]> {
  return rows(
    db,
    listed,
    sql`select m.id, m.id as message_id, m.revision, m.state in ${LIVE} as is_listed, m.state = 'ready' as is_ready, v.public_key,
               m.validator_index, floor(extract(epoch from m.created_at))::bigint as created_at_seconds, p.verified, p.unverified, p.rejected
        from messages m join validators v on v.id = m.validator_id
        left join lateral (
          select string_agg(distinct s.share_index::text, ',') filter (where s.state = 'verified') as verified,
                 string_agg(distinct s.share_index::text, ',') filter (where s.state = 'unverified') as unverified,
                 string_agg(distinct s.share_index::text, ',') filter (where s.state = 'rejected') as rejected
          from partial_signatures s where s.message_id = m.id and m.state in ${LIVE}) p on true
        where m.kind = 'exit' and (m.revision, m.id) > (${after.revision}::bigint, ${after.messageId}::bigint)
          and (${after.revision}::bigint > 0 or m.state in ${LIVE})
        order by m.revision, m.id limit ${limit}`,
  )
}

/** What is asked of the live message of a kind of the validator of `m`, which is looked up by itself. */
const ofLive = (kind: MessageKind, columns: string): SQL =>
  sql`(select ${sql.raw(columns)} from messages o
       where o.validator_id = m.validator_id and o.kind = ${sql.raw(`'${kind}'`)} and o.state in ${LIVE} offset 0)`

/**
 * The validators any of whose messages changed after a row already seen, as they are now, in the order of the changes; from `start`
 * both messages of those with a live deposit, so that a validator is told of with the later of the two. A share index is verified
 * when both signatures are; where a lock has given the deposit's, its exit says all: a node has nothing else to sign. What changed is found
 * first, and then what belongs to each.
 */
export function findChangedValidators(db: Sql, after: ListCursor, limit: number): Promise<ValidatorListRow[]> {
  return rows(
    db,
    listedValidator,
    sql`select v.id, m.id as message_id, m.revision, e.id is not null and d.id is not null as is_listed,
               e.state = 'ready' and d.state = 'ready' as is_ready, v.public_key, e.validator_index, d.vault, d.amount_gwei, d.validator_type,
               floor(extract(epoch from greatest(e.created_at, d.created_at)))::bigint as created_at_seconds, p.verified, p.unverified, p.rejected
        from (select m.id, m.revision, m.validator_id from messages m
              where (m.revision, m.id) > (${after.revision}::bigint, ${after.messageId}::bigint)
                and (${after.revision}::bigint > 0 or (m.state in ${LIVE} and exists (
                  select from messages o where o.validator_id = m.validator_id and o.kind = 'deposit' and o.state in ${LIVE})))
              order by m.revision, m.id limit ${limit}) m
        cross join lateral (select v.id, v.public_key from validators v where v.id = m.validator_id offset 0) v
        left join lateral ${ofLive('exit', 'o.id, o.state, o.validator_index, o.created_at')} e on true
        left join lateral ${ofLive('deposit', 'o.id, o.validator_id, o.state, o.vault, o.amount_gwei, o.validator_type, o.created_at')} d on true
        cross join lateral (select coalesce(${IS_GIVEN}, false) as is_given offset 0) g
        left join lateral (
          select string_agg(i.share_index::text, ',') filter (where i.verified = case when g.is_given then 1 else 2 end) as verified,
                 string_agg(i.share_index::text, ',') filter (where i.unverified) as unverified,
                 string_agg(i.share_index::text, ',') filter (where i.rejected) as rejected
          from (select s.share_index, count(*) filter (where s.state = 'verified') as verified,
                       bool_or(s.state = 'unverified') as unverified, bool_or(s.state = 'rejected') as rejected
                from partial_signatures s
                where s.message_id = e.id or (s.message_id = d.id and not g.is_given) group by s.share_index) i) p
          on e.id is not null and d.id is not null
        order by m.revision, m.id`,
  )
}
