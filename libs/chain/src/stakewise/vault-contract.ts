/**
 * The vault contract: the nonce that a validators-manager's signature counts, who that manager is, and which validators the vault has
 * registered as type 0x02 (docs/protocol.md#10-manager-signature, docs/protocol.md#14-chain-calls).
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { ChainError } from '../errors.ts'
import type { ExecutionClient } from '../execution/execution.ts'
import { Bytes } from '../execution/json-rpc.ts'
import { readContract } from '../execution/read-contract.ts'

const validatorsManagerNonce = {
  type: 'function',
  name: 'validatorsManagerNonce',
  stateMutability: 'view',
  inputs: [],
  outputs: [{ name: 'nonce', type: 'uint256' }],
} as const

const validatorsManager = {
  type: 'function',
  name: 'validatorsManager',
  stateMutability: 'view',
  inputs: [],
  outputs: [{ name: 'manager', type: 'address' }],
} as const

const v2Validators = {
  type: 'function',
  name: 'v2Validators',
  stateMutability: 'view',
  inputs: [{ name: 'publicKeyHash', type: 'bytes32' }],
  outputs: [{ name: 'isRegistered', type: 'bool' }],
} as const

const isValidSignature = {
  type: 'function',
  name: 'isValidSignature',
  stateMutability: 'view',
  inputs: [
    { name: 'hash', type: 'bytes32' },
    { name: 'signature', type: 'bytes' },
  ],
  outputs: [{ name: 'magic', type: 'bytes4' }],
} as const

/** What a contract answers that accepts a signature: the selector of `isValidSignature` in a word of its own (ERC-1271). */
const ACCEPTED = `0x1626ba7e${'00'.repeat(28)}`

/** One vault at one block. */
interface VaultPlace {
  /** 20 bytes. */
  vault: Uint8Array
  blockHash: string
  signal?: AbortSignal | undefined
}

/**
 * The vault's `validatorsManagerNonce()` at a block. It grows with every signature the vault accepts, registrations included.
 *
 * @param vault 20 bytes
 * @throws {ChainError} EXECUTION_REVERTED or EXECUTION_EMPTY when it is no vault that counts; EXECUTION_INVALID; {HttpError}
 */
export function readManagerNonce(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  vault: Uint8Array,
  blockHash: string,
  signal?: AbortSignal,
): Promise<bigint> {
  return readContract(execution, validatorsManagerNonce, { address: vault, block: blockHash, signal })
}

/**
 * The vault's `validatorsManager()` at a block, checksummed; zero where it has none.
 *
 * @returns undefined when no contract there can say: there is none, or a vault of an old version
 * @throws {ChainError} EXECUTION_INVALID; {HttpError}
 */
export function readValidatorsManager(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  { vault, blockHash, signal }: VaultPlace,
): Promise<`0x${string}` | undefined> {
  return unlessUnable(readContract(execution, validatorsManager, { address: vault, block: blockHash, signal }))
}

/**
 * Whether the vault has registered this key as type 0x02, or switched it: it funds no other, and takes others into no other.
 *
 * @param publicKey 48 bytes
 * @returns undefined when no contract there can say: there is none, or a vault of an old version
 * @throws {ChainError} EXECUTION_INVALID; {HttpError}
 */
export async function readIsRegisteredCompounding(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  { vault, blockHash, signal }: VaultPlace,
  publicKey: Uint8Array,
): Promise<boolean | undefined> {
  const { keccak256 } = await import('../viem/utils.ts')
  const place = { address: vault, block: blockHash, signal }
  return unlessUnable(readContract(execution, v2Validators, place, keccak256(publicKey)))
}

/** Whether there is code at an address at a block, be it a delegation (EIP-7702). @throws {ChainError} EXECUTION_REFUSED; {HttpError} */
export async function hasCode(
  execution: Pick<ExecutionClient, 'request'>,
  address: string,
  { blockHash, signal }: Pick<VaultPlace, 'blockHash' | 'signal'>,
): Promise<boolean> {
  const at = { blockHash, requireCanonical: true }
  return (await execution.request('eth_getCode', [address, at], Bytes(), signal)) !== '0x'
}

/**
 * Whether a contract accepts a signature as its own (ERC-1271), as a vault asks it.
 *
 * @param contract 20 bytes
 * @param signed a 32-byte digest, and the signature of it
 * @throws {HttpError}
 */
export async function acceptsSignature(
  execution: Pick<ExecutionClient, 'call'>,
  contract: Uint8Array,
  { digest, signature }: { digest: Uint8Array; signature: Uint8Array },
  { blockHash, signal }: Pick<VaultPlace, 'blockHash' | 'signal'>,
): Promise<boolean> {
  const { encodeFunctionData } = await import('../viem/utils.ts')
  const data = encodeFunctionData({ abi: [isValidSignature], args: [toHex(digest), toHex(signature)] })
  const call = { to: contract, data, block: blockHash, ...(signal === undefined ? {} : { signal }) }
  // Vaults look at the first word alone.
  const answer = await unlessUnable(execution.call(call))
  return answer !== undefined && toHex(answer.subarray(0, 32)) === ACCEPTED
}

/** Undefined where the contract reverts, or there is none. */
async function unlessUnable<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    if (error instanceof ChainError && ['EXECUTION_REVERTED', 'EXECUTION_EMPTY'].includes(error.code)) return undefined
    throw error
  }
}
