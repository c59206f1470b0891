/** Keys as rows: whose one is, which of them are locked, and which are forgotten. */

import { randomBytes } from 'node:crypto'
import {
  deleteForgotten,
  findValidators,
  insertValidators,
  lockForgotten,
  lockValidators,
} from '@dvt-relayer/db/queries/messages/validators.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const [A, B, C, D] = [Buffer.alloc(20, 1), Buffer.alloc(20, 2), Buffer.alloc(20, 3), Buffer.alloc(20, 4)]

describe('the owner of a key', () => {
  it('is the vault of its lock, else of its binding, else of the list, else of its live deposit', async () => {
    const { db, query, addValidator, addExit, addDeposit } = await openMessages()
    const cases: { of: Partial<Record<'lock' | 'bound' | 'listed' | 'deposit', typeof A>>; owner: typeof A | null }[] =
      [
        { of: {}, owner: null },
        { of: { lock: A, bound: B, listed: C, deposit: D }, owner: A },
        { of: { bound: B, listed: C, deposit: D }, owner: B },
        { of: { listed: C, deposit: D }, owner: C },
        { of: { deposit: D }, owner: D },
        { of: { deposit: A }, owner: A },
        { of: { bound: C }, owner: C },
      ]
    const keys: Uint8Array[] = []
    for (const { of } of cases) {
      // An exit is nobody's word, and a vault that has it reserved without a deposit is no owner.
      const { id, publicKey } = await addValidator(B)
      await addExit(id)
      keys.push(publicKey)
      await query(sql`
        update validators set withdrawal_address = ${of.lock ?? null}, listed_vault = ${of.listed ?? null} where id = ${id}`)
      if (of.bound !== undefined)
        await query(sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${of.bound})`)
      if (of.deposit !== undefined) await addDeposit(id, { vault: of.deposit })
    }
    const ownerOf = new Map(
      (await findValidators(db, keys)).map(({ publicKey, owner }) => [publicKey.toString('hex'), owner]),
    )
    expect(keys.map((key) => ownerOf.get(Buffer.from(key).toString('hex')))).toEqual(cases.map(({ owner }) => owner))
  })

  it('is no vault whose deposit has ended, and the one of a deposit that is ready', async () => {
    const { db, addValidator, addDeposit } = await openMessages()
    for (const state of ['expired', 'superseded', 'ready']) {
      const { id, publicKey } = await addValidator()
      await addDeposit(id, { vault: A, state })
      expect((await findValidators(db, [publicKey]))[0]?.owner).toEqual(state === 'ready' ? A : null)
    }
  })
})

it('keys are found with the threshold of their own cluster, those of none without, and no others', async () => {
  const { db, query, addValidator } = await openMessages()
  await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 3), (2, 'b', 5)`)
  const [a, b, none, notAsked] = [
    await addValidator(),
    await addValidator(),
    await addValidator(),
    await addValidator(),
  ]
  await query(sql`update validators set cluster_id = 1 where id in (${a.id}, ${notAsked.id})`)
  await query(sql`update validators set cluster_id = 2 where id = ${b.id}`)
  const keys = [a, b, none].map(({ publicKey }) => publicKey)
  const expected = [
    { id: a.id, threshold: 3 },
    { id: b.id, threshold: 5 },
    { id: none.id, threshold: null },
  ].map(({ id, threshold }, i) => ({ id, publicKey: Buffer.from(keys[i] ?? []), threshold, owner: null }))
  const found = await findValidators(db, [...keys, randomBytes(48)])
  expect(found.toSorted((x, y) => x.id - y.id)).toEqual(expected)

  // What is locked is what was asked for, as it is then.
  await db.transaction(async (tx) => {
    const locked = await lockValidators(tx, keys)
    expect(locked.toSorted((x, y) => x.id - y.id)).toEqual(expected)
    expect(await query(sql`select id::int from validators for no key update skip locked`)).toEqual([
      { id: notAsked.id },
    ])
  })
})

it('a key is known once, however often it is asked for', async () => {
  const { db, query, addValidator } = await openMessages()
  const { id, publicKey } = await addValidator()
  const fresh = randomBytes(48)
  for (let times = 0; times < 2; times++) await insertValidators(db, [publicKey, fresh])
  const known = await query<{ public_key: Buffer }>(sql`select public_key from validators`)
  expect(known.map((row) => row.public_key.toString('hex')).toSorted()).toEqual(
    [Buffer.from(publicKey), fresh].map((key) => key.toString('hex')).toSorted(),
  )
  expect((await findValidators(db, [publicKey]))[0]?.id).toBe(id)
})

describe('a forgotten key', () => {
  const HOUR = 3600
  const KEPT = { unready: HOUR, ready: 9 * HOUR }

  /** A key that was asked for long ago, and its exit, which has ended. */
  async function addEnded(store: MessageStore, { state = 'expired', wasReady = false } = {}) {
    const { id, publicKey } = await store.addValidator()
    const exit = await store.addExit(id, { state })
    await store.query(sql`update validators set created_at = now() - interval '10 hours' where id = ${id}`)
    await store.query(sql`
      update messages set requested_at = now() - interval '10 hours', revision = ${exit},
             signature = ${wasReady ? 'x' : null}::text::bytea where id = ${exit}`)
    return { id, publicKey, exit }
  }
  const forget = ({ db }: MessageStore) =>
    db.transaction(async (tx) => deleteForgotten(tx, await lockForgotten(tx, KEPT, 9), KEPT))
  const left = async ({ query }: MessageStore) =>
    (await query<{ id: number }>(sql`select id::int from validators order by id`)).map(({ id }) => id)

  it('is deleted alone as well, whichever way its exit has ended, and with it nothing of others', async () => {
    for (const state of ['expired', 'superseded']) {
      const store = await openMessages()
      await addEnded(store, { state })
      const { id: other, exit } = await addEnded(store, { state: 'collecting' })
      for (const validator of await left(store))
        await store.query(
          sql`insert into key_share_hints (validator_id, share_index, shares) values (${validator}, 1, ${randomBytes(56)})`,
        )
      expect(await forget(store)).toBe(1)
      expect(await left(store)).toEqual([other])
      expect(await store.query(sql`select id::int from messages`)).toEqual([{ id: exit }])
      expect(await store.query(sql`select validator_id::int as id from key_share_hints`)).toEqual([{ id: other }])
      expect(await forget(store)).toBe(0)
    }
  })

  it('is deleted of those that were locked, and no other', async () => {
    const store = await openMessages()
    const [first, second, last] = [await addEnded(store), await addEnded(store), await addEnded(store)]
    await store.db.transaction(async (tx) => {
      expect(await lockForgotten(tx, KEPT, 1)).toEqual([first.id])
      expect(await deleteForgotten(tx, [first.id], KEPT)).toBe(1)
    })
    expect(await left(store)).toEqual([second.id, last.id])
    expect(await store.db.transaction((tx) => deleteForgotten(tx, [], KEPT))).toBe(0)
  })

  it('stays while its exit is the newest of all exits, or one of a rotation', async () => {
    const store = await openMessages()
    const rotated = await addEnded(store)
    const forgotten = await addEnded(store)
    const newest = await addEnded(store)
    const deposited = await store.addValidator()
    const deposit = await store.addDeposit(deposited.id)
    await store.query(sql`update messages set revision = 99 where id = ${deposit}`)
    await store.query(
      sql`insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at)
          values (1, 'a', 1, ${randomBytes(65)}, '{}', 1, now())`,
    )
    await store.query(
      sql`insert into rotations (id, vault, oracle_set_id, nonce, state) values (1, ${A}, 1, 1, 'void')`,
    )
    await store.query(
      sql`insert into rotation_messages (rotation_id, place, message_id) values (1, 0, ${rotated.exit})`,
    )
    expect(await store.db.transaction((tx) => lockForgotten(tx, KEPT, 9))).toEqual([forgotten.id])
    expect(await forget(store)).toBe(1)
    expect(await left(store)).toEqual([rotated.id, newest.id, deposited.id])
  })

  it('stays after its last request for the one time, or for the other where its exit was ready, to the moment', async () => {
    const store = await openMessages()
    const unready = await addEnded(store)
    const ready = await addEnded(store, { wasReady: true })
    const bare = await store.addValidator()
    await addEnded(store, { state: 'collecting' })
    /** The forgotten ones when all was asked for, and made, so many seconds ago. */
    const forgottenAfter = (seconds: { unready: number; ready: number; bare: number }) =>
      store.db.transaction(async (tx) => {
        // One transaction has one time.
        await tx.execute(sql`
          update messages set requested_at = now() - make_interval(
            secs => case when signature is null then ${seconds.unready} else ${seconds.ready} end::float8)`)
        await tx.execute(sql`update validators set created_at = now() - make_interval(
                             secs => case when id = ${bare.id} then ${seconds.bare} else ${10 * HOUR} end::float8)`)
        return lockForgotten(tx, KEPT, 9)
      })
    expect(await forgottenAfter({ unready: HOUR - 1, ready: 9 * HOUR - 1, bare: HOUR })).toEqual([])
    expect(await forgottenAfter({ unready: HOUR, ready: 9 * HOUR, bare: HOUR + 1 })).toEqual([
      unready.id,
      ready.id,
      bare.id,
    ])
  })
})
