import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { emptySsvState, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSsvChain } from './chain.ts'
import { createChainReader } from './chain-reader.ts'

const engine = createBlstEngine()
const { signal } = new AbortController()
const OWNER = `0x${'11'.repeat(20)}` as const
const scope = {
  contract: { address: new Uint8Array(20).fill(7), block: 1 },
  owners: undefined,
  operators: { ids: [1], publicKeys: [] },
}
/** One registration before it was counted, and the nonce of a third was signed. */
const GAP = new Map([[OWNER, { blockNumber: 60, logIndex: 0, counted: 1, signed: 2 }]])

interface Query {
  event: { name: string }
  topics?: readonly (readonly string[])[]
  fromBlock: number
  toBlock: number
}
interface Place {
  blockNumber: number
  logIndex: number
}
/** A registration with our operator that is malformed: it counts as one of its owner, and is told as skipped. */
const at = (blockNumber: number, logIndex = 0): Place => ({ blockNumber, logIndex })
const args = { owner: OWNER, operatorIds: [1n], publicKey: '0x', shares: '0x' }

/** A node whose logs are registrations, and which answers in ranges of so many blocks. */
function startNode(...logs: Place[]) {
  const scan = (blocks = Infinity) =>
    async function* ({ event, fromBlock, toBlock }: Query) {
      for (let from = fromBlock; from <= toBlock; from += blocks) {
        const to = Math.min(toBlock, from + blocks - 1)
        const isAsked = ({ blockNumber }: Place) =>
          event.name === 'ValidatorAdded' && blockNumber >= from && blockNumber <= to
        const found = node.logs.filter(isAsked).map((log) => ({ ...log, args }))
        yield { fromBlock: from, toBlock: to, logs: found, undecodable: 0 }
      }
    }
  const node = {
    ...{ host: 'the node', logs, blocks: 1_000, head: 200, each: [] as unknown[] },
    finalized: 100 as number | undefined | Error,
    /** Blocks from here on have other hashes. */
    fork: Infinity,
    asked: [] as (string | number)[],
    getBlock: async (which: 'latest' | 'finalized' | number) => {
      node.asked.push(which)
      const number = which === 'latest' ? node.head : which === 'finalized' ? node.finalized : which
      if (number instanceof Error) throw number
      return number === undefined ? undefined : { number, hash: `${number >= node.fork ? 'other' : 'one'} ${number}` }
    },
    scanLogs: (query: Query) => scan(node.blocks)(query),
    async *findMaybe({ fromBlock, toBlock }: Query) {
      const blocks = node.logs.map(({ blockNumber }) => blockNumber)
      yield* new Set(blocks.filter((block) => block >= fromBlock && block <= toBlock))
    },
    readBlockLogs: async (_block: number) => ({ host: 'the node', scanLogs: scan() }),
  }
  node.each = [node]
  return node
}
type Node = ReturnType<typeof startNode>

const makeEvents = () => ({
  ...{ ssvScanning: vi.fn(), ssvEventsSkipped: vi.fn(), ssvLogsWrong: vi.fn() },
  ...{ ssvMalformed: vi.fn(), ssvReorganized: vi.fn(), ssvGaps: vi.fn() },
})
const stateAt = (nextBlock: number, more: Partial<SsvState> = {}): SsvState => ({
  ...emptySsvState(scope),
  ...{ nextBlock, ...more },
})

/** A follower with a file in memory. */
function followerOf(node: Node, stored: SsvState = emptySsvState(scope), owners?: Uint8Array[]) {
  const saved: SsvState[] = []
  const events = makeEvents()
  const file = {
    ...{ path: 'state.json', load: async () => stored },
    save: async (state: SsvState) => void saved.push(state),
  }
  const chain = createSsvChain({
    ...{ execution: node as never, network: { secondsPerSlot: 12 }, scope: { ...scope, owners } },
    ...{ engine, events, file },
  })
  const counted = () => chain.state?.nonces.get(OWNER)
  return { chain, saved, events, counted, follow: () => chain.follow(signal) }
}

afterEach(() => void vi.restoreAllMocks())

