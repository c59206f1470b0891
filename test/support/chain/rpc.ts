/** An execution node stand-in: chains of millions of blocks at once, and every way in which nodes refuse logs. */

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

export interface RpcStandIn extends HttpStandIn {
  /** `[from, to]` of every eth_getLogs so far, refused ones included. */
  readonly ranges: [number, number][]
  logs: StandInLog[]
  head: number
  chainId: number
  /** Blocks one call may cover, and what happens otherwise. */
  limit: { blocks: number; refusal: Refusal } | undefined
}

interface Filter {
  address: string
  topics: string[]
  fromBlock: string
  toBlock: string
}

/** Starts an execution node stand-in. */
export async function startRpc(options: { chainId: number; head: number; logs?: StandInLog[] }): Promise<RpcStandIn> {
  const never = Promise.withResolvers<StandInAnswer>()
  const result = (value: unknown): StandInAnswer => ({ status: 200, body: { jsonrpc: '2.0', id: 1, result: value } })
  const server = await startHttpStandIn(({ body }) => {
    const { method, params } = body as { method: string; params: unknown[] }
    if (method === 'eth_chainId') return result(`0x${node.chainId.toString(16)}`)
    if (method === 'eth_blockNumber') return result(`0x${node.head.toString(16)}`)
    if (method === 'eth_getLogs') return getLogs(params[0] as Filter)
    return error({ code: -32601, message: 'method not found' })
  })
  const error = (body: { code: number; message: string }): StandInAnswer => ({
    status: 200,
    body: { jsonrpc: '2.0', id: 1, error: body },
  })

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
      log.topics[0] === filter.topics[0] &&
      log.blockNumber >= from &&
      log.blockNumber <= to
    const quantity = (value: number) => `0x${value.toString(16)}`
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
    head: options.head,
    chainId: options.chainId,
    limit: undefined,
  }
  return node
}
