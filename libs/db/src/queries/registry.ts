/** The registry: keys with a validly signed deposit in a final block, and the checkpoint that says up to where. One statement a function. */

import { eq, sql } from 'drizzle-orm'
import { checkpoints, registryValidators } from '../schema.ts'
import { bytesList, firstRow, json } from './rows.ts'
import type { Sql } from './sql.ts'
import { bytesArray, bytesParam, isAny, numberArray } from './sql.ts'

/** Keys in one statement: some tens of milliseconds. */
export const MOST_REGISTERED = 5_000

/** A key, and the block of its first validly signed deposit. */
export interface RegisteredKey {
  publicKey: Uint8Array
  blockNumber: number
}

/** Puts a checkpoint there. Of several transactions at once one does; the others wait for its end, and find it there. */
export async function insertCheckpoint(tx: Sql, name: string, value: unknown): Promise<'inserted' | 'exists'> {
  const { rowCount } = await tx.insert(checkpoints).values({ name, value }).onConflictDoNothing()
  return rowCount === 1 ? 'inserted' : 'exists'
}

/** A checkpoint's value, locked until the transaction ends. */
export async function lockCheckpoint(tx: Sql, name: string): Promise<unknown> {
  const [row] = await tx
    .select({ value: checkpoints.value })
    .from(checkpoints)
    .where(eq(checkpoints.name, name))
    .for('update')
  return row?.value
}

/** Adds keys that are not there yet. Returns how many were not. */
export async function insertRegistered(tx: Sql, keys: readonly RegisteredKey[]): Promise<number> {
  if (keys.length === 0) return 0
  // The keys in one piece: as an array they would travel as text, and a million of them leave a trail of garbage.
  const { rowCount } = await tx.execute(sql`
    insert into registry_validators (public_key, block_number)
    select substring(k.keys from (b.place::int - 1) * 48 + 1 for 48), b.block
    from (select ${bytesParam(Buffer.concat(keys.map(({ publicKey }) => publicKey)))} as keys) k,
         unnest(${numberArray(keys.map(({ blockNumber }) => blockNumber))}) with ordinality as b (block, place)
    on conflict do nothing`)
  return rowCount ?? 0
}

/** Forgets every key. */
export async function clearRegistered(tx: Sql): Promise<void> {
  await tx.delete(registryValidators)
}

/** Which of these keys are there, in no order. */
export async function findRegistered(db: Sql, publicKeys: readonly Uint8Array[]): Promise<Buffer[]> {
  const found = await db
    .select({ publicKey: registryValidators.publicKey })
    .from(registryValidators)
    .where(isAny(registryValidators.publicKey, bytesArray(publicKeys)))
  return found.map(({ publicKey }) => publicKey)
}

/** A checkpoint's value and which of these keys are there, both as of one moment; undefined without the checkpoint. */
export function findRegisteredWith(
  db: Sql,
  checkpoint: string,
  publicKeys: readonly Uint8Array[],
): Promise<{ value: unknown; publicKeys: Buffer[] } | undefined> {
  return firstRow(
    db,
    { value: json, publicKeys: bytesList },
    sql`select c.value,
               array(select r.public_key from registry_validators r where r.public_key = any(${bytesArray(publicKeys)})) as public_keys
        from checkpoints c where c.name = ${checkpoint}`,
  )
}
