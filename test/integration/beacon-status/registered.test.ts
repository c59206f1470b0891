/** Registrations are noted once the consensus node's finalized state has them, once, with the oracle set their shares were made for. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { credentials, openStore } from '../../support/stages/registered.ts'
import { eventually, startWorld, type World } from '../../support/world/world.ts'

let world: World
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startWorld({ oracles: 2, threshold: 1 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const vault = randomBytes(20)
const forever = AbortSignal.timeout(120_000)
/** Puts validators into a finalized state; returns the index of the first. */
function finalize(publicKeys: readonly Uint8Array[], more: { status?: string; type?: number } = {}): number {
  const { status = 'active_ongoing', type = 1 } = more
  const [first] = publicKeys.map((publicKey) =>
    world.beacon.addValidator({ publicKey, status, withdrawalCredentials: credentials(vault, type) }),
  )
  world.beacon.finalize()
  return first ?? -1
}

describe.skipIf(skipWithoutAnvil)('a registration', () => {
  it('is noted once it is final, with index and vault, and never changed', async () => {
    const store = await openStore(world)
    const set = await store.adopt('a', 1)
    const { id, publicKey } = await store.addValidator()
    await store.addExit(id, 5, [set])
    const service = store.registered()
    await service.look(forever)
    // In the head state alone.
    const index = world.beacon.addValidator({ publicKey, withdrawalCredentials: credentials(vault, 2) })
    await service.look(forever)
    expect(await store.noted(id)).toMatchObject({ beacon_index: null, at: null, set: null })
    world.beacon.finalize()
    await service.look(forever)
    const noted = await store.noted(id)
    expect(noted).toMatchObject({ beacon_index: index, vault: toHex(vault), set, left: false, at: expect.any(String) })
    expect(store.logged('validators registered on the finalized chain')).toMatchObject([{ validators: 1 }])
    world.beacon.advance()
    world.beacon.finalize()
    for (const one of [service, store.registered(), store.registered()]) await one.look(forever)
    expect(await store.noted(id)).toEqual(noted)
    expect(store.logged('validators registered on the finalized chain')).toHaveLength(1)
  })

  it('is asked for only where oracles have shares, once for each finalized state', async () => {
    const store = await openStore(world)
    const set = await store.adopt('a', 1)
    const [silent, shared] = [await store.addValidator(), await store.addValidator()]
    await store.addExit(silent.id, 1, [])
    await store.addExit(shared.id, 2, [set])
    finalize([silent.publicKey])
    const service = store.registered()
    await service.look(forever)
    expect(await store.noted(silent.id)).toMatchObject({ at: null })
    world.beacon.requests.length = 0
    await service.look(forever)
    expect(world.beacon.requests).toEqual(['GET /eth/v1/beacon/states/finalized/root'])
  })

  it('is not believed where the node does not vouch for its finalized state', async () => {
    const store = await openStore(world)
    const { id, publicKey } = await store.addValidator()
    await store.addExit(id, 5, [await store.adopt('a', 1)])
    finalize([publicKey])
    const service = store.registered()
    for (const standing of [{ execution_optimistic: true, finalized: true }, { finalized: false }]) {
      world.beacon.setStanding(standing)
      await expect(service.look(forever)).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    }
    expect(await store.noted(id)).toMatchObject({ at: null })
    world.beacon.setStanding(undefined)
    await service.look(forever)
    expect(await store.noted(id)).toMatchObject({ at: expect.any(String) })
  })

  it('of many validators is noted by two processes at once, each once', async () => {
    const store = await openStore(world)
    const set = await store.adopt('a', 1)
    await store.query(sql`insert into validators (public_key)
      select decode('ee', 'hex') || sha256(int8send(i)) || decode(repeat('cc', 15), 'hex') from generate_series(1, 2100) i`)
    await store.query(sql`insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state)
      select id, 'exit', id, 0, sha256(public_key), 1, 'collecting' from validators`)
    await store.query(sql`insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
      select id, ${set}, decode(repeat('aa', 48), 'hex'), decode(repeat('aa', 193), 'hex'), signing_root, id from messages`)
    const keys = await store.query<{ public_key: Buffer }>(sql`select public_key from validators order by id`)
    world.beacon.addValidators(...keys.map((row) => row.public_key))
    world.beacon.finalize()
    await Promise.all([store.registered().look(forever), store.registered().look(forever)])
    const [counts] =
      await store.query(sql`select count(registered_at) as noted, count(distinct beacon_index) as indexes,
      count(beacon_vault) as vaults from validators`)
    expect(counts).toEqual({ noted: 2100, indexes: 2100, vaults: 0 })
    const told = store.logged('validators registered on the finalized chain')
    expect(told.reduce((sum, { validators }) => sum + Number(validators), 0)).toBe(2100)
  })

  it('is looked for by a running relayer at once after its start', async () => {
    const store = await openStore(world)
    const { id, publicKey } = await store.addValidator()
    await store.addExit(id, 5, [await store.adopt('a', 1)])
    finalize([publicKey])
    await using _relayer = await world.startRelayer({ DATABASE_URL: store.databaseUrl, SIGNATURE_THRESHOLD: '1' })
    await eventually('noted', async () => ((await store.noted(id))?.at === null ? undefined : true))
  })
})

