import { fromHex } from '@dvt-relayer/common/hex.ts'
import { beforeAll, describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import type { ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import { encodeAbiParameters } from '../viem/utils.ts'
import { SsvGapError } from './gaps.ts'
import { createHistoryLook } from './history-look.ts'
import { emptySsvState, registrationKey, type SsvRegistration, type SsvState } from './registry.ts'

const contract = { address: new Uint8Array(20).fill(7), block: 100 }
const OWNER = `0x${'11'.repeat(20)}` as const
const OTHER = `0x${'22'.repeat(20)}` as const
const KEY = `0x${'ab'.repeat(48)}` as const
const MINUTES = 60_000
const HOURS = 60 * MINUTES

interface Log {
  event: 'ValidatorAdded' | 'ValidatorRemoved' | 'OperatorAdded'
  blockNumber: number
  logIndex: number
  args: object
}
const added = (blockNumber: number, logIndex: number, owner: string = OWNER): Log => ({
  event: 'ValidatorAdded',
  blockNumber,
  logIndex,
  args: { owner, operatorIds: [1n], publicKey: KEY, shares: '0x' },
})
const removed = (blockNumber: number, logIndex: number, owner: string = OWNER): Log => ({
  event: 'ValidatorRemoved',
  blockNumber,
  logIndex,
  args: { owner, publicKey: KEY },
})
let operatorKey: `0x${string}`
const operator = (blockNumber: number, logIndex: number, publicKey = operatorKey): Log => ({
  event: 'OperatorAdded',
  blockNumber,
  logIndex,
  args: { operatorId: 9n, publicKey },
})
beforeAll(() => {
  const { operators } = readFixtureJson('ssv/expected.json') as { operators: { public_key: string }[] }
  operatorKey = encodeAbiParameters([{ type: 'string' }], [operators[0]?.public_key ?? ''])
})

interface Query {
  event: { name: string }
  topics?: readonly string[]
  fromBlock: number
  toBlock: number
}
/** Logs as a node gives them, in ranges of so many blocks. */
const scanOf = (logs: () => readonly Log[], blocks = 1_000) =>
  async function* ({ event, topics, fromBlock, toBlock }: Query) {
    for (let from = fromBlock; from <= toBlock; from += blocks) {
      const to = Math.min(toBlock, from + blocks - 1)
      const isAsked = (log: Log) => {
        const owner = (log.args as { owner?: string }).owner
        const isOwner = topics === undefined || topics[0]?.endsWith(owner?.slice(2) ?? '-')
        return isOwner && log.event === event.name && log.blockNumber >= from && log.blockNumber <= to
      }
      yield { fromBlock: from, toBlock: to, logs: logs().filter(isAsked), undecodable: 0 }
    }
  }

interface Node {
  logs: readonly Log[]
  head: number
  /** Ranges of the validators' registrations that it was asked for. */
  asked: [number, number][]
  blocks: number
}
function startNode(logs: readonly Log[] = [], more: Partial<Node> = {}): Node & { node: ExecutionNode } {
  const self: Node = { logs, head: 1_000, asked: [], blocks: 1_000, ...more }
  const node = {
    host: 'the node',
    getBlock: async (number: number) => (number <= self.head ? { number } : undefined),
    async *scanLogs(query: Query) {
      for await (const range of scanOf(() => self.logs, self.blocks)(query)) {
        if (query.event.name === 'ValidatorAdded' && query.topics === undefined)
          self.asked.push([range.fromBlock, range.toBlock])
        yield range
      }
    },
  }
  return Object.assign(self, { node: node as unknown as ExecutionNode })
}

/** All nodes together: their logs, and the receipts of blocks, where they can be had. */
function lookOf(
  { node }: { node: ExecutionNode },
  all: { logs?: readonly Log[]; receipts?: readonly Log[] } = {},
  owners?: Uint8Array[],
) {
  const now = { ms: 0 }
  const readBlocks: number[] = []
  const execution = {
    each: [node],
    scanLogs: scanOf(() => all.logs ?? []),
    readBlockLogs: async (block: number) => {
      readBlocks.push(block)
      if (all.receipts === undefined) throw new Error('no receipts')
      return { host: 'all', scanLogs: scanOf(() => all.receipts ?? []) }
    },
  }
  const look = createHistoryLook(execution as unknown as ExecutionClient, { contract, owners }, () => now.ms)
  return { look, now, readBlocks }
}
const { signal } = new AbortController()
const stateOf = (more: Partial<SsvState> = {}): SsvState => ({
  ...emptySsvState({ contract }),
  nextBlock: 400,
  ...more,
})

/** What one look at a node gives, whose whole history is one range. */
async function judge(
  logs: readonly Log[],
  state: SsvState,
  all: Parameters<typeof lookOf>[1] = {},
  owners?: Uint8Array[],
): Promise<string> {
  const { look } = lookOf(startNode(logs), all, owners)
  await look.step(state, signal)
  return look.step(state, signal).then(
    () => 'agrees',
    (error: Error) => {
      expect(error).toBeInstanceOf(SsvGapError)
      return error.message
    },
  )
}
const TOLD = 'was left out by an execution node, the node has it: all events are read again'

describe('the turns of a node', () => {
  it('are one range a round, not the first, to the last block of the state, and again after a day', async () => {
    const node = startNode([], { blocks: 150, head: 399 })
    const { look, now } = lookOf(node)
    const step = async () => {
      node.asked.length = 0
      await look.step(stateOf(), signal)
      return [...node.asked]
    }
    expect(await step()).toEqual([])
    expect(await step()).toEqual([[100, 249]])
    expect(await step()).toEqual([[250, 399]])
    now.ms = 24 * HOURS - 1
    expect(await step()).toEqual([])
    now.ms++
    expect(await step()).toEqual([[100, 249]])
  })

  it('come again after ten minutes where it lacks the last block', async () => {
    const node = startNode([], { head: 398 })
    const { look, now } = lookOf(node)
    await look.step(stateOf(), signal)
    await look.step(stateOf(), signal)
    node.head = 399
    now.ms = 10 * MINUTES - 1
    await look.step(stateOf(), signal)
    expect(node.asked).toEqual([])
    now.ms++
    await look.step(stateOf(), signal)
    expect(node.asked).toEqual([[100, 399]])
  })

  it('are about the state that the look began with, until all is read anew', async () => {
    const node = startNode([], { blocks: 200 })
    const { look } = lookOf(node)
    await look.step(stateOf(), signal)
    await look.step(stateOf(), signal)
    await look.step(stateOf({ nextBlock: 900 }), signal)
    expect(node.asked).toEqual([
      [100, 299],
      [300, 399],
    ])
    const other = startNode([], { blocks: 200 })
    const { look: again } = lookOf(other)
    await again.step(stateOf(), signal)
    await again.step(stateOf(), signal)
    again.reset()
    await again.step(stateOf(), signal)
    expect(other.asked).toEqual([
      [100, 299],
      [100, 299],
    ])
  })

  it('end with the process', async () => {
    const { look } = lookOf(startNode())
    await look.step(stateOf(), signal)
    const stopped = AbortSignal.abort(new Error('stopped'))
    await expect(look.step(stateOf(), stopped)).rejects.toThrow('stopped')
  })
})

describe('an event of a node that the state lacks', () => {
  it('is a registration more than were counted, over all ranges', async () => {
    const counted = stateOf({ nonces: new Map([[OWNER, 2]]) })
    const two = [added(150, 1), added(350, 1)]
    expect(await judge(two, counted)).toBe('agrees')
    expect(await judge([...two, added(360, 0)], counted)).toBe(
      `log 0 of block 360 of the SSV contract, or one before it, ${TOLD}`,
    )
    // In several ranges each is counted once.
    const node = startNode([...two, added(360, 0)], { blocks: 100 })
    const { look } = lookOf(node)
    await look.step(counted, signal)
    await look.step(counted, signal)
    await look.step(counted, signal)
    await expect(look.step(counted, signal)).rejects.toThrow('log 0 of block 360')
    expect(await judge([added(150, 1, OTHER)], counted)).toContain('log 1 of block 150')
  })

  it('is an operator with a key whose id nobody knows', async () => {
    expect(await judge([operator(150, 1)], stateOf())).toBe(`log 1 of block 150 of the SSV contract ${TOLD}`)
    expect(await judge([operator(150, 1)], stateOf({ operators: new Map([[9, 'known']]) }))).toBe('agrees')
    expect(await judge([operator(150, 1, '0x')], stateOf())).toBe('agrees')
  })

  it('is a removal of a registration that is live, after it', async () => {
    const [owner, publicKey] = [fromHex(OWNER), fromHex(KEY)]
    const registration = { owner, publicKey, blockNumber: 200, logIndex: 5 } as SsvRegistration
    const live = stateOf({ live: new Map([[registrationKey(owner, publicKey), registration]]) })
    expect(await judge([removed(201, 0)], live)).toBe(`log 0 of block 201 of the SSV contract ${TOLD}`)
    expect(await judge([removed(200, 6)], live)).toBe(`log 6 of block 200 of the SSV contract ${TOLD}`)
    for (const before of [removed(200, 5), removed(200, 4), removed(199, 9), removed(201, 0, OTHER)])
      expect(await judge([before], live)).toBe('agrees')
  })

  it('is of an owner that counts', async () => {
    const owners = [fromHex(OWNER)]
    expect(await judge([added(150, 1, OTHER)], stateOf(), {}, owners)).toBe('agrees')
    expect(await judge([added(150, 1)], stateOf(), {}, owners)).toContain('log 1 of block 150')
  })

  it('has the node asked again after ten minutes', async () => {
    const node = startNode([added(150, 1)])
    const { look, now } = lookOf(node)
    await look.step(stateOf(), signal)
    await expect(look.step(stateOf(), signal)).rejects.toThrow(SsvGapError)
    now.ms = 10 * MINUTES - 1
    await look.step(stateOf(), signal)
    now.ms++
    await expect(look.step(stateOf(), signal)).rejects.toThrow(SsvGapError)
  })
})

describe('whether it is invented', () => {
  it('is shown by the receipts of its block, which have that very event or not', async () => {
    const judged = (receipts: Log[]) => judge([operator(150, 1)], stateOf(), { receipts })
    expect(await judged([operator(150, 1)])).toContain('log 1 of block 150')
    for (const receipts of [[], [operator(150, 2)], [added(150, 1)], [operator(151, 1)]])
      expect(await judged(receipts)).toBe('agrees')
  })

  it('is asked of the first registration that only this node has', async () => {
    const logs = [added(150, 1), added(160, 1), added(170, 1)]
    const counted = stateOf({ nonces: new Map([[OWNER, 2]]) })
    const others = [added(150, 1), added(170, 1)]
    for (const [receipts, outcome] of [
      [[added(160, 1)], `log 1 of block 170 of the SSV contract, or one before it, ${TOLD}`],
      [[], 'agrees'],
    ] as const) {
      const { look, readBlocks } = lookOf(startNode(logs), { logs: others, receipts })
      await look.step(counted, signal)
      const said = await look.step(counted, signal).then(
        () => 'agrees',
        (error: Error) => error.message,
      )
      expect([said, readBlocks]).toEqual([outcome, [160]])
    }
    // Where the others have them all by now, the state lacks one.
    expect(await judge(logs, counted, { logs, receipts: [] })).toContain('log 1 of block 170')
  })

  it('ends the look of that day', async () => {
    const node = startNode([operator(150, 1)], { blocks: 100 })
    const { look, now } = lookOf(node, { receipts: [] })
    await look.step(stateOf(), signal)
    await look.step(stateOf(), signal)
    now.ms = 24 * HOURS - 1
    await look.step(stateOf(), signal)
    expect(node.asked).toEqual([[100, 199]])
  })

  it('stays open when the process ends meanwhile', async () => {
    const stop = new AbortController()
    const node = startNode([operator(150, 1)])
    const { look } = lookOf(node)
    await look.step(stateOf(), stop.signal)
    const { scanLogs } = node.node
    Object.assign(node.node, {
      async *scanLogs(query: Parameters<typeof scanLogs>[0]) {
        stop.abort(new Error('stopped'))
        yield* scanLogs(query)
      },
    })
    await expect(look.step(stateOf(), stop.signal)).rejects.toThrow('stopped')
  })
})
