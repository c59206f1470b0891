/**
 * The Keeper contract: the exit signatures of a vault, and their update for new oracles (docs/protocol.md#14-chain-calls,
 * docs/protocol.md#16-rotation).
 *
 * Every update of a vault counts its nonce up by one, so the nonce at a block tells how many updates there are up to it.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { ChainError } from '../errors.ts'
import type { ExecutionClient } from '../execution/execution.ts'
import { readContract } from '../execution/read-contract.ts'
import type { Network } from '../networks.ts'

const exitSignaturesNonces = {
  type: 'function',
  name: 'exitSignaturesNonces',
  stateMutability: 'view',
  inputs: [{ name: 'vault', type: 'address' }],
  outputs: [{ name: 'nonce', type: 'uint256' }],
} as const

const validatorsMinOracles = {
  type: 'function',
  name: 'validatorsMinOracles',
  stateMutability: 'view',
  inputs: [],
  outputs: [{ name: 'count', type: 'uint256' }],
} as const

const updateExitSignatures = {
  type: 'function',
  name: 'updateExitSignatures',
  stateMutability: 'nonpayable',
  inputs: [
    { name: 'vault', type: 'address' },
    { name: 'deadline', type: 'uint256' },
    { name: 'exitSignaturesIpfsHash', type: 'string' },
    { name: 'oraclesSignatures', type: 'bytes' },
  ],
  outputs: [],
} as const

/** `event ExitSignaturesUpdated(address indexed caller, address indexed vault, uint256 nonce, string exitSignaturesIpfsHash)` */
const exitSignaturesUpdatedEvent = {
  type: 'event',
  name: 'ExitSignaturesUpdated',
  inputs: [
    { name: 'caller', type: 'address', indexed: true },
    { name: 'vault', type: 'address', indexed: true },
    { name: 'nonce', type: 'uint256', indexed: false },
    { name: 'exitSignaturesIpfsHash', type: 'string', indexed: false },
  ],
} as const

/** What of the Keeper is read, and by whom. */
type Execution = Pick<ExecutionClient, 'call' | 'host'>
type Keeper = Pick<Network, 'keeper'>
/** More oracles than any set has. */
const MOST_ORACLES = 256

/**
 * `exitSignaturesNonces(vault)` at a block: how often the vault's exit signatures were updated.
 *
 * @param vault 20 bytes
 * @throws {ChainError} EXECUTION_REVERTED or EXECUTION_EMPTY when it is no Keeper; EXECUTION_INVALID; {HttpError}
 */
export async function readExitSignaturesNonce(
  execution: Execution,
  { keeper }: Keeper,
  vault: Uint8Array,
  blockHash: string,
  signal?: AbortSignal,
): Promise<number> {
  const position = { address: keeper, block: blockHash, signal }
  return small(await readContract(execution, exitSignaturesNonces, position, toHex(vault)), 'a nonce')
}

/**
 * `validatorsMinOracles()` at a block: how many oracles must approve.
 *
 * @returns 1 to 256
 * @throws {ChainError} as {@link readExitSignaturesNonce}; EXECUTION_INVALID for a number no oracle set can have
 */
export async function readMinOracles(
  execution: Execution,
  { keeper }: Keeper,
  blockHash: string,
  signal?: AbortSignal,
): Promise<number> {
  const count = small(
    await readContract(execution, validatorsMinOracles, { address: keeper, block: blockHash, signal }),
    'validatorsMinOracles',
  )
  if (count >= 1 && count <= MOST_ORACLES) return count
  throw new ChainError('EXECUTION_INVALID', `the Keeper wants approvals of ${count} oracles, which no set can be`)
}

/** One update of a vault's exit signatures. `ipfsHash` is as the contract says it, unchecked. */
export interface ExitSignaturesUpdate {
  blockNumber: number
  /** How many updates of the vault came before it. */
  nonce: bigint
  ipfsHash: string
}

/**
 * The newest updates of a vault, oldest first, as far as there are any from a block on.
 *
 * @param count how many; the scan walks back from `toBlock` and stops when it has them
 */
export async function findUpdates(
  execution: Pick<ExecutionClient, 'scanLogs'>,
  { keeper }: Keeper,
  scan: { vault: Uint8Array; fromBlock: number; toBlock: number; count: number; signal?: AbortSignal },
): Promise<ExitSignaturesUpdate[]> {
  const { vault, fromBlock, toBlock, count, signal } = scan
  const query = {
    address: keeper,
    event: exitSignaturesUpdatedEvent,
    topics: [null, `0x${'00'.repeat(12)}${toHex(vault).slice(2)}`],
    fromBlock,
    toBlock,
    ...(signal === undefined ? {} : { signal }),
  }
  const found: ExitSignaturesUpdate[] = []
  for await (const { logs } of execution.scanLogs(query, 'backwards')) {
    found.unshift(
      ...logs.map(({ blockNumber, args: { nonce, exitSignaturesIpfsHash } }) => ({
        blockNumber,
        nonce,
        ipfsHash: exitSignaturesIpfsHash,
      })),
    )
    if (found.length >= count) break
  }
  return found.slice(-count)
}

/** An approved update. */
export interface ApprovedUpdate {
  /** 20 bytes. */
  vault: Uint8Array
  /** Unix seconds up to which the Keeper takes it. */
  deadline: number
  ipfsHash: string
  /** As `joinSignatures` gives them. */
  signatures: Uint8Array
}

/** The calldata of `updateExitSignatures`, as hex. */
export async function encodeUpdate({ vault, deadline, ipfsHash, signatures }: ApprovedUpdate): Promise<`0x${string}`> {
  const { encodeFunctionData } = await import('../viem/utils.ts')
  return encodeFunctionData({
    abi: [updateExitSignatures],
    args: [toHex(vault), BigInt(deadline), ipfsHash, toHex(signatures)],
  })
}

/**
 * Whether the Keeper would take this calldata at a block.
 *
 * @throws {HttpError} when no node can say
 */
export async function isAccepted(
  execution: Execution,
  { keeper }: Keeper,
  data: string,
  blockHash: string,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    await execution.call({ to: keeper, data, block: blockHash, ...(signal === undefined ? {} : { signal }) })
    return true
  } catch (error) {
    // The function returns nothing, which is what acceptance looks like.
    if (error instanceof ChainError && error.code === 'EXECUTION_EMPTY') return true
    if (error instanceof ChainError && error.code === 'EXECUTION_REVERTED') return false
    throw error
  }
}

function small(value: bigint, what: string): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new ChainError('EXECUTION_INVALID', `${what} is above 2^53 - 1`)
  return number
}
