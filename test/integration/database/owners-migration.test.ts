/** A database of an earlier version: bindings that nothing proves become holds, all others stay, and who asks is a vault from now on. */

import { randomBytes } from 'node:crypto'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { createTestDatabase } from '../../support/services/postgres.ts'
import { MIGRATIONS, olderMigrations } from '../../support/stages/older-database.ts'

const VAULT = Buffer.alloc(20, 0xaa)

/** An empty database of the version before, and what puts rows into it. */
async function openOlder() {
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  const database = stack.use(await createTestDatabase())
  const db = stack.use(await connectDatabase({ url: database.url, logger: silentLogger }))
  await migrateDatabase(db, await olderMigrations())
  const idOf = async (statement: ReturnType<typeof sql>) => Number((await db.execute(statement)).rows[0]?.['id'])
  return {
    db,
    addValidator: () =>
      idOf(sql`insert into validators (public_key, vault, reserved_at, vault_asked_at)
        values (${randomBytes(48)}, ${VAULT}, now(), now()) returning id`),
    addMessage: (
      validator: number,
      kind: 'exit' | 'deposit',
      { state = 'collecting', requester = null as string | null, signature = null as Buffer | null, age = 60 } = {},
    ) =>
      idOf(sql`
        insert into messages (validator_id, kind, validator_index, epoch, vault, amount_gwei, validator_type, signing_root, threshold, state,
                              requester, signature, created_at)
        select ${validator}::bigint, ${kind}::text, e.i, e.i, d.vault, d.amount, d.type, ${randomBytes(32)}::bytea, 3, ${state}::text,
               ${requester}::text, ${signature}::bytea, now() - make_interval(secs => ${age})
        from (select 1 as one) o left join (select 1 as i) e on ${kind} = 'exit'
        left join (select ${VAULT}::bytea as vault, 1 as amount, '0x01' as type) d on ${kind} = 'deposit' returning id`),
    addPartial: (message: number, state: 'unverified' | 'verified' | 'rejected') =>
      db.execute(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
        values (${message}, 1, ${randomBytes(32)}, ${state === 'rejected' ? null : randomBytes(96)}, ${state})`),
    bind: (validator: number, age = 0) =>
      db.execute(sql`insert into deposit_bindings (validator_id, vault, bound_at)
        values (${validator}, ${VAULT}, now() - make_interval(secs => ${age}))`),
    migrate: () => migrateDatabase(db, MIGRATIONS),
  }
}

it('keeps every binding that may be proven, and drops those that points alone have made', async () => {
  const { db, addValidator, addMessage, addPartial, bind, migrate } = await openOlder()
  const make = async (partial: Parameters<typeof addPartial>[1] | undefined, deposit = {}, boundAge = 0) => {
    const validator = await addValidator()
    const id = await addMessage(validator, 'deposit', deposit)
    if (partial !== undefined) await addPartial(id, partial)
    await bind(validator, boundAge)
    return validator
  }
  const dropped = [await make('unverified'), await make('unverified', { state: 'expired' })]
  const kept = [
    await make('verified'),
    await make('unverified', { state: 'ready', signature: randomBytes(96) }),
    await make('unverified', { state: 'expired', signature: randomBytes(96) }),
    // Made by an earlier deposit, of which nothing is left.
    await make('unverified', {}, 3600),
    await make(undefined),
    await make('rejected'),
  ]
  const known = await make('unverified')
  await db.execute(sql`insert into key_shares (validator_id, share_index, public_key_share, source)
    values (${known}, 1, ${randomBytes(48)}, 'lock')`)
  const without = await addValidator()
  await bind(without)
  await migrate()
  const { rows } = await db.execute(sql`select validator_id as id from deposit_bindings order by 1`)
  expect(rows.map((row) => Number(row['id']))).toEqual([...kept, known, without].toSorted((a, b) => a - b))
  expect(dropped).toHaveLength(2)
  const { rows: held } = await db.execute(sql`select from validators where is_held or listed_vault is not null`)
  expect(held).toEqual([])
})

it('calls who asked for a deposit, and for the exit with it, by the vault', async () => {
  const { db, addValidator, addMessage, migrate } = await openOlder()
  const pair = async (exit: string | null, deposit: string | null, state = 'collecting') => {
    const validator = await addValidator()
    return [
      await addMessage(validator, 'exit', { requester: exit, state }),
      await addMessage(validator, 'deposit', { requester: deposit, state }),
    ]
  }
  const vault = `vault:0x${'aa'.repeat(20)}`
  const expected = new Map<number, string | null>()
  const expecting = (ids: number[], requesters: (string | null)[]) =>
    ids.forEach((id, i) => {
      expected.set(id, requesters[i] ?? null)
    })
  expecting(await pair('operator-1', 'operator-1'), [vault, vault])
  expecting(await pair('operator-1', 'operator-1', 'expired'), [vault, vault])
  expecting(await pair(vault, vault), [vault, vault])
  expecting(await pair('rotation:', 'operator-1'), ['rotation:', vault])
  expecting(await pair('operator-3', 'operator-1'), ['operator-3', vault])
  expecting(await pair(null, null), [null, null])
  expecting(await pair('operator-1', 'operator-1', 'superseded'), ['operator-1', 'operator-1'])
  expecting([await addMessage(await addValidator(), 'exit', { requester: 'operator-3' })], ['operator-3'])
  await migrate()
  const { rows } = await db.execute(sql`select id, requester from messages`)
  expect(new Map(rows.map((row) => [Number(row['id']), row['requester']]))).toEqual(expected)
})
