/** Vaults by their registered validators: what operators and metrics are told of outdated ones, and who is told. */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { VaultResponse, VaultsResponse } from '@dvt-relayer/api/schemas.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { findReservable, findReservation, findReserved } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { createVaults } from '../../../apps/relayer/src/services/beacon-status/vaults.ts'
import { createOracleSets } from '../../../apps/relayer/src/services/oracles/sets.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { openStore, type Store } from '../../support/stages/registered.ts'
import { ask, startWorld, type World } from '../../support/world/world.ts'

let world: World
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startWorld({ oracles: 3, threshold: 2 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const bearer = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` })

/** A validator that the chain has: of a vault, at an index, by an oracle set; its newest shares are for `sharesAt`. */
async function addRegistered(
  store: Store,
  {
    vault,
    index,
    set,
    sharesAt = index,
    left = false,
  }: { vault: Uint8Array; index: number; set: number | null; sharesAt?: number; left?: boolean },
) {
  const validator = await store.addValidator()
  const [first] = await store.query<{ id: number }>(sql`select id from oracle_sets order by id`)
  await store.addExit(validator.id, sharesAt + 5, [first?.id ?? 0], 'superseded')
  await store.addExit(validator.id, sharesAt, [first?.id ?? 0])
  await store.query(sql`update validators set beacon_vault = ${Buffer.from(vault)}, beacon_index = ${index}, registered_at = now(),
    oracle_set_id = ${set}, exited_at = case when ${left}::boolean then now() end where id = ${validator.id}`)
  return validator
}

/** Two vaults: of one, validators by the oracle sets a, b and the one in force; of the other, one by the one in force. */
async function setUp() {
  const store = await openStore(world)
  const [vaultA, vaultB] = [randomBytes(20), randomBytes(20)]
  const a = await store.adopt('a', 1)
  const b = await store.adopt('b', 2, { announcedAt: 1_000_000, config: { untilForceExitEpochs: 10 } })
  const told = () => store.logged('registered validators are outdated: the oracles have changed')
  const byA = await addRegistered(store, { vault: vaultA, index: 7, set: a })
  const byB = await addRegistered(store, { vault: vaultA, index: 3, set: b, sharesAt: 4 })
  await addRegistered(store, { vault: vaultA, index: 11, set: a, sharesAt: 12, left: true })
  await createOracleSets(store).follow()
  expect(told()).toMatchObject([{ validators: 2, vaults: 1 }])
  const [current] = await store.query<{ id: number; cid: string; block_number: number; at: number }>(
    sql`select id, cid, block_number, extract(epoch from announced_at)::float8 as at from oracle_sets where is_current`,
  )
  if (current === undefined) throw new Error('no oracle set is in force')
  await addRegistered(store, { vault: vaultA, index: 5, set: current.id })
  await addRegistered(store, { vault: vaultB, index: 20, set: current.id })
  const [ofA, ofB] = [checksumAddress(vaultA), checksumAddress(vaultB)]
  const secondsPerEpoch = 32 * 12
  return {
    store,
    byA,
    byB,
    current,
    vaultA: ofA,
    vaultB: ofB,
    summaryA: {
      vault: ofA,
      registered: 4,
      exited: 1,
      outdated: 2,
      wrong_index: 1,
      force_exit_at_timestamp: 1_000_000 + 10 * secondsPerEpoch,
    },
    summaryB: { vault: ofB, registered: 1, exited: 0, outdated: 0, wrong_index: 0, force_exit_at_timestamp: null },
    oracleSet: {
      cid: current.cid,
      block_number: current.block_number,
      announced_at_timestamp: current.at,
      threshold: 2,
      oracles: 3,
    },
  }
}

describe.skipIf(skipWithoutAnvil)('GET /vaults', () => {
  it('tells an operator of its vaults, and of the validators that need other shares', async () => {
    const { store, byA, byB, vaultA, vaultB, summaryA, summaryB, oracleSet } = await setUp()
    const tokens = {
      a: createToken('a', 'operator', vaultA),
      any: createToken('any', 'operator', '*'),
      admin: createToken('admin', 'admin', '*'),
      node: createToken('node', 'sidecar', '*'),
      oracle: createToken('oracle', 'oracle', '*'),
    }
    const file = join(world.dir, 'tokens')
    await writeFile(
      file,
      Object.values(tokens)
        .map(({ line }) => line)
        .join('\n'),
    )
    const settings = { DATABASE_URL: store.databaseUrl, SIGNATURE_THRESHOLD: '1', ROLE: 'api' }
    await using relayer = await world.startRelayer({ ...settings, AUTH_TOKENS_FILE: file })
    const get = async (path: string, token?: { token: string }) =>
      ask(relayer.url, path, token === undefined ? {} : { headers: bearer(token) })

    const both = [summaryA, summaryB].sort((x, y) => (x.vault.toLowerCase() < y.vault.toLowerCase() ? -1 : 1))
    for (const token of [tokens.any, tokens.admin])
      expect((await get('/vaults', token)).json).toEqual({
        oracle_set: oracleSet,
        vaults: both,
      } satisfies VaultsResponse)
    expect((await get('/vaults', tokens.a)).json).toEqual({ oracle_set: oracleSet, vaults: [summaryA] })
    const one = {
      ...summaryA,
      oracle_set: oracleSet,
      outdated_validators: [
        { public_key: byB.hex, validator_index: 3, oracle_set_cid: 'b' },
        { public_key: byA.hex, validator_index: 7, oracle_set_cid: 'a' },
      ],
      next: null,
    } satisfies VaultResponse
    for (const [spelling, token] of [
      [vaultA, tokens.a],
      [vaultA.toLowerCase(), tokens.any],
      [vaultA.slice(2).toLowerCase(), tokens.admin],
    ] as const)
      expect((await get(`/vaults/${spelling}`, token)).json).toEqual(one)
    expect((await get(`/vaults/${vaultA}?after=3`, tokens.a)).json).toEqual({
      ...one,
      outdated_validators: one.outdated_validators.slice(1),
    })
    expect((await get(`/vaults/${vaultB}`, tokens.any)).json).toEqual({
      ...summaryB,
      oracle_set: oracleSet,
      outdated_validators: [],
      next: null,
    })
    const unknown = checksumAddress(randomBytes(20))
    expect((await get(`/vaults/${unknown}`, tokens.any)).json).toMatchObject({
      vault: unknown,
      registered: 0,
      outdated_validators: [],
    })

    const refused: [path: string, token: { token: string } | undefined, status: number, code: string][] = [
      [`/vaults/${vaultB}`, tokens.a, 403, 'TOKEN_BINDING'],
      ['/vaults', tokens.node, 403, 'TOKEN_ROLE'],
      [`/vaults/${vaultA}`, tokens.node, 403, 'TOKEN_ROLE'],
      ['/vaults', tokens.oracle, 403, 'TOKEN_ROLE'],
      ['/vaults', undefined, 401, 'TOKEN_MISSING'],
      [`/vaults/${vaultA}`, { token: 'nonsense' }, 401, 'TOKEN_UNKNOWN'],
      ['/vaults/0x12', tokens.any, 422, 'PATH_INVALID'],
      [`/vaults/0x${'aB'.repeat(20)}`, tokens.any, 422, 'VAULT_INVALID'],
      [`/vaults/${vaultA}?after=-1`, tokens.any, 422, 'QUERY_INVALID'],
    ]
    for (const [path, token, status, code] of refused)
      expect([path, await get(path, token)]).toMatchObject([path, { status, json: { code } }])
  })

  it('is open where no tokens are set', async () => {
    const { store, vaultA, summaryA } = await setUp()
    await using relayer = await world.startRelayer({
      DATABASE_URL: store.databaseUrl,
      SIGNATURE_THRESHOLD: '1',
      ROLE: 'api',
    })
    expect((await ask(relayer.url, '/vaults')).json).toMatchObject({ vaults: expect.arrayContaining([summaryA]) })
    expect((await ask(relayer.url, `/vaults/${vaultA}`)).json).toMatchObject(summaryA)
  })

  it('pages through many', async () => {
    const store = await openStore(world)
    const [a] = [await store.adopt('a', 1), await store.adopt('b', 2)]
    const vault = randomBytes(20)
    await store.query(sql`insert into validators (public_key, beacon_vault, beacon_index, registered_at, oracle_set_id)
      select sha256(int8send(i)) || decode(repeat('cc', 16), 'hex'), ${vault}, i * 2, now(), ${a} from generate_series(0, 1499) i`)
    const vaults = createVaults(store)
    const first = await vaults.get(vault, -1)
    expect(first).toMatchObject({ outdated: 1500, force_exit_at_timestamp: null, next: 1998 })
    const second = await vaults.get(vault, first.next ?? 0)
    expect(second.next).toBeNull()
    const indexes = [first, second].flatMap(({ outdated_validators: all }) => all.map((one) => one.validator_index))
    expect(indexes).toEqual(Array.from({ length: 1500 }, (_, position) => position * 2))
  })
})

describe.skipIf(skipWithoutAnvil)('the metrics', () => {
  it('count validators and the time that vaults have, and forget vaults that have none any more', async () => {
    const { store, vaultA, vaultB, current } = await setUp()
    const vaults = createVaults(store)
    const lines = async (name: string) =>
      (await store.events.metrics.text())
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`))
        .sort()
    await vaults.count()
    const counts = (state: Record<string, number>) =>
      Object.entries(state)
        .map(([name, value]) => `dvt_relayer_registered_validators{state="${name}"} ${value}`)
        .sort()
    expect(await lines('dvt_relayer_registered_validators')).toEqual(
      counts({ current: 2, outdated: 2, exited: 1, wrong_index: 1 }),
    )
    expect(await lines('dvt_relayer_outdated_validators')).toEqual(
      [
        `dvt_relayer_outdated_validators{vault="${vaultA}"} 2`,
        `dvt_relayer_outdated_validators{vault="${vaultB}"} 0`,
      ].sort(),
    )
    // The time is over long since.
    expect(await lines('dvt_relayer_force_exit_seconds')).toEqual([
      `dvt_relayer_force_exit_seconds{vault="${vaultA}"} 0`,
    ])
    await store.query(sql`update oracle_sets set announced_at = now() where cid = 'b'`)
    // While no message, no oracle set and nothing on the chain has changed, nobody is counted anew.
    await vaults.count(false)
    expect(await lines('dvt_relayer_force_exit_seconds')).toEqual([
      `dvt_relayer_force_exit_seconds{vault="${vaultA}"} 0`,
    ])
    await vaults.count()
    const [line] = await lines('dvt_relayer_force_exit_seconds')
    expect(Number(line?.split(' ')[1])).toSatisfy((seconds: number) => seconds > 3000 && seconds <= 10 * 384)
    await store.query(sql`update validators set oracle_set_id = ${current.id}`)
    await vaults.count()
    expect(await lines('dvt_relayer_force_exit_seconds')).toEqual([])
    expect(await lines('dvt_relayer_registered_validators')).toEqual(
      counts({ current: 4, outdated: 0, exited: 1, wrong_index: 1 }),
    )
  })

  it('have at most 256 vaults, those with the most outdated validators', async () => {
    const store = await openStore(world)
    const [a] = [await store.adopt('a', 1), await store.adopt('b', 2)]
    await store.query(sql`insert into validators (public_key, beacon_vault, beacon_index, registered_at, oracle_set_id)
      select sha256(int8send(i)) || decode(repeat('cc', 16), 'hex'), substring(sha256(int8send(i % 300)) for 20), i, now(), ${a}
      from generate_series(1, 400) i`)
    await createVaults(store).count()
    const text = await store.events.metrics.text()
    const values = [...text.matchAll(/^dvt_relayer_outdated_validators\{vault="0x[0-9a-fA-F]{40}"\} (\d)$/gm)].map(
      ([, value]) => value,
    )
    expect(values).toHaveLength(256)
    expect(values.filter((value) => value === '2')).toHaveLength(100)
  })
})

