/** Following the Keeper: which configs are refused, what is split anew for which set, and what is kept of the sets before. */

import type { ExitSharesResponse } from '@dvt-relayer/api/schemas.ts'
import { configUpdatedEvent } from '@dvt-relayer/chain/stakewise/keeper.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { claimFinishable } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  adoptOracleSet,
  deleteOldShares,
  findMessagesToFinish,
  ROTATION_REQUESTER,
} from '@dvt-relayer/db/queries/oracle-shares.ts'
import { sql } from 'drizzle-orm'
import { encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOracleSets } from '../../../apps/relayer/src/services/oracles/sets.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { startIpfs } from '../../support/chain/ipfs.ts'
import { makeOracles, oracleConfig } from '../../support/chain/oracles.ts'
import { leaveOutLogs, startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { openStore } from '../../support/stages/registered.ts'
import { assertOraclesCanExit, getExits, postValidators, sidecarRound, untilShares } from '../../support/world/nodes.ts'
import { ask, eventually, hex, startWorld, type World } from '../../support/world/world.ts'

let world: World
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startWorld({ oracles: 3, threshold: 2 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** The log of a `ConfigUpdated` that no contract has emitted. */
function configLog(cid: string, { number, hash }: { number: string; hash: string }) {
  const [topic] = encodeEventTopics({ abi: [configUpdatedEvent] })
  return {
    address: toHex(world.network.keeper),
    topics: [topic],
    data: encodeAbiParameters([{ type: 'string' }], [cid]),
    blockNumber: number,
    blockHash: hash,
    transactionHash: hash,
    transactionIndex: '0x0',
    logIndex: '0x0',
    removed: false,
  }
}

const current = (store: Awaited<ReturnType<typeof openStore>>) =>
  store.query<{ id: string; cid: string; threshold: number; block_number: string }>(
    sql`select id, cid, threshold, block_number from oracle_sets where is_current`,
  )

describe.skipIf(skipWithoutAnvil)('a config', () => {
  it('that is not valid is refused with the reason, once in the log, and the last good one stays', async () => {
    const store = await openStore(world)
    const sets = createOracleSets(store)
    expect(await sets.follow()).toBeUndefined()
    const before = await current(store)
    expect(before).toHaveLength(1)
    const [one, two] = makeOracles(2)
    if (one === undefined || two === undefined) throw new Error('two oracles were asked for')
    const good = oracleConfig([one, two], 1)
    const key = good.oracles[0]?.public_key ?? ''
    const refused: [reason: string, config: object][] = [
      ['not a JSON object', [good]],
      ['it has 0 oracles', { ...good, oracles: [] }],
      ['oracles is missing', { ...good, oracles: undefined }],
      ['oracles is missing or not a list', { ...good, oracles: { 0: { public_key: key } } }],
      [
        'oracles 1 and 2 have the same public key',
        { ...good, oracles: [one, one].map((o) => oracleConfig([o], 1).oracles[0]) },
      ],
      [
        'oracles 1 and 3 have the same public key',
        { ...good, oracles: [...good.oracles, { public_key: toHex(one.publicKey).slice(2).toUpperCase() }] },
      ],
      ['oracle 2 has no public_key', { ...good, oracles: [good.oracles[0], { endpoints: [] }] }],
      ['oracle 1 has no public_key', { ...good, oracles: [{ public_key: 7 }] }],
      ['the public_key of oracle 1 is not a point', { ...good, oracles: [{ public_key: `0x${'11'.repeat(64)}` }] }],
      ['exit_signature_recover_threshold is 0', { ...good, exit_signature_recover_threshold: 0 }],
      ['exit_signature_recover_threshold is 3 with 2', { ...good, exit_signature_recover_threshold: 3 }],
      ['exit_signature_recover_threshold is missing', { ...good, exit_signature_recover_threshold: undefined }],
      ['exit_signature_recover_threshold is missing or not', { ...good, exit_signature_recover_threshold: '1' }],
    ]
    for (const [reason, config] of refused) {
      const cid = world.ipfs.add(config)
      await world.keeper.setConfig(cid)
      for (let again = 0; again < 2; again++) expect(await sets.follow()).toContain(reason)
      expect(await current(store)).toEqual(before)
      expect(store.logged('oracle set refused, the last good one stays').at(-1)).toMatchObject({
        cid,
        err: { code: 'ORACLE_CONFIG_INVALID', message: expect.stringContaining(reason) },
      })
    }
    await world.keeper.setConfig('not a CID')
    expect(await sets.follow()).toContain('not in force')
    expect(store.logged('oracle set refused, the last good one stays')).toHaveLength(refused.length + 1)
    // The last good one is announced again: it was in force all the time, and no share made for it is worthless.
    await world.announce(world.oracles, 2)
    expect(await sets.follow()).toBeUndefined()
    expect(await current(store)).toEqual(before)
    // A process that has just started refuses as well.
    await world.keeper.setConfig(world.ipfs.add({ ...good, oracles: [] }))
    expect(await createOracleSets(store).follow()).toContain('it has 0 oracles')
    expect(await current(store)).toEqual(before)
    await world.announce(world.oracles, 2)
  })

  it.each(['mainnet', 'gnosis'])(
    'that its CID does not prove is never in force on %s, whoever agrees on it, and the true one once it is proven',
    async (name) => {
      await using a = await startIpfs()
      await using b = await startIpfs()
      const [first, second, lie] = [makeOracles(2), makeOracles(3), makeOracles(2)]
      const odd = { chunkBytes: 200, width: 3, leaf: 'file' } as const
      const startAt = (gateways: readonly { url: string }[]) =>
        openStore({
          ...world,
          environment: (more) =>
            world.environment({
              ...more,
              NETWORK: name,
              IPFS_FETCH_ENDPOINTS: gateways.map(({ url }) => url).join(),
              IPFS_RETRY_TIMEOUT: '1',
            }),
        })
      for (const gateways of [[a], [a, a], [a, b]]) {
        const store = await startAt(gateways)
        let newest = { cid: a.add(oracleConfig(first, 1)), blockNumber: 1, announcedAt: 1 }
        const oracleSets = { ...store.chain.oracleSets, newest: async () => ({ config: newest, nextBlock: 1 }) }
        const sets = createOracleSets({ ...store, chain: { ...store.chain, oracleSets } })
        expect(await sets.follow()).toBeUndefined()
        const before = await current(store)
        expect(before).toMatchObject([{ threshold: 1 }])

        // No layout that the bare content is recognized by: the blocks alone can prove it.
        newest = { cid: a.add(oracleConfig(second, 3), 0, odd), blockNumber: 2, announcedAt: 2 }
        for (const gateway of [a, b]) gateway.put(newest.cid, oracleConfig(lie, 2))
        for (let again = 0; again < 2; again++) {
          expect(await sets.follow()).toMatch(/is not in force: .*could not be (checked against its CID|verified)/)
          expect(await current(store)).toEqual(before)
        }
        expect(store.logged('oracle set refused, the last good one stays')).toMatchObject([
          { cid: newest.cid, err: { code: 'IPFS_UNVERIFIED' } },
        ])
        a.add(oracleConfig(second, 3), 0, odd)
        expect(await sets.follow()).toBeUndefined()
        expect(await current(store)).toMatchObject([{ cid: newest.cid, threshold: 3 }])
      }
    },
  )

  it('that another execution node denies is not taken over, and that is said; one that is away denies nothing', async () => {
    await using liar = await startRpcProxy(world.anvil)
    await using other = await startRpcProxy(world.anvil)
    const store = await openStore({
      ...world,
      environment: (more) => world.environment({ ...more, EXECUTION_ENDPOINT: `${liar.url},${other.url}` }),
    })
    await world.announce(world.oracles, 2)
    const sets = createOracleSets(store)
    expect(await sets.follow()).toBeUndefined()
    const before = await current(store)
    // One node invents a config: its block is there, and has no such event.
    const invented = world.ipfs.add(oracleConfig(makeOracles(2), 1))
    await world.anvil.mine(1)
    const block = await world.anvil.rpc('eth_getBlockByNumber', 'latest', false)
    const { number, hash, timestamp } = block as { number: string; hash: string; timestamp: string }
    expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(250)
    liar.answer(async ({ method, params, node }) => {
      const found = await node()
      if (method !== 'eth_getLogs') return found
      const [{ fromBlock, toBlock }] = params as [{ fromBlock: string; toBlock: string }]
      if (Number(fromBlock) > Number(number) || Number(toBlock) < Number(number)) return found
      return [...(found as object[]), configLog(invented, { number, hash })]
    })
    for (let again = 0; again < 2; again++) {
      expect(await sets.follow()).toMatch(/not in force: the execution node at .* does not have what another says/)
      expect(await current(store)).toEqual(before)
    }
    liar.answer(undefined)
    expect(await sets.follow()).toBeUndefined()
    expect(await current(store)).toEqual(before)
    // The other one lags behind: it is waited for.
    const cid = world.ipfs.add(oracleConfig(makeOracles(3), 2))
    await world.keeper.setConfig(cid)
    other.answer(async ({ method, node }) => (method === 'eth_getBlockByNumber' ? block : node()))
    expect(await sets.follow()).toMatch(/does not have what another says/)
    other.fail('down')
    expect(await sets.follow()).toBeUndefined()
    expect(await current(store)).toMatchObject([{ cid }])
    await world.announce(world.oracles, 2)
  })

  it('is found also where a node had told of a head far above', async () => {
    const store = await openStore(world)
    const sets = createOracleSets(store)
    expect(await sets.follow()).toBeUndefined()
    await store.query(
      sql`update checkpoints set value = jsonb_set(value, '{next_block}', '1000000000') where name = 'keeper_config'`,
    )
    const cid = await world.announce(makeOracles(3), 2)
    expect(await sets.follow()).toBeUndefined()
    expect(await current(store)).toMatchObject([{ cid }])
    await world.announce(world.oracles, 2)
  })

  it('that its CID does not prove is in force elsewhere, with a warning', async () => {
    const store = await openStore(world)
    const cid = world.ipfs.add(oracleConfig(makeOracles(2), 1))
    world.ipfs.put(cid, oracleConfig(makeOracles(2), 2))
    expect(await store.chain.oracleSets.fetch(cid)).toMatchObject({ threshold: 2 })
    expect(store.logged('oracle config could not be checked against its CID and only one gateway is set')).toHaveLength(
      1,
    )
    const proven = world.ipfs.add(oracleConfig(makeOracles(3), 2))
    expect(await store.chain.oracleSets.fetch(proven)).toMatchObject({ threshold: 2 })
    expect(store.logged('oracle config could not be checked against its CID and only one gateway is set')).toHaveLength(
      1,
    )
  })

  it('that was announced before the current one, as a node that lags behind has it, changes nothing', async () => {
    const store = await openStore(world)
    const sets = createOracleSets(store)
    await world.keeper.setConfig(world.ipfs.add(oracleConfig(makeOracles(2), 1)))
    expect(await sets.follow()).toBeUndefined()
    const [old] = await store.query<{ value: unknown }>(sql`select value from checkpoints where name = 'keeper_config'`)
    const [older] = await store.query<{ cid: string; block_number: number }>(
      sql`select cid, block_number from oracle_sets where is_current`,
    )
    await world.keeper.setConfig(world.ipfs.add(oracleConfig(makeOracles(2), 2)))
    expect(await sets.follow()).toBeUndefined()
    const before = await current(store)
    expect(before).toMatchObject([{ threshold: 2 }])
    // A process at a node of an earlier head stores last what it read first.
    const lagging = createOracleSets({
      ...store,
      chain: {
        ...store.chain,
        oracleSets: { ...store.chain.oracleSets, newest: async () => ({ config: undefined, nextBlock: 1 }) },
      },
    })
    await store.query(
      sql`update checkpoints set value = ${JSON.stringify(old?.value)}::jsonb where name = 'keeper_config'`,
    )
    expect(await lagging.follow()).toBeUndefined()
    expect(await current(store)).toEqual(before)
    const set = {
      cid: older?.cid ?? '',
      threshold: 1,
      publicKeys: makeOracles(1)[0]?.publicKey ?? new Uint8Array(),
      config: {},
    }
    const blockNumber = Number(older?.block_number)
    await store.db.transaction((tx) => adoptOracleSet(tx, { ...set, blockNumber, announcedAt: 1 }))
    expect(await current(store)).toEqual(before)
    expect(await sets.follow()).toBeUndefined()
    expect(await current(store)).toEqual(before)
    await world.announce(world.oracles, 2)
  })

  it('that the logs of the only node always lack is in force once its block shows it, and what nobody shows is said', async () => {
    await using proxy = await startRpcProxy(world.anvil)
    const store = await openStore({
      ...world,
      environment: (more) => world.environment({ ...more, EXECUTION_ENDPOINT: proxy.url }),
    })
    const sets = createOracleSets(store)
    expect(await sets.follow()).toBeUndefined()
    const cid = world.ipfs.add(oracleConfig(makeOracles(5), 4))
    const lacking = await world.keeper.setConfig(cid)
    const left = leaveOutLogs(proxy, lacking)
    await world.anvil.mine(200)
    expect(await sets.follow()).toMatch(`block ${lacking} may have an oracle config that the execution node at`)
    const nextBlock = async () => {
      const [row] = await store.query<{ next: number }>(
        sql`select (value->>'next_block')::int as next from checkpoints where name = 'keeper_config'`,
      )
      return row?.next ?? Infinity
    }
    expect(await nextBlock()).toBeLessThanOrEqual(lacking)
    left.showReceipts()
    expect(await sets.follow()).toBeUndefined()
    expect(await current(store)).toMatchObject([{ cid, threshold: 4, block_number: lacking }])
    expect(await nextBlock()).toBeGreaterThan(lacking)
    await world.announce(world.oracles, 2)
  })

  it('that comes back after another one is a set of its own, of the block of its new announcement', async () => {
    const store = await openStore(world)
    const sets = createOracleSets(store)
    await sets.follow()
    const [first] = await current(store)
    await world.announce(makeOracles(4), 3)
    await sets.follow()
    await world.announce(world.oracles, 2)
    await Promise.all([sets.follow(), createOracleSets(store).follow()])
    const [last] = await current(store)
    expect(last).toMatchObject({ cid: first?.['cid' as never], threshold: 2 })
    expect(Number(last?.['block_number' as never])).toBeGreaterThan(Number(first?.['block_number' as never]))
    expect(await store.query(sql`select from oracle_sets`)).toHaveLength(3)
  })
})

describe.skipIf(skipWithoutAnvil)('who asks for the newest set', () => {
  it('is given what was announced after it asked, by one look that all share who wait', async () => {
    const store = await openStore(world)
    const gates: PromiseWithResolvers<void>[] = []
    const chain = {
      ...store.chain,
      oracleSets: {
        ...store.chain.oracleSets,
        async newest(from: number | undefined) {
          const gate = Promise.withResolvers<void>()
          gates.push(gate)
          await gate.promise
          return store.chain.oracleSets.newest(from)
        },
      },
    }
    const sets = createOracleSets({ ...store, chain })
    const looks = async (count: number) =>
      eventually(`look ${count}`, async () => (gates.length === count ? true : undefined))
    const first = sets.newest()
    await looks(1)
    // What is asked for during a look is not answered by it: the announcement may have come in between.
    await world.anvil.rpc('evm_mine')
    const others = Array.from({ length: 5 }, () => sets.newest())
    gates[0]?.resolve()
    expect(await first).toBe(Number((await current(store))[0]?.id))
    await looks(2)
    gates[1]?.resolve()
    expect(new Set(await Promise.all(others))).toEqual(new Set([await first]))
    expect(gates).toHaveLength(2)
  })

  it('has the chain asked for its head alone where that was looked at, and for all when it is another one', async () => {
    const store = await openStore(world)
    let looks = 0
    const newest: typeof store.chain.oracleSets.newest = (...args) => {
      looks++
      return store.chain.oracleSets.newest(...args)
    }
    const sets = createOracleSets({
      ...store,
      chain: { ...store.chain, oracleSets: { ...store.chain.oracleSets, newest } },
    })
    const first = await sets.newest()
    expect([await sets.newest(), looks]).toEqual([first, 1])

    // Another block of the same number, with another config in it: the number alone tells nothing.
    const before = await world.anvil.rpc('evm_snapshot')
    await world.anvil.mine(1)
    expect([await sets.newest(), looks]).toEqual([first, 2])
    const seen = (await world.anvil.rpc('eth_getBlockByNumber', 'latest', false)) as { number: string }
    await world.anvil.rpc('evm_revert', before)
    await world.announce(makeOracles(3), 2)
    expect(await world.anvil.rpc('eth_getBlockByNumber', 'latest', false)).toMatchObject({ number: seen.number })
    const second = await sets.newest()
    expect([second > first, looks]).toEqual([true, 3])

    // Adopted by another process, whose node has a block that this one's lacks.
    const third = await store.adopt('QmOther', 2 ** 40)
    expect([await sets.newest(), looks]).toEqual([third, 3])
  })

  it('has all asked again where the chain moved under a look', async () => {
    const store = await openStore(world)
    let looks = 0
    const newest: typeof store.chain.oracleSets.newest = async (...args) => {
      const found = await store.chain.oracleSets.newest(...args)
      if (++looks === 1) await world.announce(makeOracles(4), 3)
      return found
    }
    const sets = createOracleSets({
      ...store,
      chain: { ...store.chain, oracleSets: { ...store.chain.oracleSets, newest } },
    })
    const first = await sets.newest()
    expect([(await sets.newest()) > first, looks]).toEqual([true, 2])
    await world.announce(world.oracles, 2)
  })

  it('is told that nothing can be said while the chain is away, or the newest cannot be had', async () => {
    const store = await openStore(world)
    const away = { code: 'DEPENDENCY_AWAY' }
    const given = (oracleSets: object) =>
      createOracleSets({
        ...store,
        chain: { ...store.chain, oracleSets: { ...store.chain.oracleSets, ...oracleSets } },
      })
    await createOracleSets(store).newest()
    await expect(given({ newest: () => Promise.reject(new Error('away')) }).newest()).rejects.toMatchObject(away)
    const config = { cid: 'QmNew', blockNumber: 2 ** 40, announcedAt: 1 }
    const announced = { newest: async () => ({ config, nextBlock: 1 }), fetch: () => Promise.reject(new Error('gone')) }
    await expect(given(announced).newest()).rejects.toMatchObject(away)
  })
})

describe.skipIf(skipWithoutAnvil)('before any announcement', () => {
  /** A Keeper that has announced nothing, as a node that has it all or one that lags behind says it. */
  const silent = (store: Awaited<ReturnType<typeof openStore>>) => {
    const newest = async () => ({ config: undefined, nextBlock: 1 })
    return createOracleSets({
      ...store,
      chain: { ...store.chain, oracleSets: { ...store.chain.oracleSets, newest } },
    })
  }

  it('no set is in force, and that is what is wrong', async () => {
    const store = await openStore(world)
    const sets = silent(store)
    for (let again = 0; again < 2; again++)
      expect(await sets.follow()).toBe('the Keeper has not announced an oracle config yet')
    expect(await sets.hasCurrent()).toBe(false)
    expect(await current(store)).toEqual([])
    expect(store.logged('oracle set refused, the last good one stays')).toEqual([])
  })

  it('nothing is wrong where a set is in force all the same, and it stays', async () => {
    const store = await openStore(world)
    await store.adopt('QmKnown', 1)
    const before = await current(store)
    const sets = silent(store)
    expect(await sets.follow()).toBeUndefined()
    expect(await sets.hasCurrent()).toBe(true)
    expect(await current(store)).toEqual(before)
  })
})

describe.skipIf(skipWithoutAnvil)('after a change', () => {
  it('what is not registered is split anew at once, also back to oracles from before, and nothing old is handed out', async () => {
    const store = await openStore(world)
    const settings = { DATABASE_URL: store.databaseUrl, SIGNATURE_THRESHOLD: '2' }
    await using relayer = await world.startRelayer(settings)
    const validators = createTestKeys(4, { nodes: 2, threshold: 2 })
    const keys = validators.map(({ publicKey }) => hex(publicKey))
    const registered = keys.slice(2)
    await postValidators(relayer.url, keys)
    for (const share of [1, 2]) await sidecarRound(relayer.url, world.network, validators, share)
    const all = [JSON.stringify(await untilShares(relayer.url, keys))]
    const list = (await ask(relayer.url, '/exits')).text
    const indexes = new Map((await getExits(relayer.url)).map((exit) => [exit.public_key, exit.validator_index]))
    for (const key of registered)
      await store.query(sql`update validators set registered_at = now(), beacon_index = ${indexes.get(key)}
        where public_key = ${Buffer.from(key.slice(2), 'hex')}`)

    const sets = createOracleSets(store)
    const next = makeOracles(5)
    for (const [oracles, threshold] of [
      [next, 4],
      [world.oracles, 2],
    ] as const) {
      await world.announce(oracles, threshold)
      await sets.follow()
      // From this moment on: null or new.
      const at = await postValidators(relayer.url, keys)
      expect(at.status).toBe(200)
      const { validators: items } = await untilShares(relayer.url, keys.slice(0, 2))
      for (const text of [at.text, JSON.stringify(items)])
        for (const [share] of text.matchAll(/0x[0-9a-f]{96}(?=["])/g))
          if (!keys.includes(share as never)) for (const old of all) expect(old).not.toContain(share)
      for (const [position, item] of items.entries()) {
        const publicKey = validators[position]?.publicKey ?? new Uint8Array()
        const index = indexes.get(hex(publicKey)) ?? -1
        const shares = item.oracles_exit_signature_shares
        await assertOraclesCanExit(world.network, oracles, threshold, publicKey, index, shares)
      }
      all.push(JSON.stringify(items))
    }
    // What the chain knows by its first set keeps that one alone.
    const setsOf = (own: readonly string[]) =>
      store.query(sql`select count(*) as sets from oracle_shares s join messages m on m.id = s.message_id join validators v on v.id = m.validator_id
        where encode(v.public_key, 'hex') in (${sql.join(
          own.map((key) => sql`${key.slice(2)}`),
          sql`, `,
        )})`)
    expect(await setsOf(registered)).toEqual([{ sets: 2 }])
    expect(await setsOf(keys.slice(0, 2))).toEqual([{ sets: 6 }])
    // Who follows the list of exits has nothing to read: none of them has changed.
    expect((await ask(relayer.url, '/exits')).text).toBe(list)
    // Oracles have: the new sets, once.
    const fetched = `/oracles/${toHex(world.oracles[0]?.publicKey ?? new Uint8Array())}/exit-shares`
    const { exit_shares: items, cursor } = (await ask(relayer.url, fetched)).json as ExitSharesResponse
    expect(items.filter((item) => !item.is_outdated)).toHaveLength(2)
    expect((await ask(relayer.url, `${fetched}?after=${cursor}`)).json).toEqual({ exit_shares: [], cursor })
    // A rotation that asks for an exit has it split.
    await store.query(sql`update messages set requester = ${ROTATION_REQUESTER} where validator_id =
      (select id from validators where public_key = ${Buffer.from((registered[0] ?? '').slice(2), 'hex')})`)
    await eventually('split for the rotation', async () =>
      (await setsOf(registered.slice(0, 1)))[0]?.['sets' as never] === 2 ? true : undefined,
    )
    expect(await setsOf(registered.slice(1))).toEqual([{ sets: 1 }])
  })

  it('an exit of a registered validator is not split by a job either', async () => {
    const store = await openStore(world)
    const set = await store.adopt('a', 1)
    const [free, noted, rotated] = await Promise.all([1, 2, 3].map(() => store.addValidator()))
    const ids = await Promise.all([free, noted, rotated].map((one, index) => store.addExit(one?.id ?? 0, index, [])))
    await store.query(sql`update validators set registered_at = now(), beacon_index = 1 where id <> ${free?.id}`)
    await store.query(sql`update messages set requester = ${ROTATION_REQUESTER} where id = ${ids[2]}`)
    const needs = async (setId: number | null) =>
      new Map((await findMessagesToFinish(store.db, ids, setId)).map((row) => [row.id, row.needsOracleShares]))
    expect(await needs(set)).toEqual(new Map(ids.map((id, position) => [id, position !== 1])))
    expect(await claimFinishable(store.db, null, 10)).toEqual(ids.filter((_, position) => position !== 1).sort())
    expect(await needs(null)).toEqual(new Map(ids.map((id) => [id, false])))
  })
})

describe.skipIf(skipWithoutAnvil)('share sets of replaced oracle sets', () => {
  it('are deleted when nothing needs them any more', async () => {
    const store = await openStore(world)
    const [a, b, c, d] = [
      await store.adopt('a', 1),
      await store.adopt('b', 2),
      await store.adopt('c', 3),
      await store.adopt('d', 4),
    ]
    const add = async (setIds: number[], onChain?: number) => {
      const { id, publicKey } = await store.addValidator()
      const exit = await store.addExit(id, id, setIds)
      if (onChain !== undefined)
        await store.query(
          sql`update validators set registered_at = now(), beacon_index = ${id}, oracle_set_id = ${onChain} where id = ${id}`,
        )
      return { exit, publicKey }
    }
    const live = await add([a, b, d])
    const lapsed = await add([a, b])
    const registered = await add([a, b, c, d], b)
    const deposited = await add([a, d])
    await store.deposited(deposited.publicKey, 1)
    const rotating = await add([a, b, c, d], a)
    await store.query(sql`with r as (insert into rotations (vault, oracle_set_id, nonce, state) values (${Buffer.alloc(20)}, ${c}, 0, 'open') returning id)
      insert into rotation_messages (rotation_id, place, message_id) select id, 0, ${rotating.exit} from r`)
    const kept = async ({ exit }: { exit: number }) =>
      (
        await store.query<{ id: number }>(
          sql`select oracle_set_id as id from oracle_shares where message_id = ${exit} order by 1`,
        )
      ).map(({ id }) => id)
    // Replaced just now: a deposit may have been made with them.
    expect(await deleteOldShares(store.db, 3600, 100)).toBe(0)
    // Replaced longer ago: a and b.
    await store.query(sql`update oracle_sets set adopted_at = now() - interval '2 hours' where id <= ${c}`)
    expect(await deleteOldShares(store.db, 3600, 2)).toBe(2)
    expect(await deleteOldShares(store.db, 3600, 100)).toBe(3)
    await store.query(sql`update oracle_sets set adopted_at = now() - interval '2 hours'`)
    expect(await deleteOldShares(store.db, 3600, 100)).toBe(1)
    expect(await kept(live)).toEqual([d])
    expect(await kept(lapsed)).toEqual([b])
    expect(await kept(registered)).toEqual([b, d])
    expect(await kept(deposited)).toEqual([a, d])
    expect(await kept(rotating)).toEqual([a, c, d])
  })
})
