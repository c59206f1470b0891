/**
 * The deposit contract, also called validators registry: its deposits, their Merkle root and their number
 * (docs/protocol.md#14-chain-calls).
 *
 * Deposits are numbered without gaps in the order of the log, so a gap proves that a node has left logs out.
 */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'
import type { ChainLog, ExecutionClient } from './execution.ts'
import { readContract } from './read-contract.ts'

/** `event DepositEvent(bytes pubkey, bytes withdrawal_credentials, bytes amount, bytes signature, bytes index)` */
export const depositEvent = {
  type: 'event',
  name: 'DepositEvent',
  inputs: [
    { name: 'pubkey', type: 'bytes', indexed: false },
    { name: 'withdrawal_credentials', type: 'bytes', indexed: false },
    { name: 'amount', type: 'bytes', indexed: false },
    { name: 'signature', type: 'bytes', indexed: false },
    { name: 'index', type: 'bytes', indexed: false },
  ],
} as const

/** One deposit; its signature is as it was sent, right or wrong. */
export interface ChainDeposit {
  blockNumber: number
  logIndex: number
  /** 48 bytes. */
  publicKey: Uint8Array
  /** 32 bytes. */
  withdrawalCredentials: Uint8Array
  amountGwei: bigint
  /** 96 bytes. */
  signature: Uint8Array
  /** From 0, in the order of the log. */
  depositIndex: number
}

/** The deposits of a range of blocks, in chain order. */
export interface DepositRange {
  fromBlock: number
  toBlock: number
  deposits: ChainDeposit[]
  /** Logs of the event that are no deposits, because a field has another length: skipped. The real contract makes none. */
  malformed: number
}

/**
 * Reads the deposits of a range of blocks (both inclusive), oldest range first, in ranges as large as the node allows.
 *
 * @throws {ChainError} EXECUTION_INVALID, EXECUTION_REFUSED; {HttpError}
 */
export async function* readDeposits(
  execution: Pick<ExecutionClient, 'scanLogs'>,
  network: Pick<Network, 'depositContract'>,
  fromBlock: number,
  toBlock: number,
  signal?: AbortSignal,
): AsyncGenerator<DepositRange> {
  const query = {
    address: network.depositContract,
    event: depositEvent,
    fromBlock,
    toBlock,
    ...(signal === undefined ? {} : { signal }),
  }
  for await (const range of execution.scanLogs(query)) {
    const deposits = range.logs.map(toDeposit).filter((deposit) => deposit !== undefined)
    const malformed = range.undecodable + range.logs.length - deposits.length
    yield { fromBlock: range.fromBlock, toBlock: range.toBlock, deposits, malformed }
  }
}

function toDeposit({ blockNumber, logIndex, args }: ChainLog<typeof depositEvent>): ChainDeposit | undefined {
  const publicKey = fromHex(args.pubkey)
  const withdrawalCredentials = fromHex(args.withdrawal_credentials)
  const signature = fromHex(args.signature)
  const amountGwei = littleEndian(fromHex(args.amount))
  const depositIndex = Number(littleEndian(fromHex(args.index)) ?? Number.NaN)
  if (publicKey.length !== 48 || withdrawalCredentials.length !== 32 || signature.length !== 96) return undefined
  if (amountGwei === undefined || !Number.isSafeInteger(depositIndex)) return undefined
  return { blockNumber, logIndex, publicKey, withdrawalCredentials, amountGwei, signature, depositIndex }
}

/** A uint64 of 8 bytes, lowest first; undefined for another length. */
function littleEndian(bytes: Uint8Array): bigint | undefined {
  if (bytes.length !== 8) return undefined
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
}

/** What is known around deposits that {@link assertNoGap} checks. */
export interface DepositContext {
  /** Index of the deposit before the first; left out when it is not known. −1: there is none. */
  previousIndex?: number | undefined
  /** {@link readDepositCount} at the block that the deposits reach to; left out when it is not known. */
  count?: number | undefined
  /** Host of the node that gave the logs. */
  host?: string
}

/**
 * Checks that no deposit is missing: each index is one above the one before, from `previousIndex` on, and the last one is
 * `count − 1`.
 *
 * @param deposits in chain order
 * @returns the index of the last deposit, `previousIndex` when there are none
 * @throws {ChainError} EXECUTION_INVALID: the node has left logs out, or repeats them
 */
export function assertNoGap(
  deposits: readonly Pick<ChainDeposit, 'depositIndex'>[],
  { previousIndex, count, host }: DepositContext,
): number | undefined {
  const who = host === undefined ? 'the execution node' : `the execution node at ${host}`
  const incomplete = (what: string) =>
    new ChainError('EXECUTION_INVALID', `${who} leaves deposit logs out: ${what}`, { meta: host ? { host } : {} })
  let last = previousIndex
  for (const { depositIndex } of deposits) {
    if (last !== undefined && depositIndex !== last + 1)
      throw incomplete(`deposit ${depositIndex} follows deposit ${last}`)
    last = depositIndex
  }
  if (count !== undefined && last !== undefined && last + 1 !== count)
    throw incomplete(`deposit ${last} is the last one, the contract counts ${count}`)
  return last
}

const getDepositRoot = {
  type: 'function',
  name: 'get_deposit_root',
  stateMutability: 'view',
  inputs: [],
  outputs: [{ name: 'root', type: 'bytes32' }],
} as const

const getDepositCount = {
  type: 'function',
  name: 'get_deposit_count',
  stateMutability: 'view',
  inputs: [],
  outputs: [{ name: 'count', type: 'bytes' }],
} as const

/**
 * The Merkle root of all deposits up to a block, `get_deposit_root()`: 32 bytes.
 *
 * @throws {ChainError} EXECUTION_REVERTED, EXECUTION_EMPTY, EXECUTION_INVALID; {HttpError}
 */
export async function readDepositRoot(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  network: Pick<Network, 'depositContract'>,
  blockHash: string,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const position = { address: network.depositContract, block: blockHash, signal }
  return fromHex(await readContract(execution, getDepositRoot, position), 32)
}

/**
 * The number of deposits up to a block, `get_deposit_count()`: 8 bytes, a little-endian uint64.
 *
 * @throws {ChainError} EXECUTION_REVERTED, EXECUTION_EMPTY, EXECUTION_INVALID; {HttpError}
 */
export async function readDepositCount(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  network: Pick<Network, 'depositContract'>,
  blockHash: string,
  signal?: AbortSignal,
): Promise<number> {
  const position = { address: network.depositContract, block: blockHash, signal }
  const count = Number(littleEndian(fromHex(await readContract(execution, getDepositCount, position))) ?? Number.NaN)
  if (Number.isSafeInteger(count)) return count
  throw new ChainError(
    'EXECUTION_INVALID',
    `the execution node at ${execution.host} answers get_deposit_count with what is no uint64`,
  )
}
