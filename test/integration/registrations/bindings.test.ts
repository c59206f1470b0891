/** What binds a key to a vault: a verified signature of its deposit, for good, and nothing else. What is not verified holds it for a while. */

import { randomBytes } from 'node:crypto'
import { lockCollecting, rejudgePartials } from '@dvt-relayer/db/queries/clusters.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { bindProven, holdUnproven } from '@dvt-relayer/db/queries/messages/deposit-bindings.ts'
import { supersedeMessages } from '@dvt-relayer/db/queries/messages/messages.ts'
import { bindDeposits } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  findBoundElsewhere,
  findReservable,
  lockAllocation,
  reserveValidators,
} from '@dvt-relayer/db/queries/messages/registrations.ts'
import { lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import { voidSealed } from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { storeCandidates } from '../../../apps/relayer/src/services/signatures/candidates.ts'
import { openMessages } from '../../support/stages/messages.ts'

const [A, B] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]
const DAY = 86_400
const HOUR = 3600

/** A validator in a cluster whose public key shares nobody knows, reserved for A, with a live deposit to it. */
async function setUp() {
  const store = await openMessages()
  const { db, query } = store
  const { id, publicKey } = await store.addValidator(A)
  await query(sql`insert into clusters (name, threshold) values ('c', 3)`)
  await query(sql`update validators set cluster_id = 1, place = 0`)
  const addDeposit = (vault = A, gwei = 1) => store.addDeposit(id, { vault, gwei, threshold: 3 })
  const deposit = await addDeposit()
  /** A point that a node posts for a deposit, as the relayer takes it. */
  const post = (shareIndex: number, messageId = deposit) =>
    db.transaction(async (tx) => {
      await lockMessages(tx, [messageId])
      const candidate = { messageId, kind: 'deposit', digest: randomBytes(32), signature: randomBytes(96) } as const
      await storeCandidates(tx, store.sealing, shareIndex, [{ ...candidate, isUntold: false, isAnother: false }])
    })
  const bindings = () => query<{ vault: Buffer }>(sql`select vault from deposit_bindings`)
  return {
    ...store,
    id,
    publicKey,
    deposit,
    addDeposit,
    post,
    bindings,
    verify: () => query(sql`update partial_signatures set state = 'verified' where share_index = 1`),
    bind: (messageId: number) => db.transaction((tx) => bindDeposits(tx, [messageId])),
    supersede: (messageId: number) =>
      db.transaction(async (tx) => {
        await lockValidators(tx, [publicKey])
        await supersedeMessages(tx, await lockMessages(tx, [messageId]))
      }),
    /** Makes the last request of the vault as old as so many seconds. */
    age: (seconds: number) =>
      query(sql`update validators set vault_asked_at = now() - make_interval(secs => ${seconds}::float8)`),
    /** Whether a vault could have the key, by both looks that a choice of keys takes. */
    async isFreeFor(vault: Uint8Array) {
      const options = { limit: 9, lifetimeSeconds: HOUR, holdSeconds: DAY, requester: 'vault:x', excluded: [] }
      const found = await findReservable(db, vault, options)
      const elsewhere = await findBoundElsewhere(db, [id], vault, DAY)
      expect(found.length === 0 || elsewhere.length === 0).toBe(true)
      return found.length > 0
    },
  }
}

