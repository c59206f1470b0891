import { fromHex } from '@dvt-relayer/common/hex.ts'
import { type HttpAsk, HttpError, type HttpRequest, readJson } from '@dvt-relayer/common/http/client.ts'
import type { TSchema } from 'typebox'
import type { Hex } from 'viem'
import { encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { operatorAddedEvent } from '../ssv/events.ts'
import { decodeLogs, scanLogs, type Topic } from './logs.ts'

const ADDRESS = `0x${'1a'.repeat(20)}`
const OWNERS = ['aa', 'bb', 'cc'].map((byte) => `0x${byte.repeat(20)}` as const) as [Hex, Hex, Hex]
const wordOf = (address: string) => `0x${'00'.repeat(12)}${address.slice(2)}`
const hex = (value: number) => `0x${value.toString(16)}`

function logAt(blockNumber: number, logIndex = 0, owner: Hex = OWNERS[0]) {
  const args = { operatorId: 7n, owner }
  const topics = encodeEventTopics({ abi: [operatorAddedEvent], args }) as string[]
  const data: string = encodeAbiParameters([{ type: 'bytes' }, { type: 'uint256' }], ['0x', 1n])
  return { address: ADDRESS, topics, data, blockNumber: hex(blockNumber), logIndex: hex(logIndex), removed: false }
}

type Said = { logs: readonly object[] } | { fault: object } | { status: number } | { code: HttpError['code'] } | Error
/** A node that says so of a range. What it was asked is noted. */
function nodeOf(say: (fromBlock: number, toBlock: number) => Said) {
  const asked: [number, number][] = []
  const requests: HttpRequest[] = []
  const json = async (request: HttpRequest, schema: TSchema, check?: (value: unknown, host: string) => void) => {
    const { params } = request.body as { params: [{ fromBlock: string; toBlock: string }] }
    const [fromBlock, toBlock] = [Number(params[0].fromBlock), Number(params[0].toBlock)]
    asked.push([fromBlock, toBlock])
    requests.push(request)
    const said = say(fromBlock, toBlock)
    if (said instanceof Error) throw said
    if ('code' in said) throw new HttpError(said.code, 'a', 'failed')
    if ('status' in said) {
      request.isPassing?.(said.status)
      throw new HttpError('HTTP_STATUS', 'a', 'failed', { status: said.status })
    }
    const bytes = Buffer.from(JSON.stringify('fault' in said ? { error: said.fault } : { result: said.logs }))
    const value = await readJson(
      { status: 200, headers: new Headers(), bytes, maxValues: 1_000_000, host: 'a' },
      schema,
    )
    check?.(value, 'a')
    return value
  }
  return { http: { host: 'a', json, quote: (text: string) => text } as unknown as HttpAsk, asked, requests }
}

const queryOf = (fromBlock: number, toBlock: number, topics?: readonly Topic[]) => ({
  address: fromHex(ADDRESS),
  event: operatorAddedEvent,
  fromBlock,
  toBlock,
  ...(topics === undefined ? {} : { topics }),
})
const scan = async (http: HttpAsk, fromBlock: number, toBlock: number, backwards?: 'backwards') =>
  (await Array.fromAsync(scanLogs(http, queryOf(fromBlock, toBlock), backwards))).map((range) => [
    range.fromBlock,
    range.toBlock,
  ])
const NOTHING = { logs: [] }

describe('the ranges of a scan', () => {
  it('grow while the node answers them, and leave no block out in either direction', async () => {
    const ranges = [
      [1, 50_000],
      [50_001, 150_000],
      [150_001, 200_000],
    ]
    expect(await scan(nodeOf(() => NOTHING).http, 1, 200_000)).toEqual(ranges)
    const back = [
      [150_001, 200_000],
      [50_001, 150_000],
      [1, 50_000],
    ]
    expect(await scan(nodeOf(() => NOTHING).http, 1, 200_000, 'backwards')).toEqual(back)
    for (const direction of [undefined, 'backwards'] as const) {
      expect(await scan(nodeOf(() => NOTHING).http, 7, 7, direction)).toEqual([[7, 7]])
      expect(await scan(nodeOf(() => NOTHING).http, 8, 7, direction)).toEqual([])
    }
  })

  it('shrink below what was refused at once, and grow again below it', async () => {
    const limited = nodeOf((from, to) => (to - from >= 12 ? { fault: { code: -32005, message: 'too many' } } : NOTHING))
    // Twelve is the first half of a half … of 50,000 that is less than was asked for.
    expect((await scan(limited.http, 10, 22))[0]).toEqual([10, 21])
    expect(limited.asked.slice(0, 3)).toEqual([
      [10, 22],
      [10, 21],
      [22, 22],
    ])
    const long = nodeOf((from, to) => (to - from >= 15 ? { fault: { code: -32005, message: 'too many' } } : NOTHING))
    await scan(long.http, 10, 60)
    expect(long.asked.slice(0, 5)).toEqual([
      [10, 60],
      [10, 57],
      [10, 33],
      [10, 21],
      // Between what was answered and what was refused.
      [22, 39],
    ])
    const back = nodeOf((from, to) => (to - from >= 12 ? { fault: { code: -32005, message: 'too many' } } : NOTHING))
    expect((await scan(back.http, 10, 22, 'backwards'))[0]).toEqual([11, 22])
  })
})

describe('a range that is not answered', () => {
  /** What is asked after a first failure: a smaller range, or the same one again. */
  async function afterwards(failure: Said): Promise<'smaller' | 'same'> {
    const { http, asked, requests } = nodeOf(() => (asked.length === 1 ? failure : NOTHING))
    await scan(http, 10, 22)
    // A range that may be too large is not waited for.
    expect(requests[0]?.retryTimeoutMs).toBe(0)
    return asked[1]?.[1] === 22 ? 'same' : 'smaller'
  }

  it('is asked for in parts after what may be meant of its size', async () => {
    const statuses = Array.from({ length: 200 }, (_, i) => 400 + i)
    const smaller: number[] = []
    for (const status of statuses) if ((await afterwards({ status })) === 'smaller') smaller.push(status)
    expect(smaller).toEqual([400, 413, ...statuses.filter((status) => status >= 500)])
    for (const code of ['HTTP_TIMEOUT', 'HTTP_TOO_LARGE'] as const) expect(await afterwards({ code })).toBe('smaller')
    for (const fault of [{ code: -32005, message: 'x' }, { code: -32000, message: 'sorry' }, { message: 'range' }])
      expect(await afterwards({ fault })).toBe('smaller')
  })

  it('is asked for again after everything else', async () => {
    for (const code of ['HTTP_UNREACHABLE', 'HTTP_INVALID', 'HTTP_REDIRECT'] as const)
      expect(await afterwards({ code })).toBe('same')
    expect(await afterwards(new TypeError('ours'))).toBe('same')
    for (const fault of [
      { code: -32005, message: 'rate limit' },
      { code: -32000, message: 'header not found' },
      { code: -32601, message: 'no such method' },
    ])
      expect(await afterwards({ fault })).toBe('same')
  })

  it('and is of one block is final where the node means its size, and waited for otherwise', async () => {
    const ask = async (failure: Said) => {
      const { http, asked, requests } = nodeOf(() => failure)
      const error = await scan(http, 7, 7).catch((reason: { code: string }) => reason.code)
      expect(asked).toEqual([
        [7, 7],
        [7, 7],
      ])
      expect(requests.map(({ retryTimeoutMs }) => retryTimeoutMs)).toEqual([0, undefined])
      return error
    }
    expect(await ask({ fault: { code: -32005, message: 'x' } })).toBe('EXECUTION_REFUSED')
    expect(await ask({ fault: { code: -32000, message: 'too many logs' } })).toBe('EXECUTION_REFUSED')
    expect(await ask({ fault: { code: -32601, message: 'x' } })).toBe('EXECUTION_REFUSED')
    expect(await ask({ fault: { code: -32000, message: 'sorry' } })).toBe('HTTP_INVALID')
    expect(await ask({ fault: { code: -32005, message: 'rate limit' } })).toBe('HTTP_INVALID')
    expect(await ask({ fault: { code: -32006, message: 'sorry' } })).toBe('HTTP_INVALID')
    for (const status of [400, 413]) expect(await ask({ status })).toBe('HTTP_STATUS')
  })

  it('of one block is not taken for the size by its status', async () => {
    const { http, requests } = nodeOf(() => NOTHING)
    await scan(http, 7, 7)
    await scan(http, 7, 8)
    expect([400, 413, 404].map((status) => requests[0]?.isPassing?.(status))).toEqual([true, true, true])
    expect([400, 413, 404].map((status) => requests[1]?.isPassing?.(status))).toEqual([false, false, true])
  })

  it('is given up with the signal, which every question has', async () => {
    const stop = new AbortController()
    const { http, requests } = nodeOf(() => NOTHING)
    const ranges = scanLogs(http, { ...queryOf(1, 200_000), signal: stop.signal })
    await ranges.next()
    expect(requests[0]?.signal).toBe(stop.signal)
    stop.abort(new Error('stopped'))
    await expect(ranges.next()).rejects.toThrow('stopped')
    expect(requests).toHaveLength(1)
  })
})

describe('logs', () => {
  const take = (logs: readonly object[], topics?: readonly Topic[]) =>
    Array.fromAsync(scanLogs(nodeOf(() => ({ logs })).http, queryOf(10, 20, topics))).then(
      ([range]) => range?.logs.map(({ blockNumber, logIndex }) => `${blockNumber}.${logIndex}`),
      (error: { code: string }) => error.code,
    )

  it('are those that were asked for, in the order of the chain', async () => {
    const logs = [logAt(20, 1), logAt(10, 5), logAt(20, 0), logAt(10, 4), logAt(12, 9)]
    expect(await take(logs)).toEqual(['10.4', '10.5', '12.9', '20.0', '20.1'])
    const loud = { ...logAt(15), address: ADDRESS.toUpperCase().replace('0X', '0x') }
    expect(await take([loud])).toEqual(['15.0'])
  })

  it('that were not are refused, whatever stands beside them', async () => {
    const good = logAt(15)
    for (const change of [
      { address: `0x${'2b'.repeat(20)}` },
      { blockNumber: hex(9) },
      { blockNumber: hex(21) },
      { removed: true },
      { topics: good.topics.with(0, `0x${'11'.repeat(32)}`) },
      { logIndex: hex(2 ** 53) },
    ])
      expect(await take([good, { ...good, ...change }]), JSON.stringify(change)).toBe('EXECUTION_INVALID')
    for (const change of [
      { address: `0x${'1a'.repeat(21)}` },
      { topics: good.topics.with(1, `0x${'11'.repeat(33)}`) },
      { topics: [...good.topics, wordOf(ADDRESS), wordOf(ADDRESS)] },
    ])
      expect(await take([{ ...good, ...change }]), JSON.stringify(change)).toBe('HTTP_INVALID')
    expect(await take([{ ...good, topics: [...good.topics, wordOf(ADDRESS)] }])).not.toBe('HTTP_INVALID')
  })

  it('have the value that was asked for in each place, any of some, or any at all', async () => {
    const [a, b, c] = OWNERS.map((owner) => logAt(15, 0, owner)) as [object, object, object]
    const [topicA, topicB] = OWNERS.map(wordOf) as [string, string]
    expect(await take([a, b, c], [null, null])).toHaveLength(3)
    expect(await take([a, b], [null, [topicA, topicB]])).toHaveLength(2)
    expect(await take([a, c], [null, [topicA, topicB]])).toBe('EXECUTION_INVALID')
    expect(await take([a], [null, topicA])).toHaveLength(1)
    expect(await take([b], [null, topicA])).toBe('EXECUTION_INVALID')
    expect(await take([a], [null, null, topicA])).toBe('EXECUTION_INVALID')
  })

  it('of a block are those of the query, and what cannot be decoded is counted', async () => {
    const broken = { ...logAt(15, 2), data: '0x12' }
    const others = [
      { ...logAt(15, 3), address: `0x${'2b'.repeat(20)}` },
      { ...logAt(15, 4), removed: true },
    ]
    const raws = [...others, broken, logAt(15, 1), { ...broken, logIndex: hex(7) }, logAt(15, 0)]
    const range = await decodeLogs(queryOf(15, 15), 15, 15, raws)
    expect(range.logs.map(({ logIndex, args }) => [logIndex, args.operatorId])).toEqual([
      [0, 7n],
      [1, 7n],
    ])
    expect(range.undecodable).toBe(2)
  })
})
