import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { type Network, networks } from '@dvt-relayer/chain/networks.ts'
import { SsvGapError } from '@dvt-relayer/chain/ssv/gaps.ts'
import { emptySsvState, registrationKey, type SsvRegistration, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { countByRound } from '../../../../../test/support/event-loop.ts'
import { readFixtureJson } from '../../../../../test/support/keys/fixtures.ts'
import { makeSsvValidators } from '../../../../../test/support/keys/ssv.ts'
import { createSsvFollower, followSsv, scopeOf } from './ssv-follow.ts'

const OWNER = `0x${'0a'.repeat(20)}`
const KEY = new Uint8Array(48).fill(7)
const scope = {
  contract: { address: new Uint8Array(20).fill(1), block: 100 },
  ...{ owners: [fromHex(OWNER)], operators: undefined },
}
const HOUR_MS = 3_600_000
const engine = createBlstEngine()
const signal = new AbortController().signal

interface Log {
  event: 'ValidatorAdded' | 'ValidatorRemoved'
  blockNumber: number
  logIndex: number
  args: object
}
/** A registration with this text as its shares: one that cannot be read unless it is given. */
const added = (
  blockNumber: number,
  { publicKey = KEY as Uint8Array, sharesData = new Uint8Array() as Uint8Array, ids = [1, 2, 3, 4] } = {},
): Log => ({
  ...{ event: 'ValidatorAdded', blockNumber, logIndex: 0 },
  args: { owner: OWNER, operatorIds: ids.map(BigInt), publicKey: toHex(publicKey), shares: toHex(sharesData) },
})
const removed = (blockNumber: number): Log => ({
  ...{ event: 'ValidatorRemoved', blockNumber, logIndex: 0 },
  args: { owner: OWNER, publicKey: toHex(KEY) },
})
const stateAt = (nextBlock: number, change: Partial<SsvState> = {}): SsvState => ({
  ...emptySsvState(scope),
  nextBlock,
  ...change,
})
const LIVE = new Map([
  [registrationKey(fromHex(OWNER), KEY), { owner: fromHex(OWNER), publicKey: KEY } as SsvRegistration],
])
const gapsOf = (blockNumber: number) => new Map([[OWNER, { blockNumber, logIndex: 0, counted: 0, signed: 1 }]])

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
  // No process is as young as its first scan.
  vi.advanceTimersByTime(100 * HOUR_MS)
})
afterEach(() => void vi.useRealTimers())

/** A follower of a chain in memory, as one node and another one that looks at it have it; what it does stands in `done`. */
function follow(found?: SsvState) {
  const done: unknown[] = []
  const chain = {
    final: 200 as number | undefined,
    logs: [] as Log[],
    /** What the node has that is asked about gaps and history. */
    others: undefined as Log[] | undefined,
    blocks: 1_000,
    onRange: () => {},
    /** How often a block is not there yet. */
    missing: 0,
    fails: undefined as Error | undefined,
    /** Blocks that may have more than was told, and that nobody can show. */
    doubtful: [] as number[],
    /** How often the second node was asked. */
    looks: 0,
  }
  const nodeOf = (host: string, logsOf: () => Log[], isSecond: boolean) => ({
    host,
    async getBlock(tag: number | 'finalized') {
      if (chain.fails !== undefined) throw chain.fails
      if (isSecond) chain.looks++
      if (tag === 'finalized') return chain.final === undefined ? undefined : { number: chain.final }
      return !isSecond && chain.missing-- > 0 ? undefined : { number: tag }
    },
    async *scanLogs({ event, fromBlock, toBlock }: { event: { name: string }; fromBlock: number; toBlock: number }) {
      for (let from = fromBlock; from <= toBlock; from += chain.blocks) {
        const to = Math.min(toBlock, from + chain.blocks - 1)
        const fits = (log: Log) => log.event === event.name && log.blockNumber >= from && log.blockNumber <= to
        yield { fromBlock: from, toBlock: to, logs: logsOf().filter(fits), undecodable: 0 }
      }
    },
    async *findMaybe({ fromBlock, toBlock }: { fromBlock: number; toBlock: number }) {
      chain.onRange()
      done.push(`read ${host} ${fromBlock}-${toBlock}`)
      yield* chain.doubtful.filter((block) => block >= fromBlock && block <= toBlock)
    },
    async readBlockLogs() {
      throw new Error('no receipts')
    },
  })
  const second = nodeOf('second', () => chain.others ?? chain.logs, true)
  const execution = { ...nodeOf('first', () => chain.logs, false), each: [second] }
  const events = {
    ssvEventsSkipped: (skipped: readonly unknown[]) => done.push(`skipped ${skipped.length}`),
    ssvScanned: (...of: number[]) => done.push(`scanned ${of}`),
    ssvLogsWrong: () => done.push('wrong'),
  }
  const checkpoint = {
    find: async () => {
      if (chain.fails !== undefined) throw chain.fails
      return found
    },
    save: async (state: SsvState) => {
      done.push(`saved ${state.nextBlock} ${state.doubtful ?? ''}`.trimEnd())
      return state
    },
    forget: async (doubtful: number | undefined) => {
      done.push(`forgot ${doubtful ?? ''}`.trimEnd())
      return { ...emptySsvState(scope), doubtful }
    },
    settle: async (state: SsvState) => {
      done.push(`settled ${state.nextBlock}`)
      return state
    },
    readOperatorKeys: async (node: { host: string }, { nextBlock }: SsvState) =>
      void done.push(`keys ${node.host} ${nextBlock}`),
  }
  const follower = followSsv(
    { execution, network: networks.hoodi, events } as unknown as Parameters<typeof followSsv>[0],
    engine,
    scope,
    checkpoint as unknown as Parameters<typeof followSsv>[3],
  )
  return {
    chain,
    /** One round: what was done in it, and what came of it. */
    async round() {
      done.length = 0
      const end = await follower.round(signal).catch((error: unknown) => error)
      return { done: [...done], end }
    },
  }
}

