/** The registry over a real chain and a real database: what is settled, what is seen at the newest block, and what a node may not do to it. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { insertValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import {
  clearRegistered,
  findRegistered,
  findRegisteredWith,
  insertCheckpoint,
  insertRegistered,
  lockCheckpoint,
} from '@dvt-relayer/db/queries/registry.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { createChain } from '../../../apps/relayer/src/chain.ts'
import type { RelayerConfig } from '../../../apps/relayer/src/config.ts'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createDepositRegistry } from '../../../apps/relayer/src/services/deposit-registry/deposit-registry.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { madeUpKey, type StandInDeposit } from '../../support/chain/beacon.ts'
import { type RpcProxy, RpcRefusal, startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { depositBySomebodyElse } from '../../support/contracts/deposits.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { engine } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'

const MIGRATIONS = new URL('../../../migrations', import.meta.url).pathname
const never = new AbortController().signal
/** Nobody here is in a hurry; what fails does so by itself. */
const PATIENCE_MS = 100_000
const VAULT = new Uint8Array(20).fill(0xaa)

/** The parts of a relayer process that the registry needs, and what they logged. */
async function startProcess(
  world: VaultWorld,
  options: { endpoints?: readonly string[]; network?: Partial<RelayerConfig['network']> } = {},
) {
  await using stack = new AsyncDisposableStack()
  const endpoints = options.endpoints ?? [world.anvil.url]
  const { config: read } = readConfig(
    world.environment({
      SIGNATURE_THRESHOLD: '3',
      EXECUTION_ENDPOINT: endpoints.join(','),
      EXECUTION_RETRY_TIMEOUT: '1',
      GENESIS_VALIDATORS_IPFS_RETRY_TIMEOUT: '1',
    }),
  )
  const config = { ...read, network: { ...read.network, ...options.network } }
  const log: string[] = []
  const destination = { write: (line: string) => void log.push(line) }
  const logger = createLogger({ level: 'debug', format: 'json', destination })
  const db = stack.use(await connectDatabase({ url: world.databaseUrl, logger }))
  await migrateDatabase(db, MIGRATIONS)
  const pool = stack.use(startCryptoPool(1))
  let verified = 0
  const verify = (triples: Parameters<typeof pool.verify>[0]) => {
    verified += triples.length
    return pool.verify(triples)
  }
  const crypto = { ...pool, verify }
  const events = createEvents(logger)
  // Nodes of this chain, also where a test has the registry take it for one with real money.
  const { chainId } = read.network
  const chain = createChain({ ...config, network: { ...config.network, chainId } }, crypto, events, logger)
  const registry = createDepositRegistry({ config, db, crypto, chain, events, logger, patienceMs: PATIENCE_MS })
  const resources = stack.move()
  return {
    registry,
    db,
    log: () => log.join(''),
    /** What was logged with this text. */
    logged: (text: string) =>
      log.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === text),
    /** Signatures verified so far. */
    verified: () => verified,
    metric: async (line: string) => (await events.metrics.text()).split('\n').find((text) => text.startsWith(line)),
    follow: () => registry.follow(never),
    count: async () => (await registry.at()).count,
    /** Keys settled, by the table. */
    rows: async () => Number((await db.execute(sql`select count(*) from registry_validators`)).rows[0]?.['count']),
    checkpoint: async () =>
      (await db.execute(sql`select value from checkpoints where name = 'registry'`)).rows[0]?.['value'] as
        | { next_block: number; next_deposit_index: number; count: number }
        | undefined,
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}

/** Makes `count` deposits of 32 ETH, not sent yet. */
function makeDeposits(world: VaultWorld, count: number): StandInDeposit[] {
  return createTestKeys(count, { nodes: 1, threshold: 1 }).map(({ publicKey, secretKey }) => {
    const message = {
      publicKey,
      withdrawalCredentials: withdrawalCredentials('0x01', VAULT),
      amountGwei: 32_000_000_000n,
    }
    return { ...message, signature: engine.sign(secretKey, depositSigningRoot(world.network, message)) }
  })
}

/** Sends deposits, each in a block of its own. */
async function send(world: VaultWorld, ...deposits: StandInDeposit[]): Promise<void> {
  for (const deposit of deposits) {
    const outcome = await depositBySomebodyElse(world.anvil, world.depositContract, deposit)
    if (!outcome.ok) throw new Error(outcome.error)
  }
}

