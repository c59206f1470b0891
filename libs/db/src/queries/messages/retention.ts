/** Erasing exits of registered validators, and the copies for owners that are made before. One statement a function; no rule lives here. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import { depositBlocks, messageKeys, messages, partialSignatures } from '../../schema.ts'
import type { RowOf } from '../rows.ts'
import { boolean, bytes, number, oneOf, oneRow, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, bytesParam, isAny, numberArray } from '../sql.ts'

/** Who gets a copy of a vault's exits: 20 bytes and 65 bytes. */
interface OwnerKey {
  vault: Uint8Array
  publicKey: Uint8Array
}

/**
 * The vault that has `v` for good. One that only asks for it is none: its owner would keep exits of a validator that may go to another
 * vault, of as many indexes as were asked for.
 */
const BOUND_TO: SQL = sql.raw(
  `coalesce(v.withdrawal_address, (select b.vault from deposit_bindings b where b.validator_id = v.id))`,
)
/** The vault of `v`: the chain's once it is registered, else the one that has it for good. */
const VAULT: SQL = sql`coalesce(v.beacon_vault, ${BOUND_TO})`
/** Whether the exit `m` of `v` may be of use: nothing replaced it, and the chain gave the validator no other index. */
const IS_OF_USE: SQL = sql.raw(
  `(m.state <> 'superseded' and coalesce(v.beacon_index, m.validator_index) = m.validator_index)`,
)

const ownersTable = (owners: readonly OwnerKey[]): SQL =>
  sql`unnest(${bytesArray(owners.map(({ vault }) => vault))}, ${bytesArray(owners.map(({ publicKey }) => publicKey))}) as o (vault, public_key)`

/** Whether what the clock `c` has seen hold is what is noted of `v`. */
const IS_OF_CLOCK: SQL = sql`(c.beacon_index = v.beacon_index and c.oracle_set_id is not distinct from v.oracle_set_id)`
/** Whether the owner `o` is to have a copy of the exit `m` of `v`, and has none under its key. */
const IS_WANTED: SQL = sql`${IS_OF_USE} and m.kind = 'exit' and m.signature is not null and o.vault = ${VAULT}
  and not exists (select from owner_copies c where c.message_id = m.id and c.vault = o.vault and c.owner_public_key = o.public_key)`
/**
 * Whether it is certain that `v` is the vault's of the owner `o`. A copy cannot be taken back, so where the chain's word alone says it, all
 * that erasing wants has to hold.
 */
const IS_CERTAIN: SQL = sql`(coalesce(${BOUND_TO} = o.vault, false) or exists (
  select from erasure_clocks c where c.validator_id = v.id and ${IS_OF_CLOCK} and substring(c.withdrawal_credentials from 13) = o.vault))`
const IS_DUE: SQL = sql`${IS_WANTED} and ${IS_CERTAIN}`

/** Whose exits stay for now: live ones of this requester whose validator is outdated, and those of which an owner is to have a copy. */
interface Kept {
  rotationRequester: string
  owners: readonly OwnerKey[]
}

/** Whether the exit `m` of the registered `v` is to be erased, once it is certain enough that `v` is registered. */
const isErasable = ({ rotationRequester, owners }: Kept): SQL => sql`(
  m.kind = 'exit' and m.state <> 'erased'
  and not (m.state in ('collecting', 'ready') and m.requester is not distinct from ${rotationRequester}::text
           and v.oracle_set_id is distinct from (select s.id from oracle_sets s where s.is_current))
  and not exists (select from ${ownersTable(owners)} where ${IS_WANTED}))`

const isOver = (delaySeconds: number): SQL =>
  sql`(c.held_since <= now() - make_interval(secs => ${delaySeconds}::float8))`

const erasable = {
  id: number,
  publicKey: bytes,
  beaconIndex: number,
  /** 20 bytes; null where the credentials name no address. */
  vault: orNull(bytes),
  oracleSetId: orNull(number),
  /** The block of its first validly signed deposit in final logs; null where none was found. */
  depositBlock: orNull(number),
  /** What its clock has seen hold; null where there is none, or one of something else. */
  heldCredentials: orNull(bytes),
  /** Whether its clock has run for as long as it must. */
  isOver: boolean,
}
/** A registered validator that has to be certain. */
export type ErasableRow = RowOf<typeof erasable>

/**
 * The registered validators after `afterId` with exits that are to be erased, unless exits are kept, or to be copied for an owner that the
 * chain alone names; with what their clocks say.
 */
