/** What oracles fetch of the stored share sets. */

import { asc, gt, sql } from 'drizzle-orm'
import { oracleSets } from '../schema.ts'
import { OWNER } from './messages/validators.ts'
import type { RowOf } from './rows.ts'
import { boolean, bytes, firstRow, number, orNull, rows, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { bytesParam, numberArray } from './sql.ts'

/** The vault of a registered validator as the chain has it, else the one that alone may have it. */
const VAULT = sql`coalesce(v.beacon_vault, ${OWNER})`

/**
 * Which share sets are handed out: those of the current oracle set, and of a registered validator those that the chain knows it by
 * until new ones take their place there; never those of an exit whose content changed.
 */
const IS_HANDED_OUT = sql`m.state <> 'superseded' and (o.is_current or (v.registered_at is not null and v.oracle_set_id = o.id))`

/** What never changes of an oracle set. */
export interface KnownOracleSet {
  id: number
  publicKeys: Buffer
}

/** The oracle sets adopted after one already known, in the order in which they became visible. */
export async function findOracleSetsAfter(db: Sql, id: number): Promise<KnownOracleSet[]> {
  return db
    .select({ id: oracleSets.id, publicKeys: oracleSets.publicKeys })
    .from(oracleSets)
    .where(gt(oracleSets.id, id))
    .orderBy(asc(oracleSets.id))
}

/** An oracle's position (from 1) in one oracle set. */
export interface Membership {
  oracleSetId: number
  position: number
}

/** Where a reader of share sets is. A message may have one for each of two sets at the same revision. */
export interface ShareCursor {
  revision: number
  messageId: number
  oracleSetId: number
}

const exitShare = {
  revision: number,
  messageId: number,
  oracleSetId: number,
  publicKey: bytes,
  validatorIndex: number,
  epoch: number,
  vault: orNull(bytes),
  publicKeyShare: bytes,
  ciphertext: bytes,
  cid: text,
  threshold: number,
  oracles: number,
  position: number,
  blockNumber: number,
  isCurrent: boolean,
  receipt: bytes,
  createdAtSeconds: number,
}
/** One oracle's share of one exit. */
export type ExitShareRow = RowOf<typeof exitShare>

/**
 * The shares at these places that come after the cursor, in the order in which they became visible, at most `limit`: of each set its
 * first ones by the index, and of those the first. Only the slice of the position is read.
 */
export function findExitShares(
  db: Sql,
  memberships: readonly Membership[],
  filter: { vault: Uint8Array | undefined; publicKey: Uint8Array | undefined },
  after: ShareCursor,
  limit: number,
): Promise<ExitShareRow[]> {
  const { revision, messageId, oracleSetId } = after
  const ofVault = filter.vault === undefined ? sql`` : sql`and ${VAULT} = ${bytesParam(filter.vault)}`
  const ofKey = filter.publicKey === undefined ? sql`` : sql`and v.public_key = ${bytesParam(filter.publicKey)}`
  return rows(
    db,
    exitShare,
    sql`select f.revision, f.message_id, o.id as oracle_set_id, f.public_key, f.validator_index, f.epoch, f.vault,
               substring(f.public_key_shares from (p.position - 1) * 48 + 1 for 48) as public_key_share,
               substring(f.ciphertexts from (p.position - 1) * 193 + 1 for 193) as ciphertext,
               o.cid, o.threshold, octet_length(o.public_keys) / 65 as oracles, p.position, o.block_number, o.is_current,
               f.receipt, f.created_at_seconds
        from unnest(${numberArray(memberships.map((one) => one.oracleSetId))},
                    ${numberArray(memberships.map((one) => one.position))}::int[]) as p (set_id, position)
        join oracle_sets o on o.id = p.set_id
        cross join lateral (
          select s.revision, s.message_id, v.public_key, m.validator_index, m.epoch, ${VAULT} as vault, s.public_key_shares,
                 s.ciphertexts, s.receipt, floor(extract(epoch from s.created_at))::bigint as created_at_seconds
          from oracle_shares s join messages m on m.id = s.message_id join validators v on v.id = m.validator_id
          where s.oracle_set_id = o.id and (s.revision, s.message_id) >= (${revision}::bigint, ${messageId}::bigint)
            and (s.revision, s.message_id, s.oracle_set_id) > (${revision}::bigint, ${messageId}::bigint, ${oracleSetId}::bigint)
            and ${IS_HANDED_OUT} ${ofVault} ${ofKey}
          order by s.revision, s.message_id limit ${limit}) f
        order by f.revision, f.message_id, o.id limit ${limit}`,
  )
}

const shareSet = {
  validatorIndex: number,
  epoch: number,
  publicKeyShares: bytes,
  ciphertexts: bytes,
  receipt: bytes,
  createdAtSeconds: number,
  cid: text,
  threshold: number,
  publicKeys: bytes,
  blockNumber: number,
  isCurrent: boolean,
}
/** A validator with the share set that is handed out for it, if there is one. */
interface ShareSetRow {
  vault: Buffer | null
  set: RowOf<typeof shareSet> | null
}

/** The share set of one validator: that of the current oracle set, else the one the chain knows it by. Undefined for a key of nobody. */
export async function findShareSet(db: Sql, publicKey: Uint8Array): Promise<ShareSetRow | undefined> {
  // Without a share set all its columns are null.
  const row = await firstRow(
    db,
    { ...shareSet, vault: orNull(bytes), cid: orNull(text) },
    sql`select ${VAULT} as vault, f.*
        from validators v left join lateral (
          select m.validator_index, m.epoch, s.public_key_shares, s.ciphertexts, s.receipt,
                 floor(extract(epoch from s.created_at))::bigint as created_at_seconds,
                 o.cid, o.threshold, o.public_keys, o.block_number, o.is_current
          from messages m join oracle_shares s on s.message_id = m.id join oracle_sets o on o.id = s.oracle_set_id
          where m.validator_id = v.id and ${IS_HANDED_OUT}
          order by o.is_current desc, m.id desc limit 1) f on true
        where v.public_key = ${bytesParam(publicKey)}`,
  )
  if (row === undefined) return undefined
  const { vault, ...set } = row
  const { cid } = set
  return { vault, set: cid === null ? null : { ...set, cid } }
}

/**
 * The exits of these validators with a share set whose item has just become another one or an oracle may have passed: one of an older
 * set that the chain knows the validator by, and one whose vault is the chain's and no other's. To be asked in the transaction that
 * records the registration.
 */
export async function findExitsToShowAgain(tx: Sql, validatorIds: readonly number[]): Promise<number[]> {
  const found = await rows(
    tx,
    { id: number },
    sql`select distinct m.id
        from validators v join messages m on m.validator_id = v.id join oracle_shares s on s.message_id = m.id
        join oracle_sets o on o.id = s.oracle_set_id
        where v.id = any(${numberArray(validatorIds)}) and ${IS_HANDED_OUT}
          and (not o.is_current or v.beacon_vault is distinct from ${OWNER}) order by m.id`,
  )
  return found.map(({ id }) => id)
}

/**
 * The exits of the rotations of a vault that this transaction has ended, where their oracle set is not the current one any more: between
 * that set's end and now their shares were handed out to nobody.
 */
export async function findRenewedToShowAgain(tx: Sql, vault: Uint8Array): Promise<number[]> {
  const found = await rows(
    tx,
    { id: number },
    sql`select distinct i.message_id as id
        from rotations r join rotation_messages i on i.rotation_id = r.id join oracle_sets o on o.id = r.oracle_set_id
        where r.vault = ${bytesParam(vault)} and r.state = 'done' and r.ended_at = now() and not o.is_current order by id`,
  )
  return found.map(({ id }) => id)
}

/** Gives all share sets of messages just announced the new revision. */
export async function restampOracleShares(tx: Sql, messageIds: readonly number[]): Promise<void> {
  await tx.execute(sql`
    update oracle_shares s set revision = m.revision from messages m
    where s.message_id = any(${numberArray(messageIds)}) and m.id = s.message_id`)
}