/** A block is final two blocks later. */
const finalize = (world: VaultWorld) => world.anvil.mine(2)
const keysOf = (deposits: readonly StandInDeposit[]) => deposits.map(({ publicKey }) => publicKey)
const away = (words: RegExp) => ({ code: 'DEPENDENCY_AWAY', message: expect.stringMatching(words) })
const dumpsFetched = ({ ipfs, network }: VaultWorld) =>
  ipfs.requests.filter((path) => path.includes(network.registryDump?.cid ?? 'none')).length
/** `[from, to]` of the log queries so far. */
const rangesOf = (proxy: RpcProxy) =>
  proxy.calls
    .filter(({ method }) => method === 'eth_getLogs')
    .map(({ params }) => {
      const { fromBlock, toBlock } = params[0] as { fromBlock: string; toBlock: string }
      return [Number(fromBlock), Number(toBlock)]
    })

describe.skipIf(skipWithoutAnvil)('registry', () => {
  describe('begins', () => {
    it('with the dump, and goes on behind it', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world)
      const deposits = makeDeposits(world, 3)
      await send(world, ...deposits)
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.rows()).toBe(103)
      const view = await relayer.registry.at()
      expect(view).toMatchObject({ count: 103, blockNumber: Number(await world.anvil.rpc('eth_blockNumber')) })
      expect(toHex(view.depositRoot)).toBe(await world.depositContract.root())
      expect(await view.isRegistered([madeUpKey(0), madeUpKey(99), madeUpKey(100), ...keysOf(deposits)])).toEqual([
        ...[true, true, false],
        ...[true, true, true],
      ])
    })

    it('at the last deposit before the end of the dump, counting none twice', async () => {
      await using world = await startVaultWorld()
      const deposits = makeDeposits(world, 4)
      await send(world, ...deposits.slice(0, 3))
      // Further back than the first look goes.
      await world.anvil.mine(300)
      const lastBlock = Number(await world.anvil.rpc('eth_blockNumber'))
      await send(world, ...deposits.slice(3))
      await finalize(world)
      const cid = world.ipfs.add(dumpOf(keysOf(deposits.slice(0, 3)), lastBlock), 1)
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, {
        endpoints: [proxy.url],
        network: { registryDump: { cid, lastBlock } },
      })
      // The first deposit behind the dump: that it is missing shows because the one before is known.
      proxy.answer(withoutLogs((log) => Number(log.blockNumber) === lastBlock + 1))
      expect(await relayer.follow()).toMatch(
        /leaves deposit logs out: deposit 2 is the last one, the contract counts 4/,
      )
      const [, , last] = (await world.depositContract.events()).map(({ blockNumber }) => blockNumber)
      expect(relayer.logged('registry begun')).toMatchObject([{ validators: 3, next_block: last }])
      const { seconds } = relayer.logged('registry begun')[0] as { seconds: number }
      expect(seconds).toBeLessThan(performance.now() / 1000)
      proxy.answer(undefined)
      expect(await relayer.follow()).toBeUndefined()
      expect(relayer.logged('deposits settled')).toMatchObject([{ validators: 4, added: 1 }])
      expect(await relayer.checkpoint()).toMatchObject({ count: 4, next_deposit_index: 4 })
      expect(await relayer.count()).toBe(4)
    })

    it('with nothing on a network without a dump', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world, { network: { registryDump: undefined } })
      // Of a beginning that somebody has undone by hand.
      await insertRegistered(relayer.db, [{ publicKey: madeUpKey(7), blockNumber: 1 }])
      await send(world, ...makeDeposits(world, 2))
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.count()).toBe(2)
      expect(await relayer.rows()).toBe(2)
    })

    it('when somebody asks first, and once when a round comes in between', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      await send(world, ...makeDeposits(world, 1))
      let following: Promise<unknown> | undefined
      proxy.answer(({ params, node }) => {
        if (Number(params[0]) === world.network.registryDump?.lastBlock) following ??= relayer.follow()
        return node()
      })
      expect(await Promise.all([relayer.count(), relayer.count()])).toEqual([101, 101])
      expect(following).toBeDefined()
      expect(await following).toBeUndefined()
      expect(dumpsFetched(world)).toBe(1)
    })

    it('for who asks first also where nothing can be settled, and is wanted from then on', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      await using other = await startProcess(world, { endpoints: [proxy.url] })
      const wanted = () => Promise.all([relayer.registry.isWanted(), other.registry.isWanted()])
      expect(await wanted()).toEqual([false, false])
      expect(await relayer.registry.countIfBegun()).toBeUndefined()
      expect(await wanted()).toEqual([false, false])
      proxy.answer(({ params, node }) => (Number(params[0]) === world.network.registryDump?.lastBlock ? null : node()))
      const said: unknown = await relayer.registry.at().catch((error: unknown) => error)
      expect(said).toMatchObject({ ...away(/have not been read yet/), cause: { code: 'EXECUTION_INVALID' } })
      expect(await wanted()).toEqual([true, false])
      proxy.answer(({ params, node }) => {
        if (params[0] === 'finalized') throw new RpcRefusal(-32602, 'invalid argument 0: hex string without 0x prefix')
        return node()
      })
      expect(await relayer.count()).toBe(100)
      expect(await wanted()).toEqual([true, true])
      expect(await other.registry.countIfBegun()).toBe(100)
    })

    it('anew after a process was ended in the middle, and never with half a dump', async () => {
      await using world = await startVaultWorld({ validators: 12_000 })
      await using relayer = await startProcess(world)
      const stop = new AbortController()
      const told: string[] = []
      const halves = (words: string) => {
        told.push(words)
        if (words.includes('10000 of 12000')) stop.abort()
      }
      expect(await relayer.registry.follow(stop.signal, halves)).toBeUndefined()
      expect(told.at(-1)).toMatch(/10000 of 12000/)
      expect(await relayer.rows()).toBe(0)
      expect(await relayer.checkpoint()).toBeUndefined()
      await using next = await startProcess(world)
      expect(await next.follow()).toBeUndefined()
      expect(await next.rows()).toBe(12_000)
      expect(await next.checkpoint()).toMatchObject({ count: 12_000 })
    })

    it('once, when two processes begin together', async () => {
      await using world = await startVaultWorld({ validators: 12_000 })
      await using a = await startProcess(world)
      await using b = await startProcess(world)
      expect(await Promise.all([a.follow(), b.follow()])).toEqual([undefined, undefined])
      expect(await a.rows()).toBe(12_000)
      expect(`${a.log()}${b.log()}`.match(/"registry begun"/g)).toHaveLength(1)
    })

    it('not with a dump that is none, or not the one named', async () => {
      await using world = await startVaultWorld()
      const end = world.depositContract.blockNumber
      const beginWith = async (cid: string, lastBlock = end, chainId = world.network.chainId) => {
        await using relayer = await startProcess(world, { network: { chainId, registryDump: { cid, lastBlock } } })
        const words = await relayer.follow()
        expect(await relayer.rows()).toBe(0)
        // With what /ready says of the same.
        const said: unknown = await relayer.registry.at().catch((error: unknown) => error)
        expect(said).toMatchObject(away(/have not been read yet/))
        expect((said as Error).message).toContain(words)
        return words
      }
      expect(await beginWith(world.ipfs.add(new Uint8Array(51), 1))).toMatch(/dump is refused: its 51 bytes/)
      const late = dumpOf([madeUpKey(1)], end + 1)
      expect(await beginWith(world.ipfs.add(late, 1))).toMatch(/dump is refused: record 1 is of block/)
      const hidden = world.ipfs.add(dumpOf([madeUpKey(1), madeUpKey(2)], 5), 1)
      world.ipfs.put(hidden, dumpOf([madeUpKey(1)], 5))
      expect(await beginWith(hidden)).toMatch(/no IPFS gateway gave the registry dump/)
      expect(await beginWith(hidden, 1_000_000)).toMatch(/has not come to block 1000000 yet/)
      // Nobody can tell whether this is the one named: enough where no real money is at stake, with a warning.
      const unknown = `z${'x'.repeat(50)}`
      world.ipfs.put(unknown, dumpOf([madeUpKey(1), madeUpKey(2)], 5))
      for (const { chainId } of [networks.mainnet, networks.gnosis])
        expect(await beginWith(unknown, end, chainId)).toMatch(
          /set a gateway in IPFS_FETCH_ENDPOINTS that serves raw blocks/,
        )
      await using relayer = await startProcess(world, { network: { registryDump: { cid: unknown, lastBlock: end } } })
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.count()).toBe(2)
      expect(relayer.log()).toContain('could not be checked against its CID')
    })

    it('once a gateway gives the dump that is named, and not before', async () => {
      await using world = await startVaultWorld()
      const dump = dumpOf([madeUpKey(1), madeUpKey(2)], 5)
      const layout = { chunkBytes: 30, width: 2, leaf: 'file' } as const
      const cid = world.ipfs.add(dump, 1, layout)
      const registryDump = { cid, lastBlock: world.depositContract.blockNumber }
      const { chainId } = networks.mainnet
      await using relayer = await startProcess(world, { network: { chainId, registryDump } })
      world.ipfs.put(cid, dumpOf([madeUpKey(1)], 5))
      expect(await relayer.follow()).toMatch(/registry dump .* could not be checked against its CID/)
      world.ipfs.add(dump, 1, layout)
      world.ipfs.setQuirks({ block: (block) => block.with(0, 1), forms: ['raw', 'car'] })
      expect(await relayer.follow()).toMatch(/no IPFS gateway gave the registry dump/)
      expect(await relayer.rows()).toBe(0)
      world.ipfs.setQuirks({})
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.count()).toBe(2)
    })

    it('not in the database of another network', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world)
      expect(await relayer.follow()).toBeUndefined()
      await using other = await startProcess(world, { network: { depositContract: new Uint8Array(20).fill(1) } })
      expect(await other.follow()).toMatch(/registry of another network/)
      await expect(other.registry.at()).rejects.toMatchObject(away(/registry of another network/))
    })
  })

  describe('settles', () => {
    it('final blocks only', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world)
      await send(world, ...makeDeposits(world, 5))
      expect(await relayer.follow()).toBeUndefined()
      // The last two of five blocks are not final.
      const final = Number(await world.anvil.rpc('eth_blockNumber')) - 2
      expect(await relayer.checkpoint()).toMatchObject({ count: 103, next_deposit_index: 3, next_block: final + 1 })
      expect(await relayer.rows()).toBe(103)
      expect(await relayer.count()).toBe(105)
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.rows()).toBe(105)
      expect(await relayer.count()).toBe(105)
    })

    it('nothing when the node does not know what is final', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      proxy.answer(({ params, node }) => {
        if (params[0] === 'finalized') throw new RpcRefusal(-32602, 'invalid argument 0: hex string without 0x prefix')
        return node()
      })
      await send(world, ...makeDeposits(world, 4))
      expect(await relayer.follow()).toMatch(/does not say which block is final/)
      expect(await relayer.rows()).toBe(100)
      proxy.answer(({ params, node }) => (params[0] === 'finalized' ? null : node()))
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.rows()).toBe(100)
      expect(await relayer.count()).toBe(104)
    })

    it('exactly, with two processes at once and small ranges', async () => {
      await using world = await startVaultWorld()
      const deposits = makeDeposits(world, 24)
      // Each key again later: to be counted once, whoever settles which.
      await send(world, ...deposits, ...deposits)
      await finalize(world)
      const limited = async (blocks: number) => {
        const proxy = await startRpcProxy(world.anvil)
        proxy.answer(({ method, params, node }) => {
          const { fromBlock, toBlock } = { ...(params[0] as { fromBlock?: string; toBlock?: string }) }
          if (method === 'eth_getLogs' && Number(toBlock) - Number(fromBlock) >= blocks)
            throw new RpcRefusal(-32005, `query exceeds max block range ${blocks}`)
          return node()
        })
        return proxy
      }
      // Ranges that do not begin and end together.
      await using three = await limited(3)
      await using seven = await limited(7)
      await using a = await startProcess(world, { endpoints: [three.url] })
      await using b = await startProcess(world, { endpoints: [seven.url] })
      expect(await Promise.all([a.follow(), b.follow()])).toEqual([undefined, undefined])
      expect(await a.rows()).toBe(124)
      expect(await a.checkpoint()).toMatchObject({ count: 124, next_deposit_index: 48 })
      expect(await Promise.all([a.count(), b.count()])).toEqual([124, 124])
    })

    it('what another process has left, where one has come in between', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using other = await startProcess(world)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      expect(await other.follow()).toBeUndefined()
      const deposits = makeDeposits(world, 3)
      await insertValidators(other.db, keysOf(deposits))
      const wrong = { ...(deposits[2] as StandInDeposit), signature: new Uint8Array(96) }
      await send(world, ...deposits.slice(0, 1))
      await finalize(world)
      // The other one has settled the first, then more is final.
      proxy.answer(async ({ method, node }) => {
        const result = await node()
        if (method === 'eth_getLogs') expect(await other.follow()).toBeUndefined()
        return result
      })
      await send(world, ...deposits.slice(1, 2), wrong)
      await world.anvil.mine(1)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.checkpoint()).toMatchObject({ count: 102, next_deposit_index: 2 })
      expect([relayer, other].flatMap((one) => one.logged('deposits settled')).map(({ added }) => added)).toEqual([
        0, 2,
      ])
      proxy.answer(undefined)
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      expect(relayer.logged('deposits settled')).toMatchObject([{ validators: 102, added: 0 }])
      expect(await relayer.checkpoint()).toMatchObject({ count: 102, next_deposit_index: 3 })
    })

    it('from where it stands, after a restart', async () => {
      await using world = await startVaultWorld()
      const deposits = makeDeposits(world, 3)
      await send(world, ...deposits.slice(0, 2))
      await finalize(world)
      await using proxy = await startRpcProxy(world.anvil)
      {
        await using relayer = await startProcess(world, { endpoints: [proxy.url] })
        expect(await relayer.follow()).toBeUndefined()
      }
      const settled = Number(await world.anvil.rpc('eth_blockNumber')) - 2
      await send(world, ...deposits.slice(2))
      await finalize(world)
      proxy.calls.length = 0
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      expect(await relayer.follow()).toBeUndefined()
      expect(rangesOf(proxy)).toEqual([[settled + 1, settled + 3]])
      expect(await relayer.count()).toBe(103)
      expect(dumpsFetched(world)).toBe(1)
      // Nothing new is final: one question.
      proxy.calls.length = 0
      expect(await relayer.follow()).toBeUndefined()
      expect(proxy.calls).toEqual([{ method: 'eth_getBlockByNumber', params: ['finalized', false] }])
    })
  })

  describe('counts', () => {
    it('a key once, whatever tops it up', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world)
      const [first, second] = makeDeposits(world, 2) as [StandInDeposit, StandInDeposit]
      const topUp = (deposit: StandInDeposit) => ({ ...deposit, signature: new Uint8Array(96) })
      await insertValidators(relayer.db, keysOf([first, second]))
      await send(world, first, topUp(first))
      expect(await relayer.count()).toBe(101)
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      await send(world, topUp(first), first, second, topUp(second), second)
      expect(await relayer.count()).toBe(102)
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.rows()).toBe(102)
      expect(await relayer.count()).toBe(102)
      expect(await relayer.metric('dvt_relayer_wrong_deposits_total')).toMatch(/ 0$/)
    })

    it('validly signed deposits only, and says once when a key of ours has another', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world)
      const [ours, other, late] = makeDeposits(world, 3) as [StandInDeposit, StandInDeposit, StandInDeposit]
      await insertValidators(relayer.db, [ours.publicKey, late.publicKey])
      // Under another vault's credentials the signature is wrong: somebody who saw it cannot use it.
      const stolen = (deposit: StandInDeposit) => ({
        ...deposit,
        withdrawalCredentials: withdrawalCredentials('0x01', new Uint8Array(20).fill(0xbb)),
      })
      await send(world, stolen(ours), stolen(other), stolen(late), late)
      const keys = keysOf([ours, other, late])
      const check = async () => {
        const view = await relayer.registry.at()
        expect(view.count).toBe(101)
        expect(await view.isRegistered(keys)).toEqual([false, false, true])
      }
      await check()
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.follow()).toBeUndefined()
      await check()
      expect(await relayer.rows()).toBe(101)
      expect(await relayer.metric('dvt_relayer_wrong_deposits_total')).toMatch(/ 2$/)
      const warnings = relayer.log().match(/"deposit_index":\d+,"msg":"a deposit of a validator of ours[^"]*/g)
      expect(warnings?.map((line) => /\d+/.exec(line)?.[0])).toEqual(['0', '2'])
      expect(relayer.log()).not.toContain(toHex(ours.publicKey).slice(2, 40))
    })
  })

  describe('at the newest block', () => {
    it('sees a deposit of that very block, and no longer when it is reorganised away', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world)
      const [first, second] = makeDeposits(world, 2) as [StandInDeposit, StandInDeposit]
      await send(world, first)
      await finalize(world)
      const before = await relayer.registry.at()
      expect(await before.isRegistered(keysOf([first, second]))).toEqual([true, false])
      await send(world, second)
      const view = await relayer.registry.at()
      expect(await view.isRegistered(keysOf([first, second]))).toEqual([true, true])
      expect(view.count).toBe(102)
      await world.anvil.reorg(1)
      const after = await relayer.registry.at()
      expect(after.blockNumber).toBe(view.blockNumber)
      expect(after.blockHash).not.toBe(view.blockHash)
      expect(await after.isRegistered(keysOf([first, second]))).toEqual([true, false])
      expect(after.count).toBe(101)
      expect(after.depositRoot).toEqual(before.depositRoot)
      await send(world, second)
      expect(await relayer.count()).toBe(102)
    })

    it('asks once while the block stays, and one time for all who ask together', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      await send(world, ...makeDeposits(world, 2))
      expect(await relayer.follow()).toBeUndefined()
      proxy.calls.length = 0
      const views = await Promise.all([relayer.registry.at(), relayer.registry.at(), relayer.registry.at()])
      expect(new Set(views).size).toBe(1)
      expect(rangesOf(proxy)).toHaveLength(1)
      proxy.calls.length = 0
      expect(await relayer.registry.at()).toBe(views[0])
      expect(proxy.calls).toEqual([{ method: 'eth_getBlockByNumber', params: ['latest', false] }])
    })

    it('verifies a deposit once', async () => {
      await using world = await startVaultWorld()
      await using relayer = await startProcess(world)
      expect(await relayer.follow()).toBeUndefined()
      await send(world, ...makeDeposits(world, 2))
      expect(await relayer.count()).toBe(102)
      await world.anvil.mine(1)
      expect(await relayer.count()).toBe(102)
      expect(relayer.verified()).toBe(2)
      // Once more when it is settled, and never again.
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      await world.anvil.mine(1)
      expect(await relayer.count()).toBe(102)
      expect(relayer.verified()).toBe(4)
    })

    it('refuses what a node leaves out', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      const deposits = makeDeposits(world, 4)
      await send(world, ...deposits)
      const blocks = (await world.depositContract.events()).map(({ blockNumber }) => blockNumber)
      for (const missing of blocks) {
        proxy.answer(withoutLogs((log) => Number(log.blockNumber) === missing))
        await expect(relayer.registry.at()).rejects.toMatchObject(away(/answers do not fit together/))
      }
      // The only node there is, once.
      proxy.calls.length = 0
      await expect(relayer.registry.at()).rejects.toMatchObject(away(/answers do not fit together/))
      expect(rangesOf(proxy)).toHaveLength(1)
      proxy.answer(undefined)
      expect(await relayer.count()).toBe(104)
      // What is final as well: nothing behind the gap is settled, and all of it as soon as the node tells it.
      await finalize(world)
      proxy.answer(withoutLogs((log) => Number(log.blockNumber) === blocks[2]))
      expect(await relayer.follow()).toMatch(/leaves deposit logs out/)
      proxy.answer(withoutLogs(() => true))
      expect(await relayer.follow()).toMatch(/leaves deposit logs out/)
      proxy.answer(withoutLogs((log) => Number(log.blockNumber) === blocks[3]))
      expect(await relayer.follow()).toMatch(/leaves deposit logs out: deposit 2 is the last one/)
      expect(await relayer.checkpoint()).toMatchObject({ count: 103, next_deposit_index: 3, next_block: blocks[2] })
      proxy.answer(undefined)
      expect(await relayer.count()).toBe(104)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.rows()).toBe(104)
    })

    it('takes what one node always leaves out from another one', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url, world.anvil.url] })
      const deposits = makeDeposits(world, 3)
      await send(world, ...deposits)
      const blocks = (await world.depositContract.events()).map(({ blockNumber }) => blockNumber)
      proxy.answer(withoutLogs((log) => Number(log.blockNumber) === blocks[1]))
      expect(await relayer.count()).toBe(103)
      await finalize(world)
      // The node that answers first, the same one by itself, then the other one.
      for (let round = 0; round < 2; round++) expect(await relayer.follow()).toMatch(/leaves deposit logs out/)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.rows()).toBe(103)
      await send(world, ...makeDeposits(world, 1))
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      expect(await relayer.rows()).toBe(104)
    })

    it('refuses a block that changes while it is read, and one that another node does not know', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      const [deposit] = makeDeposits(world, 1) as [StandInDeposit]
      await send(world, deposit)
      expect(await relayer.follow()).toBeUndefined()
      /** The newest block is replaced after the last question of a kind about it, so many times. */
      const reorganise = (after: string, nth: number, times: number) => {
        let seen = 0
        proxy.answer(async ({ method, node }) => {
          const result = await node()
          if (method === after && ++seen % nth === 0 && seen <= nth * times) await world.anvil.reorg(1)
          return result
        })
      }
      for (const [after, nth] of [
        ['eth_getLogs', 1],
        ['eth_call', 2],
      ] as const) {
        reorganise(after, nth, 1)
        const view = await relayer.registry.at()
        expect(await view.isRegistered([deposit.publicKey])).toEqual([false])
        expect(view.count).toBe(100)
        await send(world, deposit)
      }
      reorganise('eth_call', 2, 10)
      await expect(relayer.registry.at()).rejects.toMatchObject(away(/changed each time/))
      proxy.answer(({ method, node }) => {
        if (method === 'eth_call') throw new RpcRefusal(-32000, 'header not found')
        return node()
      })
      await send(world, deposit)
      await expect(relayer.registry.at()).rejects.toMatchObject(away(/answers do not fit together/))
    })

    it('never mixes what two nodes say', async () => {
      await using world = await startVaultWorld()
      await using first = await startRpcProxy(world.anvil)
      await using second = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [first.url, second.url] })
      expect(await relayer.follow()).toBeUndefined()
      await send(world, ...makeDeposits(world, 1))
      // The first node goes in the middle of a reading: the second one is asked for all of it.
      first.answer(({ method, node }) => {
        if (method === 'eth_call') first.fail('down')
        return node()
      })
      second.calls.length = 0
      expect(await relayer.count()).toBe(101)
      expect(rangesOf(second)).toHaveLength(1)
    })

    it('refuses a node that is behind what is settled', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world)
      await using late = await startProcess(world, { endpoints: [proxy.url] })
      const head = await world.anvil.rpc('eth_blockNumber')
      await send(world, ...makeDeposits(world, 3))
      await finalize(world)
      expect(await relayer.follow()).toBeUndefined()
      proxy.answer(async ({ method, params, node }) =>
        method === 'eth_getBlockByNumber' && params[0] === 'latest'
          ? world.anvil.rpc('eth_getBlockByNumber', head, false)
          : node(),
      )
      await expect(late.registry.at()).rejects.toMatchObject(away(/behind deposits that are final/))
      proxy.answer(undefined)
      expect(await late.count()).toBe(103)
      // Also when that is settled only while it is asked.
      await send(world, ...makeDeposits(world, 3))
      const stale = await world.anvil.rpc('eth_blockNumber')
      await send(world, ...makeDeposits(world, 1))
      await finalize(world)
      proxy.answer(async ({ method, params, node }) => {
        if (method === 'eth_call') expect(await relayer.follow()).toBeUndefined()
        return method === 'eth_getBlockByNumber' && params[0] === 'latest'
          ? world.anvil.rpc('eth_getBlockByNumber', stale, false)
          : node()
      })
      await expect(late.registry.at()).rejects.toMatchObject(away(/behind deposits that are final/))
    })

    it('stays right when another process settles in the middle of a reading', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using other = await startProcess(world)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      expect(await relayer.follow()).toBeUndefined()
      const deposits = makeDeposits(world, 3)
      await send(world, ...deposits)
      await finalize(world)
      await send(world, ...makeDeposits(world, 2))
      proxy.answer(async ({ method, node }) => {
        if (method === 'eth_call') expect(await other.follow()).toBeUndefined()
        return node()
      })
      const view = await relayer.registry.at()
      expect(await relayer.rows()).toBe(103)
      expect(view.count).toBe(105)
      expect(await view.isRegistered(keysOf(deposits))).toEqual([true, true, true])
    })

    it('tells how far the scan is while it is far behind', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      expect(await relayer.follow()).toBeUndefined()
      const next = (await relayer.checkpoint())?.next_block ?? 0
      const headAt = (number: number) =>
        proxy.answer(async ({ params, node }) =>
          params[0] === 'latest' ? { ...((await node()) as object), number: `0x${number.toString(16)}` } : node(),
        )
      headAt(next + 10_001)
      await expect(relayer.registry.at()).rejects.toMatchObject(away(new RegExp(`block ${next} of ${next + 10_001}$`)))
      // One less is read, and found to be no block.
      headAt(next + 10_000)
      await expect(relayer.registry.at()).rejects.toMatchObject(away(/changed each time/))
      // Likewise the one before the first that is not settled; what is further back is behind.
      headAt(next - 1)
      await expect(relayer.registry.at()).rejects.toMatchObject(away(/changed each time/))
      headAt(next - 2)
      await expect(relayer.registry.at()).rejects.toMatchObject(away(/at block \d+, behind deposits that are final/))
      proxy.answer(undefined)
      expect(await relayer.count()).toBe(100)
    })

    it('tells what keeps the scan from going on, as /ready does, and no more once it goes on', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      expect(await relayer.follow()).toBeUndefined()
      const next = (await relayer.checkpoint())?.next_block ?? 0
      const far = `block ${next} of ${next + 20_000}`
      const farAway = async (node: () => unknown) => ({
        ...((await node()) as object),
        number: `0x${(next + 20_000).toString(16)}`,
      })
      proxy.answer(({ params, node }) => {
        if (params[0] === 'finalized') throw new RpcRefusal(-32602, 'invalid argument 0: hex string without 0x prefix')
        return params[0] === 'latest' ? farAway(node) : node()
      })
      const problem = await relayer.follow()
      expect(problem).toMatch(/does not say which block is final/)
      await expect(relayer.registry.at()).rejects.toMatchObject(away(new RegExp(`${far}; .*does not say which block`)))
      proxy.answer(({ params, node }) => {
        if (params[0] === 'finalized') return null
        return params[0] === 'latest' ? farAway(node) : node()
      })
      expect(await relayer.follow()).toBeUndefined()
      await expect(relayer.registry.at()).rejects.toMatchObject(away(new RegExp(`${far}$`)))
    })

    it('is an error while the node is away', async () => {
      await using world = await startVaultWorld()
      await using proxy = await startRpcProxy(world.anvil)
      await using relayer = await startProcess(world, { endpoints: [proxy.url] })
      expect(await relayer.count()).toBe(100)
      proxy.fail('down')
      await expect(relayer.registry.at()).rejects.toMatchObject(away(/node is away/))
      expect(await relayer.follow()).toMatch(/failed/)
      proxy.fail(undefined)
      expect(await relayer.count()).toBe(100)
    })
  })

  it('shows a disagreement with the consensus node that stays, and when it is over', async () => {
    await using world = await startVaultWorld()
    await using relayer = await startProcess(world)
    const look = () => relayer.registry.crossCheck()
    expect(await look()).toBeUndefined()
    const deposits = makeDeposits(world, 2)
    await send(world, ...deposits)
    // The consensus node has not come so far.
    expect([await look(), await look()]).toEqual([undefined, undefined])
    await world.beaconFollows.queue()
    expect([await look(), await look()]).toEqual([undefined, undefined])
    expect(await relayer.metric('dvt_relayer_registry_validators{source="execution"}')).toMatch(/ 102$/)
    expect(await relayer.metric('dvt_relayer_registry_validators{source="consensus"}')).toMatch(/ 102$/)
    // It has one that no deposit made.
    world.beacon.addValidators(madeUpKey(5_000))
    const words = []
    for (let looks = 0; looks < 5; looks++) words.push(await look())
    expect(words.slice(0, 3)).toEqual([undefined, undefined, undefined])
    expect(words[3]).toMatch(/logs make 102 validators and the consensus node expects 103/)
    expect(words[4]).toBe(words[3])
    world.beacon.reorg(1)
    expect(await look()).toBeUndefined()
    // Always a step behind is no disagreement.
    for (const deposit of makeDeposits(world, 5)) {
      await send(world, deposit)
      expect(await look()).toBeUndefined()
      await world.beaconFollows.queue()
    }
  })
})