export function findErasable(
  db: Sql,
  options: Kept & { isErasing: boolean; afterId: number; limit: number; delaySeconds: number },
): Promise<ErasableRow[]> {
  return rows(
    db,
    erasable,
    sql`select v.id, v.public_key, v.beacon_index, v.beacon_vault as vault, v.oracle_set_id,
               coalesce(r.block_number, d.block_number) as deposit_block, c.withdrawal_credentials as held_credentials,
               c.validator_id is not null and ${isOver(options.delaySeconds)} as is_over
        from validators v
        left join registry_validators r on r.public_key = v.public_key
        left join deposit_blocks d on d.validator_id = v.id
        left join erasure_clocks c on c.validator_id = v.id and ${IS_OF_CLOCK}
        where v.id > ${options.afterId} and v.registered_at is not null
          and exists (select from messages m where m.validator_id = v.id and (
            (${options.isErasing}::boolean and ${isErasable(options)})
            or exists (select from ${ownersTable(options.owners)} where ${IS_WANTED} and not ${IS_CERTAIN})))
        order by v.id limit ${options.limit}`,
  )
}

/**
 * Locks the exits of these registered validators that are to be erased and whose clock has run for as long as it must, with their
 * validators, so that nobody gives one of them a message meanwhile; those somebody else is at come another time.
 */
export async function lockErasable(
  tx: Sql,
  options: Kept & { validatorIds: readonly number[]; delaySeconds: number },
): Promise<number[]> {
  const locked = await rows(
    tx,
    { id: number },
    sql`select m.id from messages m join validators v on v.id = m.validator_id
        join erasure_clocks c on c.validator_id = v.id and ${IS_OF_CLOCK} and ${isOver(options.delaySeconds)}
        where v.id = any(${numberArray(options.validatorIds)}) and v.registered_at is not null and ${isErasable(options)}
        order by m.id for no key update of v skip locked for update of m skip locked for update of c skip locked`,
  )
  return locked.map(({ id }) => id)
}

/** What holds of a registered validator whose exits are to be erased. */
export interface Held {
  validatorId: number
  beaconIndex: number
  oracleSetId: number | null
  withdrawalCredentials: Uint8Array
  depositBlock: number
}

/** Starts the clocks of these validators. One that has seen the same hold goes on; one of something else begins anew. */
export async function holdErasures(db: Sql, held: readonly Held[]): Promise<void> {
  if (held.length === 0) return
  await db.execute(sql`
    insert into erasure_clocks as c (validator_id, beacon_index, oracle_set_id, withdrawal_credentials, deposit_block)
    select h.id, h.beacon_index, h.oracle_set_id, h.credentials, h.deposit_block
    from unnest(${numberArray(held.map(({ validatorId }) => validatorId))}, ${numberArray(held.map(({ beaconIndex }) => beaconIndex))},
                ${sql.param(held.map(({ oracleSetId }) => oracleSetId))}::bigint[],
                ${bytesArray(held.map(({ withdrawalCredentials }) => withdrawalCredentials))},
                ${numberArray(held.map(({ depositBlock }) => depositBlock))})
         as h (id, beacon_index, oracle_set_id, credentials, deposit_block)
    order by h.id
    on conflict (validator_id) do update
      set beacon_index = excluded.beacon_index, oracle_set_id = excluded.oracle_set_id, deposit_block = excluded.deposit_block,
          withdrawal_credentials = excluded.withdrawal_credentials, held_since = now()
      where (c.beacon_index, c.oracle_set_id, c.withdrawal_credentials, c.deposit_block)
            is distinct from (excluded.beacon_index, excluded.oracle_set_id, excluded.withdrawal_credentials, excluded.deposit_block)`)
}

/** Ends the clocks of these validators: what they have seen hold is contradicted. */
export async function stopErasures(db: Sql, validatorIds: readonly number[]): Promise<void> {
  if (validatorIds.length === 0) return
  await db.execute(sql`
    with stopped as materialized (
      select validator_id from erasure_clocks where validator_id = any(${numberArray(validatorIds)}) order by validator_id for update)
    delete from erasure_clocks c using stopped s where c.validator_id = s.validator_id`)
}

/** Unix seconds at which the first validator came here; undefined before. */
export async function findFirstCreation(db: Sql): Promise<number | undefined> {
  const row = await oneRow(
    db,
    { at: orNull(number) },
    sql`select extract(epoch from min(created_at))::float8 as at from validators`,
  )
  return row.at ?? undefined
}

/** Forgets at which blocks deposits were found. */
export async function clearDepositBlocks(tx: Sql): Promise<void> {
  await tx.delete(depositBlocks)
}

/** Notes at which blocks validators have their first validly signed deposits, each once. */
export async function storeDepositBlocks(
  tx: Sql,
  found: readonly { validatorId: number; blockNumber: number }[],
): Promise<void> {
  if (found.length === 0) return
  await tx.execute(sql`
    insert into deposit_blocks (validator_id, block_number)
    select f.id, f.block from unnest(${numberArray(found.map(({ validatorId }) => validatorId))},
                                     ${numberArray(found.map(({ blockNumber }) => blockNumber))}) as f (id, block)
    order by f.id on conflict do nothing`)
}

