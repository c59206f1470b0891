/** The keys under which exits are sealed, themselves sealed. One statement a function; no rule lives here. */

import { and, eq, gt, sql } from 'drizzle-orm'
import { messageKeys, messages } from '../../schema.ts'
import { bytes, number, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, isAny, numberArray } from '../sql.ts'
import { isLive } from './messages.ts'

/** A message's sealed key. */
type MessageKeyRow = typeof messageKeys.$inferSelect

/** The sealed keys of those of these messages that have one. */
export async function findMessageKeys(db: Sql, messageIds: readonly number[]): Promise<MessageKeyRow[]> {
  return db
    .select()
    .from(messageKeys)
    .where(isAny(messageKeys.messageId, numberArray(messageIds)))
}

/** The live exits among these messages with their sealed keys, null where there is none yet. Callers have locked the messages. */
export async function findLiveExitKeys(
  tx: Sql,
  messageIds: readonly number[],
): Promise<{ messageId: number; sealed: Buffer | null }[]> {
  return tx
    .select({ messageId: messages.id, sealed: messageKeys.sealed })
    .from(messages)
    .leftJoin(messageKeys, eq(messageKeys.messageId, messages.id))
    .where(and(isAny(messages.id, numberArray(messageIds)), eq(messages.kind, 'exit'), isLive))
}

/** Stores keys of messages that have none. Callers have locked the messages, so nobody else makes one. */
export async function insertMessageKeys(
  tx: Sql,
  keys: readonly { messageId: number; sealed: Uint8Array }[],
): Promise<void> {
  if (keys.length === 0) return
  await tx.execute(sql`
    insert into message_keys (message_id, sealed)
    select k.message_id, k.sealed
    from unnest(${numberArray(keys.map(({ messageId }) => messageId))}, ${bytesArray(keys.map(({ sealed }) => sealed))}) as k (message_id, sealed)`)
}

/** Sealed keys by message id after `afterId`. */
export async function findSealedKeys(db: Sql, afterId: number, limit: number): Promise<MessageKeyRow[]> {
  return db
    .select()
    .from(messageKeys)
    .where(gt(messageKeys.messageId, afterId))
    .orderBy(messageKeys.messageId)
    .limit(limit)
}

/** Replaces sealed keys that are still the ones that were read; those erased meanwhile stay away. */
export async function replaceSealedKeys(
  db: Sql,
  keys: readonly { messageId: number; from: Uint8Array; to: Uint8Array }[],
): Promise<void> {
  if (keys.length === 0) return
  await db.execute(sql`
    update message_keys k set sealed = r.becomes
    from unnest(${numberArray(keys.map(({ messageId }) => messageId))}, ${bytesArray(keys.map(({ from }) => from))},
                ${bytesArray(keys.map(({ to }) => to))}) as r (message_id, was, becomes)
    where k.message_id = r.message_id and k.sealed = r.was`)
}

/** Whether what is sealed begins with one of these key ids. */
const isUnder = (column: 'm.signature' | 'p.sealed', keyIds: readonly Uint8Array[]) =>
  sql`substring(${sql.raw(column)} from 1 for ${keyIds[0]?.length ?? 0}::int) = any(${bytesArray(keyIds)})`

/** Exits after `afterId` of which anything is sealed under one of these keys, by their ids. */
export async function findExitsUnder(
  db: Sql,
  keyIds: readonly Uint8Array[],
  afterId: number,
  limit: number,
): Promise<number[]> {
  const found = await rows(
    db,
    { id: number },
    sql`select m.id from messages m
        where m.id > ${afterId} and m.kind = 'exit' and (${isUnder('m.signature', keyIds)} or exists (
          select from partial_signatures p where p.message_id = m.id and ${isUnder('p.sealed', keyIds)}))
        order by m.id limit ${limit}`,
  )
  return found.map(({ id }) => id)
}

/** What of these exits is sealed under one of these keys: full signatures (share index null) and partial signatures. */
export function findSealedUnder(
  tx: Sql,
  keyIds: readonly Uint8Array[],
  messageIds: readonly number[],
): Promise<{ messageId: number; shareIndex: number | null; digest: Buffer | null; sealed: Buffer }[]> {
  return rows(
    tx,
    { messageId: number, shareIndex: orNull(number), digest: orNull(bytes), sealed: bytes },
    sql`select m.id as message_id, null::bigint as share_index, null::bytea as digest, m.signature as sealed from messages m
        where m.id = any(${numberArray(messageIds)}) and ${isUnder('m.signature', keyIds)}
        union all
        select p.message_id, p.share_index, p.digest, p.sealed from partial_signatures p
        where p.message_id = any(${numberArray(messageIds)}) and ${isUnder('p.sealed', keyIds)}`,
  )
}

/** Replaces sealed full signatures. Callers have locked the messages. */
export async function replaceSignatures(
  tx: Sql,
  signatures: readonly { messageId: number; sealed: Uint8Array }[],
): Promise<void> {
  if (signatures.length === 0) return
  await tx.execute(sql`
    update messages m set signature = r.sealed
    from unnest(${numberArray(signatures.map(({ messageId }) => messageId))}, ${bytesArray(signatures.map(({ sealed }) => sealed))})
         as r (id, sealed)
    where m.id = r.id and m.signature is not null`)
}

/** Replaces sealed partial signatures. Callers have locked the messages. */
export async function replacePartials(
  tx: Sql,
  partials: readonly { messageId: number; shareIndex: number; digest: Uint8Array; sealed: Uint8Array }[],
): Promise<void> {
  if (partials.length === 0) return
  await tx.execute(sql`
    update partial_signatures p set sealed = r.sealed
    from unnest(${numberArray(partials.map(({ messageId }) => messageId))}, ${numberArray(partials.map(({ shareIndex }) => shareIndex))},
                ${bytesArray(partials.map(({ digest }) => digest))}, ${bytesArray(partials.map(({ sealed }) => sealed))})
         as r (message_id, share_index, digest, sealed)
    where p.message_id = r.message_id and p.share_index = r.share_index and p.digest = r.digest and p.sealed is not null`)
}
