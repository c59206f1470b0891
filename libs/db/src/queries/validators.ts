/** Validators: the public keys the relayer knows, and the locks under which it decides about them. One statement a function. */

import { sql } from 'drizzle-orm'
import type { Sql } from './sql.ts'
import { bytesArray, rows } from './sql.ts'

/** A validator row, locked for the transaction that decides about its messages. */
export interface ValidatorRow {
  id: number
  public_key: Buffer
  threshold: number | null
  withdrawal_address: Buffer | null
}

/** Makes sure that the validators exist. */
export async function insertValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<void> {
  await db.execute(sql`
    insert into validators (public_key) select key from unnest(${bytesArray(publicKeys)}) key order by key
    on conflict (public_key) do nothing`)
}

/** The validators of these keys that exist, with the threshold of their cluster. */
export function findValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  return rows<ValidatorRow>(
    db,
    sql`select v.id, v.public_key, c.threshold, v.withdrawal_address
        from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)})`,
  )
}

/**
 * The same, locked in one order for everybody. The lock leaves references to the rows alone: who holds a message may still bind its
 * validator to a vault.
 */
export function lockValidators(tx: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  return rows<ValidatorRow>(
    tx,
    sql`select v.id, v.public_key, c.threshold, v.withdrawal_address
        from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)}) order by v.public_key for no key update of v`,
  )
}
