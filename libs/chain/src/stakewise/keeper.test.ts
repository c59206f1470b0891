import { describe, expect, it } from 'vitest'
import type { ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import { createConfigLook, findDenial, findNewestConfig } from './keeper.ts'

const network = { keeper: new Uint8Array(20).fill(7), keeperBlock: 1_000 }
const { signal } = new AbortController()

interface Config {
  cid: string
  blockNumber: number
  logIndex: number
}
const config = (blockNumber: number, cid = `config ${blockNumber}`, logIndex = 0): Config => ({
  cid,
  blockNumber,
  logIndex,
})
interface Range {
  fromBlock: number
  toBlock: number
  signal?: AbortSignal
}
const scanOf = (configs: readonly Config[], asked: [number, number][] = []) =>
  async function* ({ fromBlock, toBlock }: Range) {
    asked.push([fromBlock, toBlock])
    const logs = configs
      .filter(({ blockNumber }) => blockNumber >= fromBlock && blockNumber <= toBlock)
      .map(({ cid, ...place }) => ({ ...place, args: { configIpfsHash: cid } }))
    yield { fromBlock, toBlock, logs, undecodable: 0 }
  }

describe('a scan for the newest config', () => {
  interface Chain {
    head: number
    logs?: readonly Config[]
    /** What the blocks have that their headers do not exclude; without any they cannot be had. */
    blocks?: readonly Config[] | undefined
  }
  async function scan({ head, logs = [], blocks = [] }: Chain, nextBlock?: number) {
    const [asked, held]: [[number, number][], [number, number][]] = [[], []]
    const execution = {
      host: 'a',
      blockNumber: async () => head,
      scanLogs: scanOf(logs, asked),
      async *findMaybe({ fromBlock, toBlock, signal: given }: Range) {
        expect(given).toBe(signal)
        held.push([fromBlock, toBlock])
        for (const { blockNumber } of blocks) if (blockNumber >= fromBlock && blockNumber <= toBlock) yield blockNumber
      },
      readBlockLogs: async (block: number) => {
        const found = blocks.filter(({ blockNumber }) => blockNumber === block)
        if (found.some(({ cid }) => cid === 'hidden')) throw new Error('no receipts')
        return { host: 'a', scanLogs: scanOf(found) }
      },
    }
    const found = await findNewestConfig(execution as unknown as ExecutionClient, network, nextBlock, signal)
    return { ...found, asked, held }
  }

  it('looks again at the last 64 blocks, and at those before for the last time', async () => {
    expect(await scan({ head: 1_200, logs: [config(1_150)] }, 1_100)).toEqual({
      config: config(1_150),
      nextBlock: 1_137,
      doubt: undefined,
      asked: [[1_100, 1_200]],
      held: [[1_100, 1_136]],
    })
    expect(
      await scan({ head: 1_200, logs: [config(1_120), config(1_150, 'first'), config(1_150, 'last', 1)] }, 1_100),
    ).toMatchObject({ config: config(1_150, 'last', 1) })
  })

  it('begins at the Keeper, and there again where it stands far above the head', async () => {
    expect((await scan({ head: 1_200 })).asked).toEqual([[1_000, 1_200]])
    expect((await scan({ head: 1_200 }, 900)).asked).toEqual([[1_000, 1_200]])
    expect((await scan({ head: 1_200 }, 2_200)).asked).toEqual([[2_200, 1_200]])
    expect((await scan({ head: 1_200 }, 2_201)).asked).toEqual([[1_000, 1_200]])
  })

  it('holds 512 blocks a time against their headers, but not a history of weeks', async () => {
    expect(await scan({ head: 3_000 }, 1_500)).toMatchObject({ held: [[1_500, 2_011]], nextBlock: 2_012 })
    const most = 1_000 + 51_200 + 63
    expect(await scan({ head: most })).toMatchObject({ held: [[1_000, 1_511]], nextBlock: 1_512 })
    expect(await scan({ head: most + 1 })).toMatchObject({ held: [], nextBlock: most + 1 - 63 })
    expect(await scan({ head: most + 2 }, 1_001)).toMatchObject({ held: [[1_001, 1_512]], nextBlock: 1_513 })
  })

  it('takes what the blocks have, where it is the later one', async () => {
    const found = async (log: Config | undefined, ...blocks: Config[]) =>
      (await scan({ head: 1_200, logs: log ? [log] : [], blocks }, 1_100)).config
    expect(await found(undefined, config(1_110))).toEqual(config(1_110))
    expect(await found(config(1_110), config(1_111))).toEqual(config(1_111))
    expect(await found(config(1_111), config(1_110))).toEqual(config(1_111))
    expect(await found(config(1_110, 'told', 3), config(1_110, 'proven', 4))).toEqual(config(1_110, 'proven', 4))
    expect(await found(config(1_110, 'told', 3), config(1_110, 'proven', 3))).toEqual(config(1_110, 'told', 3))
    expect(await found(config(1_110, 'told', 3), config(1_110, 'proven', 2))).toEqual(config(1_110, 'told', 3))
    // In a block after it, at an earlier log.
    expect(await found(config(1_110, 'told', 3), config(1_111, 'proven', 2))).toEqual(config(1_111, 'proven', 2))
    expect(await found(config(1_111, 'told', 2), config(1_110, 'proven', 3))).toEqual(config(1_111, 'told', 2))
    expect(await found(undefined, config(1_110), config(1_120))).toEqual(config(1_120))
  })

  it('stands at a block that cannot be proven, and says so once 64 blocks wait behind it', async () => {
    const hidden = config(1_120, 'hidden')
    const standing = { config: config(1_105), nextBlock: 1_120 }
    expect(await scan({ head: 1_247, blocks: [config(1_105), hidden] }, 1_100)).toMatchObject({
      ...standing,
      doubt: undefined,
    })
    expect((await scan({ head: 1_248, blocks: [config(1_105), hidden] }, 1_100)).doubt).toBe(
      'block 1120 may have an oracle config that the execution node at a left out, and nothing proves that it has none: no receipts',
    )
  })
})

describe('a look at every node', () => {
  const MINUTES = 60_000
  interface Node {
    head: number | 'none'
    configs: readonly Config[] | 'away'
    asked: [number, number][]
  }
  const nodeOf = (configs: Node['configs'], head: Node['head'] = 5_000): Node & { node: ExecutionNode } => {
    const self: Node = { head, configs, asked: [] }
    const node = {
      getBlock: async () => (self.head === 'none' ? undefined : { number: self.head }),
      async *scanLogs(query: Range) {
        if (self.configs === 'away') throw new Error('away')
        yield* scanOf(self.configs, self.asked)(query)
      },
    }
    return Object.assign(self, { node: node as unknown as ExecutionNode })
  }
  async function lookAt(nodes: readonly { node: ExecutionNode }[], proven?: readonly Config[]) {
    const now = { ms: 0 }
    const read: number[] = []
    const execution = {
      each: nodes.map(({ node }) => node),
      readBlockLogs: async (block: number) => {
        read.push(block)
        if (proven === undefined) throw new Error('no receipts')
        return { host: 'a', scanLogs: scanOf(proven) }
      },
    }
    const { look } = createConfigLook(execution as unknown as ExecutionClient, network, () => now.ms)
    expect(await look(undefined)).toEqual({ config: undefined, doubt: undefined })
    return { now, read, look }
  }
  const known = config(2_000)

  it('is of the blocks after the newest config that all nodes have, but for the last 64', async () => {
    const [a, b] = [nodeOf([config(3_000)], 5_000), nodeOf([config(3_000)], 4_990)]
    const { look, read } = await lookAt([a, b])
    expect(await look(known)).toEqual({ config: config(3_000) })
    expect([a.asked, b.asked, read]).toEqual([[[2_001, 4_926]], [[2_001, 4_926]], []])
    const alone = nodeOf([])
    await (await lookAt([alone])).look(undefined)
    expect(alone.asked).toEqual([[1_000, 4_936]])
  })

  it('passes over a node that is behind, or away', async () => {
    for (const other of [nodeOf([], 2_000), nodeOf([], 'none'), nodeOf('away')]) {
      const node = nodeOf([config(3_000)])
      const { look } = await lookAt([other, node])
      expect(await look(known)).toEqual({ config: config(3_000) })
      expect(other.asked).toEqual([])
      expect(node.asked).toEqual([[2_001, 4_936]])
    }
    // One that has the next block and no more has a say.
    const barely = nodeOf([], 2_001)
    const { look } = await lookAt([barely, nodeOf([config(3_000)])], [])
    await look(known)
    expect(barely.asked).toEqual([[2_001, 1_937]])
  })

  it('asks the block where nodes differ in the config or in its block', async () => {
    const cases: [Config[], Config[], number][] = [
      [[config(3_000)], [], 3_000],
      [[config(3_000, 'one')], [config(3_000, 'other')], 3_000],
      [[config(3_000, 'same')], [config(3_001, 'same')], 3_001],
      [[config(3_002, 'same')], [config(3_001, 'same')], 3_002],
    ]
    for (const [one, other, block] of cases) {
      const proven = config(block, 'proven')
      const { look, read } = await lookAt([nodeOf(one), nodeOf(other)], [config(block - 1, 'beside'), proven])
      expect(await look(known)).toEqual({ config: proven })
      expect(read).toEqual([block])
    }
  })

  it('comes again after six hours, or ten minutes where a node was away or nothing proves what one has', async () => {
    const due = async (nodes: readonly ReturnType<typeof nodeOf>[], afterMs: number) => {
      const { look, now } = await lookAt(nodes)
      const [first] = nodes
      await look(known)
      now.ms = afterMs - 1
      await look(known)
      expect(first?.asked).toHaveLength(1)
      now.ms++
      await look(known)
      expect(first?.asked).toHaveLength(2)
    }
    await due([nodeOf([]), nodeOf([])], 360 * MINUTES)
    await due([nodeOf([]), nodeOf('away')], 10 * MINUTES)
    await due([nodeOf([config(3_000)]), nodeOf([])], 10 * MINUTES)
  })

  it('tells what nothing proves, until the next look', async () => {
    const lacking = nodeOf([])
    const { look, now } = await lookAt([nodeOf([config(3_000)]), lacking])
    const doubt =
      'block 3000 may have an oracle config that the execution node at one of EXECUTION_ENDPOINT left out, and nothing proves that it has none: no receipts'
    expect(await look(known)).toEqual({ config: undefined, doubt })
    expect(await look(known)).toEqual({ config: undefined, doubt })
    now.ms = 10 * MINUTES
    lacking.configs = [config(3_000)]
    expect(await look(known)).toEqual({ config: config(3_000) })
    expect(await look(known)).toEqual({ config: undefined, doubt: undefined })
  })
})

describe('the denial of a config', () => {
  const NOW = 1_700_000_000
  interface Node {
    head?: { number: number; timestamp: number } | undefined
    logs?: readonly Config[] | 'away'
    receipts?: readonly Config[]
  }
  function denial(...nodes: Node[]) {
    const each = nodes.map(({ logs = [], receipts, ...node }, position) => ({
      host: `node ${position}`,
      getBlock: async () => ('head' in node ? node.head : { number: 3_000, timestamp: NOW }),
      async *scanLogs(query: Range) {
        if (logs === 'away') throw new Error('away')
        yield* scanOf(logs)(query)
      },
      readBlockLogs: async () => {
        if (receipts === undefined) throw new Error('no receipts')
        return { scanLogs: scanOf(receipts) }
      },
    }))
    return findDenial(each as unknown as ExecutionNode[], network, config(3_000, 'cid'), NOW)
  }
  const words = (hosts: string) =>
    `the execution node at ${hosts} does not have what another says the Keeper announced in block 3000: one of them is behind, on another chain, or lies`

  it('is of each node that follows the chain and has no such config in that block', async () => {
    expect(await denial({}, { logs: [config(3_000, 'cid')] }, { logs: [config(3_000, 'other')] })).toBe(
      words('node 0, node 2'),
    )
    expect(await denial({ logs: [config(2_999, 'cid'), config(3_001, 'cid')] })).toBe(words('node 0'))
    expect(await denial({ logs: [config(3_000, 'other'), config(3_000, 'cid', 1)] })).toBeUndefined()
  })

  it('is none of a node whose receipts have it', async () => {
    expect(await denial({ receipts: [config(3_000, 'other'), config(3_000, 'cid', 1)] })).toBeUndefined()
    expect(await denial({ receipts: [config(3_000, 'other')] })).toBe(words('node 0'))
  })

  it('is of a node whose head is before that block, unless it is of long ago', async () => {
    const at = (number: number, age: number) => denial({ head: { number, timestamp: NOW - age } })
    expect(await at(2_999, 300)).toBe(words('node 0'))
    expect(await at(2_999, 301)).toBeUndefined()
    expect(await at(3_000, 300)).toBe(words('node 0'))
    expect(await at(3_000, 301)).toBeUndefined()
    const has = { logs: [config(3_000, 'cid')] }
    expect(await denial({ ...has, head: { number: 3_000, timestamp: NOW } })).toBeUndefined()
    expect(await denial({ ...has, head: { number: 2_999, timestamp: NOW } })).toBe(words('node 0'))
  })

  it('is none of a node that has no head, or does not answer', async () => {
    expect(await denial({ head: undefined }, { logs: 'away' })).toBeUndefined()
  })
})