describe('the chain that is followed', () => {
  it('is kept up to its final block, and known up to its head', async () => {
    const node = startNode(at(50), at(150), at(203))
    const { chain, saved, events, counted, follow } = followerOf(node)
    expect(chain.state).toBeUndefined()
    await follow()
    expect([saved.at(-1)?.nextBlock, saved.at(-1)?.nonces.get(OWNER)]).toEqual([101, 1])
    expect([chain.state?.nextBlock, counted()]).toEqual([201, 2])
    Object.assign(node, { head: 205, finalized: 160 })
    await follow()
    expect([saved.at(-1)?.nextBlock, saved.at(-1)?.nonces.get(OWNER)]).toEqual([161, 2])
    expect([chain.state?.nextBlock, counted()]).toEqual([206, 3])
    expect(events.ssvMalformed.mock.lastCall?.[0]).toMatchObject({ operator_count: 3 })
    expect(events.ssvReorganized).not.toHaveBeenCalled()
  })

  it('may be final up to where the file ends, and not before that', async () => {
    const node = startNode()
    const { follow } = followerOf(node, stateAt(101))
    await follow()
    await follow()
    node.finalized = 99
    await expect(follow()).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringContaining('has block 99 as final, state.json goes up to block 100:'),
    })
  })

  it('is written down every ten seconds of a long scan', async () => {
    const node = startNode()
    let now = 0
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    node.blocks = 20
    const { getBlock } = node
    node.getBlock = async (which) => {
      if (typeof which === 'number') now += 5_000
      return getBlock(which)
    }
    const { saved, follow } = followerOf(node)
    await follow()
    expect(saved.map(({ nextBlock }) => nextBlock)).toEqual([41, 81, 101])
  })

  it('is known from the first block on where no block is final, and nothing is kept', async () => {
    for (const finalized of [undefined, new ChainError('EXECUTION_REFUSED', 'what is "finalized"?')]) {
      const { chain, saved, follow } = followerOf(Object.assign(startNode(), { finalized }))
      await follow()
      expect([chain.state?.nextBlock, saved]).toEqual([201, []])
    }
  })

  it('is not followed where a node has no answer to which block is final, or the newest', async () => {
    const node = startNode()
    const { chain, follow } = followerOf(node)
    node.finalized = new ChainError('EXECUTION_INVALID', 'another chain')
    await expect(follow()).rejects.toThrow('another chain')
    Object.assign(node, { finalized: 100, head: undefined })
    await expect(follow()).rejects.toThrow('the execution node at the node has no block latest')
    expect(chain.state?.nextBlock).toBe(101)
  })

  it('keeps the block that could not be proven, whatever fails after that', async () => {
    const node = startNode(at(90))
    node.blocks = 20
    const { readBlockLogs } = node
    node.readBlockLogs = () => Promise.reject(new Error('no receipts'))
    const { chain, saved, follow } = followerOf(node)
    await expect(follow()).rejects.toThrow('block 90 may have an event of the SSV contract')
    const kept = saved.at(-1)
    expect(kept).toEqual(stateAt(81, { doubtful: 90 }))
    await expect(follow()).rejects.toThrow('block 90 may have an event of the SSV contract')
    expect(saved.at(-1)).toBe(kept)
    const { scanLogs } = node
    node.scanLogs = () => {
      throw new Error('away')
    }
    await expect(follow()).rejects.toThrow('away')
    expect(saved.at(-1)).toBe(kept)
    Object.assign(node, { scanLogs, readBlockLogs })
    await follow()
    expect(chain.state).toMatchObject({ nextBlock: 201, doubtful: undefined })
  })
})

describe('blocks that are not final', () => {
  it.each<[string, Partial<Node>, string, number[]]>([
    ['the head goes on', { head: 205 }, 'goes on', []],
    ['the head is another one at its height', { fork: 200 }, 'is new', [200]],
    ['the head goes on from others', { head: 205, fork: 150 }, 'is new', [200]],
    ['all of them become final', { head: 205, finalized: 200 }, 'is new', []],
    ['all but the last become final, which is another one', { finalized: 199, fork: 200 }, 'is new', [200]],
    ['the node is behind the one before', { head: 199, fork: 150 }, 'stays', []],
  ])('are read again where they are other ones, which is told: %s', async (_, change, what, told) => {
    const node = startNode(at(150))
    const { chain, events, counted, follow } = followerOf(node)
    await follow()
    const before = chain.state
    Object.assign(node, change, { logs: [at(150), at(150, 1), at(203)] })
    await follow()
    expect(chain.state === before).toBe(what === 'stays')
    const isLonger = node.head > 200
    expect(counted()).toBe(what === 'stays' ? 1 : (what === 'is new' ? 2 : 1) + (isLonger ? 1 : 0))
    expect(events.ssvReorganized.mock.calls).toEqual(told.map((block) => [block]))
  })

  it('that change while they are read count for nothing', async () => {
    const node = startNode(at(150))
    const { findMaybe } = node
    node.findMaybe = (query) => {
      if (query.toBlock === 200) node.fork = 200
      return findMaybe(query)
    }
    const { chain, follow } = followerOf(node)
    await expect(follow()).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: 'the chain of the execution node at the node changed while its events were read',
    })
    expect(chain.state?.nextBlock).toBe(101)
    await follow()
    expect(chain.state?.nextBlock).toBe(201)
  })

  it('have their skipped registrations told once, and anew where the blocks are other ones', async () => {
    const node = startNode(at(50), at(150))
    const { events, follow } = followerOf(node)
    const told = () =>
      events.ssvEventsSkipped.mock.calls.map(([news]) =>
        (news as { event: Place }[]).map(({ event }) => event.blockNumber),
      )
    await follow()
    node.finalized = 160
    await follow()
    expect(told()).toEqual([[50], [150]])
    node.logs.push(at(180))
    node.fork = 170
    await follow()
    expect(told()).toEqual([[50], [150], [180]])
    node.fork = Infinity
    await follow()
    expect(told()).toEqual([[50], [150], [180], [180]])
  })
})

