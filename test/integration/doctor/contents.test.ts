/** What a doctor counts in a database, and what it asks of the server: each number and each right by itself. */

import { randomBytes } from 'node:crypto'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import {
  countSealedExits,
  countTables,
  findNewestSealed,
  findSealingCheck,
  findVaults,
} from '@dvt-relayer/db/queries/doctor/contents.ts'
import { countForbidden, findPlace, lookAtServer } from '@dvt-relayer/db/queries/doctor/server.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

it('tables are counted with the time of their newest row; one that is missing has no count', async () => {
  const { db, query, addValidator } = await openMessages()
  const ids = [await addValidator(), await addValidator(), await addValidator()].map(({ id }) => id)
  for (const [at, id] of [1_700_000_500, 1_700_000_900, 1_700_000_100].map((time, n) => [time, ids[n]] as const))
    await query(sql`update validators set created_at = to_timestamp(${at}) where id = ${id}`)
  await query(sql`insert into deposit_blocks (validator_id, block_number) values (${ids[0]}, 1)`)
  await query(sql`drop table owner_copies`)
  expect(
    Object.fromEntries(await countTables(db, ['validators', 'deposit_blocks', 'owner_copies', 'rotations'])),
  ).toEqual({
    validators: { rows: 3, newestSeconds: 1_700_000_900 },
    deposit_blocks: { rows: 1, newestSeconds: null },
    owner_copies: undefined,
    rotations: { rows: 0, newestSeconds: null },
  })
})

it('signatures that are stored are told from the newest on, and exits without the key that opens theirs are counted', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openMessages()
  const id = async () => (await addValidator()).id
  expect(await countSealedExits(db)).toEqual({ exits: 0, keyless: 0 })
  const ready = { state: 'ready' }
  const [exit, deposit] = [await addExit(await id(), ready), await addDeposit(await id(), ready)]
  const [keyed, other] = [await addExit(await id(), ready), await addExit(await id(), ready)]
  const collecting = [await addExit(await id()), await addDeposit(await id())]
  for (const one of [keyed, deposit, ...collecting])
    await query(sql`insert into message_keys (message_id, sealed) values (${one}, ${randomBytes(40)})`)
  expect(await countSealedExits(db)).toEqual({ exits: 3, keyless: 2 })
  const signature = expect.any(Buffer)
  const newest = [
    { id: other, kind: 'exit', signature },
    { id: keyed, kind: 'exit', signature },
    { id: deposit, kind: 'deposit', signature },
    { id: exit, kind: 'exit', signature },
  ]
  expect(await findNewestSealed(db, 9)).toEqual(newest)
  expect(await findNewestSealed(db, 2)).toEqual(newest.slice(0, 2))
})

it('the check value of the sealing key is found once it is there', async () => {
  const { db, query } = await openMessages()
  expect(await findSealingCheck(db)).toBeUndefined()
  const sealed = randomBytes(40)
  await query(sql`insert into sealing_checks (id, sealed) values (1, ${sealed})`)
  expect(await findSealingCheck(db)).toEqual(sealed)
})

it('vaults are those of locks before those that have reserved a key of theirs, once each', async () => {
  const { db, query, addValidator } = await openMessages()
  const [A, B, C] = [1, 2, 3].map((byte) => Buffer.alloc(20, byte)) as [Buffer, Buffer, Buffer]
  await addValidator()
  await addValidator(B)
  const named = [await addValidator(C), await addValidator()].map(({ id }) => id)
  for (const id of named) await query(sql`update validators set withdrawal_address = ${A} where id = ${id}`)
  expect(await findVaults(db, 9)).toEqual([{ vault: A }, { vault: B }])
  expect(await findVaults(db, 1)).toEqual([{ vault: A }])
})

it('the server says what it is, and which database this is', async () => {
  const one = await openMessages()
  const other = await openMessages()
  const found = await lookAtServer(one.db)
  expect(found).toMatchObject({ isReplica: false, mayCreateSchema: true, mayCreateTable: true })
  expect(found.version).toMatch(/^1\d/)
  expect(Math.floor(found.versionNumber / 10_000)).toBe(Number.parseInt(found.version, 10))
  await using again = await connectDatabase({ url: one.url, logger: silentLogger })
  expect(await findPlace(again)).toBe(await findPlace(one.db))
  expect(await findPlace(other.db)).not.toBe(await findPlace(one.db))
  const [row] = await one.query<{ id: string }>(
    sql`select oid::text as id from pg_database where datname = current_database()`,
  )
  expect((await findPlace(one.db)).split(' ').at(-1)).toBe(row?.id)
})

it('each right that is missing is counted, and whose tables are another role’s', async () => {
  const { db, query, url } = await openMessages()
  expect(await countForbidden(db)).toEqual({ forbidden: 0, foreign: 0 })
  const user = `reader_${randomBytes(4).toString('hex')}`
  const role = sql.identifier(user)
  await query(sql`create role ${role} login password 'top-secret'`)
  try {
    for (const schema of ['public', 'drizzle', 'bullmq'].map((name) => sql.identifier(name))) {
      await query(sql`grant usage on schema ${schema} to ${role}`)
      await query(sql`grant select, insert, update, delete on all tables in schema ${schema} to ${role}`)
      await query(sql`grant usage on all sequences in schema ${schema} to ${role}`)
    }
    const as = new URL(url)
    as.username = user
    as.password = 'top-secret'
    await using theirs = await connectDatabase({ url: as.href, logger: silentLogger })
    const [all] = await query<{ tables: number }>(sql`
      select count(*)::int as tables from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'S') and n.nspname in ('public', 'drizzle', 'bullmq')`)
    const foreign = all?.tables ?? 0
    expect(foreign).toBeGreaterThan(30)
    expect(await countForbidden(theirs)).toEqual({ forbidden: 0, foreign })
    let forbidden = 0
    for (const right of [
      sql`select on clusters`,
      sql`insert on validators`,
      sql`update on messages`,
      sql`delete on key_shares`,
      sql`usage on sequence messages_id_seq`,
    ]) {
      await query(sql`revoke ${right} from ${role}`)
      expect(await countForbidden(theirs)).toEqual({ forbidden: ++forbidden, foreign })
    }
    await query(sql`alter table rotations owner to ${role}`)
    // With its sequence.
    expect(await countForbidden(theirs)).toEqual({ forbidden, foreign: foreign - 2 })
  } finally {
    await query(sql`reassign owned by ${role} to current_user`)
    await query(sql`drop owned by ${role}`)
    await query(sql`drop role ${role}`)
  }
})
