/**
 * What the blocks themselves say of their logs, where `eth_getLogs` may have left some out: the filter in the header says of most blocks that
 * an event is not there, and of the others the receipts show every log, proven by their root in the header.
 *
 * The header is believed as the node gives it: its hash is not computed, since every fork adds fields to it.
 */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { HttpAsk } from '@dvt-relayer/common/http/client.ts'
import { type Static, Type } from 'typebox'
import type { AbiEvent } from 'viem'
import { ChainError } from '../../errors.ts'
import { Bytes, callRpc, parseQuantity, Quantity, toQuantity } from '../json-rpc.ts'
import { decodeLogs, type LogQuery, type LogRange, type Topic } from '../logs.ts'
import { BLOOM_BYTES, bloomBits, hasBits } from './bloom.ts'
import { loadReceiptsRoot } from './receipts-root.ts'

/** Which blocks. Both ends are inclusive. */
export interface HeaderQuery {
  /** The contract, 20 bytes. */
  address: Uint8Array
  /** Its events, with the values of their indexed arguments as {@link LogQuery} has them. */
  any: readonly { event: AbiEvent; topics?: readonly Topic[] }[]
  fromBlock: number
  toBlock: number
  signal?: AbortSignal
}

/** Answers what `scanLogs` of the client does, for the one block that was read. */
export interface BlockLogs {
  /** Host of the node that gave the receipts. */
  readonly host: string
  scanLogs<const E extends AbiEvent>(query: LogQuery<E>): AsyncGenerator<LogRange<E>>
}

/**
 * So many blocks are looked at one by one at once: an hour and a half at 12 s a block. All of an older history would be millions of
 * questions.
 */
export const MOST_HELD = 512
/** Questions that are under way at once. */
const AT_ONCE = 8

const Header = Type.Union([
  Type.Null(),
  Type.Object({
    number: Quantity,
    // A node that gives none is believed as it is.
    logsBloom: Type.Optional(Bytes(BLOOM_BYTES)),
    receiptsRoot: Type.Optional(Bytes(32)),
    transactions: Type.Optional(Type.Array(Bytes(32))),
  }),
])
type Header = Exclude<Static<typeof Header>, null>

const Receipt = Type.Object({
  type: Type.Optional(Quantity),
  status: Quantity,
  cumulativeGasUsed: Quantity,
  logsBloom: Bytes(BLOOM_BYTES),
  logs: Type.Array(Type.Object({ address: Bytes(20), topics: Type.Array(Bytes(32), { maxItems: 4 }), data: Bytes() })),
})
type Receipt = Static<typeof Receipt>
const Receipts = Type.Union([Type.Null(), Type.Array(Receipt)])
const MaybeReceipt = Type.Union([Type.Null(), Receipt])

/** A block may have an event that an answer lacks, and nothing proves that it has none. */
export class UnprovenError extends ChainError {
  readonly block: number

  /** @param what may be there, as words that follow "may have" */
  constructor(block: number, what: string, host: string, cause: unknown) {
    super(
      'EXECUTION_INVALID',
      `block ${block} may have ${what} that the execution node at ${host} left out, and nothing proves that it has none: ${messageOf(cause)}`,
      { cause },
    )
    this.block = block
  }
}

type Signal = AbortSignal | undefined
const withSignal = (signal: Signal) => (signal === undefined ? {} : { signal })

async function readHeader(http: HttpAsk, block: number, signal: Signal): Promise<Header> {
  const check = (header: Static<typeof Header>, host: string) => {
    if (header === null || parseQuantity(header.number) !== block)
      throw new ChainError('EXECUTION_INVALID', `the execution node at ${host} does not have block ${block}`)
  }
  const params = [toQuantity(block), false]
  const header = await callRpc(http, 'eth_getBlockByNumber', params, Header, { check, ...withSignal(signal) })
  return header as Header
}

/**
 * The blocks of a range that may have one of these events, in order, by the filters in their headers. A question for each block: the range
 * must be short.
 *
 * @throws {ChainError} EXECUTION_INVALID for a block that no node has; {HttpError}
 */
export async function* findMaybe(http: HttpAsk, query: HeaderQuery): AsyncGenerator<number> {
  // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
  const { toEventSelector } = await import('../../viem/utils.ts')
  const address = bloomBits(query.address)
  const bitsOf = (topic: string) => bloomBits(fromHex(topic))
  const any = query.any.map(({ event, topics = [] }) =>
    [toEventSelector(event), ...topics].map((topic) => (topic === null ? null : [topic].flat().map(bitsOf))),
  )
  const isMaybe = ({ logsBloom }: Header) => {
    if (logsBloom === undefined) return false
    const bloom = fromHex(logsBloom)
    const fits = (topic: readonly (readonly number[])[] | null) =>
      topic === null || topic.some((bits) => hasBits(bloom, bits))
    return hasBits(bloom, address) && any.some((topics) => topics.every(fits))
  }
  for (let first = query.fromBlock; first <= query.toBlock; first += AT_ONCE) {
    query.signal?.throwIfAborted()
    const blocks = Array.from({ length: Math.min(AT_ONCE, query.toBlock - first + 1) }, (_, i) => first + i)
    const headers = await Promise.all(blocks.map((block) => readHeader(http, block, query.signal)))
    for (const header of headers) if (isMaybe(header)) yield parseQuantity(header.number)
  }
}

/**
 * All logs of a block, by its receipts.
 *
 * @throws {ChainError} EXECUTION_INVALID when no node has receipts that fit the header; EXECUTION_REFUSED; {HttpError}
 */
export async function readBlockLogs(http: HttpAsk, block: number, signal?: AbortSignal): Promise<BlockLogs> {
  const rootOf = await loadReceiptsRoot()
  const header = await readHeader(http, block, signal)
  const check = (receipts: readonly Receipt[] | null, host: string) => {
    if (receipts !== null && toHex(rootOf(receipts)) === header.receiptsRoot?.toLowerCase()) return
    throw new ChainError(
      'EXECUTION_INVALID',
      `the execution node at ${host} does not have the receipts of block ${block} that its header stands for`,
    )
  }
  const receipts = await readReceipts(http, block, header, check, signal)
  // A log is counted from the first one of its block.
  const raws = receipts
    .flatMap(({ logs }) => logs)
    .map((log, position) => ({ ...log, blockNumber: toQuantity(block), logIndex: toQuantity(position) }))
  return {
    host: http.host,
    async *scanLogs(query) {
      if (query.fromBlock <= block && block <= query.toBlock) yield await decodeLogs(query, block, block, raws)
    },
  }
}

async function readReceipts(
  http: HttpAsk,
  block: number,
  { transactions = [] }: Header,
  check: (receipts: readonly Receipt[] | null, host: string) => void,
  signal: Signal,
): Promise<readonly Receipt[]> {
  const rpc = { check, ...withSignal(signal) }
  try {
    return (await callRpc(http, 'eth_getBlockReceipts', [toQuantity(block)], Receipts, rpc)) ?? []
  } catch (error) {
    if (!(error instanceof ChainError) || error.code !== 'EXECUTION_REFUSED') throw error
  }
  // A node of before that method gives them one by one.
  const receipts: Receipt[] = []
  for (let first = 0; first < transactions.length; first += AT_ONCE) {
    signal?.throwIfAborted()
    const some = await Promise.all(
      transactions
        .slice(first, first + AT_ONCE)
        .map((hash) => callRpc(http, 'eth_getTransactionReceipt', [hash], MaybeReceipt, withSignal(signal))),
    )
    receipts.push(...some.filter((receipt) => receipt !== null))
  }
  check(receipts, http.host)
  return receipts
}
