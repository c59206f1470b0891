/** Deposits that cluster locks carry whole. They were verified when their lock was imported. One statement a function; no rule lives here. */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { RowOf } from '../rows.ts'
import { boolean, bytes, firstRow, number, rows } from '../rows.ts'
import type { Sql } from '../sql.ts'
import { bytesArray, bytesParam, numberArray, textArray } from '../sql.ts'

/** Whether a lock carries the signature of the deposit `name`. */
const isLockSigned = (name: 'm' | 'd'): SQL => {
  const deposit = sql.raw(name)
  return sql`exists (select from lock_deposits l where l.validator_id = ${deposit}.validator_id and l.vault = ${deposit}.vault
    and l.validator_type = ${deposit}.validator_type and l.amount_gwei = ${deposit}.amount_gwei)`
}

/** Whether the nodes need not sign the deposit `d` of a list: it is ready, and a lock carries its signature. */
export const IS_GIVEN: SQL = sql`(d.state = 'ready' and ${isLockSigned('d')})`

/** One deposit of a lock. */
export interface LockDeposit {
  validatorId: number
  vault: Uint8Array
  validatorType: '0x01' | '0x02'
  amountGwei: number
  /** 96 bytes: public, as the lock is. */
  signature: Uint8Array
}

/** Whether the deposits of the lock of this hash were read. */
export async function haveDepositsBeenRead(db: Sql, lockHash: Uint8Array): Promise<boolean> {
  const row = await firstRow(
    db,
    { isRead: boolean },
    sql`select deposits_read_at is not null as is_read from clusters where lock_hash = ${bytesParam(lockHash)}`,
  )
  return row?.isRead ?? false
}

/** Notes that the deposits of a lock were read. */
export async function noteDepositsRead(tx: Sql, lockHash: Uint8Array): Promise<void> {
  await tx.execute(sql`update clusters set deposits_read_at = now() where lock_hash = ${bytesParam(lockHash)}`)
}

/** Stores deposits of a lock, each once; of two signatures the one that was verified now counts. Callers have locked the validators. */
export async function storeLockDeposits(tx: Sql, deposits: readonly LockDeposit[]): Promise<void> {
  if (deposits.length === 0) return
  await tx.execute(sql`
    insert into lock_deposits (validator_id, vault, validator_type, amount_gwei, signature)
    select distinct on (l.validator_id, l.vault, l.validator_type, l.amount_gwei) l.*
    from unnest(${numberArray(deposits.map(({ validatorId }) => validatorId))}, ${bytesArray(deposits.map(({ vault }) => vault))},
                ${textArray(deposits.map(({ validatorType }) => validatorType))}, ${numberArray(deposits.map(({ amountGwei }) => amountGwei))},
                ${bytesArray(deposits.map(({ signature }) => signature))}) as l (validator_id, vault, validator_type, amount_gwei, signature)
    order by l.validator_id, l.vault, l.validator_type, l.amount_gwei
    on conflict (validator_id, vault, validator_type, amount_gwei) do update set signature = excluded.signature
      where lock_deposits.signature <> excluded.signature`)
}

/** Binds these validators to the vaults that deposits of locks go to: a whole signature is proof. A binding that is there stays. */
export async function bindLockDeposits(tx: Sql, validatorIds: readonly number[]): Promise<void> {
  await tx.execute(sql`
    insert into deposit_bindings (validator_id, vault)
    select distinct on (l.validator_id) l.validator_id, l.vault from lock_deposits l
    where l.validator_id = any(${numberArray(validatorIds)}) order by l.validator_id, l.vault
    on conflict do nothing`)
}

/** The live deposits of these validators whose signatures locks carry: lists show them otherwise now. */
export async function findLockSigned(db: Sql, validatorIds: readonly number[]): Promise<number[]> {
  const found = await rows(
    db,
    { id: number },
    sql`select m.id from messages m
        where m.validator_id = any(${numberArray(validatorIds)}) and m.kind = 'deposit' and m.state in ('collecting', 'ready')
          and ${isLockSigned('m')}
        order by m.id`,
  )
  return found.map(({ id }) => id)
}

const completable = { id: number, publicKey: bytes, signingRoot: bytes, signature: bytes }
/** A deposit still collecting, and what a lock says its full signature is. */
export type CompletableRow = RowOf<typeof completable>

/** Deposits that are collected although a lock carries their signature: those of these messages (of all when null), after an id. */
export function findCompletable(
  db: Sql,
  messageIds: readonly number[] | null,
  after: number,
  limit: number,
): Promise<CompletableRow[]> {
  const scope = messageIds === null ? sql`true` : sql`m.id = any(${numberArray(messageIds)})`
  return rows(
    db,
    completable,
    sql`select m.id, v.public_key, m.signing_root, l.signature
        from messages m join validators v on v.id = m.validator_id
        join lock_deposits l on l.validator_id = m.validator_id and l.vault = m.vault and l.validator_type = m.validator_type
                            and l.amount_gwei = m.amount_gwei
        where m.kind = 'deposit' and m.state = 'collecting' and ${scope} and m.id > ${after}
        order by m.id limit ${limit}`,
  )
}
