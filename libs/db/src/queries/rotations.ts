/** Rotations: the updates of a vault's exit signatures for a new oracle set. One statement a function; no rule lives here. */

import { and, eq, isNull, lt, or, sql } from 'drizzle-orm'
import { rotations, validators } from '../schema.ts'
import type { RowOf } from './rows.ts'
import { boolean, bytes, firstRow, number, oneOf, oneRow, orNull, rows, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { asBuffer, bytesArray, bytesParam, isAny, numberArray, textArray } from './sql.ts'

const IS_STAYING = sql.raw(`registered_at is not null and exited_at is null and beacon_vault is not null`)

/** The vaults of registered validators that have not exited: of each the first row is read. */
export async function findRotationVaults(db: Sql): Promise<Buffer[]> {
  const found = await rows(
    db,
    { vault: bytes },
    sql`with recursive vaults (vault) as (
          (select beacon_vault from validators where ${IS_STAYING} order by beacon_vault limit 1)
          union all select (select beacon_vault from validators where ${IS_STAYING} and beacon_vault > v.vault order by beacon_vault limit 1)
          from vaults v where v.vault is not null)
        select vault from vaults where vault is not null order by vault`,
  )
  return found.map(({ vault }) => vault)
}

/** The vaults whose rotations wait for their end: open ones, and those given up lately whose calldata may still be sent. */
export async function findUnsettledVaults(db: Sql): Promise<Buffer[]> {
  const found = await rows(
    db,
    { vault: bytes },
    sql`select distinct vault from rotations
        where state = 'open' or (state = 'void' and ipfs_hash is not null and ended_at > now() - interval '1 day') order by vault`,
  )
  return found.map(({ vault }) => vault)
}

/** An exit of one validator at its index on chain, and how far it is. */
const rotationExit = {
  publicKey: bytes,
  messageId: number,
  hasShares: boolean,
  /** Whether its full signature is still there, so that only the split is missing. */
  hasSignature: boolean,
  /** Whether an update with its shares for the oracle set became final within the last day. */
  isDone: boolean,
}

/**
 * Of these validators the exit at this index under this epoch that is furthest: one with shares for the oracle set, in whatever state
 * it is by now, else a live one, else one that may come back.
 */
export function findRotationExits(
  db: Sql,
  wanted: readonly { publicKey: Uint8Array; validatorIndex: number }[],
  { epoch, oracleSetId }: { epoch: number; oracleSetId: number },
): Promise<RowOf<typeof rotationExit>[]> {
  return rows(
    db,
    rotationExit,
    sql`select distinct on (v.id) v.public_key, m.id as message_id, s.message_id is not null as has_shares,
               m.signature is not null and m.state in ('ready', 'expired') as has_signature,
               exists (select from rotation_messages i join rotations r on r.id = i.rotation_id
                       where i.message_id = m.id and r.oracle_set_id = ${oracleSetId}::bigint and r.state = 'done'
                         and r.ended_at > now() - interval '1 day') as is_done
        from unnest(${bytesArray(wanted.map(({ publicKey }) => publicKey))}, ${numberArray(wanted.map(({ validatorIndex }) => validatorIndex))})
             as w (public_key, validator_index)
        join validators v on v.public_key = w.public_key
        join messages m on m.validator_id = v.id and m.kind = 'exit' and m.epoch = ${epoch}::bigint and m.validator_index = w.validator_index
             and m.state <> 'superseded'
        left join oracle_shares s on s.message_id = m.id and s.oracle_set_id = ${oracleSetId}::bigint
        order by v.id, s.message_id is null, m.state not in ('collecting', 'ready'), m.id desc`,
  )
}

const openRotation = {
  id: number,
  oracleSetId: number,
  nonce: number,
  ipfsHash: orNull(text),
  transactionHash: orNull(bytes),
  transaction: orNull(bytes),
  deadline: orNull(number),
  ageSeconds: number,
}
/** An open rotation. */
export type RotationRow = RowOf<typeof openRotation>

/** The open rotation of a vault, if there is one. */
export function findOpenRotation(db: Sql, vault: Uint8Array): Promise<RotationRow | undefined> {
  return firstRow(
    db,
    openRotation,
    sql`select id, oracle_set_id, nonce, ipfs_hash, transaction_hash, transaction, deadline,
               extract(epoch from now() - created_at)::float8 as age_seconds
        from rotations where vault = ${bytesParam(vault)} and state = 'open'`,
  )
}

/** Opens a rotation of these exits, in this order; returns its id, or nothing where the vault has an open one. Run in a transaction. */
export async function insertRotation(
  tx: Sql,
  rotation: { vault: Uint8Array; oracleSetId: number; nonce: number; ipfsHash: string | null },
  messageIds: readonly number[],
): Promise<number | undefined> {
  const row = await firstRow(
    tx,
    { id: number },
    sql`with opened as (
          insert into rotations (vault, oracle_set_id, nonce, state, ipfs_hash)
          values (${bytesParam(rotation.vault)}, ${rotation.oracleSetId}::bigint, ${rotation.nonce}::bigint, 'open', ${rotation.ipfsHash}::text)
          on conflict (vault) where state = 'open' do nothing returning id),
        listed as (
          insert into rotation_messages (rotation_id, place, message_id)
          select o.id, m.place - 1, m.message_id from opened o, unnest(${numberArray(messageIds)}) with ordinality as m (message_id, place))
        select id from opened`,
  )
  return row?.id
}

const rotationContent = {
  messageId: number,
  publicKey: bytes,
  validatorIndex: number,
  publicKeyShares: orNull(bytes),
  ciphertexts: orNull(bytes),
}
/** One exit of a rotation with its shares under the rotation's oracle set; null where they are not there. */
export type RotationContentRow = RowOf<typeof rotationContent>

/** What a rotation hands in, in order. */
export function findRotationContent(db: Sql, rotationId: number): Promise<RotationContentRow[]> {
  return rows(
    db,
    rotationContent,
    sql`select r.message_id, v.public_key, m.validator_index, s.public_key_shares, s.ciphertexts
        from rotation_messages r join rotations o on o.id = r.rotation_id
        join messages m on m.id = r.message_id join validators v on v.id = m.validator_id
        left join oracle_shares s on s.message_id = r.message_id and s.oracle_set_id = o.oracle_set_id
        where r.rotation_id = ${rotationId} order by r.place`,
  )
}

const isOpen = (rotationId: number) => and(eq(rotations.id, rotationId), eq(rotations.state, 'open'))

/** Notes what the oracles have approved, where nothing was noted before; says whether it is now what stands there. */
export async function approveRotation(db: Sql, rotationId: number, ipfsHash: string): Promise<boolean> {
  const { rowCount } = await db
    .update(rotations)
    .set({ ipfsHash })
    .where(and(isOpen(rotationId), or(isNull(rotations.ipfsHash), eq(rotations.ipfsHash, ipfsHash))))
  return rowCount === 1
}

/** Stores a signed transaction in the place of another one (null: of none); says whether that one still stood there. */
export async function storeTransaction(
  db: Sql,
  rotationId: number,
  replaced: Uint8Array | null,
  transaction: { hash: Uint8Array; raw: Uint8Array; deadline: number },
): Promise<boolean> {
  const { transactionHash } = rotations
  const { rowCount } = await db
    .update(rotations)
    .set({
      transactionHash: asBuffer(transaction.hash),
      transaction: asBuffer(transaction.raw),
      deadline: transaction.deadline,
    })
    .where(
      and(isOpen(rotationId), replaced === null ? isNull(transactionHash) : eq(transactionHash, asBuffer(replaced))),
    )
  return rowCount === 1
}

/** The newest transactions of all rotations: any of them may still be known to a node. */
export function findTransactions(
  db: Sql,
  limit: number,
): Promise<{ rotationId: number; isOpen: boolean; deadline: number; transaction: Buffer }[]> {
  return rows(
    db,
    { rotationId: number, isOpen: boolean, deadline: number, transaction: bytes },
    sql`select id as rotation_id, state = 'open' as is_open, deadline, transaction from rotations
        where transaction is not null order by id desc limit ${limit}`,
  )
}

/** Ends an open rotation without effect. */
export async function voidRotation(db: Sql, rotationId: number): Promise<void> {
  await db.update(rotations).set({ state: 'void', endedAt: sql`now()` }).where(isOpen(rotationId))
}

/** Final updates of a vault: those from nonce `from` to below `to`, by their hashes. */
interface FinalUpdates {
  vault: Uint8Array
  from: number
  to: number
  ipfsHashes: readonly string[]
}

/**
 * Ends the rotations that final updates have carried out, also those that were given up before, and notes for their validators which
 * oracle set their shares on chain are for. Returns how many were ended so.
 */
export async function completeRotations(tx: Sql, updates: FinalUpdates): Promise<number> {
  const done = await rows(
    tx,
    { id: number },
    sql`with done as materialized (
          update rotations set state = 'done', ended_at = now()
          where vault = ${bytesParam(updates.vault)} and state <> 'done' and nonce >= ${updates.from}::bigint and nonce < ${updates.to}::bigint
            and ipfs_hash = any(${textArray(updates.ipfsHashes)})
          returning id, oracle_set_id),
        renewed as materialized (
          select distinct on (v.id) v.id, d.oracle_set_id from done d join rotation_messages r on r.rotation_id = d.id
          join messages m on m.id = r.message_id join validators v on v.id = m.validator_id order by v.id, d.id desc),
        locked as materialized (
          select v.id from validators v where v.id in (select id from renewed) order by v.public_key for no key update),
        noted as (
          update validators v set oracle_set_id = n.oracle_set_id from renewed n, locked l where v.id = n.id and v.id = l.id)
        select id from done`,
  )
  return done.length
}

/** Ends the open rotation of a vault whose nonce is used up. Returns how many were ended so. */
export async function voidOvertaken(tx: Sql, vault: Uint8Array, nonce: number): Promise<number> {
  const { rowCount } = await tx
    .update(rotations)
    .set({ state: 'void', endedAt: sql`now()` })
    .where(and(eq(rotations.vault, asBuffer(vault)), eq(rotations.state, 'open'), lt(rotations.nonce, nonce)))
  return rowCount ?? 0
}

/** Whether a worker has claimed exits that this requester wants; one that was killed has its claim for a while. */
export async function hasClaimedExits(db: Sql, requester: string): Promise<boolean> {
  const claimed = await rows(
    db,
    { isClaimed: boolean },
    sql`select true as is_claimed from messages where kind = 'exit' and state in ('collecting', 'ready') and requester = ${requester} and queued_at is not null limit 1`,
  )
  return claimed.length > 0
}

/** Age of the oldest open rotation in seconds, 0 where there is none. */
export async function findOldestOpen(db: Sql): Promise<number> {
  const row = await oneRow(
    db,
    { age: number },
    sql`select coalesce(max(extract(epoch from now() - created_at)), 0)::float8 as age from rotations where state = 'open'`,
  )
  return row.age
}

/**
 * Notes of validators that were thought to be renewed that their shares on chain are of another oracle set than this one, as the
 * oracles say. Callers have locked them.
 */
export async function markOutdated(tx: Sql, validatorIds: readonly number[], oracleSetId: number): Promise<void> {
  await tx
    .update(validators)
    .set({ oracleSetId: null })
    .where(and(isAny(validators.id, numberArray(validatorIds)), eq(validators.oracleSetId, oracleSetId)))
}

const newestRotation = {
  id: number,
  state: oneOf<(typeof rotations.$inferSelect)['state']>(),
  nonce: number,
  ipfsHash: orNull(text),
  transactionHash: orNull(bytes),
  /** Unix seconds; null while it is open. */
  endedAt: orNull(number),
}
/** The newest rotation of a vault, open or ended. */
export type RotationStateRow = RowOf<typeof newestRotation>

/** The rotation of a vault that is open, else the newest. */
export function findNewestRotation(db: Sql, vault: Uint8Array): Promise<RotationStateRow | undefined> {
  return firstRow(
    db,
    newestRotation,
    sql`select id, state, nonce, ipfs_hash, transaction_hash, floor(extract(epoch from ended_at))::bigint as ended_at
        from rotations where vault = ${bytesParam(vault)} order by state = 'open' desc, id desc limit 1`,
  )
}

/** The live exits of a vault's registered validators that one requester wants and that are not yet handed in for the current oracle set. */
export function findWantedExits(
  db: Sql,
  vault: Uint8Array,
  requester: string,
): Promise<{ publicKey: Buffer; validatorIndex: number; hasShares: boolean }[]> {
  return rows(
    db,
    { publicKey: bytes, validatorIndex: number, hasShares: boolean },
    sql`select v.public_key, m.validator_index, s.message_id is not null as has_shares
        from validators v
        join oracle_sets c on c.is_current and v.oracle_set_id is distinct from c.id
        join messages m on m.validator_id = v.id and m.kind = 'exit' and m.state in ('collecting', 'ready') and m.requester = ${requester}
        left join oracle_shares s on s.message_id = m.id and s.oracle_set_id = c.id
        where v.registered_at is not null and v.beacon_vault = ${bytesParam(vault)} order by m.validator_index`,
  )
}
