/**
 * The execution client: chain id, blocks, contract calls at one block, and event logs from nodes that each limit them
 * differently (docs/protocol.md#14-chain-calls).
 */

import { setImmediate } from 'node:timers/promises'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { createHttpClient, type HttpAsk, type HttpClientOptions, HttpError } from '@dvt-relayer/common/http-client.ts'
import { type Static, type TSchema, Type } from 'typebox'
import type { AbiEvent, DecodeEventLogReturnType, Hex } from 'viem'
import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'
import { createRangeSize } from './block-ranges.ts'
import { Bytes, callRpc, parseQuantity, Quantity, type RpcFault, type RpcOptions, toQuantity } from './json-rpc.ts'

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
  /** The value of the event's indexed arguments in order, 32 bytes each in lower-case hex; null is any. */
  topics?: readonly (string | null)[]
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

/** The logs of a range of blocks. */
export interface LogRange<E extends AbiEvent> {
  fromBlock: number
  toBlock: number
  logs: ChainLog<E>[]
  /** How many logs of the event's signature could not be decoded; they are left out. */
  undecodable: number
}

/** One block. Hashes are lower-case hex. */
export interface BlockRef {
  number: number
  hash: string
  parentHash: string
  /** Unix seconds. */
  timestamp: number
}

/** What is asked of a contract. */
export interface ContractCall {
  /** The contract, 20 bytes. */
  to: Uint8Array
  /** Selector and arguments, as hex. */
  data: string
  /** Hash of the block, as `BlockRef` has it. */
  block: string
  signal?: AbortSignal
}

export interface ExecutionClient {
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
   * Any other method, its result checked against a schema. It must be one that may be sent twice: what fails is repeated, at other
   * nodes too.
   *
   * @throws {ChainError} EXECUTION_REFUSED with the node's words; {HttpError}
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

/** Blocks asked for first: few enough for most nodes. */
const FIRST_RANGE = 50_000
/** Logs that are decoded before others may work: some milliseconds. */
const LOGS_AT_ONCE = 200
const METHOD_NOT_FOUND = -32601

const Block = Type.Union([
  Type.Null(),
  Type.Object({ number: Quantity, hash: Bytes(32), parentHash: Bytes(32), timestamp: Quantity }),
])
const CallResult = Bytes()

const RawLogs = Type.Array(
  Type.Object({
    address: Bytes(20),
    topics: Type.Array(Bytes(32), { maxItems: 4 }),
    data: Bytes(),
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
  ): Promise<LogRange<E>> {
    // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
    const { decodeEventLog, toEventSelector } = await import('viem/utils')
    const address = toHex(query.address)
    const topic = toEventSelector(query.event)
    const more = query.topics ?? []
    const filter = { address, topics: [topic, ...more], fromBlock: toQuantity(fromBlock), toBlock: toQuantity(toBlock) }
    const logs: ChainLog<E>[] = []
    let undecodable = 0
    const answer = await callRpc(http, 'eth_getLogs', [filter], RawLogs, rpc)
    for (const [position, raw] of answer.entries()) {
      if (position % LOGS_AT_ONCE === LOGS_AT_ONCE - 1) await setImmediate()
      const blockNumber = parseQuantity(raw.blockNumber)
      const fits =
        raw.address.toLowerCase() === address &&
        raw.topics[0]?.toLowerCase() === topic &&
        more.every((value, position) => value === null || raw.topics[position + 1]?.toLowerCase() === value)
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
        undecodable++
      }
    }
    logs.sort((a, b) => a.blockNumber - b.blockNumber || a.logIndex - b.logIndex)
    return { fromBlock, toBlock, logs, undecodable }
  }

  async function* scanLogs<const E extends AbiEvent>(query: LogQuery<E>, backwards?: 'backwards') {
    const size = createRangeSize(FIRST_RANGE)
    let { fromBlock: low, toBlock: high } = query
    while (low <= high) {
      query.signal?.throwIfAborted()
      const fromBlock = backwards === undefined ? low : Math.max(low, high - size.blocks + 1)
      const toBlock = backwards === undefined ? Math.min(high, low + size.blocks - 1) : high
      const signal = query.signal === undefined ? {} : { signal: query.signal }
      let range: LogRange<E>
      try {
        // One round only: a refusal of the range is often dressed as a server error, which must not be waited out.
        range = await readLogs(query, fromBlock, toBlock, { retryTimeoutMs: 0, ...signal })
      } catch (error) {
        if (isRefusal(error) && toBlock > fromBlock) {
          while (size.blocks > toBlock - fromBlock) size.refused()
          continue
        }
        range = await readLogs(query, fromBlock, toBlock, signal)
      }
      if (toBlock - fromBlock + 1 === size.blocks) size.succeeded()
      yield range
      if (backwards === undefined) low = toBlock + 1
      else high = fromBlock - 1
    }
  }

  async function getBlock(tag: 'latest' | 'finalized' | number, signal?: AbortSignal): Promise<BlockRef | undefined> {
    const params = [typeof tag === 'number' ? toQuantity(tag) : tag, false]
    let raw: Static<typeof Block>
    try {
      raw = await callRpc(http, 'eth_getBlockByNumber', params, Block, signal === undefined ? {} : { signal })
    } catch (error) {
      if (tag === 'finalized' && isNothingFinalized(error)) return undefined
      throw error
    }
    if (raw === null) return undefined
    const number = parseQuantity(raw.number)
    if (typeof tag === 'number' && number !== tag)
      throw new ChainError('EXECUTION_INVALID', `the execution node at ${http.host} answers with another block`)
    return {
      number,
      hash: raw.hash.toLowerCase(),
      parentHash: raw.parentHash.toLowerCase(),
      timestamp: parseQuantity(raw.timestamp),
    }
  }

  async function call({ to, data, block, signal }: ContractCall): Promise<Uint8Array> {
    const params = [
      { to: toHex(to), data },
      { blockHash: block, requireCanonical: true },
    ]
    const rpc = { isPassing: (error: RpcFault) => !isRevert(error), ...(signal === undefined ? {} : { signal }) }
    let result: string
    try {
      result = await callRpc(http, 'eth_call', params, CallResult, rpc)
    } catch (error) {
      // What the contract says for its refusal is a stranger's text; the caller knows what it has asked.
      if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED')
        throw new ChainError('EXECUTION_REVERTED', `the contract ${toHex(to)} reverts the call`)
      throw error
    }
    if (result === '0x')
      throw new ChainError('EXECUTION_EMPTY', `there is no contract at ${toHex(to)} that knows the call`)
    return fromHex(result)
  }

  return {
    get host() {
      return http.host
    },
    getBlock,
    call,
    request: (method, params, result, signal) =>
      callRpc(http, method, params, result, signal === undefined ? {} : { signal }),
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

/** Whether the contract has refused, in the words of every node (3: geth, reth, erigon, anvil; -32015: nethermind). */
function isRevert({ code, message }: RpcFault): boolean {
  return code === 3 || code === -32015 || /revert/i.test(message)
}

/** Whether the node knows the word `finalized` and has no such block: null at some, these errors at others. */
function isNothingFinalized(error: unknown): boolean {
  return (
    error instanceof ChainError &&
    error.code === 'EXECUTION_REFUSED' &&
    (error.meta['rpc_code'] === -39001 || /finalized.* not (found|available)/i.test(error.message))
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