describe('a point that nobody has verified', () => {
  it.each([1, 2, 4])('binds nothing, however many are posted: %i', async (count) => {
    const { post, bind, deposit, bindings } = await setUp()
    for (let shareIndex = 1; shareIndex <= count; shareIndex++) await post(shareIndex)
    await bind(deposit)
    expect(await bindings()).toEqual([])
  })

  it('binds nothing when its deposit is replaced, when its shares change, or when sealed values are forgotten', async () => {
    for (const end of ['supersede', 'rejudge', 'void'] as const) {
      const { db, id, post, deposit, bindings, supersede, age, isFreeFor, query } = await setUp()
      await post(1)
      if (end === 'supersede') await supersede(deposit)
      if (end === 'rejudge') await db.transaction(async (tx) => rejudgePartials(tx, await lockCollecting(tx, [id]), 3))
      if (end === 'void') await db.transaction((tx) => voidSealed(tx))
      expect(await query(sql`select from partial_signatures`)).toEqual([])
      expect(await bindings()).toEqual([])
      // The hold is not forgotten with the point, and ends all the same.
      await age(DAY - HOUR)
      expect(await isFreeFor(B)).toBe(false)
      await age(DAY + 1)
      expect(await isFreeFor(B)).toBe(true)
    }
  })

  it('holds the key for a day after its vault asked last, by the clock of the database', async () => {
    const { post, age, isFreeFor } = await setUp()
    await age(HOUR + 1)
    expect(await isFreeFor(B)).toBe(true)
    await post(1)
    expect(await isFreeFor(B)).toBe(false)
    await age(DAY - 60)
    expect(await isFreeFor(B)).toBe(false)
    await age(DAY + 1)
    expect(await isFreeFor(B)).toBe(true)
    expect(await isFreeFor(A)).toBe(true)
  })

  it('makes no hold longer, however often it is posted, and holds nothing for a vault that comes after', async () => {
    const { db, id, publicKey, post, deposit: first, addDeposit, age, isFreeFor, supersede, query } = await setUp()
    await post(1, first)
    await supersede(first)
    const deposit = await addDeposit(A, 2)
    await post(1, deposit)
    await query(sql`update messages set state = 'expired' where id = ${deposit}`)
    await age(DAY + 1)
    for (const shareIndex of [1, 2, 3, 4]) await post(shareIndex, deposit)
    expect(await isFreeFor(B)).toBe(true)
    await db.transaction(async (tx) => {
      await lockAllocation(tx)
      await lockValidators(tx, [publicKey])
      await reserveValidators(tx, [id], B)
    })
    await supersede(deposit)
    await addDeposit(B)
    await age(HOUR + 1)
    expect(await isFreeFor(A)).toBe(true)
  })

  it('of a share index whose public key share is known holds the key only until it is judged', async () => {
    const { id, trust, post, age, isFreeFor, query } = await setUp()
    await trust(id, 1, randomBytes(48))
    await post(1)
    await age(HOUR + 1)
    expect(await isFreeFor(B)).toBe(false)
    await query(sql`update partial_signatures set state = 'rejected', sealed = null`)
    expect(await isFreeFor(B)).toBe(true)
  })
})

describe('a verified signature', () => {
  it('binds for good, over any hold', async () => {
    const { post, verify, bind, deposit, bindings, age, isFreeFor } = await setUp()
    await post(1)
    await verify()
    // Also before the binding is written.
    await age(1000 * DAY)
    expect(await isFreeFor(B)).toBe(false)
    await bind(deposit)
    expect(await bindings()).toEqual([{ vault: A }])
    expect(await isFreeFor(B)).toBe(false)
    expect(await isFreeFor(A)).toBe(true)
  })

  it('binds when its deposit is replaced, when its shares change, or when sealed values are forgotten', async () => {
    for (const end of ['supersede', 'rejudge', 'void'] as const) {
      const { db, id, post, verify, deposit, bindings, supersede } = await setUp()
      await post(1)
      await verify()
      if (end === 'supersede') await supersede(deposit)
      if (end === 'rejudge') await db.transaction(async (tx) => rejudgePartials(tx, await lockCollecting(tx, [id]), 3))
      if (end === 'void') await db.transaction((tx) => voidSealed(tx))
      expect(await bindings()).toEqual([{ vault: A }])
    }
  })

  it('is the first one’s: no later proof for another vault, no point and no request changes a binding', async () => {
    const { db, post, verify, bind, deposit, addDeposit, bindings, supersede, age, isFreeFor } = await setUp()
    await post(1)
    await verify()
    await bind(deposit)
    await supersede(deposit)
    const other = await addDeposit(B)
    await post(1, other)
    await verify()
    await bind(other)
    await supersede(other)
    await db.transaction((tx) => voidSealed(tx))
    await age(1000 * DAY)
    expect(await bindings()).toEqual([{ vault: A }])
    expect(await isFreeFor(B)).toBe(false)
    expect(await isFreeFor(A)).toBe(true)
  })
})

