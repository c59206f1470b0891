import { afterEach, describe, expect, it, vi } from 'vitest'
import type { ExecutionClient, ExecutionNode } from '../execution/execution.ts'
import { createGapWatch, SsvGapError } from './gaps.ts'
import type { SsvGap } from './registry.ts'

const contract = { address: new Uint8Array(20).fill(7), block: 5 }
const ownerOf = (byte: number) => `0x${byte.toString(16).padStart(2, '0').repeat(20)}`
const [OWNER, OTHER] = [ownerOf(1), ownerOf(2)]
/** Block 100, log 3: one registration before it was counted, and the nonce of a third was signed. */
const gap = { blockNumber: 100, logIndex: 3, counted: 1, signed: 2 }

interface Place {
  owner: string
  blockNumber: number
  logIndex: number
}
/** The questions that a node was asked. */
interface Scan {
  fromBlock: number
  toBlock: number
  topics: readonly string[][]
}

/** A node that has these registrations, whatever it is asked for; without any it does not answer. */
function nodeWith(host: string, places: readonly Place[] | undefined, asked: Scan[] = []): ExecutionNode {
  const scanLogs = async function* (query: Scan) {
    asked.push(query)
    if (places === undefined) throw new Error('away')
    const logs = places.map(({ owner, ...place }) => ({
      ...place,
      args: { owner: owner.toUpperCase().replace('0X', '0x') },
    }))
    yield { fromBlock: query.fromBlock, toBlock: query.toBlock, logs }
  }
  return { host, scanLogs } as unknown as ExecutionNode
}

const watchOf = (...each: ExecutionNode[]) =>
  createGapWatch({ each } as unknown as Pick<ExecutionClient, 'each'>, { contract })
const gapsOf = (...owners: string[]) => ({ gaps: new Map<string, SsvGap>(owners.map((owner) => [owner, gap])) })
const signal = new AbortController().signal

afterEach(() => void vi.restoreAllMocks())

describe('a gap', () => {
  const at = (blockNumber: number, logIndex: number, owner = OWNER): Place => ({ owner, blockNumber, logIndex })

  it.each<[string, Place[], boolean]>([
    ['the one that was counted', [at(99, 50)], false],
    ['one more in an earlier block, at a later log', [at(98, 1), at(99, 50)], true],
    ['one more in its own block, at an earlier log', [at(99, 50), at(100, 2)], true],
    ['itself', [at(99, 50), at(100, 3)], false],
    ['one more in its own block, at a later log', [at(99, 50), at(100, 4)], false],
    ['one more in a later block, at an earlier log', [at(99, 50), at(101, 0)], false],
    ['one more of another owner', [at(99, 50), at(98, 1, OTHER)], false],
  ])('is judged by what a node has before it: %s', async (_, places, isMore) => {
    const looked = watchOf(nodeWith('a', places)).look(gapsOf(OWNER), signal)
    if (isMore) await expect(looked).rejects.toBeInstanceOf(SsvGapError)
    else await expect(looked).resolves.toBeUndefined()
  })

  it('is asked for from the first block of the contract to its own', async () => {
    const asked: Scan[] = []
    await watchOf(nodeWith('a', [], asked)).look(gapsOf(OWNER, OTHER), signal)
    expect(asked).toEqual([
      expect.objectContaining({
        fromBlock: 5,
        toBlock: 100,
        topics: [[OWNER, OTHER].map((owner) => `0x${'00'.repeat(12)}${owner.slice(2)}`)],
      }),
    ])
  })

  it('is found by one node of several, which is named, and by one that others cannot hide by being away', async () => {
    const knows = nodeWith('knows', [at(98, 1), at(99, 50)])
    const look = watchOf(nodeWith('lacks', [at(99, 50)]), nodeWith('away', undefined), knows).look(
      gapsOf(OWNER),
      signal,
    )
    await expect(look).rejects.toMatchObject({ node: knows, meta: { host: 'knows' } })
  })

  it('is not asked for again soon where a node has answered, and at the next look where none has', async () => {
    const [good, bad]: [Scan[], Scan[]] = [[], []]
    const watch = watchOf(nodeWith('good', [], good), nodeWith('bad', undefined, bad))
    await watch.look(gapsOf(OWNER), signal)
    await watch.look(gapsOf(OWNER), signal)
    expect([good.length, bad.length]).toEqual([1, 2])
    // One that is new is.
    await watch.look(gapsOf(OWNER, OTHER), signal)
    expect(good[1]?.topics).toEqual([[`0x${'00'.repeat(12)}${OTHER.slice(2)}`]])
  })

  it('is asked for again after six hours: all nodes may have lacked what it shows', async () => {
    let now = 1_000
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    const asked: Scan[] = []
    const watch = watchOf(nodeWith('a', [], asked))
    await watch.look(gapsOf(OWNER), signal)
    now += 6 * 3_600_000
    await watch.look(gapsOf(OWNER), signal)
    expect(asked.length).toBe(1)
    now++
    await watch.look(gapsOf(OWNER), signal)
    expect(asked.length).toBe(2)
  })

  it('that no node says anything of is told', async () => {
    await expect(watchOf(nodeWith('away', undefined)).look(gapsOf(OWNER), signal)).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringContaining('no execution node says: away'),
    })
    await expect(watchOf(nodeWith('away', undefined)).look({ gaps: new Map() }, signal)).resolves.toBeUndefined()
  })

  it('is one of the twenty newest that are looked into', async () => {
    const asked: Scan[] = []
    const owners = Array.from({ length: 25 }, (_, i) => ownerOf(i + 1))
    await watchOf(nodeWith('a', [], asked)).look(gapsOf(...owners), signal)
    expect(asked[0]?.topics[0]).toEqual(owners.slice(5).map((owner) => `0x${'00'.repeat(12)}${owner.slice(2)}`))
  })
})
