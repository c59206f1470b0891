/** Messages as rows: what is found, made, ended and brought back of them, and what is left alone. */

import { randomBytes } from 'node:crypto'
import {
  countLiveExits,
  deleteSuperseded,
  expireMessages,
  findDeposits,
  findExits,
  insertDeposits,
  insertExits,
  retireMessages,
  reviveMessages,
  supersedeMessages,
  touchMessages,
} from '@dvt-relayer/db/queries/messages/messages.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const HOUR = 3600
const VAULT = Buffer.alloc(20, 1)

/** Makes all messages as old as so many hours. */
const age = ({ query }: MessageStore, hours: number) =>
  query(sql`update messages set requested_at = now() - make_interval(hours => ${hours}::int)`)
/** State, requester, and how many hours ago each message was asked for, by id. */
const look = async ({ query }: MessageStore) =>
  new Map(
    (
      await query<{ id: number; state: string; requester: string | null; hours: number }>(sql`
        select id::int, state, requester, round(extract(epoch from now() - requested_at) / 3600)::int as hours from messages`)
    ).map(({ id, ...row }) => [id, Object.values(row).join(' ')]),
  )

describe('the message of a key that counts', () => {
  it('is the live one, else the one that expired last, of its own kind', async () => {
    const store = await openMessages()
    const { db, addValidator, addExit, addDeposit, query } = store
    const [live, ended, other] = [await addValidator(), await addValidator(), await addValidator()]
    const exits = [
      await addExit(live.id, { index: 1, requester: 'a' }),
      await addExit(ended.id, { index: 2, state: 'expired' }),
      await addExit(ended.id, { index: 3, state: 'expired', requester: 'b' }),
    ]
    const deposits = [
      await addDeposit(live.id, { vault: VAULT, gwei: 5, type: '0x02', state: 'ready' }),
      await addDeposit(ended.id, { vault: VAULT, gwei: 6, state: 'expired' }),
      await addDeposit(ended.id, { vault: VAULT, gwei: 7, state: 'expired' }),
    ]
    await addExit(live.id, { index: 4, state: 'expired' })
    await addDeposit(live.id, { state: 'expired' })
    for (const state of ['superseded', 'erased']) await addExit(ended.id, { index: 5, state })
    await addDeposit(ended.id, { state: 'superseded' })
    await addExit(other.id)
    await addDeposit(other.id)
    const gone = await addValidator()
    await addExit(gone.id, { state: 'superseded' })
    await age(store, 2)
    await query(sql`update validators set listed_vault = ${VAULT} where id = ${ended.id}`)

    const keys = [live, ended, gone].map(({ publicKey }) => publicKey)
    const [liveKey, endedKey] = keys.map((key) => Buffer.from(key))
    const idleSeconds = expect.closeTo(2 * HOUR, -2)
    expect(await findExits(db, keys)).toEqual([
      {
        ...{ id: exits[0], publicKey: liveKey, state: 'collecting', requester: 'a', owner: VAULT },
        ...{ validatorIndex: 1, idleSeconds },
      },
      {
        ...{ id: exits[2], publicKey: endedKey, state: 'expired', requester: 'b', owner: VAULT },
        ...{ validatorIndex: 3, idleSeconds },
      },
    ])
    expect(await findDeposits(db, keys)).toEqual([
      {
        ...{ id: deposits[0], publicKey: liveKey, state: 'ready', requester: null, owner: VAULT, vault: VAULT },
        ...{ amountGwei: 5, validatorType: '0x02', idleSeconds },
      },
      {
        ...{ id: deposits[2], publicKey: endedKey, state: 'expired', requester: null, owner: VAULT, vault: VAULT },
        ...{ amountGwei: 7, validatorType: '0x01', idleSeconds },
      },
    ])
  })
})