it('new key shares hold the keys that have lost an unjudged point, drop what is no node’s, and have the rest judged anew', async () => {
  const store = await openMessages()
  const { db, query } = store
  /** A validator of A whose share index 1 alone is a node's now, with a deposit and these candidates. */
  const add = async (...candidates: readonly [shareIndex: number, state: string][]) => {
    const { id } = await store.addValidator(A)
    await store.trust(id, 1, randomBytes(48))
    const deposit = await store.addDeposit(id, { vault: A })
    await query(sql`update messages set queued_at = now(), failed_attempts = 4 where id = ${deposit}`)
    for (const [shareIndex, state] of candidates)
      await query(sql`
        insert into partial_signatures (message_id, share_index, digest, sealed, state)
        values (${deposit}, ${shareIndex}, ${randomBytes(32)}, ${state === 'rejected' ? null : randomBytes(9)}, ${state})`)
    return { id, deposit }
  }
  const own = await add([1, 'unverified'])
  const lost = await add([1, 'rejected'], [2, 'unverified'])
  const proven = await add([1, 'verified'], [2, 'rejected'])
  const notAsked = await add([1, 'rejected'], [2, 'unverified'])
  await db.transaction((tx) =>
    rejudgePartials(
      tx,
      [own, lost, proven].map(({ deposit }) => deposit),
      2,
    ),
  )
  const held = await query<{ id: string }>(sql`select id from validators where is_held`)
  expect(held.map(({ id }) => Number(id))).toEqual([lost.id])
  const bound = await query<{ validator_id: string }>(sql`select validator_id from deposit_bindings`)
  expect(bound.map(({ validator_id: id }) => Number(id))).toEqual([proven.id])
  const left = await query<{ id: number; index: number; state: string }>(
    sql`select message_id::int as id, share_index::int as index, state from partial_signatures order by 1, 2`,
  )
  expect(left).toEqual([
    { id: own.deposit, index: 1, state: 'unverified' },
    { id: proven.deposit, index: 1, state: 'unverified' },
    { id: notAsked.deposit, index: 1, state: 'rejected' },
    { id: notAsked.deposit, index: 2, state: 'unverified' },
  ])
  const messages = await query<{ threshold: number; attempts: number; queued: boolean }>(
    sql`select threshold::int, failed_attempts::int as attempts, queued_at is not null as queued from messages order by id`,
  )
  const anew = { threshold: 2, attempts: 0, queued: false }
  expect(messages).toEqual([anew, anew, anew, { threshold: 1, attempts: 4, queued: true }])
})

describe('of some messages', () => {
  /** Messages of validators of A with points of these states, by name. */
  async function setUpMany() {
    const store = await openMessages()
    const made = new Map<string, { validator: number; message: number }>()
    return {
      ...store,
      messages: () => sql`m.id = any(${sql.param([...made.values()].map(({ message }) => message))}::bigint[])`,
      named: (ids: readonly { id: number }[]) =>
        ids.map(({ id }) => [...made].find(([, { validator }]) => validator === id)?.[0] ?? 'not asked'),
      async add(name: string, make: (validator: number) => Promise<number>, states: readonly string[], asked = true) {
        const { id: validator } = await store.addValidator(A)
        const message = await make(validator)
        for (const [i, state] of states.entries())
          await store.query(sql`
            insert into partial_signatures (message_id, share_index, digest, sealed, state)
            values (${message}, ${i + 1}, ${randomBytes(32)}, ${state === 'rejected' ? null : randomBytes(9)}, ${state})`)
        if (asked) made.set(name, { validator, message })
        return validator
      },
    }
  }

  it('those deposits bind their keys that are proven by a node or whole, the newest of each key', async () => {
    const { db, query, add, messages, named, addDeposit, addExit } = await setUpMany()
    const to =
      (vault: typeof A, state = 'collecting') =>
      (id: number) =>
        addDeposit(id, { vault, state })
    await add('by a node', to(B), ['rejected', 'unverified', 'verified'])
    await add('whole', to(B, 'ready'), [])
    await add('not verified', to(B), ['unverified', 'rejected'])
    await add('not signed', to(B), [])
    await add('an exit', (id) => addExit(id, { state: 'ready' }), ['verified'])
    await add('not asked', to(B), ['verified'], false)
    const twice = await add('twice', to(B, 'expired'), ['verified'])
    await add('of which the newer counts', to(B), [])
    const newer = await addDeposit(twice, { vault: A, state: 'ready' })
    await db.transaction((tx) => bindProven(tx, sql`(${messages()} or m.id = ${newer})`))
    const bound = await query<{ id: number; vault: Buffer }>(
      sql`select validator_id::int as id, vault from deposit_bindings order by validator_id`,
    )
    expect(named(bound)).toEqual(['by a node', 'whole', 'twice'])
    expect(bound.map(({ vault }) => vault)).toEqual([B, B, A])
  })

  it('those deposits hold their keys that have candidates nobody has judged, and are to the vault that has the key', async () => {
    const { db, query, add, messages, named, addDeposit, addExit } = await setUpMany()
    const to = (vault: typeof A) => (id: number) => addDeposit(id, { vault })
    await add('not judged', to(A), ['rejected', 'unverified'])
    await add('judged', to(A), ['rejected', 'verified'])
    await add('not signed', to(A), [])
    await add('to another vault', to(B), ['unverified'])
    await add('an exit', (id) => addExit(id), ['unverified'])
    await add('not asked', to(A), ['unverified'], false)
    await db.transaction((tx) => holdUnproven(tx, messages()))
    expect(named(await query<{ id: number }>(sql`select id::int from validators where is_held`))).toEqual([
      'not judged',
    ])
  })
})
