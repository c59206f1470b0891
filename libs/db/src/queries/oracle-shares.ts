/** Oracle sets, and the oracle shares of exits under them. */

import type { SQL } from 'drizzle-orm'
import { and, eq, lte, ne, sql } from 'drizzle-orm'
import { messages as messagesTable, oracleSets, oracleShares } from '../schema.ts'
import type { MessageKind } from './messages/messages.ts'
import type { RowOf } from './rows.ts'
import { boolean, bytes, firstRow, json, number, oneOf, orNull, rows, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { asBuffer, bytesArray, isAny, numberArray } from './sql.ts'

/** The channel that tells of a new current oracle set. */
export const ORACLE_SETS_CHANNEL = 'dvt_oracle_sets'

const oracleSet = {
  id: number,
  cid: text,
  threshold: number,
  publicKeys: bytes,
  blockNumber: number,
  /** Unix seconds. */
  announcedAt: number,
  /** The config without its keys, as the relayer's oracle sets keep it. */
  config: json,
}
export type OracleSetRow = RowOf<typeof oracleSet>

/** The oracle set in force, if any was ever adopted. */
export function findCurrentOracleSet(db: Sql): Promise<OracleSetRow | undefined> {
  return firstRow(
    db,
    oracleSet,
    sql`select id, cid, threshold, public_keys, block_number, extract(epoch from announced_at)::float8 as announced_at, config
        from oracle_sets where is_current`,
  )
}

/** The id of the oracle set in force. */
export async function findCurrentOracleSetId(db: Sql): Promise<number | undefined> {
  const [row] = await db.select({ id: oracleSets.id }).from(oracleSets).where(eq(oracleSets.isCurrent, true))
  return row?.id
}

/**
 * Makes an announced config the current oracle set, as a row of its own also where one of the same CID was there before, and tells
 * everybody. Does nothing while the current one is of that CID, or was announced later. Run in a transaction.
 */
export async function adoptOracleSet(
  tx: Sql,
  set: {
    cid: string
    threshold: number
    publicKeys: Uint8Array
    config: unknown
    blockNumber: number
    /** Unix seconds. */
    announcedAt: number
  },
): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtext('oracle_sets.current'))`)
  await tx
    .update(oracleSets)
    .set({ isCurrent: false })
    .where(and(oracleSets.isCurrent, ne(oracleSets.cid, set.cid), lte(oracleSets.blockNumber, set.blockNumber)))
  await tx
    .insert(oracleSets)
    .values({
      cid: set.cid,
      threshold: set.threshold,
      publicKeys: asBuffer(set.publicKeys),
      config: set.config,
      blockNumber: set.blockNumber,
      announcedAt: sql`to_timestamp(${set.announcedAt}::float8)`,
      isCurrent: true,
    })
    .onConflictDoNothing({ target: oracleSets.isCurrent, where: sql`is_current` })
  await tx.execute(sql`select pg_notify(${ORACLE_SETS_CHANNEL}, ${set.cid})`)
}

const toFinish = {
  id: number,
  kind: oneOf<MessageKind>(),
  state: oneOf<'collecting' | 'ready' | 'expired'>(),
  publicKey: bytes,
  signingRoot: bytes,
  threshold: number,
  signature: orNull(bytes),
  requester: orNull(text),
  /** Of an exit. */
  epoch: orNull(number),
  validatorIndex: orNull(number),
  /** Whether it is to be split for the given oracle set. */
  needsOracleShares: boolean,
  /** Whether the validator has trusted public key shares. */
  hasKeyShares: boolean,
}
/** A message as a worker needs it to finish it. */
export type FinishRow = RowOf<typeof toFinish>

/** Who asks for the exit of a registered validator, for shares of a new oracle set. Names of tokens have no colon. */
export const ROTATION_REQUESTER = 'rotation:'

/**
 * Whether exit `m` is split for every new oracle set: not once its validator is registered, for then the chain goes by the set it was
 * registered with, unless a rotation asks.
 */
export const IS_SPLIT_ANEW: SQL = sql.raw(
  `(m.requester is not distinct from '${ROTATION_REQUESTER}' or (select r.registered_at is null from validators r where r.id = m.validator_id))`,
)

/** The live messages among these ids, and the expired deposits, with whether they are to be split for the given oracle set. */
export function findMessagesToFinish(
  db: Sql,
  messageIds: readonly number[],
  oracleSetId: number | null,
): Promise<FinishRow[]> {
  return rows(
    db,
    toFinish,
    sql`select m.id, m.kind, m.state, v.public_key, m.signing_root, m.threshold, m.signature, m.requester, m.epoch, m.validator_index,
               m.kind = 'exit' and ${oracleSetId}::bigint is not null and ${IS_SPLIT_ANEW} and not exists (
                 select from oracle_shares s where s.message_id = m.id and s.oracle_set_id = ${oracleSetId}::bigint) as needs_oracle_shares,
               exists (select from key_shares k where k.validator_id = m.validator_id) as has_key_shares
        from messages m join validators v on v.id = m.validator_id
        where m.id = any(${numberArray(messageIds)})
          and (m.state in ('collecting', 'ready') or (m.kind = 'deposit' and m.state = 'expired')) order by m.id`,
  )
}

/** Keeps the full signatures of collecting messages, which become ready. Callers have locked them. */
export async function completeMessages(
  tx: Sql,
  messages: readonly { messageId: number; sealed: Uint8Array }[],
): Promise<number[]> {
  if (messages.length === 0) return []
  const completed = await rows(
    tx,
    { id: number },
    sql`update messages m set signature = e.sealed, state = 'ready', ready_at = now(), failed_attempts = 0
        from unnest(${numberArray(messages.map(({ messageId }) => messageId))}, ${bytesArray(messages.map(({ sealed }) => sealed))}) as e (id, sealed)
        where m.id = e.id and m.state = 'collecting' returning m.id`,
  )
  return completed.map(({ id }) => id)
}

/** Ends a worker's claim on messages, so that what comes later is not kept waiting for it. */
export async function releaseMessages(tx: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  await tx
    .update(messagesTable)
    .set({ queuedAt: null })
    .where(isAny(messagesTable.id, numberArray(messageIds)))
}

/**
 * Gives back messages that were claimed and could not be handed to a worker: whoever looks next takes them. They are still looked at as what
 * was handed out, for nothing else tells of them. Taken in the order in which everybody locks messages.
 */
export async function giveBackMessages(db: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  await db.execute(sql`
    with claimed as (
      select id from messages where id = any(${numberArray(messageIds)}) and queued_at is not null order by id for update)
    update messages m set queued_at = to_timestamp(0) from claimed c where m.id = c.id`)
}

/** Counts an attempt that found no signature, or came to no end, so that the next one waits longer. Taken in the order of everybody's locks. */
export async function countFailedAttempts(db: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  await db.execute(sql`
    with failed as (
      select id from messages where id = any(${numberArray(messageIds)}) and state in ('collecting', 'expired') order by id for update)
    update messages m set failed_attempts = m.failed_attempts + 1, queued_at = now() from failed f where m.id = f.id`)
}

/** The shares of one exit, places concatenated. */
interface NewOracleShares {
  messageId: number
  publicKeyShares: Uint8Array
  ciphertexts: Uint8Array
  /** 32 bytes, of `shareReceipt`. */
  receipt: Uint8Array
}

/**
 * Stores share sets, each once: of two workers the second stores nothing. Returns the ids that were stored; nobody finds them before
 * `announceOracleShares` has given them their place in the order of changes.
 */
export async function insertOracleShares(
  tx: Sql,
  oracleSetId: number,
  shares: readonly NewOracleShares[],
): Promise<number[]> {
  if (shares.length === 0) return []
  const inserted = await rows(
    tx,
    { messageId: number },
    sql`insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        select s.message_id, ${oracleSetId}::bigint, s.public_key_shares, s.ciphertexts, s.receipt, 0
        from unnest(${numberArray(shares.map(({ messageId }) => messageId))}, ${bytesArray(shares.map(({ publicKeyShares }) => publicKeyShares))},
                    ${bytesArray(shares.map(({ ciphertexts }) => ciphertexts))}, ${bytesArray(shares.map(({ receipt }) => receipt))})
             as s (message_id, public_key_shares, ciphertexts, receipt)
        order by s.message_id
        on conflict do nothing returning message_id`,
  )
  return inserted.map(({ messageId }) => messageId)
}

/** The shares of these exits under the current oracle set. */
export async function findOracleShares(
  db: Sql,
  messageIds: readonly number[],
): Promise<
  { messageId: number; oracleSetId: number; publicKeyShares: Buffer; ciphertexts: Buffer; receipt: Buffer }[]
> {
  const { messageId, oracleSetId, publicKeyShares, ciphertexts, receipt } = oracleShares
  return db
    .select({ messageId, oracleSetId, publicKeyShares, ciphertexts, receipt })
    .from(oracleShares)
    .innerJoin(oracleSets, and(eq(oracleSets.id, oracleSetId), oracleSets.isCurrent))
    .where(isAny(messageId, numberArray(messageIds)))
}

/**
 * Deletes share sets that nothing needs any more, at most `limit`: of an oracle set that was replaced more than `seconds` ago, and
 * neither the last one made of their exit, nor what the chain knows, or may come to know, their validator by, nor of an open rotation.
 */
export async function deleteOldShares(db: Sql, seconds: number, limit: number): Promise<number> {
  const { rowCount } = await db.execute(sql`
    with replaced as materialized (
           select o.id from oracle_sets o
           where not o.is_current and exists (select from oracle_sets n where n.id > o.id and n.adopted_at < now() - make_interval(secs => ${seconds}::float8))),
         old as (
           select k.message_id, k.oracle_set_id from replaced cross join lateral (
             select s.message_id, s.oracle_set_id
             from oracle_shares s join messages m on m.id = s.message_id join validators v on v.id = m.validator_id
             where s.oracle_set_id = replaced.id
               and exists (select from oracle_shares n where n.message_id = s.message_id and n.oracle_set_id > s.oracle_set_id)
               and v.oracle_set_id is distinct from s.oracle_set_id
               and (v.registered_at is not null or not exists (select from registry_validators r where r.public_key = v.public_key))
               and not exists (select from rotation_messages i join rotations r on r.id = i.rotation_id and r.state = 'open'
                               where i.message_id = s.message_id and r.oracle_set_id = s.oracle_set_id)
             limit ${limit} for update of s skip locked) k
           limit ${limit})
    delete from oracle_shares s using old where s.message_id = old.message_id and s.oracle_set_id = old.oracle_set_id`)
  return rowCount ?? 0
}