describe('registrations', () => {
  it('are followed where there are owners, on a network that has the contract', () => {
    const { hoodi } = networks
    const owners = scope.owners
    expect(scopeOf({ ssv: { owners }, network: hoodi } as unknown as Parameters<typeof scopeOf>[0])).toEqual({
      ...{ contract: hoodi.ssvNetwork, owners, operators: undefined },
    })
    const without = { ...hoodi, ssvNetwork: undefined } as Network
    for (const config of [
      { ssv: { owners: [] }, network: hoodi },
      { ssv: { owners }, network: without },
    ]) {
      expect(scopeOf(config as unknown as Parameters<typeof scopeOf>[0])).toBeUndefined()
      expect(
        createSsvFollower({ config } as unknown as Parameters<typeof createSsvFollower>[0], engine),
      ).toBeUndefined()
    }
  })

  it('are read up to the final block, and the clusters written where they change, and each hour', async () => {
    const { chain, round } = follow(stateAt(150, { live: LIVE }))
    const settled = (block: number) => [`settled ${block}`, `keys first ${block}`]
    expect(await round()).toEqual({ done: ['read first 150-200', ...settled(201)], end: undefined })
    expect(chain.looks).toBe(0)
    // With nothing new, and with nothing of ours in it, nothing is written; the history is looked at by and by.
    expect(await round()).toEqual({ done: [], end: undefined })
    expect(chain.looks).toBe(1)
    chain.final = 201
    expect(await round()).toEqual({ done: ['read first 201-201'], end: undefined })
    chain.logs = [added(202)]
    chain.final = 202
    expect(await round()).toEqual({ done: ['read first 202-202', 'skipped 1'], end: undefined })
    chain.logs = [...chain.logs, removed(203)]
    chain.final = 203
    vi.advanceTimersByTime(1)
    expect(await round()).toEqual({ done: ['read first 203-203', ...settled(204)], end: undefined })
    vi.advanceTimersByTime(HOUR_MS - 1)
    expect((await round()).done).toEqual([])
    vi.advanceTimersByTime(1)
    expect((await round()).done).toEqual(settled(204))
    expect((await round()).done).toEqual([])
  })

  it('wait where nothing is final, and are said to be behind where less than a day ago was', async () => {
    const { chain, round } = follow(stateAt(10_000))
    chain.final = undefined
    expect(await round()).toEqual({ done: [], end: undefined })
    chain.final = 2_800
    expect((await round()).end).toBeUndefined()
    chain.final = 2_799
    expect((await round()).end).toMatch(
      /^SSV registrations are read up to block 9999, and the execution node at first has block 2799 as final: /,
    )
    chain.final = 9_999
    expect((await round()).end).toBeUndefined()
  })

  it('of a long scan are stored every ten seconds, and others have the event loop meanwhile', async () => {
    const { chain, round } = follow()
    const rounds = countByRound()
    onTestFinished(() => rounds.end())
    const ranges = [10_000, 1, 10_000, 10_001]
    chain.blocks = 25
    chain.onRange = () => {
      rounds.count()
      vi.advanceTimersByTime(ranges.shift() ?? HOUR_MS)
    }
    expect((await round()).done).toEqual([
      'read first 100-124',
      'read first 125-149',
      'scanned 150,200,0',
      'saved 150',
      'read first 150-174',
      'read first 175-199',
      'scanned 200,200,0',
      'saved 200',
      'read first 200-200',
      'settled 201',
      'keys first 201',
    ])
    expect(rounds.inRounds().length).toBe(5)
  })

  it('of nodes that do not agree are read again three times', async () => {
    const { chain, round } = follow()
    chain.missing = 3
    expect((await round()).done[0]).toBe('read first 100-200')
    const other = follow()
    other.chain.missing = 4
    const { done, end } = await other.round()
    expect(done).toEqual([])
    expect(end).toBeInstanceOf(ChainError)
    expect((end as ChainError).message).toBe(
      'the execution node at first has no block 200, or nodes take turns in answering',
    )
    expect((await other.round()).done[0]).toBe('read first 100-200')
  })

  it('that may be missing are said to be, until another node has them: then all is read anew, from that one', async () => {
    const { round } = follow(stateAt(201, { gaps: gapsOf(150) }))
    expect(await round()).toEqual({
      done: ['settled 201', 'keys first 201'],
      end: expect.stringMatching(
        `^registrations of ${OWNER} before log 0 of block 150 of the SSV contract may be missing`,
      ),
    })
    const anew = follow(stateAt(201, { gaps: gapsOf(150), doubtful: 300 }))
    anew.chain.others = [added(140)]
    const { done, end } = await anew.round()
    expect(end).toBeInstanceOf(SsvGapError)
    expect(done).toEqual(['forgot 300'])
    expect(await anew.round()).toEqual({
      done: ['read second 100-200', 'skipped 1', 'settled 201', 'keys second 201'],
      end: undefined,
    })
    anew.chain.final = 201
    expect((await anew.round()).done).toEqual(['read first 201-201'])
  })

  it('that prove to be missing in what is read, or was read before, are not taken, and the clusters are written anew', async () => {
    const operators = (
      readFixtureJson('ssv/expected.json') as { operators: { id: number; public_key: string }[] }
    ).operators
      .slice(0, 4)
      .map(({ id, public_key: publicKeyText }) => ({
        id,
        publicKeyText,
        keyFile: '',
        encrypt: () => new Uint8Array(256),
      }))
    // Its owner has signed it for the nonce after one that the first node lacks.
    const [second] = makeSsvValidators(1, operators, { owner: OWNER, firstNonce: 1 })
    if (second === undefined) return expect.fail('no validator')
    const log = added(150, { ...second, ids: operators.map(({ id }) => id) })
    const now = follow()
    now.chain.logs = [log]
    now.chain.others = [added(140), log]
    expect(await now.round()).toMatchObject({ done: ['read first 100-200', 'forgot'], end: expect.any(SsvGapError) })

    const before = follow()
    expect((await before.round()).done).toContain('settled 201')
    before.chain.others = [added(140)]
    expect(await before.round()).toMatchObject({ done: ['forgot'], end: expect.any(SsvGapError) })
    // With nothing of ours in it, and yet it is not what the clusters were.
    expect((await before.round()).done).toEqual(['read second 100-200', 'skipped 1', 'settled 201', 'keys second 201'])
  })

  it('that nobody can prove are noted by their block, once, and no other trouble forgets that', async () => {
    const { chain, round } = follow()
    chain.doubtful = [160]
    expect(await round()).toMatchObject({ done: ['read first 100-200', 'saved 100 160'], end: { block: 160 } })
    expect(await round()).toMatchObject({ done: ['read first 100-200'], end: { block: 160 } })
    chain.fails = new Error('away')
    expect(await round()).toEqual({ done: [], end: chain.fails })
    const other = follow()
    other.chain.fails = chain.fails
    expect(await other.round()).toEqual({ done: [], end: chain.fails })
  })
})