describe('what may be missing', () => {
  it('is told of owners that are named', async () => {
    const node = startNode()
    const { events, follow } = followerOf(node, stateAt(101, { gaps: GAP }), [fromHex(OWNER)])
    await follow()
    expect(events.ssvGaps.mock.calls).toEqual([[[expect.stringContaining(`registrations of ${OWNER} before log 0`)]]])
    const any = followerOf(node, stateAt(101, { gaps: GAP }))
    await any.follow()
    expect(any.events.ssvGaps).not.toHaveBeenCalled()
  })

  it('and is at a node has all read again, also where there is nothing new, while what is known counts', async () => {
    const node = Object.assign(startNode(at(40), at(50)), { head: 100 })
    const stored = stateAt(101, { gaps: GAP, nonces: new Map([[OWNER, 1]]), doubtful: 300 })
    const { chain, saved, counted, follow } = followerOf(node, stored)
    await expect(follow()).rejects.toThrow(/all events are read again$/)
    expect(saved).toEqual([stateAt(1, { doubtful: 300 })])
    expect(chain.state).toBe(stored)
    await follow()
    expect([counted(), saved.at(-1)?.nextBlock]).toEqual([2, 101])
  })

  it('is looked for in what was read long ago, round by round', async () => {
    const node = startNode()
    const { counted, follow } = followerOf(node)
    await follow()
    node.logs.push(at(50))
    await expect(follow()).rejects.toThrow(/all events are read again$/)
    await follow()
    expect(counted()).toBe(1)
  })
})

describe('a reader', () => {
  const readerOf = (node: Node) => {
    const events = makeEvents()
    return { events, ...createChainReader({ execution: node as never, scope, engine, events }) }
  }

  it('gives each state that is whole, down to a single block', async () => {
    const node = Object.assign(startNode(at(25)), { blocks: 20 })
    const { read, events } = readerOf(node)
    const states: SsvState[] = []
    const state = await read(emptySsvState(scope), 41, signal, (one) => void states.push(one))
    expect(states.map(({ nextBlock, nonces }) => [nextBlock, nonces.get(OWNER)])).toEqual([
      [21, undefined],
      [41, 1],
      [42, 1],
    ])
    expect(state).toBe(states.at(-1))
    expect(events.ssvEventsSkipped.mock.calls).toEqual([[[expect.objectContaining({ fault: 'operator_count' })]]])
    expect(await read(state, 41, signal)).toBe(state)
    expect((await read(state, 42, signal)).nextBlock).toBe(43)
  })

  it.each([
    [3, 'is known'],
    [4, 'the execution node at the node has no block 100, or nodes take turns in answering'],
  ])('reads a range that was in doubt %i times again, or says why not: %s', async (times, outcome) => {
    const node = startNode()
    const { getBlock } = node
    let lacking = times
    node.getBlock = async (which) => (lacking-- > 0 ? undefined : getBlock(which))
    const said = await readerOf(node)
      .read(emptySsvState(scope), 100, signal)
      .then(
        ({ nextBlock }) => (nextBlock === 101 ? 'is known' : 'is not'),
        (error: Error) => error.message,
      )
    expect(said).toBe(outcome)
  })

  it('looks into the gaps of what it has read', async () => {
    const { read } = readerOf(startNode(at(40), at(50)))
    await expect(read(stateAt(101, { gaps: GAP }), 110, signal)).rejects.toThrow(/all events are read again$/)
  })
})
