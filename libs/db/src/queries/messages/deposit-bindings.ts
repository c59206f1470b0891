/**
 * Which vault a deposit has given a validator to. Only proof binds, and for good: a verified partial signature, or the full one. What
 * nobody has verified holds a reserved key for a bounded time after its vault asked last, and no post makes that longer.
 */

import type { SQL } from 'drizzle-orm'
import { sql } from 'drizzle-orm'
import type { Sql } from '../sql.ts'

/** Whether a verified signature of the deposit `m` exists. */
const IS_PROVEN: SQL = sql`(m.kind = 'deposit' and (m.signature is not null
  or exists (select from partial_signatures p where p.message_id = m.id and p.state = 'verified')))`
/** Whether the deposit `m` has candidates that nobody has judged. */
const IS_UNJUDGED: SQL = sql`(m.kind = 'deposit'
  and exists (select from partial_signatures p where p.message_id = m.id and p.state = 'unverified'))`
/** Superseded deposits have no partial signatures any more, and have bound what they prove. */
const IS_PENDING: SQL = sql`m.state in ('collecting', 'ready', 'expired')`

/** Whether a verified signature of any deposit of `v` exists. */
export const IS_BOUND: SQL = sql`(
  exists (select from deposit_bindings b where b.validator_id = v.id)
  or exists (select from messages m where m.validator_id = v.id and ${IS_PENDING} and ${IS_PROVEN}))`

/** Whether deposits of `v` to the vault that has it have, or had, candidates that nobody has judged. */
export const HAS_UNJUDGED: SQL = sql`(v.is_held
  or exists (select from messages m where m.validator_id = v.id and ${IS_PENDING} and ${IS_UNJUDGED}))`

/** Whether these keep `v` for that vault, for so many seconds after it asked last. */
export const isHeld = (holdSeconds: number): SQL =>
  sql`(v.vault_asked_at > now() - make_interval(secs => ${holdSeconds}::float8) and ${HAS_UNJUDGED})`

/** Binds the validators of those messages `m` of `which` that are deposits with a verified signature; a binding that is there stays. */
export async function bindProven(tx: Sql, which: SQL): Promise<void> {
  await tx.execute(sql`
    insert into deposit_bindings (validator_id, vault)
    select m.validator_id, m.vault from messages m where ${which} and ${IS_PROVEN} order by m.validator_id, m.id desc
    on conflict do nothing`)
}

/**
 * Remembers of the messages `m` of `which` that are deposits to the vault which has the key that they had candidates nobody has judged:
 * these are about to be deleted. Callers hold the validators, or nobody else is at work.
 */
export async function holdUnproven(tx: Sql, which: SQL): Promise<void> {
  await tx.execute(sql`
    update validators v set is_held = true from messages m
    where ${which} and m.validator_id = v.id and m.vault = v.vault and not v.is_held and ${IS_UNJUDGED}`)
}
