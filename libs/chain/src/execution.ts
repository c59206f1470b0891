/** The execution client: chain id, head, and event logs from nodes that each limit them differently (protocol section 14). */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { createHttpClient, type HttpAsk, type HttpClientOptions, HttpError } from '@dvt-relayer/common/http-client.ts'
import { Type } from 'typebox'
import type { AbiEvent, DecodeEventLogReturnType, Hex } from 'viem'
import { createRangeSize } from './block-ranges.ts'
import { ChainError } from './errors.ts'
import { callRpc, parseQuantity, Quantity, type RpcOptions, toQuantity } from './json-rpc.ts'
import type { Network } from './networks.ts'

export interface ExecutionOptions {
  endpoints: readonly (string | URL)[]
  timeoutMs: number
  retryTimeoutMs: number
  network: Pick<Network, 'name' | 'chainId'>
  onResult?: NonNullable<HttpClientOptions['onResult']>
  /** First and largest back-off; for tests. */
  backoffMs?: { first: number; most: number }
}

/** Which logs. Blocks are inclusive. */
export interface LogQuery<E extends AbiEvent> {
  /** The contract, 20 bytes. */
  address: Uint8Array
  event: E
  fromBlock: number
  toBlock: number
  signal?: AbortSignal
}

/** One decoded event. */
export interface ChainLog<E extends AbiEvent> {
  blockNumber: number
  logIndex: number
  args: DecodeEventLogReturnType<[E]>['args']
}

export interface ExecutionClient {
  /** Compares every endpoint's chain id with the network. @throws {ChainError} CHAIN_MISMATCH; {HttpError} when none answers */
  checkChain(): Promise<void>
  /** Number of the head block. */
  blockNumber(): Promise<number>
  /** The logs range by range, oldest first or (`backwards`) newest range first, in chain order within a range. */
  scanLogs<const E extends AbiEvent>(
    query: LogQuery<E>,
    backwards?: 'backwards',
  ): AsyncGenerator<{ fromBlock: number; toBlock: number; logs: ChainLog<E>[] }>
  /** All logs of the range, in chain order. Logs of the event's signature that cannot be decoded are left out. */
  findLogs<const E extends AbiEvent>(query: LogQuery<E>): Promise<ChainLog<E>[]>
}

/** Blocks asked for first: few enough for most nodes. */
const FIRST_RANGE = 50_000
const METHOD_NOT_FOUND = -32601

const RawLogs = Type.Array(
  Type.Object({
    address: Type.String({ pattern: '^0x[0-9a-fA-F]{40}$' }),
    topics: Type.Array(Type.String({ pattern: '^0x[0-9a-fA-F]{64}$' }), { maxItems: 4 }),
    data: Type.String({ pattern: '^0x([0-9a-fA-F]{2})*$' }),
    blockNumber: Quantity,
    logIndex: Quantity,
    removed: Type.Optional(Type.Boolean()),
  }),
)

