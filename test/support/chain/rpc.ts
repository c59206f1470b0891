/** An execution node stand-in: chains of millions of blocks at once, and every way in which nodes refuse logs. */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { bloomBits } from '../../../libs/chain/src/execution/proof/bloom.ts'
import { loadReceiptsRoot, type ReceiptFields } from '../../../libs/chain/src/execution/proof/receipts-root.ts'
import { type HttpStandIn, type StandInAnswer, startHttpStandIn } from './http-stand-in.ts'

export interface StandInLog {
  address: string
  topics: string[]
  data: string
  blockNumber: number
  logIndex: number
}

/** How a range that is too large is refused: a JSON-RPC error (any code), an HTTP status, or no answer at all. */
export type Refusal = { code: number; message: string } | { status: number } | 'silence'

/** An `eth_call` by block hash. */
export interface StandInCall {
  to: string
  data: string
  blockHash: string
  requireCanonical: boolean
}

/** A JSON-RPC error. */
export interface RpcFault {
  code: number
  message: string
}

export interface RpcStandIn extends HttpStandIn {
  /** `[from, to]` of every eth_getLogs so far, refused ones included. */
  readonly ranges: [number, number][]
  logs: StandInLog[]
  /** Whether an answer leaves a log out that belongs in it. */
  leavesOut: (log: StandInLog) => boolean
  /** What receipts leave out of a block's logs, whose header has them all; undefined: it has no headers with filters, and no receipts. */
  receipts: { leaveOut: (log: StandInLog) => boolean } | undefined
  /** The method of every call so far. */
  readonly methods: string[]
  head: number
  chainId: number
  /** Blocks one call may cover, and what happens otherwise. */
  limit: { blocks: number; refusal: Refusal } | undefined
  /** The finalized block, or how the node says that it has none. */
  finalized: number | null | RpcFault
  /** Since a reorganization: the first block that is another one now, and a letter (A to F) for the hashes from it on. */
  fork: { from: number; salt: string } | undefined
  /** What `eth_call` gives. */
  call: (call: StandInCall) => string | RpcFault
}

/** The hash of a block, in the letter case nodes do not use. */
export const hashOfBlock = (blockNumber: number, salt = 'B'): string =>
  `0x${blockNumber.toString(16).toUpperCase().padStart(64, salt)}`

interface Filter {
  address: string
  topics: (string | string[] | null)[]
  fromBlock: string
  toBlock: string
}

/** Starts an execution node stand-in. */
export async function startRpc(options: { chainId: number; head: number; logs?: StandInLog[] }): Promise<RpcStandIn> {
  const rootOf = await loadReceiptsRoot()
  const never = Promise.withResolvers<StandInAnswer>()
  const result = (value: unknown): StandInAnswer => ({ status: 200, body: { jsonrpc: '2.0', id: 1, result: value } })
  const server = await startHttpStandIn(({ body }) => {
    const { method, params } = body as { method: string; params: unknown[] }
    node.methods.push(method)
    if (method === 'eth_getBlockReceipts' && node.receipts !== undefined)
      return result(receiptsOf(Number(params[0]), node.receipts.leaveOut))
    if (method === 'eth_chainId') return result(`0x${node.chainId.toString(16)}`)
    if (method === 'eth_blockNumber') return result(`0x${node.head.toString(16)}`)
    if (method === 'eth_getLogs') return getLogs(params[0] as Filter)
    if (method === 'eth_getBlockByNumber') return getBlock(String(params[0]))
    if (method === 'eth_call') {
      const [{ to, data }, block] = params as [StandInCall, StandInCall]
      const found = node.call({ to, data, blockHash: block.blockHash, requireCanonical: block.requireCanonical })
      return typeof found === 'string' ? result(found) : error(found)
    }
    return error({ code: -32601, message: 'method not found' })
  })
  const quantity = (value: number) => `0x${value.toString(16)}`
  const error = (body: RpcFault): StandInAnswer => ({
    status: 200,
    body: { jsonrpc: '2.0', id: 1, error: body },
  })

  function getBlock(tag: string): StandInAnswer {
    const number = tag === 'latest' ? node.head : tag === 'finalized' ? node.finalized : Number(tag)
    if (typeof number === 'object' && number !== null) return error(number)
    if (number === null || number > node.head) return result(null)
    const hashAt = (block: number) => hashOfBlock(block, block >= (node.fork?.from ?? Infinity) ? node.fork?.salt : 'B')
    const hashes = { hash: hashAt(number), parentHash: hashAt(number - 1) }
    const header = { number: quantity(number), ...hashes, timestamp: quantity(1_700_000_000 + 12 * number) }
    if (node.receipts === undefined) return result(header)
    const receipts = receiptsOf(number, () => false)
    const logsBloom = bloomOf(receipts.flatMap(({ logs }) => logs))
    return result({ ...header, logsBloom, receiptsRoot: toHex(rootOf(receipts)), transactions: [] })
  }

  /** The receipts of a block: of one transaction, which has made all its logs. */
  function receiptsOf(block: number, leaveOut: (log: StandInLog) => boolean): ReceiptFields[] {
    const found = new Map(
      node.logs.filter(({ blockNumber }) => blockNumber === block).map((log) => [log.logIndex, log]),
    )
    if (found.size === 0) return []
    // A log is counted from the first one of its block: the others are somebody else's.
    const all = Array.from({ length: Math.max(...found.keys()) + 1 }, (_, index) => found.get(index) ?? ELSEWHERE)
    const logs = all.filter((log) => log === ELSEWHERE || !leaveOut(log as StandInLog))
    return [{ type: '0x2', status: '0x1', cumulativeGasUsed: '0x5208', logsBloom: bloomOf(logs), logs }]
  }

  function getLogs(filter: Filter): StandInAnswer | Promise<StandInAnswer> {
    const [from, to] = [Number(filter.fromBlock), Number(filter.toBlock)]
    node.ranges.push([from, to])
    if (node.limit !== undefined && to - from + 1 > node.limit.blocks) {
      const { refusal } = node.limit
      if (refusal === 'silence') return never.promise
      return 'status' in refusal ? { status: refusal.status, body: {} } : error(refusal)
    }
    const fits = (log: StandInLog) =>
      log.address === filter.address &&
      filter.topics.every((topic, position) => topic === null || [topic].flat().includes(log.topics[position] ?? '')) &&
      log.blockNumber >= from &&
      log.blockNumber <= to &&
      !node.leavesOut(log)
    return result(
      node.logs.filter(fits).map((log) => ({
        ...log,
        blockNumber: quantity(log.blockNumber),
        logIndex: quantity(log.logIndex),
        transactionHash: `0x${'00'.repeat(32)}`,
        removed: false,
      })),
    )
  }

  const node: RpcStandIn = {
    ...server,
    ranges: [],
    logs: options.logs ?? [],
    leavesOut: () => false,
    receipts: undefined,
    methods: [],
    head: options.head,
    chainId: options.chainId,
    limit: undefined,
    finalized: null,
    fork: undefined,
    call: () => ({ code: -32000, message: 'header not found' }),
  }
  return node
}

const ELSEWHERE = { address: `0x${'e1'.repeat(20)}`, topics: [], data: '0x' }

function bloomOf(logs: ReceiptFields['logs']): string {
  const bloom = new Uint8Array(256)
  for (const value of logs.flatMap(({ address, topics }) => [address, ...topics]))
    for (const bit of bloomBits(fromHex(value)))
      bloom[255 - (bit >> 3)] = (bloom[255 - (bit >> 3)] ?? 0) | (1 << (bit & 7))
  return toHex(bloom)
}