describe.skipIf(skipWithoutAnvil)('a registered validator', () => {
  it('is given to no vault, and released from none', async () => {
    const { store, byA, byB } = await setUp()
    const vault = randomBytes(20)
    await store.query(sql`with c as (insert into clusters (name, threshold) values ('c', 1) returning id)
      update validators v set cluster_id = c.id, place = v.id, vault = ${vault}, reserved_at = now(), vault_asked_at = now() from c`)
    const free = await store.addValidator()
    await store.query(
      sql`update validators set cluster_id = (select min(id) from clusters), place = 0 where id = ${free.id}`,
    )
    const options = { limit: 9, excluded: [] }
    expect(await findReserved(store.db, vault, options)).toEqual([])
    const choice = await findReservable(store.db, vault, {
      ...options,
      lifetimeSeconds: 1,
      holdSeconds: 1,
      requester: 'x',
    })
    expect(choice.map(({ id }) => id)).toEqual([free.id])
    for (const [{ publicKey }, isRegistered] of [
      [byA, true],
      [byB, true],
      [free, false],
    ] as const)
      expect(await findReservation(store.db, publicKey)).toMatchObject({ isRegistered: isRegistered })
  })
})

describe('vaults are counted', () => {
  const [A, B] = [Buffer.alloc(20, 1), Buffer.alloc(20, 2)]

  /** A service, and registered validators of two vaults and of none, by the first of two oracle sets of which the second is in force. */
  async function openVaults() {
    const { db, query } = await openMessages()
    await query(sql`
      insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
      select n, n::text, 1, ${Buffer.alloc(65)}, '{}', n, to_timestamp(n + 0.9), n = 2 from generate_series(1, 3) n`)
    let key = 0
    const add = (vault: Buffer | null, count = 1) => {
      const first = key
      key += count
      return query(sql`
        insert into validators (public_key, beacon_vault, beacon_index, registered_at, oracle_set_id)
        select sha256(int8send(n)) || decode(repeat('cc', 16), 'hex'), ${vault}, n, now(), 1 from generate_series(${first + 1}::int, ${key}::int) n`)
    }
    const told: [Record<string, number>, { outdated: number }[]][] = []
    const create = (of: typeof db = db) =>
      createVaults({
        config: { network: networks.hoodi },
        db: of,
        events: { vaultsCounted: (...numbers: (typeof told)[number]) => void told.push(numbers) },
      } as unknown as Parameters<typeof createVaults>[0])
    /** As where more has changed than one call counts. */
    const busy = () => create(Object.create(db, { transaction: { value: async () => {} } }))
    return { db, query, add, create, busy, told: () => told.splice(0) }
  }
  const registeredOf = ({ vaults }: VaultsResponse) => vaults.map(({ vault, registered }) => [vault, registered])

  it('of those that are asked for alone, also while changes are not counted yet, and none that is no vault', async () => {
    const { add, create, busy } = await openVaults()
    await add(A)
    await add(B)
    await add(null)
    const [a, b] = [
      [checksumAddress(A), 1],
      [checksumAddress(B), 1],
    ]
    for (const vaults of [busy(), create()]) {
      expect(registeredOf(await vaults.list(undefined))).toEqual([a, b])
      expect(registeredOf(await vaults.list([B]))).toEqual([b])
    }
    const vaults = create()
    expect(registeredOf(await vaults.list([]))).toEqual([])
    expect(await vaults.get(A, -1)).toMatchObject({ registered: 1, outdated: 1, next: null })
    expect(await vaults.get(Buffer.alloc(20, 3), -1)).toMatchObject({ registered: 0, outdated: 0, next: null })
  })

  it('anew once a validator or the oracle set in force is another, and not before all changes are counted', async () => {
    const { query, add, create, busy, told } = await openVaults()
    const numbers = (outdated: number, current: number) => ({ current, outdated, exited: 0, wrongIndex: 0 })
    const vaults = create()
    await add(A)
    await add(null)
    await busy().count()
    expect(told()).toEqual([])
    await vaults.count(false)
    const ofA = (outdated: number) => [{ vault: checksumAddress(A), outdated, forceExitSeconds: null }]
    expect(told()).toEqual([[numbers(2, 0), ofA(1)]])
    await add(A)
    await vaults.count(false)
    expect(told()).toEqual([[numbers(3, 0), ofA(2)]])
    await query(sql`update oracle_sets set is_current = false`)
    await query(sql`update oracle_sets set is_current = true where id = 1`)
    await vaults.count(false)
    expect(told()).toEqual([[numbers(0, 3), ofA(0)]])
  })

  it('in pages of a thousand, and the last one says that it is, where it is full, by an empty one', async () => {
    const { add, create, query } = await openVaults()
    await add(A, 1000)
    await query(sql`delete from validator_changes`)
    const first = await create().get(A, -1)
    expect([first.outdated_validators.length, first.next]).toEqual([1000, 1000])
    expect(await create().get(A, 1000)).toMatchObject({ outdated_validators: [], next: null })
  })
})
