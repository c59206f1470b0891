import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ChainError } from '../errors.ts'
import type { ExecutionClient } from './execution.ts'
import { getFinalBlock } from './final-block.ts'

const NOW = 1_800_000_000
const FINAL = 10_000
const { signal } = new AbortController()
const network = { secondsPerSlot: 12 }

interface Node {
  final?: number | undefined
  head?: number | 'none' | 'away'
  /** What its blocks are called. */
  fork?: string
  /** Seconds since its head. */
  age?: number
}
const hashOf = (block: number, fork = 'ours') => `${fork} ${block}`

/** What the first node has as final, with the others beside it. */
function find(nodes: readonly Node[], timestamp = NOW - 1_000, first = nodes[0]?.final) {
  const ask = ({ final, head = FINAL + 64, fork, age = 0 }: Node) => {
    const blockOf = (number: number, at = timestamp) => ({ number, hash: hashOf(number, fork), timestamp: at })
    return async (tag: number | string) => {
      if (head === 'away') throw new Error('away')
      if (tag === 'finalized') return final === undefined ? undefined : blockOf(final)
      if (head === 'none') return undefined
      if (tag === 'latest') return blockOf(head, NOW - age)
      return Number(tag) > head ? undefined : blockOf(Number(tag))
    }
  }
  const each = nodes.map((node, position) => ({ host: `node ${position}`, getBlock: ask(node) }))
  const getBlock = ask({ ...nodes[0], final: first })
  const execution = { host: 'node 0', each, getBlock } as unknown as ExecutionClient
  return getFinalBlock(execution, network, 'nothing can be read', signal)
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW * 1000 })
  onTestFinished(() => void vi.useRealTimers())
})

describe('a final block', () => {
  it('that another node has too is taken, also where it is the head of that one', async () => {
    for (const head of [FINAL, FINAL + 1]) expect((await find([{ final: FINAL }, { head }]))?.number).toBe(FINAL)
  })

  it('that another node has another block in place of is not, also where it is the head of that one', async () => {
    for (const head of [FINAL, FINAL + 1])
      await expect(find([{ final: FINAL }, { head, fork: 'theirs', final: FINAL - 1 }])).rejects.toThrow(
        `the execution node at node 0 has block ${FINAL} as final, and node 1 has another block there: nothing is read up to it`,
      )
  })

  it('is not compared with a node without a head, one that is away, or one that has dropped that block', async () => {
    for (const head of ['none', 'away'] as const)
      expect((await find([{ final: FINAL }, { head, fork: 'theirs' }]))?.number).toBe(FINAL)
    const reorganised = { head: FINAL + 1 }
    const found = find([{ final: FINAL }, reorganised])
    reorganised.head = FINAL - 1
    expect((await found)?.number).toBe(FINAL)
  })

  it('is none where the node has none, whoever else has one', async () => {
    expect(await find([{}, { final: FINAL }])).toBeUndefined()
  })

  it('above the head of another node needs slots for its blocks, and a minute is nobody’s fault', async () => {
    const blocks = 5
    const taken = async (age: number, timestamp: number) =>
      find([{ final: FINAL }, { head: FINAL - blocks, age }], timestamp).then(
        (block) => block?.number === FINAL,
        (error: Error) => {
          expect(error.message).toContain(
            `node 1 is at block ${FINAL - blocks}, from where there were no slots for so many`,
          )
          return false
        },
      )
    // Five blocks are 60 seconds.
    expect(await taken(0, NOW)).toBe(true)
    expect(await taken(0, NOW - 1)).toBe(false)
    expect(await taken(1, NOW - 1)).toBe(true)
    // A time to come is none that has passed.
    expect(await taken(0, NOW + 1)).toBe(true)
    vi.setSystemTime((NOW - 1) * 1000)
    expect(await taken(0, NOW + 1)).toBe(false)
  })

  it('of the next node is taken where nobody contradicts that one', async () => {
    const wrong = { final: FINAL + 500_000, head: FINAL + 500_000 }
    expect((await find([wrong, { final: FINAL }, { final: FINAL - 1 }]))?.number).toBe(FINAL)
    expect((await find([wrong, {}, { final: FINAL - 1 }]))?.number).toBe(FINAL - 1)
  })

  it('of a node that does not know the word is asked for in vain, and other failures are what they are', async () => {
    const failing = (error: Error) =>
      getFinalBlock(
        { host: 'a', each: [], getBlock: () => Promise.reject(error) } as unknown as ExecutionClient,
        network,
        'nothing can be read',
        signal,
      )
    await expect(failing(new ChainError('EXECUTION_REFUSED', 'what is that'))).rejects.toThrow(
      'the execution node at a does not say which block is final, so nothing can be read: it needs a version that knows the block "finalized" (EXECUTION_ENDPOINT)',
    )
    for (const error of [new ChainError('EXECUTION_INVALID', 'odd'), new Error('other')])
      await expect(failing(error)).rejects.toBe(error)
  })
})
