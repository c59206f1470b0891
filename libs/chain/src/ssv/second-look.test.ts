import { fromHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import type { ExecutionClient } from '../execution/execution.ts'
import type { SsvEvent, SsvEventRange } from './events.ts'
import { findDoubt, holdAgainstBlocks } from './second-look.ts'

const contract = { address: new Uint8Array(20).fill(7), block: 1 }
const OWNER = `0x${'11'.repeat(20)}` as const
const OTHER = `0x${'22'.repeat(20)}` as const
const { signal } = new AbortController()

type Kind = 'validator_added' | 'validator_removed' | 'operator_added'
const NAMES = {
  validator_added: 'ValidatorAdded',
  validator_removed: 'ValidatorRemoved',
  operator_added: 'OperatorAdded',
}
interface Place {
  kind: Kind
  blockNumber: number
  logIndex: number
  owner: string
}
const at = (blockNumber: number, logIndex: number, owner: string = OWNER, kind: Kind = 'validator_removed'): Place => ({
  kind,
  blockNumber,
  logIndex,
  owner,
})
const eventOf = ({ owner, ...place }: Place) => ({ ...place, owner: fromHex(owner) }) as SsvEvent
const placeOf = ({ blockNumber, logIndex }: SsvEvent) => `${blockNumber}.${logIndex}`
const rangeOf = (fromBlock: number, toBlock: number, places: readonly Place[]): SsvEventRange => ({
  fromBlock,
  toBlock,
  events: places.map(eventOf),
  undecodable: 0,
})

interface Query {
  event: { name: string }
  topics?: readonly (readonly string[])[]
  fromBlock: number
  toBlock: number
}
const scanOf = (places: readonly Place[], onQuery: (query: Query) => void = () => undefined) =>
  async function* (query: Query) {
    onQuery(query)
    const { event, topics, fromBlock, toBlock } = query
    const logs = places.flatMap(({ kind, owner, ...place }) => {
      const isOwner = topics === undefined || topics[0]?.includes(`0x${'00'.repeat(12)}${owner.slice(2)}`)
      const isAsked = NAMES[kind] === event.name && place.blockNumber >= fromBlock && place.blockNumber <= toBlock
      const args = { owner, publicKey: '0x', shares: '0x', operatorIds: [], operatorId: 9n }
      return isOwner && isAsked ? [{ ...place, args }] : []
    })
    yield { fromBlock, toBlock, logs, undecodable: 0 }
  }

describe('the second answer', () => {
  /** What it is held against: the answer to the same question in halves. */
  async function doubtOf(
    range: SsvEventRange,
    places: readonly Place[],
    { owners, host = 'b', head = 1_000 }: { owners?: Uint8Array[]; host?: string; head?: number } = {},
  ) {
    const asked: string[] = []
    const execution = {
      host: 'b',
      getBlock: async (number: number) => (number <= head ? { number } : undefined),
      scanLogs: scanOf(places, ({ event, fromBlock, toBlock }) => {
        if (event.name === 'ValidatorAdded') asked.push(`${fromBlock}-${toBlock}`)
      }),
    }
    const doubt = await findDoubt(execution as unknown as ExecutionClient, { contract, owners }, range, host)
    return { doubt, asked }
  }

  it('is of two halves, or of the one block again', async () => {
    expect(await doubtOf(rangeOf(10, 19, [at(14, 0), at(15, 0)]), [at(14, 0), at(15, 0)])).toEqual({
      doubt: undefined,
      asked: ['10-14', '15-19'],
    })
    expect((await doubtOf(rangeOf(10, 11, []), [])).asked).toEqual(['10-10', '11-11'])
    expect((await doubtOf(rangeOf(10, 10, []), [])).asked).toEqual(['10-10'])
  })

  it('that has an event more, or less, is a doubt about its place', async () => {
    const words = (place: string) =>
      `the execution node at b left ${place} of the SSV contract out of one of two answers: these blocks are read again`
    expect((await doubtOf(rangeOf(10, 19, [at(14, 3)]), [])).doubt).toBe(words('log 3 of block 14'))
    expect((await doubtOf(rangeOf(10, 19, []), [at(15, 2)])).doubt).toBe(words('log 2 of block 15'))
    expect((await doubtOf(rangeOf(10, 19, []), [at(15, 2, OWNER, 'operator_added')])).doubt).toBe(
      words('log 2 of block 15'),
    )
  })

  it('is about the owners that count, and every operator', async () => {
    const owners = [fromHex(OWNER)]
    const first = [at(12, 0), at(14, 3, OTHER), at(15, 0, OTHER, 'operator_added')]
    expect((await doubtOf(rangeOf(10, 19, first), first, { owners })).doubt).toBeUndefined()
    expect((await doubtOf(rangeOf(10, 19, first), first.slice(1), { owners })).doubt).toContain('log 0 of block 12')
    expect((await doubtOf(rangeOf(10, 19, first), first.slice(0, 2), { owners })).doubt).toContain('log 0 of block 15')
    expect((await doubtOf(rangeOf(10, 19, first), first.slice(0, 1))).doubt).toBeDefined()
  })

  it('counts of a node that has the last block, and has given the first one', async () => {
    const words = 'the execution node at b has no block 19, or nodes take turns in answering'
    expect((await doubtOf(rangeOf(10, 19, []), [], { head: 19 })).doubt).toBeUndefined()
    expect((await doubtOf(rangeOf(10, 19, []), [], { head: 18 })).doubt).toBe(words)
    expect((await doubtOf(rangeOf(10, 19, []), [], { host: 'a' })).doubt).toBe(words)
  })
})

describe('a range that is held against its blocks', () => {
  interface Maybe {
    any: readonly { event: { name: string }; topics?: unknown }[]
    fromBlock: number
    toBlock: number
  }
  async function hold(
    range: SsvEventRange,
    {
      receipts = [],
      lastBlock = range.toBlock,
      ...more
    }: { receipts?: readonly Place[] | 'none'; lastBlock?: number; doubtful?: number; owners?: Uint8Array[] } = {},
    stop: AbortSignal = signal,
  ) {
    const [asked, read, wrong]: [Maybe[], number[], string[]] = [[], [], []]
    const execution = {
      host: 'b',
      async *findMaybe(query: Maybe) {
        asked.push(query)
        const blocks = receipts === 'none' ? [range.toBlock] : receipts.map(({ blockNumber }) => blockNumber)
        yield* new Set(blocks.filter((block) => block >= query.fromBlock && block <= query.toBlock))
      },
      readBlockLogs: async (block: number) => {
        read.push(block)
        if (receipts === 'none') throw new Error('no receipts')
        return { host: 'b', scanLogs: scanOf(receipts) }
      },
    }
    const held = await holdAgainstBlocks(
      execution as unknown as ExecutionClient,
      { contract, owners: more.owners },
      { doubtful: more.doubtful },
      range,
      lastBlock,
      (sentence) => wrong.push(sentence),
      stop,
    )
    const [question] = asked
    return {
      held,
      events: held.events.map(placeOf),
      read,
      wrong,
      question,
      blocks: question && [question.fromBlock, question.toBlock],
    }
  }

  it('has what its blocks have, in its place', async () => {
    const told = [at(12, 0), at(15, 1), at(15, 4), at(17, 0)]
    const range = rangeOf(10, 19, told)
    const right = await hold(range, { receipts: told })
    expect(right).toMatchObject({ wrong: [], read: [12, 15, 17], events: ['12.0', '15.1', '15.4', '17.0'] })
    const cases: [string, Place[], string[]][] = [
      ['log 2 of block 15', [at(15, 1), at(15, 2), at(15, 4)], ['12.0', '15.1', '15.2', '15.4', '17.0']],
      ['log 4 of block 15', [at(15, 1)], ['12.0', '15.1', '17.0']],
      ['log 0 of block 11', [at(11, 0)], ['11.0', '12.0', '15.1', '15.4', '17.0']],
      ['log 0 of block 16', [at(16, 0)], ['12.0', '15.1', '15.4', '16.0', '17.0']],
      ['log 0 of block 19', [at(19, 0)], ['12.0', '15.1', '15.4', '17.0', '19.0']],
    ]
    for (const [place, receipts, events] of cases) {
      const { wrong, ...found } = await hold(range, { receipts })
      expect(found.events, place).toEqual(events)
      expect(wrong).toEqual([
        `the execution node at b said otherwise of ${place} of the SSV contract than the receipts of that block`,
      ])
    }
    expect(range.events.map(placeOf)).toEqual(['12.0', '15.1', '15.4', '17.0'])
  })

  it('is of the newest 512 blocks, and the rest is history', async () => {
    expect((await hold(rangeOf(100, 700, []), { lastBlock: 1_000 })).blocks).toEqual([489, 700])
    expect((await hold(rangeOf(600, 700, []), { lastBlock: 1_000 })).blocks).toEqual([600, 700])
    expect((await hold(rangeOf(100, 489, []), { lastBlock: 1_000 })).blocks).toEqual([489, 489])
    const old = rangeOf(100, 488, [at(200, 0)])
    expect((await hold(old, { lastBlock: 1_000 })).held).toBe(old)
    expect((await hold(old, { lastBlock: 1_000 })).question).toBeUndefined()
    expect((await hold(rangeOf(1, 300, []), { lastBlock: 1_000 })).read).toEqual([])
  })

  it('is held at a block that could not be proven before, however old that is', async () => {
    const range = rangeOf(100, 300, [])
    const read = async (doubtful: number, of = range) =>
      (await hold(of, { lastBlock: 1_000, doubtful, receipts: [at(doubtful, 0)] })).read
    expect(await read(100)).toEqual([100])
    expect(await read(200)).toEqual([200])
    expect(await read(300)).toEqual([300])
    expect(await read(99)).toEqual([])
    expect(await read(301)).toEqual([])
    const late = await hold(range, { lastBlock: 1_000, doubtful: 200, receipts: [at(200, 3)] })
    expect(late.events).toEqual(['200.3'])
    // What is not old yet is looked at once, among the others.
    expect(await read(489, rangeOf(400, 600, []))).toEqual([489])
    expect(await read(488, rangeOf(400, 600, []))).toEqual([488])
  })

  it('is asked for its three events, those of validators of the owners that count', async () => {
    const everybody = await hold(rangeOf(10, 19, []))
    expect(everybody.question?.any.map(({ event, topics }) => [event.name, topics])).toEqual([
      ['OperatorAdded', undefined],
      ['ValidatorAdded', undefined],
      ['ValidatorRemoved', undefined],
    ])
    const topics = [[`0x${'00'.repeat(12)}${OWNER.slice(2)}`]]
    const own = await hold(rangeOf(10, 19, [at(12, 0)]), {
      owners: [fromHex(OWNER)],
      receipts: [at(12, 0), at(12, 1, OTHER), at(12, 2, OTHER, 'operator_added')],
    })
    expect(own.question?.any.map((one) => [one.event.name, one.topics])).toEqual([
      ['OperatorAdded', undefined],
      ['ValidatorAdded', topics],
      ['ValidatorRemoved', topics],
    ])
    expect(own.events).toEqual(['12.0', '12.2'])
  })

  it('is not kept where a block cannot be proven, and says which', async () => {
    await expect(hold(rangeOf(10, 19, []), { receipts: 'none' })).rejects.toMatchObject({
      block: 19,
      message:
        'block 19 may have an event of the SSV contract that the execution node at b left out, and nothing proves that it has none: no receipts',
    })
    const stopped = AbortSignal.abort(new Error('stopped'))
    await expect(hold(rangeOf(10, 19, []), { receipts: 'none' }, stopped)).rejects.toThrow(/^stopped$/)
  })
})
