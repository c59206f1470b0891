import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { type HttpAsk, HttpError, type HttpRequest, readJson } from '@dvt-relayer/common/http/client.ts'
import type { TSchema } from 'typebox'
import type { Hex } from 'viem'
import { encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { operatorAddedEvent, validatorRemovedEvent } from '../../ssv/events.ts'
import { findMaybe, type HeaderQuery, readBlockLogs } from './block-logs.ts'
import { bloomBits } from './bloom.ts'
import { loadReceiptsRoot } from './receipts-root.ts'

const ADDRESS = `0x${'1a'.repeat(20)}`
const [A, B] = ['aa', 'bb'].map((byte) => `0x${byte.repeat(20)}`) as [Hex, Hex]
const wordOf = (address: string) => `0x${'00'.repeat(12)}${address.slice(2)}`
const hex = (value: number) => `0x${value.toString(16)}`
const [operatorTopic, removedTopic] = [operatorAddedEvent, validatorRemovedEvent].map(
  (event) => encodeEventTopics({ abi: [event] })[0],
) as [string, string]

/** The filter over these addresses and topics. */
function bloomOf(...values: string[]): string {
  const bloom = new Uint8Array(256)
  for (const bit of values.flatMap((value) => bloomBits(fromHex(value))))
    bloom[255 - (bit >> 3)] = (bloom[255 - (bit >> 3)] ?? 0) | (1 << (bit & 7))
  return toHex(bloom)
}
const NO_BLOOM = `0x${'00'.repeat(256)}`

/** A node that answers so; questions and the most that were under way at once are noted. */
function nodeOf(answer: (method: string, first: string) => unknown) {
  const asked: string[] = []
  const counts = { open: 0, most: 0 }
  const json = async (request: HttpRequest, schema: TSchema, check?: (value: unknown, host: string) => void) => {
    const { method, params } = request.body as { method: string; params: [string, ...unknown[]] }
    asked.push([method, ...params].join(' '))
    counts.most = Math.max(counts.most, ++counts.open)
    await new Promise((resolve) => setImmediate(resolve))
    counts.open--
    const given = answer(method, params[0])
    if (given instanceof Error) throw given
    const isFault = typeof given === 'object' && given !== null && 'fault' in given
    const bytes = Buffer.from(JSON.stringify(isFault ? { error: given.fault } : { result: given }))
    const value = await readJson({ status: 200, headers: new Headers(), bytes, maxValues: 100_000, host: 'a' }, schema)
    check?.(value, 'a')
    return value
  }
  return { http: { host: 'a', json, quote: (text: string) => text } as unknown as HttpAsk, asked, counts }
}

describe('blocks that may have an event', () => {
  const find = async (
    fromBlock: number,
    toBlock: number,
    header: (block: number) => unknown,
    any?: HeaderQuery['any'],
  ) => {
    const node = nodeOf((_, block) => header(Number(block)))
    const query = { address: fromHex(ADDRESS), any: any ?? [{ event: operatorAddedEvent }], fromBlock, toBlock }
    return { found: await Array.fromAsync(findMaybe(node.http, query)), ...node }
  }
  const isMaybe = async (any: HeaderQuery['any'], logsBloom: string | undefined) =>
    (await find(7, 7, () => ({ number: '0x7', logsBloom }), any)).found.length === 1

  it('are those whose filter has the contract and all that one of the events must have', async () => {
    const operator = [{ event: operatorAddedEvent }]
    expect(await isMaybe(operator, bloomOf(ADDRESS, operatorTopic))).toBe(true)
    expect(await isMaybe(operator, bloomOf(ADDRESS))).toBe(false)
    expect(await isMaybe(operator, bloomOf(operatorTopic))).toBe(false)
    expect(await isMaybe(operator, bloomOf(ADDRESS, removedTopic))).toBe(false)
    expect(await isMaybe(operator, undefined)).toBe(false)
    const either = [...operator, { event: validatorRemovedEvent, topics: [[wordOf(A), wordOf(B)]] }]
    expect(await isMaybe(either, bloomOf(ADDRESS, operatorTopic))).toBe(true)
    for (const owner of [A, B]) expect(await isMaybe(either, bloomOf(ADDRESS, removedTopic, wordOf(owner)))).toBe(true)
    expect(await isMaybe(either, bloomOf(ADDRESS, removedTopic))).toBe(false)
    expect(await isMaybe(either, bloomOf(ADDRESS, wordOf(A)))).toBe(false)
    const place = [{ event: operatorAddedEvent, topics: [null, wordOf(A)] }]
    expect(await isMaybe(place, bloomOf(ADDRESS, operatorTopic, wordOf(A)))).toBe(true)
    expect(await isMaybe(place, bloomOf(ADDRESS, operatorTopic, wordOf(B)))).toBe(false)
  })

  it('are looked at one by one, some at once, each once and in order', async () => {
    const logsBloom = bloomOf(ADDRESS, operatorTopic)
    const blocks = Array.from({ length: 20 }, (_, i) => 5 + i)
    const { found, asked, counts } = await find(5, 24, (block) => ({ number: hex(block), logsBloom }))
    expect(found).toEqual(blocks)
    expect(asked).toEqual(blocks.map((block) => `eth_getBlockByNumber ${hex(block)} false`))
    expect(counts.most).toBe(8)
    expect((await find(5, 5, (block) => ({ number: hex(block), logsBloom }))).asked).toHaveLength(1)
    expect((await find(5, 4, (block) => ({ number: hex(block), logsBloom }))).asked).toEqual([])
  })

  it('are not told of by a node that has them not, or has others', async () => {
    for (const header of [null, { number: '0x8', logsBloom: NO_BLOOM }])
      await expect(find(7, 7, () => header)).rejects.toThrow('the execution node at a does not have block 7')
  })
})

describe('the logs of a block', () => {
  const logOf = (operatorId: bigint) => ({
    address: ADDRESS,
    topics: encodeEventTopics({ abi: [operatorAddedEvent], args: { operatorId, owner: A } }) as string[],
    data: encodeAbiParameters([{ type: 'bytes' }, { type: 'uint256' }], ['0x', 1n]) as string,
  })
  type Log = ReturnType<typeof logOf>
  const receiptOf = (...logs: Log[]) => ({
    type: '0x2',
    status: '0x1',
    cumulativeGasUsed: '0x5208',
    logsBloom: NO_BLOOM,
    logs,
  })
  type Receipt = ReturnType<typeof receiptOf>
  const hashOf = (position: number) => `0x${position.toString(16).padStart(64, '0')}`

  /** Reads block 7, whose header stands for these receipts, from a node that gives others. */
  async function read(
    receipts: readonly Receipt[],
    given: readonly (object | null)[] | null | Error | { fault: object } = receipts,
    oneByOne: readonly (object | null)[] = given as readonly object[],
  ) {
    const rootOf = await loadReceiptsRoot()
    const header = {
      number: '0x7',
      receiptsRoot: toHex(rootOf(receipts)).toUpperCase().replace('0X', '0x'),
      transactions: receipts.map((_, position) => hashOf(position)),
    }
    const node = nodeOf((method, first) => {
      if (method === 'eth_getBlockByNumber') return header
      return method === 'eth_getBlockReceipts' ? given : oneByOne[Number(first)]
    })
    const logs = await readBlockLogs(node.http, 7)
    const scan = async (fromBlock: number, toBlock: number) => {
      const query = { address: fromHex(ADDRESS), event: operatorAddedEvent, fromBlock, toBlock }
      const ranges = await Array.fromAsync(logs.scanLogs(query))
      return ranges.flatMap((range) =>
        range.logs.map((log) => `${log.blockNumber}.${log.logIndex}: ${log.args.operatorId}`),
      )
    }
    return { host: logs.host, scan, ...node }
  }
  const receipts = [receiptOf(logOf(1n), logOf(2n)), receiptOf(), receiptOf(logOf(3n))]
  const refused = { fault: { code: -32601, message: 'no such method' } }

  it('are those of its receipts, counted from the first, where that block is asked for', async () => {
    const { scan, host } = await read(receipts)
    expect(host).toBe('a')
    const all = ['7.0: 1', '7.1: 2', '7.2: 3']
    for (const [from, to] of [
      [7, 7],
      [6, 8],
    ] as const)
      expect(await scan(from, to)).toEqual(all)
    for (const [from, to] of [
      [8, 9],
      [5, 6],
    ] as const)
      expect(await scan(from, to)).toEqual([])
  })

  it('are none that the header does not stand for', async () => {
    for (const given of [null, [], receipts.slice(1), [receiptOf(), ...receipts.slice(1)]])
      await expect(read(receipts, given)).rejects.toThrow(
        'the execution node at a does not have the receipts of block 7 that its header stands for',
      )
  })

  it('are read one by one at a node that knows no other way, some at once, and must be all of them', async () => {
    const many = Array.from({ length: 17 }, (_, i) => receiptOf(logOf(BigInt(i))))
    const { scan, asked, counts } = await read(many, refused, many)
    expect(await scan(7, 7)).toEqual(many.map((_, i) => `7.${i}: ${i}`))
    const singles = asked.filter((question) => question.startsWith('eth_getTransactionReceipt'))
    expect(singles).toEqual(many.map((_, i) => `eth_getTransactionReceipt ${hashOf(i)}`))
    expect(counts.most).toBe(8)
    await expect(read(many, refused, many.with(3, null as never))).rejects.toThrow('does not have the receipts')
    expect(await (await read([], refused, [])).scan(7, 7)).toEqual([])
  })

  it('are asked for once where the node is away, or its answer is none', async () => {
    await expect(read(receipts, new HttpError('HTTP_UNREACHABLE', 'a', 'away'), receipts)).rejects.toThrow('away')
    await expect(read(receipts, new TypeError('ours'), receipts)).rejects.toThrow(TypeError)
    const [log] = receipts[0]?.logs ?? []
    if (log === undefined) throw new Error('no log')
    for (const change of [
      { address: `${ADDRESS}00` },
      { topics: [`${log.topics[0]}00`] },
      { topics: Array.from({ length: 5 }, () => log.topics[0]) },
    ])
      await expect(read([], [receiptOf({ ...log, ...change } as Log)]), JSON.stringify(change)).rejects.toMatchObject({
        code: 'HTTP_INVALID',
      })
  })
})