describe.skipIf(skipWithoutAnvil)('a validator that leaves', () => {
  it('is told by its status, when it is found and later', async () => {
    const store = await openStore(world)
    const set = await store.adopt('a', 1)
    const add = async (status: string) => {
      const { id, publicKey } = await store.addValidator()
      await store.addExit(id, 5, [set])
      return { id, index: finalize([publicKey], { status }) }
    }
    const staying = await Promise.all(['pending_initialized', 'pending_queued', 'active_ongoing'].map(add))
    const gone = await Promise.all(
      [
        'active_exiting',
        'active_slashed',
        'exited_unslashed',
        'exited_slashed',
        'withdrawal_possible',
        'withdrawal_done',
      ].map(add),
    )
    await store.registered().look(forever)
    const leftOf = (all: { id: number }[]) => Promise.all(all.map(async ({ id }) => (await store.noted(id))?.left))
    expect(await leftOf(staying)).toEqual([false, false, false])
    expect(await leftOf(gone)).toEqual([true, true, true, true, true, true])
    for (const { index } of staying.slice(1)) world.beacon.setValidator(index, { status: 'active_exiting' })
    world.beacon.finalize()
    await store.registered().look(forever)
    expect(await leftOf(staying)).toEqual([false, true, true])
    expect(store.logged('validators have exited, or are about to')).toMatchObject([{ validators: 2 }])
  })

  it('of another index than noted is told, and changes nothing', async () => {
    const store = await openStore(world)
    const { id, publicKey } = await store.addValidator()
    await store.addExit(id, 5, [await store.adopt('a', 1)])
    const index = finalize([publicKey], { status: 'active_exiting' })
    await store.query(sql`update validators set beacon_index = 7, registered_at = now() where id = ${id}`)
    await store.registered().look(forever)
    expect(await store.noted(id)).toMatchObject({ beacon_index: 7, left: false })
    expect(
      store.logged('the consensus node gives a registered validator another index: is it on the right chain?'),
    ).toMatchObject([{ validator_index: 7, said_validator_index: index }])
  })
})

describe.skipIf(skipWithoutAnvil)('the oracle set of a registration', () => {
  const cases: [
    string,
    { block?: number; sets: [at: 'real' | 'other', set: 'a' | 'b' | 'c'][]; is: 'a' | 'b' | 'c' },
  ][] = [
    [
      'is the newest announced when the deposit was made',
      {
        block: 25,
        sets: [
          ['real', 'a'],
          ['real', 'b'],
          ['real', 'c'],
        ],
        is: 'b',
      },
    ],
    [
      'announced in that very block',
      {
        block: 30,
        sets: [
          ['real', 'a'],
          ['real', 'b'],
          ['real', 'c'],
        ],
        is: 'c',
      },
    ],
    ['also where its shares are not kept any more', { block: 15, sets: [['real', 'c']], is: 'a' }],
    [
      'but none that it never had shares for',
      {
        block: 99,
        sets: [
          ['real', 'a'],
          ['real', 'b'],
        ],
        is: 'b',
      },
    ],
    [
      'where every set is newer, the oldest at the real index',
      {
        block: 5,
        sets: [
          ['other', 'a'],
          ['real', 'b'],
          ['real', 'c'],
        ],
        is: 'b',
      },
    ],
    [
      'where the block is not known, likewise',
      {
        sets: [
          ['other', 'a'],
          ['real', 'c'],
          ['real', 'b'],
        ],
        is: 'b',
      },
    ],
    [
      'with no shares at the real index, the oldest of any',
      {
        sets: [
          ['other', 'c'],
          ['other', 'b'],
        ],
        is: 'b',
      },
    ],
  ]
  it('follows from the block of its deposit, else from its share sets', async () => {
    const store = await openStore(world)
    const ids = { a: await store.adopt('a', 10), b: await store.adopt('b', 20), c: await store.adopt('c', 30) }
    const validators = await Promise.all(cases.map(() => store.addValidator()))
    const first = validators.map(({ publicKey }) => finalize([publicKey]))
    for (const [position, [, { block, sets }]] of cases.entries()) {
      const { id, publicKey } = validators[position] ?? { id: 0, publicKey: new Uint8Array() }
      const index = first[position] ?? 0
      for (const at of ['other', 'real'] as const) {
        const own = sets.filter(([where]) => where === at).map(([, set]) => ids[set])
        await store.addExit(id, at === 'real' ? index : index + 1, own, at === 'real' ? 'ready' : 'superseded')
      }
      if (block !== undefined) await store.deposited(publicKey, block)
    }
    await store.registered().look(forever)
    const noted = await Promise.all(validators.map(async ({ id }) => (await store.noted(id))?.set))
    expect(new Map(cases.map(([what], position) => [what, noted[position]]))).toEqual(
      new Map(cases.map(([what, { is }]) => [what, ids[is]])),
    )
  })
})
