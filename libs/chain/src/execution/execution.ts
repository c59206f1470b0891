/**
 * The execution client: chain id, blocks, contract calls at one block, and event logs from nodes that each limit them
 * differently (docs/protocol.md#14-chain-calls).
 */

import { createHttpClient, type HttpAsk, type HttpClientOptions } from '@dvt-relayer/common/http/client.ts'
import type { Static, TSchema } from 'typebox'
import type { AbiEvent } from 'viem'
import { checkEndpoints } from '../check-endpoints.ts'
import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'
import { type BlockRef, getBlock } from './blocks.ts'
import { type ContractCall, ethCall, isRevert } from './eth-call.ts'
import { callRpc, parseQuantity, Quantity, type RpcFault } from './json-rpc.ts'
import { type ChainLog, type LogQuery, type LogRange, scanLogs } from './logs.ts'
import { type BlockLogs, findMaybe, type HeaderQuery, readBlockLogs } from './proof/block-logs.ts'

export type { BlockRef } from './blocks.ts'
export type { ChainLog, LogQuery, LogRange } from './logs.ts'

export interface ExecutionOptions {
  endpoints: readonly (string | URL)[]
  timeoutMs: number
  retryTimeoutMs: number
  network: Pick<Network, 'name' | 'chainId'>
  onResult?: NonNullable<HttpClientOptions['onResult']>
  /** First and largest back-off; for tests. */
  backoffMs?: { first: number; most: number }
}

/** One endpoint by itself, asked once. It shows its chain before each question. */
export type ExecutionNode = Pick<ExecutionClient, 'host' | 'getBlock' | 'scanLogs' | 'findMaybe' | 'readBlockLogs'>

export interface ExecutionClient {
  /** The endpoints, for what must be asked of each. */
  readonly each: readonly ExecutionNode[]
  /** Host of the node that answered last. */
  readonly host: string
  /** Compares every endpoint's chain id with the network. @throws {ChainError} CHAIN_MISMATCH; {HttpError} when none answers */
  checkChain(): Promise<void>
  /** Number of the head block. */
  blockNumber(): Promise<number>
  /**
   * The head, the newest finalized block, or the block of a number.
   *
   * @returns undefined where the node has none: a number above its head, or nothing finalized yet (a new chain, a node that
   * has not heard of its consensus client since its start)
   * @throws {ChainError} EXECUTION_REFUSED from a node that does not know the word `finalized`; EXECUTION_INVALID for another
   * block than was asked for; {HttpError}
   */
  getBlock(tag: 'latest' | 'finalized' | number, signal?: AbortSignal): Promise<BlockRef | undefined>
  /**
   * What a contract answers at exactly one block (`eth_call` by block hash, EIP-1898): never the answer of another block, also
   * after a failover. A node that does not know the block, or has dropped its state, counts as absent: the next one is asked,
   * and all of them again, until the client's time for retries is over.
   *
   * @returns at least one byte
   * @throws {ChainError} EXECUTION_REVERTED, EXECUTION_EMPTY; {HttpError} when no node can answer
   */
  call(call: ContractCall): Promise<Uint8Array>
  /** The logs range by range, oldest first or (`backwards`) newest range first, in chain order within a range. */
  scanLogs<const E extends AbiEvent>(query: LogQuery<E>, backwards?: 'backwards'): AsyncGenerator<LogRange<E>>
  /**
   * The blocks of a short range that may have one of these events, in order, by the filters in their headers: all that have one, and others.
   *
   * @throws {ChainError} EXECUTION_INVALID for a block that no node has; {HttpError}
   */
  findMaybe(query: HeaderQuery): AsyncGenerator<number>
  /**
   * All logs of a block, by its receipts.
   *
   * @throws {ChainError} EXECUTION_INVALID when no node has receipts that fit the header; EXECUTION_REFUSED; {HttpError}
   */
  readBlockLogs(block: number, signal?: AbortSignal): Promise<BlockLogs>
  /**
   * Any other method, its result checked against a schema. It must be one that may be sent twice: what fails is repeated, at other
   * nodes too.
   *
   * @throws {ChainError} EXECUTION_REFUSED with the node's words where the request itself has earned it; {HttpError}
   */
  request<S extends TSchema>(
    method: string,
    params: readonly unknown[],
    result: S,
    signal?: AbortSignal,
  ): Promise<Static<S>>
  /** All logs of the range, in chain order. Logs of the event's signature that cannot be decoded are left out. */
  findLogs<const E extends AbiEvent>(query: LogQuery<E>): Promise<ChainLog<E>[]>
}