describe('new messages', () => {
  const root = (byte: number) => Buffer.alloc(32, byte)

  it('are stored as they are asked for: one exit as well as two, and none at all', async () => {
    const { db, query, addValidator } = await openMessages()
    const [a, b, c] = [await addValidator(), await addValidator(), await addValidator()]
    const exit = (validatorId: number, n: number, requester: string | null) => ({
      ...{ validatorId, requester, validatorIndex: n, epoch: n + 1, signingRoot: root(n), threshold: n + 2 },
    })
    expect(await insertExits(db, [])).toEqual([])
    const one = await insertExits(db, [exit(a.id, 10, 'x')])
    const two = await insertExits(db, [exit(b.id, 20, null), exit(c.id, 30, 'z')])
    const ids = [...one, ...two]
    expect(new Set(ids).size).toBe(3)
    const rows = await query(sql`
      select id::int, validator_id::int, kind, validator_index::int as n, epoch::int, signing_root, threshold::int, state, requester
      from messages order by validator_index`)
    const row = (validator_id: number, n: number, requester: string | null) => ({
      ...{ id: expect.any(Number), validator_id, kind: 'exit', n, epoch: n + 1, signing_root: root(n) },
      ...{ threshold: n + 2, state: 'collecting', requester },
    })
    expect(rows).toEqual([row(a.id, 10, 'x'), row(b.id, 20, null), row(c.id, 30, 'z')])
    expect((rows as { id: number }[]).map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
  })

  it('are stored as they are asked for: one deposit as well as two, and none at all', async () => {
    const { db, query, addValidator } = await openMessages()
    const [a, b, c] = [await addValidator(), await addValidator(), await addValidator()]
    const deposit = (validatorId: number, n: number, requester: string | null) => ({
      ...{ validatorId, requester, vault: Buffer.alloc(20, n), amountGwei: n, validatorType: '0x02' as const },
      ...{ signingRoot: root(n), threshold: n + 2 },
    })
    expect(await insertDeposits(db, [])).toEqual([])
    const one = await insertDeposits(db, [deposit(a.id, 10, 'x')])
    const two = await insertDeposits(db, [deposit(b.id, 20, null), deposit(c.id, 30, 'z')])
    const ids = [...one, ...two]
    expect(new Set(ids).size).toBe(3)
    const rows = await query(sql`
      select id::int, validator_id::int, kind, vault, amount_gwei::int as n, validator_type, signing_root, threshold::int, state, requester
      from messages order by amount_gwei`)
    const row = (validator_id: number, n: number, requester: string | null) => ({
      ...{ id: expect.any(Number), validator_id, kind: 'deposit', vault: Buffer.alloc(20, n), n },
      ...{ validator_type: '0x02', signing_root: root(n), threshold: n + 2, state: 'collecting', requester },
    })
    expect(rows).toEqual([row(a.id, 10, 'x'), row(b.id, 20, null), row(c.id, 30, 'z')])
    expect((rows as { id: number }[]).map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
  })
})

describe('what is asked of some messages', () => {
  /** Four exits that were asked for two hours ago, each with a partial signature. */
  async function setUp(state: string) {
    const store = await openMessages()
    const ids: number[] = []
    for (const requester of ['first', null, 'third', 'fourth']) {
      const id = await store.addExit((await store.addValidator()).id, { state, requester })
      await store.query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                            values (${id}, 1, ${randomBytes(32)}, 'x', 'unverified')`)
      ids.push(id)
    }
    await age(store, 2)
    const [a = 0, b = 0, c = 0, d = 0] = ids
    const withPoints = async () =>
      (await store.query<{ id: number }>(sql`select message_id::int as id from partial_signatures order by 1`)).map(
        ({ id }) => id,
      )
    return { store, a, b, c, d, look: async () => [...(await look(store))].toSorted(([x], [y]) => x - y), withPoints }
  }

  it('is their end: they are kept from then on, and what was collected is gone', async () => {
    const { store, a, b, c, d, look, withPoints } = await setUp('collecting')
    await supersedeMessages(store.db, [])
    await supersedeMessages(store.db, [c])
    const after = [
      [a, 'collecting first 2'],
      [b, 'collecting  2'],
      [c, 'superseded third 0'],
      [d, 'collecting fourth 2'],
    ]
    expect([await look(), await withPoints()]).toEqual([after, [a, b, d]])
    await supersedeMessages(store.db, [a, b])
    expect([await look(), await withPoints()]).toEqual([
      [[a, 'superseded first 0'], [b, 'superseded  0'], ...after.slice(2)],
      [d],
    ])
  })

  it('is that they come back: to the state they had, and under the name of who asks, where that is one', async () => {
    const { store, a, b, c, d, look, withPoints } = await setUp('expired')
    await store.query(sql`update messages set signature = 'x' where id = ${b}`)
    const revive = (asked: Parameters<typeof reviveMessages>[1]) => reviveMessages(store.db, asked)
    await revive([])
    await revive([{ id: a, requester: 'new' }])
    const others = [
      [b, 'expired  2'],
      [c, 'expired third 2'],
      [d, 'expired fourth 2'],
    ]
    expect(await look()).toEqual([[a, 'collecting new 0'], ...others])
    await revive([
      { id: c, requester: null },
      { id: b, requester: 'owner' },
    ])
    expect(await look()).toEqual([
      [a, 'collecting new 0'],
      [b, 'ready owner 0'],
      [c, 'collecting third 0'],
      [d, 'expired fourth 2'],
    ])
    expect(await withPoints()).toEqual([a, b, c, d])
  })

  it('is noted with the name of who asks, where that is one', async () => {
    const { store, a, b, c, d, look } = await setUp('collecting')
    const touch = (asked: Parameters<typeof touchMessages>[1]) => touchMessages(store.db, asked)
    await touch([])
    await touch([{ id: a, requester: 'new' }])
    await touch([
      { id: c, requester: null },
      { id: b, requester: 'owner' },
    ])
    expect(await look()).toEqual([
      [a, 'collecting new 0'],
      [b, 'collecting owner 0'],
      [c, 'collecting third 0'],
      [d, 'collecting fourth 2'],
    ])
  })

  it('is that they retire, where they are live: they keep what was collected', async () => {
    const { store, a, b, c, d, look, withPoints } = await setUp('collecting')
    await store.query(sql`update messages set state = 'superseded' where id = ${b}`)
    await store.query(sql`update messages set state = 'ready', signature = 'x' where id = ${c}`)
    await retireMessages(store.db, [])
    await retireMessages(store.db, [a])
    await retireMessages(store.db, [b, c])
    expect(await look()).toEqual([
      [a, 'expired first 2'],
      [b, 'superseded  2'],
      [c, 'expired third 2'],
      [d, 'collecting fourth 2'],
    ])
    expect(await withPoints()).toEqual([a, b, c, d])
  })
})

describe('in time', () => {
  it('live messages expire, those that were asked for first of all, and at most so many at once', async () => {
    const store = await openMessages()
    const { db, addValidator, addExit, addDeposit, query } = store
    const { id } = await addValidator()
    const exit = await addExit(id, { state: 'ready' })
    const deposit = await addDeposit(id)
    const third = await addExit((await addValidator()).id)
    for (const state of ['superseded', 'erased']) await addExit(id, { state })
    await age(store, 2)
    const recent = await addExit((await addValidator()).id)
    expect((await expireMessages(db, HOUR, 2)).toSorted((x, y) => x.id - y.id)).toEqual([
      { id: exit, kind: 'exit' },
      { id: deposit, kind: 'deposit' },
    ])
    const states = async () =>
      (await query<{ state: string }>(sql`select state from messages order by id`)).map(({ state }) => state)
    expect(await states()).toEqual(['expired', 'expired', 'collecting', 'superseded', 'erased', 'collecting'])
    expect(await expireMessages(db, HOUR, 9)).toEqual([{ id: third, kind: 'exit' }])
    expect(await expireMessages(db, HOUR, 9)).toEqual([])
    expect((await store.message(recent)).state).toBe('collecting')
  })

  it('a message expires the moment after its time is over, and not at the moment itself', async () => {
    const { db, addValidator, addExit } = await openMessages()
    await addExit((await addValidator()).id)
    const expiredAfter = (seconds: number) =>
      db.transaction(async (tx) => {
        // One transaction has one time.
        await tx.execute(sql`update messages set requested_at = now() - make_interval(secs => ${seconds}::float8)`)
        return (await expireMessages(tx, HOUR, 9)).length
      })
    expect(await expiredAfter(HOUR)).toBe(0)
    expect(await expiredAfter(HOUR + 1)).toBe(1)
  })

  it('superseded messages are deleted, but for the newest of each kind, and at most so many at once', async () => {
    const store = await openMessages()
    const { db, addValidator, addExit, addDeposit, query } = store
    const { id } = await addValidator()
    const add = async (kind: 'exit' | 'deposit', state: string, revision: number, hours = 2) => {
      const message = kind === 'exit' ? await addExit(id, { state }) : await addDeposit(id, { state })
      await query(sql`
        update messages set revision = ${revision}, requested_at = now() - make_interval(hours => ${hours}::int) where id = ${message}`)
      return message
    }
    const second = await add('exit', 'superseded', 1)
    const first = await add('exit', 'superseded', 2, 3)
    const kept = [
      await add('exit', 'superseded', 3, 0),
      await add('exit', 'expired', 4),
      await add('deposit', 'superseded', 2),
      await add('exit', 'superseded', 9),
    ]
    // Of the same revision the greater id is the newer one.
    const third = await add('deposit', 'superseded', 1)
    await query(sql`update messages set revision = 2 where id = ${third}`)
    const deposits = [kept[2], third]
    const left = async () =>
      (await query<{ id: number }>(sql`select id::int from messages order by id`)).map((row) => row.id)
    expect(await deleteSuperseded(db, HOUR, 1)).toBe(1)
    expect(await left()).not.toContain(first)
    expect(await left()).toContain(second)
    expect(await deleteSuperseded(db, HOUR, 9)).toBe(2)
    expect(await left()).toEqual([kept[0], kept[1], kept[3], deposits[1]])
    expect(await deleteSuperseded(db, HOUR, 9)).toBe(0)
  })

  it('a superseded message is deleted the moment after its time is over, and not at the moment itself', async () => {
    const { db, query, addValidator, addExit } = await openMessages()
    const { id } = await addValidator()
    await addExit(id, { state: 'superseded' })
    await addExit(id)
    await query(sql`update messages set revision = id`)
    const deletedAfter = (seconds: number) =>
      db.transaction(async (tx) => {
        await tx.execute(sql`update messages set requested_at = now() - make_interval(secs => ${seconds}::float8)`)
        return deleteSuperseded(tx, HOUR, 9)
      })
    expect(await deletedAfter(HOUR)).toBe(0)
    expect(await deletedAfter(HOUR + 1)).toBe(1)
  })
})

it('live exits are counted for their own requester', async () => {
  const { db, addValidator, addExit, addDeposit, query } = await openMessages()
  const add = async (state: string, requester: string | null) =>
    addExit((await addValidator()).id, { state, requester })
  expect(await countLiveExits(db, 'a')).toBe(0)
  for (const state of ['collecting', 'collecting', 'ready', 'expired', 'superseded', 'erased']) await add(state, 'a')
  await add('collecting', 'b')
  for (const state of ['collecting', 'ready', 'expired']) await add(state, null)
  await addDeposit((await addValidator()).id)
  await query(sql`insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state, requester)
                  select id, 'deposit', ${VAULT}, 1, '0x01', ${randomBytes(32)}, 1, 'collecting', 'a' from validators limit 1`)
  expect(await Promise.all(['a', 'b', 'c', null].map((requester) => countLiveExits(db, requester)))).toEqual([
    3, 1, 0, 2,
  ])
})
