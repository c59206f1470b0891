/**
 * What an oracle signs for the Keeper (EIP-712, docs/protocol.md#16-rotation), and the signatures as the Keeper takes them.
 *
 *     digest = keccak256(0x1901 ++ domain separator ++ struct hash)
 *     domain = {name: "KeeperOracles", version: "1", chainId, verifyingContract: keeper}
 *
 * Two structs share the name `KeeperValidators`: one for a rotation, one for a registration.
 */

import { equalBytes, fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { ChainError } from '../errors.ts'
import type { Network } from '../networks.ts'

/** What the oracles approve of a rotation. */
export interface RotationApproval {
  /** 20 bytes. */
  vault: Uint8Array
  ipfsHash: string
  /** `exitSignaturesNonces(vault)`. */
  nonce: number
  /** Unix seconds. */
  deadline: number
}

/** What the oracles approve of a registration. */
export interface RegistrationApproval {
  /** 32 bytes: the deposit contract's root. */
  validatorsRegistryRoot: Uint8Array
  /** 20 bytes. */
  vault: Uint8Array
  validators: Uint8Array
  ipfsHash: string
  /** Unix seconds. */
  deadline: number
}

type Keeper = Pick<Network, 'chainId' | 'keeper'>

const ROTATION_TYPES = {
  KeeperValidators: [
    { name: 'vault', type: 'address' },
    { name: 'exitSignaturesIpfsHash', type: 'string' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
  ],
} as const

const REGISTRATION_TYPES = {
  KeeperValidators: [
    { name: 'validatorsRegistryRoot', type: 'bytes32' },
    { name: 'vault', type: 'address' },
    { name: 'validators', type: 'bytes' },
    { name: 'exitSignaturesIpfsHash', type: 'string' },
    { name: 'deadline', type: 'uint256' },
  ],
} as const

const domainOf = ({ chainId, keeper }: Keeper) =>
  ({ name: 'KeeperOracles', version: '1', chainId, verifyingContract: toHex(keeper) }) as const

/** The 32-byte digest an oracle signs for `KeeperValidators(address vault,string exitSignaturesIpfsHash,uint256 nonce,uint256 deadline)`. */
export async function rotationDigest(network: Keeper, approval: RotationApproval): Promise<Uint8Array> {
  const { hashTypedData } = await import('../viem/utils.ts')
  const digest = hashTypedData({
    domain: domainOf(network),
    types: ROTATION_TYPES,
    primaryType: 'KeeperValidators',
    message: {
      vault: toHex(approval.vault),
      exitSignaturesIpfsHash: approval.ipfsHash,
      nonce: BigInt(approval.nonce),
      deadline: BigInt(approval.deadline),
    },
  })
  return fromHex(digest, 32)
}

/**
 * The 32-byte digest an oracle signs for a registration: `KeeperValidators(bytes32 validatorsRegistryRoot,address vault,bytes validators,…)`.
 *
 * @internal the operator asks for it, not the relayer
 */
export async function registrationDigest(network: Keeper, approval: RegistrationApproval): Promise<Uint8Array> {
  const { hashTypedData } = await import('../viem/utils.ts')
  const digest = hashTypedData({
    domain: domainOf(network),
    types: REGISTRATION_TYPES,
    primaryType: 'KeeperValidators',
    message: {
      validatorsRegistryRoot: toHex(approval.validatorsRegistryRoot),
      vault: toHex(approval.vault),
      validators: toHex(approval.validators),
      exitSignaturesIpfsHash: approval.ipfsHash,
      deadline: BigInt(approval.deadline),
    },
  })
  return fromHex(digest, 32)
}

/** One oracle's approval: its address (20 bytes) and its 65-byte signature. */
export interface OracleSignature {
  address: Uint8Array
  signature: Uint8Array
}

/**
 * The signatures as the Keeper takes them: exactly `count`, in ascending order of oracle address, concatenated.
 *
 * @throws {ChainError} APPROVALS_INVALID for fewer than `count`, an address twice, a signature of another length
 */
export function joinSignatures(approvals: readonly OracleSignature[], count: number): Uint8Array {
  const sorted = [...approvals].sort((a, b) => Buffer.compare(a.address, b.address))
  const isTwice = sorted.some(({ address }, position) => equalBytes(address, sorted[position + 1]?.address ?? EMPTY))
  if (count < 1 || sorted.length < count || isTwice || sorted.some(({ signature }) => signature.length !== 65))
    throw new ChainError('APPROVALS_INVALID', `these are not signatures of ${count} oracles`)
  return new Uint8Array(Buffer.concat(sorted.slice(0, count).map(({ signature }) => signature)))
}
const EMPTY = new Uint8Array()
