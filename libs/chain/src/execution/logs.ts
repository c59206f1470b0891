/** Event logs from nodes that each limit them differently (docs/protocol.md#14-chain-calls). */

import { setImmediate } from 'node:timers/promises'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { type HttpAsk, HttpError } from '@dvt-relayer/common/http/client.ts'
import { type Static, Type } from 'typebox'
import type { AbiEvent, DecodeEventLogReturnType, Hex } from 'viem'
import { ChainError } from '../errors.ts'
import { createRangeSize } from './block-ranges.ts'
import {
  Bytes,
  callRpc,
  isOfNode,
  isUnknownMethod,
  parseQuantity,
  Quantity,
  type RpcFault,
  type RpcOptions,
  toQuantity,
} from './json-rpc.ts'

/** The value of an argument, any of some, or any at all. */
export type Topic = string | readonly string[] | null

/** Which logs. Blocks are inclusive. */
export interface LogQuery<E extends AbiEvent> {
  /** The contract, 20 bytes. */
  address: Uint8Array
  event: E
  /** The value of the event's indexed arguments in order, 32 bytes each in lower-case hex; null is any, a list any of them. */
  topics?: readonly Topic[]
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

/** Blocks asked for first: few enough for most nodes. */
const FIRST_RANGE = 50_000
/** Logs that are decoded before others may work: some milliseconds. */
const LOGS_AT_ONCE = 200

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
/** One log as JSON-RPC has it. */
export type RawLog = Static<typeof RawLogs>[number]

/** The logs range by range, oldest first or (`backwards`) newest range first, in chain order within a range. */
export async function* scanLogs<const E extends AbiEvent>(
  http: HttpAsk,
  query: LogQuery<E>,
  backwards?: 'backwards',
): AsyncGenerator<LogRange<E>> {
  const size = createRangeSize(FIRST_RANGE)
  let { fromBlock: low, toBlock: high } = query
  while (low <= high) {
    query.signal?.throwIfAborted()
    const fromBlock = backwards === undefined ? low : Math.max(low, high - size.blocks + 1)
    const toBlock = backwards === undefined ? Math.min(high, low + size.blocks - 1) : high
    const signal = query.signal === undefined ? {} : { signal: query.signal }
    const mayShrink = toBlock > fromBlock
    let range: LogRange<E>
    let refused = false
    try {
      // One round only: a refusal of the range is often dressed as a server error, which must not be waited out.
      const onRefused = () => {
        refused = true
      }
      range = await readLogs(http, query, fromBlock, toBlock, { ...whileSmaller(mayShrink, onRefused), ...signal })
    } catch (error) {
      if (mayShrink && (refused || isRefusal(error))) {
        while (size.blocks > toBlock - fromBlock) size.refused()
        continue
      }
      range = await readLogs(http, query, fromBlock, toBlock, { isEarned: isOfRange, ...signal })
    }
    if (toBlock - fromBlock + 1 === size.blocks) size.succeeded()
    yield range
    if (backwards === undefined) low = toBlock + 1
    else high = fromBlock - 1
  }
}

/** How a range is asked for the first time. Whatever may be meant of its size is told, and ends the round where it must be. */
function whileSmaller(mayShrink: boolean, onRefused: () => void) {
  return {
    retryTimeoutMs: 0,
    isEarned(fault: RpcFault) {
      if (!isOfNode(fault) && !isUnknownMethod(fault)) onRefused()
      return isOfRange(fault)
    },
    isEarnedStatus(status: number) {
      const isSize = mayShrink && (status === 400 || status === 413)
      if (isSize) onRefused()
      return isSize
    },
  }
}

async function readLogs<const E extends AbiEvent>(
  http: HttpAsk,
  query: LogQuery<E>,
  fromBlock: number,
  toBlock: number,
  rpc: Pick<RpcOptions, 'retryTimeoutMs' | 'signal' | 'isEarned' | 'isEarnedStatus'>,
): Promise<LogRange<E>> {
  const { address, topics } = await filterOf(query)
  const filter = { address, topics, fromBlock: toQuantity(fromBlock), toBlock: toQuantity(toBlock) }
  const check = (answer: readonly RawLog[], host: string) => {
    const isAsked = (raw: RawLog) => {
      const blockNumber = parseQuantity(raw.blockNumber)
      parseQuantity(raw.logIndex)
      return fits(raw, address, topics) && blockNumber >= fromBlock && blockNumber <= toBlock
    }
    if (!answer.every(isAsked))
      throw new ChainError('EXECUTION_INVALID', `the execution node at ${host} answers with logs nobody asked for`)
  }
  const answer = await callRpc(http, 'eth_getLogs', [filter], RawLogs, { ...rpc, check })
  return decodeLogs(query, fromBlock, toBlock, answer)
}

/** The contract and the topics of a query, as JSON-RPC has them. */
async function filterOf({ address, event, topics = [] }: Pick<LogQuery<AbiEvent>, 'address' | 'event' | 'topics'>) {
  // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
  const { toEventSelector } = await import('../viem/utils.ts')
  return { address: toHex(address), topics: [toEventSelector(event), ...topics] }
}

/** Of these logs of a range of blocks, those that a query asks for. */
export async function decodeLogs<const E extends AbiEvent>(
  query: LogQuery<E>,
  fromBlock: number,
  toBlock: number,
  raws: readonly RawLog[],
): Promise<LogRange<E>> {
  const { decodeEventLog } = await import('../viem/utils.ts')
  const { address, topics } = await filterOf(query)
  const logs: ChainLog<E>[] = []
  let undecodable = 0
  for (const [position, raw] of raws.entries()) {
    if (position % LOGS_AT_ONCE === LOGS_AT_ONCE - 1) await setImmediate()
    if (!fits(raw, address, topics)) continue
    const place = { blockNumber: parseQuantity(raw.blockNumber), logIndex: parseQuantity(raw.logIndex) }
    try {
      const { args } = decodeEventLog({
        abi: [query.event] as const,
        data: raw.data as Hex,
        topics: raw.topics as [Hex, ...Hex[]],
      })
      logs.push({ ...place, args: args as ChainLog<E>['args'] })
    } catch {
      // A log that cannot be decoded says nothing; the scan goes on (viem's errors hold the data, so none is passed on).
      undecodable++
    }
  }
  logs.sort((a, b) => a.blockNumber - b.blockNumber || a.logIndex - b.logIndex)
  return { fromBlock, toBlock, logs, undecodable }
}

/** Whether a log is one that was asked for, and counts. */
function fits(raw: RawLog, address: string, topics: readonly Topic[]): boolean {
  return (
    raw.address.toLowerCase() === address &&
    topics.every(
      (topic, position) => topic === null || [topic].flat().includes(raw.topics[position]?.toLowerCase() ?? ''),
    ) &&
    raw.removed !== true
  )
}

/** Whether a node says that a range, or what is in it, is too large for it. Of a range of one block this is its last word. */
function isOfRange(fault: RpcFault): boolean {
  if (isOfNode(fault) || isUnknownMethod(fault)) return false
  return (
    fault.code === -32005 || /range|limit|too (many|large|big|wide|long)|more than|exceed|results/i.test(fault.message)
  )
}

/** Whether a smaller range may be answered. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof HttpError)) return false
  if (error.code === 'HTTP_STATUS') return (error.status ?? 0) >= 500
  return error.code === 'HTTP_TIMEOUT' || error.code === 'HTTP_TOO_LARGE'
}
