/** Erasing exits of registered validators, and the copies for owners that are made before. One statement a function; no rule lives here. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import { messageKeys, messages, partialSignatures } from '../../schema.ts'
import type { RowOf } from '../rows.ts'
import { bytes, number, oneOf, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, bytesParam, isAny, numberArray } from '../sql.ts'

/** Who gets a copy of a vault's exits: 20 bytes and 65 bytes. */
interface OwnerKey {
  vault: Uint8Array
  publicKey: Uint8Array
}

/**
 * The vault of `v`: the chain's once it is registered, else the one that has it for good. One that only asks for it is none: its owner
 * would keep exits of a validator that may go to another vault, of as many indexes as were asked for.
 */
const VAULT: SQL = sql.raw(
  `coalesce(v.beacon_vault, v.withdrawal_address, (select b.vault from deposit_bindings b where b.validator_id = v.id))`,
)
/** Whether the exit `m` of `v` may be of use: nothing replaced it, and the chain gave the validator no other index. */
const IS_OF_USE: SQL = sql.raw(
  `(m.state <> 'superseded' and coalesce(v.beacon_index, m.validator_index) = m.validator_index)`,
)

const ownersTable = (owners: readonly OwnerKey[]): SQL =>
  sql`unnest(${bytesArray(owners.map(({ vault }) => vault))}, ${bytesArray(owners.map(({ publicKey }) => publicKey))}) as o (vault, public_key)`

/** Whether the owner `o` is to have a copy of the exit `m` of `v`, and has none under its key. */
const IS_DUE: SQL = sql`${IS_OF_USE} and m.kind = 'exit' and m.signature is not null and o.vault = ${VAULT}
  and not exists (select from owner_copies c where c.message_id = m.id and c.vault = o.vault and c.owner_public_key = o.public_key)`

/**
 * Locks exits of registered validators that are to be erased, at most `limit`, with their validators, so that nobody gives one of
 * them a message meanwhile; those somebody else is at come another time. Left out are live ones of `rotationRequester` whose
 * validator's shares on chain are not of the current oracle set, and those of which an owner is to have a copy first.
 */
export async function lockErasable(
  tx: Sql,
  options: { rotationRequester: string; owners: readonly OwnerKey[]; limit: number },
): Promise<number[]> {
  const { rotationRequester, owners, limit } = options
  const locked = await rows(
    tx,
    { id: number },
    sql`select m.id from messages m join validators v on v.id = m.validator_id
        where m.kind = 'exit' and m.state <> 'erased' and v.registered_at is not null
          and not (m.state in ('collecting', 'ready') and m.requester is not distinct from ${rotationRequester}::text
                   and v.oracle_set_id is distinct from (select s.id from oracle_sets s where s.is_current))
          and not exists (select from ${ownersTable(owners)} where ${IS_DUE})
        order by m.id limit ${limit} for no key update of v skip locked for update of m skip locked`,
  )
  return locked.map(({ id }) => id)
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
