/** Small pieces of state: checkpoints of scans, and the check value of the sealing key. */

import { and, eq, sql } from 'drizzle-orm'
import { checkpoints, messageKeys, messages, partialSignatures, sealingChecks } from '../schema.ts'
import { bindProven, holdUnproven } from './messages/deposit-bindings.ts'
import { bytes, number, oneOf, orNull, rows } from './rows.ts'
import type { Sql } from './sql.ts'
import { asBuffer } from './sql.ts'

/** A checkpoint's value, as it was stored. */
export async function findCheckpoint(db: Sql, name: string): Promise<unknown> {
  const [row] = await db.select({ value: checkpoints.value }).from(checkpoints).where(eq(checkpoints.name, name))
  return row?.value
}

/** Stores a checkpoint. */
export async function storeCheckpoint(db: Sql, name: string, value: unknown): Promise<void> {
  await db
    .insert(checkpoints)
    .values({ name, value })
    .onConflictDoUpdate({ target: checkpoints.name, set: { value: sql`excluded.value`, updatedAt: sql`now()` } })
}

/** Forgets a checkpoint. */
export async function deleteCheckpoint(db: Sql, name: string): Promise<void> {
  await db.delete(checkpoints).where(eq(checkpoints.name, name))
}

/** A checkpoint's value, put there if there was none: of two processes that start at once both get the same. */
export async function ensureCheckpoint(db: Sql, name: string, value: unknown): Promise<unknown> {
  await db.insert(checkpoints).values({ name, value }).onConflictDoNothing()
  return findCheckpoint(db, name)
}

/** The newest exit and the newest deposit, as far as their signing roots go. */
export function findNewestMessages(db: Sql) {
  return rows(
    db,
    {
      kind: oneOf<'exit' | 'deposit'>(),
      publicKey: bytes,
      epoch: orNull(number),
      validatorIndex: orNull(number),
      vault: orNull(bytes),
      amountGwei: orNull(number),
      validatorType: orNull(oneOf<'0x01' | '0x02'>()),
      signingRoot: bytes,
    },
    sql`select m.kind, v.public_key, m.epoch, m.validator_index, m.vault, m.amount_gwei, m.validator_type, m.signing_root
        from messages m join validators v on v.id = m.validator_id
        where m.id in ((select max(id) from messages where kind = 'exit'), (select max(id) from messages where kind = 'deposit'))`,
  )
}

/** The sealed check value, put there if there was none: of two processes that start at once both get the same. */
export async function ensureSealingCheck(db: Sql, sealed: Uint8Array): Promise<Buffer> {
  await db
    .insert(sealingChecks)
    .values({ id: 1, sealed: asBuffer(sealed) })
    .onConflictDoNothing()
  const [row] = await db.select({ sealed: sealingChecks.sealed }).from(sealingChecks).where(eq(sealingChecks.id, 1))
  if (row === undefined) throw new Error('the sealing check is not there')
  return row.sealed
}

/** Replaces the sealed check value, after a change of the sealing key. */
export async function replaceSealingCheck(db: Sql, sealed: Uint8Array): Promise<void> {
  await db
    .update(sealingChecks)
    .set({ sealed: asBuffer(sealed) })
    .where(eq(sealingChecks.id, 1))
}

/** Sealed full signatures of deposits, by message id after `afterId`. */
export function findSealedSignatures(
  db: Sql,
  afterId: number,
  limit: number,
): Promise<{ id: number; signature: Buffer }[]> {
  return rows(
    db,
    { id: number, signature: bytes },
    sql`select id, signature from messages
        where id > ${afterId} and kind = 'deposit' and signature is not null order by id limit ${limit}`,
  )
}

/** Replaces a sealed full signature, if it is still the one that was read. */
export async function replaceSealedSignature(db: Sql, id: number, from: Uint8Array, to: Uint8Array): Promise<void> {
  await db
    .update(messages)
    .set({ signature: asBuffer(to) })
    .where(and(eq(messages.id, id), eq(messages.signature, asBuffer(from))))
}

/** Sealed partial signatures of deposits after `afterId`, whole messages at a time. */
export function findSealedPartials(
  db: Sql,
  afterId: number,
  messages: number,
): Promise<{ messageId: number; shareIndex: number; digest: Buffer; sealed: Buffer }[]> {
  return rows(
    db,
    { messageId: number, shareIndex: number, digest: bytes, sealed: bytes },
    sql`select p.message_id, p.share_index, p.digest, p.sealed from partial_signatures p
        where p.sealed is not null and p.message_id in (
          select distinct s.message_id from partial_signatures s join messages m on m.id = s.message_id and m.kind = 'deposit'
          where s.message_id > ${afterId} order by s.message_id limit ${messages})
        order by p.message_id, p.share_index`,
  )
}

/** Replaces a sealed partial signature, if it is still the one that was read. */
export async function replaceSealedPartial(
  db: Sql,
  at: { messageId: number; shareIndex: number; from: Uint8Array },
  to: Uint8Array,
): Promise<void> {
  const { messageId, shareIndex, from } = at
  await db
    .update(partialSignatures)
    .set({ sealed: asBuffer(to) })
    .where(
      and(
        eq(partialSignatures.messageId, messageId),
        eq(partialSignatures.shareIndex, shareIndex),
        eq(partialSignatures.sealed, asBuffer(from)),
      ),
    )
}

/** Forgets every sealed value: all messages are collected again. Oracle shares that were handed out stay, and so do bindings. */
export async function voidSealed(tx: Sql): Promise<{ messages: number; ids: number[] }> {
  // In the order in which everybody takes these locks: validators first.
  await tx.execute(sql`
    select v.id from validators v where exists (select from messages m where m.validator_id = v.id and m.kind = 'deposit')
    order by v.public_key for no key update of v`)
  await bindProven(tx, sql`m.state <> 'superseded'`)
  await holdUnproven(tx, sql`true`)
  const voided = await rows(
    tx,
    { id: number },
    sql`update messages set signature = null, ready_at = null, queued_at = null,
               state = case when state = 'ready' then 'collecting' else state end
        where signature is not null or state in ('collecting', 'ready') returning id`,
  )
  const ids = voided.map(({ id }) => id).sort((a, b) => a - b)
  await tx.delete(partialSignatures)
  await tx.delete(messageKeys)
  await tx.delete(sealingChecks)
  return { messages: ids.length, ids }
}
