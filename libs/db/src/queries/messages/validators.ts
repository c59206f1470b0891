/** Validators: the public keys the relayer knows, and the locks under which it decides about them. One statement a function. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { RowOf } from '../rows.ts'
import { bytes, number, orNull, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray } from '../sql.ts'

const validator = {
  id: number,
  publicKey: bytes,
  threshold: orNull(number),
  /** The vault that alone may have it, where there is one. */
  owner: orNull(bytes),
}
/** A validator row, locked for the transaction that decides about its messages. */
export type ValidatorRow = RowOf<typeof validator>

/** The vault of `v`: which its lock names, to which a deposit binds it, which the list names, or which has it reserved and asks for it. */
export const OWNER: SQL = sql`coalesce(
  v.withdrawal_address,
  (select b.vault from deposit_bindings b where b.validator_id = v.id),
  v.listed_vault,
  (select d.vault from messages d where d.validator_id = v.id and d.kind = 'deposit' and d.state in ('collecting', 'ready')))`

/** Makes sure that the validators exist. */
export async function insertValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<void> {
  await db.execute(sql`
    insert into validators (public_key) select key from unnest(${bytesArray(publicKeys)}) key order by key
    on conflict (public_key) do nothing`)
}

/** The validators of these keys that exist, with the threshold of their cluster. */
export function findValidators(db: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  return rows(
    db,
    validator,
    sql`select v.id, v.public_key, c.threshold, ${OWNER} as owner
        from validators v left join clusters c on c.id = v.cluster_id
        where v.public_key = any(${bytesArray(publicKeys)})`,
  )
}

/**
 * The same, locked in one order for everybody. The lock leaves references to the rows alone: who holds a message may still bind its
 * validator to a vault. Read after the lock is there: while it was waited for, a validator may have come into another cluster.
 */
export async function lockValidators(tx: Sql, publicKeys: readonly Uint8Array[]): Promise<ValidatorRow[]> {
  await tx.execute(sql`
    select v.id from validators v where v.public_key = any(${bytesArray(publicKeys)}) order by v.public_key for no key update of v`)
  return findValidators(tx, publicKeys)
}
