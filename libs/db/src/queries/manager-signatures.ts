/** What the validators-manager key signed: an append-only record. */

import { sql } from 'drizzle-orm'
import { managerSignatures } from '../schema.ts'
import { boolean, oneRow, orNull, text } from './rows.ts'
import type { Sql } from './sql.ts'
import { asBuffer, bytesParam } from './sql.ts'

export type ManagerAction = (typeof managerSignatures.$inferSelect)['action']

interface ManagerRecord {
  action: ManagerAction
  vault: Uint8Array
  requester: string
  registryRoot: Uint8Array
  validators: Uint8Array
  validatorCount: number
  amountGwei: bigint
  digest: Uint8Array
}

/** One limited signature of a vault at a time, also between processes. Held to the end of the transaction. */
export async function lockVaultLimit(tx: Sql, vault: Uint8Array): Promise<void> {
  await tx.execute(
    sql`select pg_advisory_xact_lock(hashtext('manager_signatures'), hashtext(${Buffer.from(vault).toString('hex')}))`,
  )
}

/** Whether a requester's record of a signature stands there already, of today (UTC). */
export async function isRecorded(db: Sql, digest: Uint8Array, requester: string): Promise<boolean> {
  const row = await oneRow(
    db,
    { there: boolean },
    sql`select exists (select from manager_signatures
                       where digest = ${bytesParam(digest)} and requester = ${requester}
                         and timezone('UTC', signed_at)::date = timezone('UTC', now())::date) as there`,
  )
  return row.there
}

/** Gwei that other signatures than this digest's moved for a vault within the last `seconds`, registrations aside. */
export async function sumMoved(db: Sql, vault: Uint8Array, digest: Uint8Array, seconds: number): Promise<bigint> {
  const row = await oneRow(
    db,
    { sum: orNull(text) },
    sql`select sum(amount)::text as sum from (
          select max(amount_gwei) as amount from manager_signatures
          where vault = ${bytesParam(vault)} and action <> 'register' and digest <> ${bytesParam(digest)}
            and signed_at > now() - make_interval(secs => ${seconds}::float8) group by digest) moved`,
  )
  return BigInt(row.sum ?? '0')
}

/** Records a signature before it is made; `exists` where the same requester was given it today (UTC). */
export async function insertManagerSignature(tx: Sql, record: ManagerRecord): Promise<'inserted' | 'exists'> {
  const { rowCount } = await tx
    .insert(managerSignatures)
    .values({
      action: record.action,
      vault: asBuffer(record.vault),
      requester: record.requester,
      registryRoot: asBuffer(record.registryRoot),
      validators: asBuffer(record.validators),
      validatorCount: record.validatorCount,
      amountGwei: record.amountGwei.toString(),
      digest: asBuffer(record.digest),
    })
    .onConflictDoNothing()
  return rowCount === 1 ? 'inserted' : 'exists'
}

/**
 * Deletes records older than `seconds`, at most `limit`; returns how many. The database allows it in a transaction that says so, and after a
 * year. One whose signature the vault may still take stays: those of the newest nonce that anything was signed under, and of the newest
 * root of the deposits.
 */
export async function deleteManagerSignatures(tx: Sql, seconds: number, limit: number): Promise<number> {
  await tx.execute(sql`select set_config('dvt_relayer.prune', 'manager_signatures', true)`)
  const { rowCount } = await tx.execute(sql`
    delete from manager_signatures where id in (
      select s.id from manager_signatures s
      where s.signed_at < now() - make_interval(secs => ${seconds}::float8)
        and exists (select from manager_signatures n
                    where n.vault = s.vault and (n.action = 'register') = (s.action = 'register')
                      and case when s.action = 'register' then n.id > s.id and n.registry_root <> s.registry_root
                               else n.registry_root > s.registry_root end)
      order by s.signed_at limit ${limit})`)
  await tx.execute(sql`select set_config('dvt_relayer.prune', '', true)`)
  return rowCount ?? 0
}