/** Creates the client. An endpoint answers nothing before it has shown that it is on the network's chain. */
export function createExecutionClient(options: ExecutionOptions): ExecutionClient {
  const { network } = options
  const http = createHttpClient({
    endpoints: options.endpoints,
    timeoutMs: options.timeoutMs,
    retryTimeoutMs: options.retryTimeoutMs,
    maxBytes: 64 * 1024 * 1024,
    admit: (ask) => assertChain(ask, network),
    ...(options.onResult === undefined ? {} : { onResult: options.onResult }),
    ...(options.backoffMs === undefined ? {} : { backoffMs: options.backoffMs }),
  })

  async function readLogs<const E extends AbiEvent>(
    query: LogQuery<E>,
    fromBlock: number,
    toBlock: number,
    rpc: RpcOptions,
  ): Promise<ChainLog<E>[]> {
    // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
    const { decodeEventLog, toEventSelector } = await import('viem/utils')
    const address = toHex(query.address)
    const topic = toEventSelector(query.event)
    const filter = { address, topics: [topic], fromBlock: toQuantity(fromBlock), toBlock: toQuantity(toBlock) }
    const logs: ChainLog<E>[] = []
    for (const raw of await callRpc(http, 'eth_getLogs', [filter], RawLogs, rpc)) {
      const blockNumber = parseQuantity(raw.blockNumber)
      const fits = raw.address.toLowerCase() === address && raw.topics[0]?.toLowerCase() === topic
      if (!fits || raw.removed === true || blockNumber < fromBlock || blockNumber > toBlock)
        throw new ChainError(
          'EXECUTION_INVALID',
          `the execution node at ${http.host} answers with logs nobody asked for`,
        )
      try {
        const topics = raw.topics as [Hex, ...Hex[]]
        const { args } = decodeEventLog({ abi: [query.event] as const, data: raw.data as Hex, topics })
        logs.push({ blockNumber, logIndex: parseQuantity(raw.logIndex), args: args as ChainLog<E>['args'] })
      } catch (error) {
        // A log that cannot be decoded says nothing; the scan goes on (viem's errors hold the data, so none is passed on).
        if (error instanceof ChainError) throw error
      }
    }
    return logs.sort((a, b) => a.blockNumber - b.blockNumber || a.logIndex - b.logIndex)
  }

  async function* scanLogs<const E extends AbiEvent>(query: LogQuery<E>, backwards?: 'backwards') {
    const size = createRangeSize(FIRST_RANGE)
    let { fromBlock: low, toBlock: high } = query
    while (low <= high) {
      const fromBlock = backwards === undefined ? low : Math.max(low, high - size.blocks + 1)
      const toBlock = backwards === undefined ? Math.min(high, low + size.blocks - 1) : high
      const signal = query.signal === undefined ? {} : { signal: query.signal }
      let logs: ChainLog<E>[]
      try {
        // One round only: a refusal of the range is often dressed as a server error, which must not be waited out.
        logs = await readLogs(query, fromBlock, toBlock, { retryTimeoutMs: 0, ...signal })
      } catch (error) {
        if (isRefusal(error) && toBlock > fromBlock) {
          while (size.blocks > toBlock - fromBlock) size.refused()
          continue
        }
        logs = await readLogs(query, fromBlock, toBlock, signal)
      }
      if (toBlock - fromBlock + 1 === size.blocks) size.succeeded()
      yield { fromBlock, toBlock, logs }
      if (backwards === undefined) low = toBlock + 1
      else high = fromBlock - 1
    }
  }

  return {
    async checkChain() {
      const results = await Promise.allSettled(http.each.map((ask) => assertChain(ask, network)))
      const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
      const mismatch = failures.find((reason) => reason instanceof ChainError && reason.code === 'CHAIN_MISMATCH')
      if (mismatch !== undefined) throw mismatch
      if (failures.length === results.length) throw failures[0]
    },
    blockNumber: async () => parseQuantity(await callRpc(http, 'eth_blockNumber', [], Quantity)),
    scanLogs,
    async findLogs(query) {
      const logs = []
      for await (const range of scanLogs(query)) logs.push(...range.logs)
      return logs
    },
  }
}

async function assertChain(ask: HttpAsk, network: ExecutionOptions['network']): Promise<void> {
  const chainId = parseQuantity(await callRpc(ask, 'eth_chainId', [], Quantity))
  if (chainId !== network.chainId)
    throw new ChainError(
      'CHAIN_MISMATCH',
      `the execution node at ${ask.host} is on chain ${chainId}, ${network.name} is chain ${network.chainId}`,
      { meta: { host: ask.host, network: network.name, chain_id: chainId } },
    )
}

/** Whether a smaller range may be answered. */
function isRefusal(error: unknown): boolean {
  if (error instanceof ChainError)
    return error.code === 'EXECUTION_REFUSED' && error.meta['rpc_code'] !== METHOD_NOT_FOUND
  if (!(error instanceof HttpError)) return false
  if (error.code === 'HTTP_STATUS') return [400, 413].includes(error.status ?? 0) || (error.status ?? 0) >= 500
  return error.code === 'HTTP_TIMEOUT' || error.code === 'HTTP_TOO_LARGE'
}
