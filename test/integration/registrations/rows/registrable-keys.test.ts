/** Which keys a vault may register, as rows: what is free for it, what somebody else has, and what is left of either. */

import { randomBytes } from 'node:crypto'
import {
  countKeysByVault,
  countKeysLeft,
  findBoundElsewhere,
  findMessageIds,
  findReservable,
  findReservation,
  findSignatures,
  lockAllocation,
  releaseValidator,
  reserveValidators,
} from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { openMessages } from '../../../support/stages/messages.ts'

const [VAULT, OTHER] = [Buffer.alloc(20, 1), Buffer.alloc(20, 2)]
const HOUR = 3600
const DAY = 24 * HOUR
const OPTIONS = { limit: 99, lifetimeSeconds: HOUR, holdSeconds: DAY, requester: 'own', excluded: [] }

/** A database with one cluster, whose validators have names, and the places in which they are added. */
async function openKeys() {
  const store = await openMessages()
  const { query } = store
  await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 3)`)
  const names = new Map<number, string>()
  const ids = new Map<string, number>()
  return {
    ...store,
    /** A validator of the cluster, for which its vault asked so many hours ago, and what else is to be done with it. */
    async add(
      name: string,
      { vault, hours = 0 }: { vault?: Uint8Array; hours?: number } = {},
      more?: (id: number, publicKey: Buffer) => Promise<unknown>,
    ) {
      const { id, publicKey } = await store.addValidator(vault)
      await query(sql`
        update validators set cluster_id = 1, place = ${names.size},
               vault_asked_at = vault_asked_at - make_interval(hours => ${hours}::int),
               reserved_at = reserved_at - make_interval(hours => ${hours}::int) where id = ${id}`)
      names.set(id, name)
      ids.set(name, id)
      await more?.(id, Buffer.from(publicKey))
      return { id, publicKey }
    },
    /** A point of share index 1 for a message. */
    point: (messageId: number, state: 'unverified' | 'verified') =>
      query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                values (${messageId}, 1, ${randomBytes(32)}, 'x', ${state})`),
    bind: (id: number, vault: Buffer) =>
      query(sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${vault})`),
    set: (id: number, column: string, value: Buffer | boolean) =>
      query(sql`update validators set ${sql.raw(column)} = ${value} where id = ${id}`),
    namesOf: (found: readonly { id: number }[]) => found.map(({ id }) => names.get(id)),
    idsOf: (wanted: readonly string[]) => wanted.map((name) => ids.get(name) ?? 0),
  }
}
type Keys = Awaited<ReturnType<typeof openKeys>>

describe('a vault may have', () => {
  it('its own keys in the order in which it reserved them, then free ones by their places', async () => {
    const { db, add, namesOf } = await openKeys()
    await add('free')
    const { publicKey } = await add('excluded')
    await add('reserved last', { vault: VAULT })
    await add('another vault’s', { vault: OTHER })
    await add('outlived', { vault: OTHER, hours: 9 })
    await add('reserved first', { vault: VAULT, hours: 3 })
    const own = await add('reserved second', { vault: VAULT, hours: 2 })
    await add('free as well')
    const found = await findReservable(db, VAULT, { ...OPTIONS, excluded: [publicKey] })
    const expected = ['reserved first', 'reserved second', 'reserved last', 'free', 'outlived', 'free as well']
    expect(namesOf(found)).toEqual(expected)
    expect(found.map(({ isReserved }) => isReserved)).toEqual([true, true, true, false, false, false])
    expect(found[1]).toEqual({ id: own.id, publicKey: Buffer.from(own.publicKey), threshold: 3, isReserved: true })
    expect(namesOf(await findReservable(db, VAULT, { ...OPTIONS, limit: 2 }))).toEqual(expected.slice(0, 2))
  })

  it('what another vault has outlived, unless a deposit binds it, or holds it for a day', async () => {
    const { db, add, addDeposit, addExit, point, bind, set, namesOf } = await openKeys()
    const outlived = { vault: OTHER, hours: 2 }
    const deposit = async (id: number, state: 'unverified' | 'verified', of = 'collecting') =>
      point(await addDeposit(id, { vault: OTHER, state: of }), state)
    await add('asked for', { vault: OTHER })
    await add('with nothing', outlived)
    await add('with a deposit that nobody has signed', outlived, (id) => addDeposit(id, { vault: OTHER }))
    await add('with an exit that is signed', outlived, async (id) => {
      await point(await addExit(id, { state: 'ready' }), 'verified')
    })
    await add('with an exit that is not judged', outlived, async (id) => point(await addExit(id), 'unverified'))
    await add('with a verified deposit', outlived, (id) => deposit(id, 'verified'))
    await add('with a verified deposit that expired', outlived, (id) => deposit(id, 'verified', 'expired'))
    await add('with a ready deposit', outlived, (id) => addDeposit(id, { vault: OTHER, state: 'ready' }))
    await add('with a ready deposit that was replaced', outlived, async (id) => {
      await addDeposit(id, { vault: OTHER, state: 'ready' })
      await db.execute(sql`update messages set state = 'superseded' where validator_id = ${id}`)
    })
    await add('bound', outlived, (id) => bind(id, VAULT))
    await add('with an unjudged deposit', outlived, (id) => deposit(id, 'unverified'))
    await add('with an unjudged deposit, a day ago', { ...outlived, hours: 25 }, (id) => deposit(id, 'unverified'))
    await add('held', outlived, (id) => set(id, 'is_held', true))
    await add('held a day ago', { ...outlived, hours: 25 }, (id) => set(id, 'is_held', true))
    expect(namesOf(await findReservable(db, VAULT, OPTIONS)).toSorted()).toEqual(
      [
        'with nothing',
        'with a deposit that nobody has signed',
        'with an exit that is signed',
        'with an exit that is not judged',
        'with a ready deposit that was replaced',
        'with an unjudged deposit, a day ago',
        'held a day ago',
      ].toSorted(),
    )
  })

  it('no key of nobody while somebody else asks for its exit, and any that it owns', async () => {
    const { db, query, add, addDeposit, addExit, bind, set, namesOf } = await openKeys()
    const asked =
      (requester: string | null, state = 'collecting') =>
      (id: number) =>
        addExit(id, { requester, state })
    const outlived = { vault: OTHER, hours: 2 }
    await add('another’s', {}, asked('other'))
    await add('another’s that is ready', {}, asked('other', 'ready'))
    await add('another vault’s', {}, asked('vault:other'))
    await add('of an operator, of a reservation that is over', outlived, asked('other'))
    expect(await findReservable(db, VAULT, OPTIONS)).toEqual([])

    await add('its own', {}, asked('own'))
    await add('anybody’s', {}, asked(null))
    await add('expired', {}, asked('other', 'expired'))
    await add('not asked for any more', {}, async (id) => {
      await addExit(id, { requester: 'other' })
      await query(sql`update messages set requested_at = now() - interval '2 hours' where validator_id = ${id}`)
    })
    await add('a deposit', {}, async (id) => {
      await addDeposit(id, { vault: VAULT })
      await query(sql`update messages set requester = 'other' where validator_id = ${id}`)
    })
    await add('a vault’s, of a reservation that is over', outlived, asked('vault:other'))
    await add('of a key that it has reserved', { vault: VAULT }, asked('other'))
    const owned: [string, (id: number) => Promise<unknown>][] = [
      ['by a lock', (id) => set(id, 'withdrawal_address', VAULT)],
      ['by the list', (id) => set(id, 'listed_vault', VAULT)],
      ['by a deposit', (id) => bind(id, VAULT)],
    ]
    for (const [name, own] of owned)
      await add(name, {}, async (id) => {
        await own(id)
        await addExit(id, { requester: 'other' })
      })
    expect(namesOf(await findReservable(db, VAULT, OPTIONS))).toEqual([
      'of a key that it has reserved',
      'its own',
      'anybody’s',
      'expired',
      'not asked for any more',
      'a deposit',
      'a vault’s, of a reservation that is over',
      'by a lock',
      'by the list',
      'by a deposit',
    ])
  })

  it('a key the moment after its time is over, and not at the moment itself', async () => {
    const { db, add, addExit, set, namesOf } = await openKeys()
    await add('reserved', { vault: OTHER })
    await add('held', { vault: OTHER }, (id) => set(id, 'is_held', true))
    await add('asked for', {}, (id) => addExit(id, { requester: 'other' }))
    const freeAfter = (seconds: { asked: number; held: number; requested: number }) =>
      db.transaction(async (tx) => {
        // One transaction has one time.
        await tx.execute(sql`
          update validators set vault_asked_at = now() - make_interval(
            secs => case when is_held then ${seconds.held} else ${seconds.asked} end::float8) where vault is not null`)
        await tx.execute(
          sql`update messages set requested_at = now() - make_interval(secs => ${seconds.requested}::float8)`,
        )
        return namesOf(await findReservable(tx, VAULT, OPTIONS))
      })
    expect(await freeAfter({ asked: HOUR, held: DAY - 1, requested: HOUR - 1 })).toEqual([])
    expect(await freeAfter({ asked: HOUR + 1, held: DAY, requested: HOUR })).toEqual(['reserved', 'held', 'asked for'])
  })
})

it('a key that a deposit binds to another vault, or holds for it, is not given, whatever was looked at before', async () => {
  const { db, add, addDeposit, point, bind, set, namesOf, idsOf } = await openKeys()
  const old = { vault: OTHER, hours: 25 }
  const [bound, held] = [(id: number) => bind(id, OTHER), (id: number) => set(id, 'is_held', true)]
  await add('another’s, bound', old, bound)
  await add('another’s, held', { vault: OTHER, hours: 23 }, held)
  await add('another’s, proven', old, async (id) => point(await addDeposit(id, { vault: OTHER }), 'verified'))
  await add('nobody’s, bound', {}, bound)
  const given = ['another’s', 'another’s, held a day ago', 'another’s, bound here', 'own', 'own, bound', 'own, held']
  await add('another’s', old)
  await add('another’s, held a day ago', old, held)
  await add('another’s, bound here', old, (id) => bind(id, VAULT))
  await add('own', { vault: VAULT })
  await add('own, bound', { vault: VAULT }, (id) => bind(id, VAULT))
  await add('own, held', { vault: VAULT }, held)
  await add('not looked at', old, bound)
  const refused = ['another’s, bound', 'another’s, held', 'another’s, proven', 'nobody’s, bound']
  const found = await findBoundElsewhere(db, idsOf([...refused, ...given]), VAULT, DAY)
  expect(namesOf(found).toSorted()).toEqual(refused.toSorted())
})

describe('keys left', () => {
  it('are those of nobody and those of the vault, and none that is registered or somebody else’s', async () => {
    const { db, add, bind, set, query } = await openKeys()
    expect(await countKeysLeft(db, VAULT)).toEqual({ free: 0, reserved: 0 })
    for (const name of ['a', 'b', 'c']) await add(name)
    await add('reserved', { vault: VAULT })
    await add('reserved and bound', { vault: VAULT }, (id) => bind(id, VAULT))
    await add('another’s', { vault: OTHER, hours: 9 })
    await add('bound', {}, (id) => bind(id, OTHER))
    await add('listed', {}, (id) => set(id, 'listed_vault', OTHER))
    await add('registered', {}, (id) =>
      query(sql`update validators set registered_at = now(), beacon_index = 1 where id = ${id}`),
    )
    // Of no cluster.
    await query(sql`insert into validators (public_key) values (${randomBytes(48)})`)
    expect(await countKeysLeft(db, VAULT)).toEqual({ free: 3, reserved: 2 })
    expect(await countKeysLeft(db, OTHER)).toEqual({ free: 5, reserved: 1 })
  })

  it('of all vaults are summed up from what was counted', async () => {
    const { db, query } = await openKeys()
    expect(await countKeysByVault(db)).toEqual([])
    const tally = (key: string, vault: Buffer | null, validators: number) =>
      query(sql`insert into tallies (id, is_registered, has_exited, is_index_wrong, key, key_vault, is_split_anew, validators)
                values (${randomBytes(32)}, false, false, false, ${key}, ${vault}, false, ${validators})`)
    await tally('free', null, 3)
    await tally('free', VAULT, 5)
    await tally('reserved', VAULT, 7)
    await tally('reserved', VAULT, 11)
    await tally('reserved', OTHER, 13)
    await tally('used', OTHER, 17)
    for (const vault of [null, VAULT, OTHER]) await tally('none', vault, 19)
    expect(await countKeysByVault(db)).toEqual([
      { vault: VAULT, free: 5, reserved: 18 },
      { vault: OTHER, free: 0, reserved: 13 },
      { vault: null, free: 3, reserved: 0 },
    ])
  })
})

describe('a reservation', () => {
  it('of one key is made as one of many is, and one of none changes nothing', async () => {
    const { db, add, query } = await openKeys()
    const { id } = await add('a')
    await add('b')
    const vaults = () => query<{ vault: Buffer | null }>(sql`select vault from validators order by id`)
    await db.transaction((tx) => reserveValidators(tx, [], VAULT))
    expect(await vaults()).toEqual([{ vault: null }, { vault: null }])
    await db.transaction((tx) => reserveValidators(tx, [id], VAULT))
    expect(await vaults()).toEqual([{ vault: VAULT }, { vault: null }])
  })

  it('that is made again holds nothing that it did not hold before', async () => {
    const { db, add, query } = await openKeys()
    const { id } = await add('a', { vault: VAULT })
    await db.transaction((tx) => reserveValidators(tx, [id], VAULT))
    expect(await query(sql`select is_held from validators`)).toEqual([{ is_held: false }])
  })

  it('is made by one at a time, until that has been committed', async () => {
    const { db } = await openKeys()
    const tryToLock = () =>
      db.transaction(async (tx) => {
        await tx.execute(sql`set local lock_timeout = '20ms'`)
        await lockAllocation(tx)
      })
    await db.transaction(async (tx) => {
      await lockAllocation(tx)
      await expect(tryToLock()).rejects.toThrow()
    })
    await tryToLock()
  })

  it('is described to who would release it: whose it is, and what stands in the way', async () => {
    const { db, add, addDeposit, point, bind, set, query } = await openKeys()
    const cases: [name: string, expected: object, more?: Parameters<Keys['add']>[2]][] = [
      ['plain', {}],
      ['bound', { bound: OTHER }, (id) => bind(id, OTHER)],
      ['held', { isUnjudged: true }, (id) => set(id, 'is_held', true)],
      ['unjudged', { isUnjudged: true }, async (id) => point(await addDeposit(id), 'unverified')],
      ['judged', {}, async (id) => point(await addDeposit(id), 'verified')],
      [
        'registered',
        { isRegistered: true },
        (id) => query(sql`update validators set registered_at = now(), beacon_index = 1 where id = ${id}`),
      ],
      [
        'deposited',
        { isRegistered: true },
        (_, publicKey) =>
          query(sql`insert into registry_validators (public_key, block_number) values (${publicKey}, 1)`),
      ],
    ]
    const made: { id: number; publicKey: Uint8Array; expected: object }[] = []
    for (const [name, expected, more] of cases) made.push({ ...(await add(name, { vault: VAULT }, more)), expected })
    const nobodys = await add('nobody’s')
    const nothing = { vault: VAULT, bound: null, isUnjudged: false, isRegistered: false }
    for (const { id, publicKey, expected } of made)
      expect(await findReservation(db, publicKey)).toEqual({ id, ...nothing, ...expected })
    expect(await findReservation(db, nobodys.publicKey)).toEqual({ id: nobodys.id, ...nothing, vault: null })
    expect(await findReservation(db, randomBytes(48))).toBeUndefined()
  })

  it('is released with its binding and its hold, and no other with it', async () => {
    const { db, add, query, bind, set } = await openKeys()
    const more = async (id: number) => {
      await bind(id, VAULT)
      await set(id, 'is_held', true)
    }
    const { id } = await add('released', { vault: VAULT }, more)
    const { id: kept } = await add('kept', { vault: VAULT }, more)
    await db.transaction((tx) => releaseValidator(tx, id))
    expect(
      await query(sql`
      select v.id::int, v.vault, v.reserved_at is null as unreserved, v.vault_asked_at is null as unasked, v.is_held, b.vault as bound
      from validators v left join deposit_bindings b on b.validator_id = v.id order by v.id`),
    ).toEqual([
      { id, vault: null, unreserved: true, unasked: true, is_held: false, bound: null },
      { id: kept, vault: VAULT, unreserved: false, unasked: false, is_held: true, bound: VAULT },
    ])
  })
})

it('the signatures of a registration are those of its messages that are ready', async () => {
  const { db, query, add, addExit, addDeposit } = await openKeys()
  const [{ id: first }, { id: second }] = [await add('a'), await add('b')]
  const exit = await addExit(first, { state: 'ready' })
  const deposit = await addDeposit(first, { state: 'ready' })
  const collecting = await addExit(second)
  const other = await addDeposit(second, { state: 'ready' })
  const retired = await addDeposit(second, { state: 'expired' })
  await query(sql`update messages set signature = id::text::bytea where state <> 'collecting'`)
  await query(sql`update messages set signature = 'x' where id = ${retired}`)
  const found = await findSignatures(db, [exit, deposit, collecting, retired])
  expect(found.toSorted((a, b) => a.id - b.id)).toEqual([
    { id: exit, kind: 'exit', signature: Buffer.from(String(exit)) },
    { id: deposit, kind: 'deposit', signature: Buffer.from(String(deposit)) },
  ])
  expect(await findSignatures(db, [other])).toHaveLength(1)
})

it('what is decided about with keys is what is live of them or may come back', async () => {
  const { db, add, addExit, addDeposit } = await openKeys()
  const [{ id: first }, { id: second }, { id: other }] = [await add('a'), await add('b'), await add('not asked')]
  const decided = [
    await addExit(first),
    await addDeposit(first, { state: 'ready' }),
    await addDeposit(second, { state: 'expired' }),
  ]
  for (const state of ['superseded', 'erased']) await addExit(second, { state })
  await addExit(other)
  expect(await findMessageIds(db, [second, first])).toEqual(decided)
})