it('keys are settled once, each with the block of its first deposit, and read together with the checkpoint', async () => {
  const { db, query } = await openMessages()
  const keyOf = (byte: number) => ({ publicKey: Buffer.alloc(48, byte), blockNumber: 10 + byte })
  const [a, b, c] = [keyOf(1), keyOf(2), keyOf(3)]
  const settled = () =>
    query(sql`select public_key as "publicKey", block_number::int as "blockNumber" from registry_validators order by 1`)
  expect(await insertRegistered(db, [])).toBe(0)
  expect(await insertRegistered(db, [b])).toBe(1)
  expect(await insertRegistered(db, [c, { ...b, blockNumber: 99 }, a])).toBe(2)
  expect(await settled()).toEqual([a, b, c])

  expect(await findRegisteredWith(db, 'here', [])).toBeUndefined()
  expect(await lockCheckpoint(db, 'here')).toBeUndefined()
  expect(await insertCheckpoint(db, 'here', { at: 1 })).toBe('inserted')
  expect(await insertCheckpoint(db, 'here', { at: 2 })).toBe('exists')
  expect(await insertCheckpoint(db, 'there', { at: 3 })).toBe('inserted')
  expect(await lockCheckpoint(db, 'there')).toEqual({ at: 3 })
  const asked = [keyOf(4), b, a].map(({ publicKey }) => publicKey)
  const found = await findRegisteredWith(db, 'here', asked)
  expect(found?.value).toEqual({ at: 1 })
  for (const told of [found?.publicKeys ?? [], await findRegistered(db, asked)])
    expect(told.sort(Buffer.compare)).toEqual([a.publicKey, b.publicKey])
  await clearRegistered(db)
  expect(await settled()).toEqual([])
})

/** A registry dump with these keys at one block. */
function dumpOf(publicKeys: readonly Uint8Array[], blockNumber: number): Uint8Array {
  const block = Buffer.alloc(4)
  block.writeUInt32BE(blockNumber)
  return Buffer.concat(publicKeys.flatMap((key) => [block, key]))
}

/** Answers as the node does, but for these logs. */
function withoutLogs(isMissing: (log: { blockNumber: string }) => boolean): Parameters<RpcProxy['answer']>[0] {
  return async ({ method, node }) => {
    const result = await node()
    return method === 'eth_getLogs' ? (result as { blockNumber: string }[]).filter((log) => !isMissing(log)) : result
  }
}