/**
 * Of an answer. The largest have logs, of a range (where there are more, a smaller one is asked for) or of a full block: one is 600
 * bytes at least, and some 15 values.
 */
const MOST = { maxBytes: 64 * 1024 * 1024, maxValues: 2_000_000 }

/** Creates the client. An endpoint answers nothing before it has shown that it is on the network's chain. */
export function createExecutionClient(options: ExecutionOptions): ExecutionClient {
  const { network } = options
  const http = createHttpClient({
    endpoints: options.endpoints,
    timeoutMs: options.timeoutMs,
    retryTimeoutMs: options.retryTimeoutMs,
    ...MOST,
    admit: (ask) => assertChain(ask, network),
    ...(options.onResult === undefined ? {} : { onResult: options.onResult }),
    ...(options.backoffMs === undefined ? {} : { backoffMs: options.backoffMs }),
  })
  return {
    each: http.each.map((ask) => nodeOf(ask, network)),
    get host() {
      return http.host
    },
    checkChain: () => checkEndpoints(http.each, (ask) => assertChain(ask, network)),
    blockNumber: async () =>
      parseQuantity(
        await callRpc(http, 'eth_blockNumber', [], Quantity, { check: (head) => void parseQuantity(head) }),
      ),
    getBlock: (tag, signal) => getBlock(http, tag, signal),
    call: (call) => ethCall(http, call),
    request: (method, params, result, signal) =>
      callRpc(http, method, params, result, {
        isEarned: (fault) => ABOUT_TRANSACTIONS.has(method) && isOfTransaction(fault),
        ...(signal === undefined ? {} : { signal }),
      }),
    scanLogs: (query, backwards) => scanLogs(http, query, backwards),
    findMaybe: (query) => findMaybe(http, query),
    readBlockLogs: (block, signal) => readBlockLogs(http, block, signal),
    async findLogs(query) {
      const logs = []
      for await (const range of scanLogs(http, query)) logs.push(...range.logs)
      return logs
    },
  }
}

function nodeOf(ask: HttpAsk, network: ExecutionOptions['network']): ExecutionNode {
  return {
    host: ask.host,
    async getBlock(tag, signal) {
      await assertChain(ask, network, signal)
      return getBlock(ask, tag, signal)
    },
    async *scanLogs(query, backwards) {
      await assertChain(ask, network, query.signal)
      yield* scanLogs(ask, query, backwards)
    },
    async *findMaybe(query) {
      await assertChain(ask, network, query.signal)
      yield* findMaybe(ask, query)
    },
    async readBlockLogs(block, signal) {
      await assertChain(ask, network, signal)
      return readBlockLogs(ask, block, signal)
    },
  }
}

const ABOUT_TRANSACTIONS: ReadonlySet<string> = new Set(['eth_estimateGas', 'eth_sendRawTransaction'])

/** Whether a transaction itself is refused: it would revert, is known already, comes too late, or pays too little. */
function isOfTransaction(fault: RpcFault): boolean {
  if (isRevert(fault) || fault.code === -32003 || fault.code === -32010) return true
  return /already|known transaction|nonce|underpriced|insufficient|\bgas\b|\bfee\b|\btip\b/i.test(fault.message)
}

async function assertChain(ask: HttpAsk, network: ExecutionOptions['network'], signal?: AbortSignal): Promise<void> {
  const options = signal === undefined ? {} : { signal }
  const chainId = parseQuantity(await callRpc(ask, 'eth_chainId', [], Quantity, options))
  if (chainId !== network.chainId)
    throw new ChainError(
      'CHAIN_MISMATCH',
      `the execution node at ${ask.host} is on chain ${chainId}, ${network.name} is chain ${network.chainId}`,
      { meta: { host: ask.host, network: network.name, chain_id: chainId } },
    )
}