/** Erases exits: their keys first, then what was sealed under them. Callers have locked them. */
export async function eraseExits(tx: Sql, messageIds: readonly number[]): Promise<void> {
  if (messageIds.length === 0) return
  const ids = numberArray(messageIds)
  await tx.delete(messageKeys).where(isAny(messageKeys.messageId, ids))
  await tx.delete(partialSignatures).where(isAny(partialSignatures.messageId, ids))
  await tx.update(messages).set({ state: 'erased', signature: null, queuedAt: null }).where(isAny(messages.id, ids))
}

/** The exits after `afterId` of which an owner is to have a copy, by their ids. */
export async function findCopiesDue(
  db: Sql,
  owners: readonly OwnerKey[],
  afterId: number,
  limit: number,
): Promise<number[]> {
  const due = await rows(
    db,
    { id: number },
    sql`select m.id from ${ownersTable(owners)}, messages m join validators v on v.id = m.validator_id
        where m.id > ${afterId} and ${IS_DUE} order by m.id limit ${limit}`,
  )
  return due.map(({ id }) => id)
}

const copySource = {
  id: number,
  kind: oneOf<'exit'>(),
  epoch: number,
  validatorIndex: number,
  signature: bytes,
  vault: bytes,
  ownerPublicKey: bytes,
}
/** What a copy is made of. */
export type CopyDueRow = RowOf<typeof copySource>

/** What the copies of these exits that are due are made of. */
export function findCopySources(
  db: Sql,
  owners: readonly OwnerKey[],
  messageIds: readonly number[],
): Promise<CopyDueRow[]> {
  return rows(
    db,
    copySource,
    sql`select m.id, m.kind, m.epoch, m.validator_index, m.signature, o.vault, o.public_key as owner_public_key
        from ${ownersTable(owners)}, messages m join validators v on v.id = m.validator_id
        where m.id = any(${numberArray(messageIds)}) and ${IS_DUE} order by m.id`,
  )
}

/** A copy that was made. */
interface NewOwnerCopy {
  messageId: number
  vault: Uint8Array
  ownerPublicKey: Uint8Array
  ciphertext: Uint8Array
}

/** Stores copies, each in place of the one for another key or vault; a second one for the same key changes nothing. Returns how many are new. */
export async function storeOwnerCopies(db: Sql, copies: readonly NewOwnerCopy[]): Promise<number> {
  if (copies.length === 0) return 0
  const { rowCount } = await db.execute(sql`
    with there as materialized (
      select id from messages where id = any(${numberArray(copies.map(({ messageId }) => messageId))}) order by id for key share)
    insert into owner_copies (message_id, vault, owner_public_key, ciphertext)
    select c.message_id, c.vault, c.owner_public_key, c.ciphertext
    from unnest(${numberArray(copies.map(({ messageId }) => messageId))}, ${bytesArray(copies.map(({ vault }) => vault))},
                ${bytesArray(copies.map(({ ownerPublicKey }) => ownerPublicKey))}, ${bytesArray(copies.map(({ ciphertext }) => ciphertext))})
         as c (message_id, vault, owner_public_key, ciphertext)
    join there t on t.id = c.message_id order by c.message_id
    on conflict (message_id) do update set vault = excluded.vault, owner_public_key = excluded.owner_public_key,
                                           ciphertext = excluded.ciphertext, created_at = now()
      where (owner_copies.vault, owner_copies.owner_public_key) is distinct from (excluded.vault, excluded.owner_public_key)`)
  return rowCount ?? 0
}

const ownerCopy = {
  messageId: number,
  publicKey: bytes,
  validatorIndex: number,
  epoch: number,
  ownerPublicKey: bytes,
  ciphertext: bytes,
  createdAtSeconds: number,
}
/** What an owner is shown of a copy. */
export type OwnerCopyRow = RowOf<typeof ownerCopy>

/** A vault's copies after a message, at most `limit`; without those that are of no use, or of a validator that went to another vault. */
export function findOwnerCopies(db: Sql, vault: Uint8Array, afterId: number, limit: number): Promise<OwnerCopyRow[]> {
  return rows(
    db,
    ownerCopy,
    sql`select c.message_id, v.public_key, m.validator_index, m.epoch, c.owner_public_key, c.ciphertext,
               floor(extract(epoch from c.created_at))::bigint as created_at_seconds
        from owner_copies c join messages m on m.id = c.message_id join validators v on v.id = m.validator_id
        where c.vault = ${bytesParam(vault)} and c.message_id > ${afterId} and ${IS_OF_USE} and coalesce(${VAULT}, c.vault) = c.vault
        order by c.message_id limit ${limit}`,
  )
}
