/** Deposits of locks as rows: which are stored, what they bind, and which deposits they complete. */

import { randomBytes } from 'node:crypto'
import {
  bindLockDeposits,
  findCompletable,
  findLockSigned,
  haveDepositsBeenRead,
  type LockDeposit,
  noteDepositsRead,
  storeLockDeposits,
} from '@dvt-relayer/db/queries/messages/lock-deposits.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../../support/stages/messages.ts'

const [A, B] = [Buffer.alloc(20, 1), Buffer.alloc(20, 2)]
const signatureOf = (byte: number) => Buffer.alloc(96, byte)
const depositOf = (validatorId: number, byte: number, more: Partial<LockDeposit> = {}): LockDeposit => ({
  ...{ validatorId, vault: A, validatorType: '0x01', amountGwei: 1, signature: signatureOf(byte) },
  ...more,
})

it('those of a lock are read once they have been noted as read, and those of another lock are not', async () => {
  const { db, query } = await openMessages()
  const [first, second, unknown] = [randomBytes(32), randomBytes(32), randomBytes(32)]
  for (const hash of [first, second])
    await query(sql`insert into clusters (name, threshold, lock_hash) values ('a', 3, ${hash})`)
  const areRead = () => Promise.all([first, second, unknown].map((hash) => haveDepositsBeenRead(db, hash)))
  expect(await areRead()).toEqual([false, false, false])
  await noteDepositsRead(db, first)
  expect(await areRead()).toEqual([true, false, false])
  await noteDepositsRead(db, unknown)
  expect(await areRead()).toEqual([true, false, false])
})

it('each is stored once, with the signature that was verified last', async () => {
  const { db, query, addValidator } = await openMessages()
  const [{ id: first }, { id: second }] = [await addValidator(), await addValidator()]
  const stored = async () =>
    (
      await query<{ row: string }>(sql`
        select concat_ws(' ', validator_id, encode(vault, 'hex'), validator_type, amount_gwei, get_byte(signature, 0)) as row
        from lock_deposits order by signature`)
    ).map(({ row }) => row)
  const [a, b] = [A.toString('hex'), B.toString('hex')]
  await storeLockDeposits(db, [])
  expect(await stored()).toEqual([])
  await storeLockDeposits(db, [depositOf(first, 1)])
  expect(await stored()).toEqual([`${first} ${a} 0x01 1 1`])
  // Each differs from the first in one thing; the last but one is there twice, and the last is the first one signed anew.
  await storeLockDeposits(db, [
    depositOf(second, 2),
    depositOf(first, 3, { vault: B }),
    depositOf(first, 4, { validatorType: '0x02' }),
    depositOf(first, 5, { amountGwei: 2 }),
    depositOf(first, 5, { amountGwei: 2 }),
    depositOf(first, 6),
  ])
  expect(await stored()).toEqual([
    `${second} ${a} 0x01 1 2`,
    `${first} ${b} 0x01 1 3`,
    `${first} ${a} 0x02 1 4`,
    `${first} ${a} 0x01 2 5`,
    `${first} ${a} 0x01 1 6`,
  ])
})

it('bind the keys they were asked for of, each to one vault, and no key that is bound already', async () => {
  const { db, query, addValidator } = await openMessages()
  const [one, two, bound, none, notAsked] = [
    await addValidator(),
    await addValidator(),
    await addValidator(),
    await addValidator(),
    await addValidator(),
  ]
  await query(sql`insert into deposit_bindings (validator_id, vault) values (${bound.id}, ${B})`)
  await storeLockDeposits(db, [
    depositOf(one.id, 1, { vault: B }),
    depositOf(two.id, 1),
    depositOf(two.id, 1, { amountGwei: 2 }),
    depositOf(two.id, 1, { vault: B }),
    depositOf(bound.id, 1),
    depositOf(notAsked.id, 1),
  ])
  await bindLockDeposits(
    db,
    [one, two, bound, none].map(({ id }) => id),
  )
  expect(await query(sql`select validator_id::int as id, vault from deposit_bindings order by validator_id`)).toEqual([
    { id: one.id, vault: B },
    { id: two.id, vault: A },
    { id: bound.id, vault: B },
  ])
})

it('are those of live deposits of the keys asked for, and what they complete is what is collected', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openMessages()
  const deposit = { vault: A, gwei: 1, type: '0x01' as const }
  const add = async (state: string) => {
    const { id, publicKey } = await addValidator()
    await addExit(id)
    await storeLockDeposits(db, [depositOf(id, id)])
    return { validator: id, publicKey: Buffer.from(publicKey), id: await addDeposit(id, { ...deposit, state }) }
  }
  const [first, second, ready, expired, notAsked] = [
    await add('collecting'),
    await add('collecting'),
    await add('ready'),
    await add('expired'),
    await add('collecting'),
  ]
  const asked = [first, second, ready, expired]
  const idsOf = (found: readonly { id: number }[]) => found.map(({ id }) => id)
  const signed = await findLockSigned(
    db,
    asked.map(({ validator }) => validator),
  )
  expect(signed).toEqual(idsOf([first, second, ready]))

  const ids = idsOf(asked)
  const [root] = await query<{ signing_root: Buffer }>(sql`select signing_root from messages where id = ${second.id}`)
  expect(await findCompletable(db, ids, first.id, 9)).toEqual([
    {
      ...{ id: second.id, publicKey: second.publicKey, signingRoot: root?.signing_root },
      signature: signatureOf(second.validator),
    },
  ])
  const complete = async (...[of, after, limit]: [readonly number[] | null, number, number]) =>
    idsOf(await findCompletable(db, of, after, limit))
  expect(await complete(ids, 0, 9)).toEqual(idsOf([first, second]))
  expect(await complete(ids, 0, 1)).toEqual(idsOf([first]))
  expect(await complete(ids, second.id, 9)).toEqual([])
  expect(await complete([], 0, 9)).toEqual([])
  expect(await complete(null, 0, 9)).toEqual(idsOf([first, second, notAsked]))
  expect(await complete(null, second.id, 9)).toEqual(idsOf([notAsked]))
})

it('are asked for by validator, vault, type and amount: what differs in one of them is not completed', async () => {
  const { db, addValidator, addExit, addDeposit } = await openMessages()
  const right = { vault: A, gwei: 1, type: '0x01' as const }
  const ids: number[] = []
  const validators: number[] = []
  for (const deposit of [right, { ...right, vault: B }, { ...right, gwei: 2 }, { ...right, type: '0x02' as const }]) {
    const { id } = await addValidator()
    await addExit(id)
    await storeLockDeposits(db, [depositOf(id, 1)])
    ids.push(await addDeposit(id, deposit))
    validators.push(id)
  }
  // Of no lock.
  const { id } = await addValidator()
  validators.push(id)
  ids.push(await addDeposit(id, right))
  expect((await findCompletable(db, ids, 0, 9)).map((found) => found.id)).toEqual(ids.slice(0, 1))
  expect(await findLockSigned(db, validators)).toEqual(ids.slice(0, 1))
})
