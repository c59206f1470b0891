/** What oracles sign for the Keeper (docs/protocol.md#16-rotation), made by viem, and how many signatures become one approval. */

import type { Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { concatHex } from 'viem/utils'

/** Where a signature counts: the Keeper of one chain. */
export interface KeeperDomain {
  chainId: number
  keeper: Hex
}

/** An update of a vault's exit signatures. */
export interface UpdateMessage {
  vault: Hex
  ipfsHash: string
  nonce: number
  /** Unix seconds. */
  deadline: number
}

/** A registration; `validators` as the vault gets it. */
export interface RegistrationMessage {
  root: Hex
  vault: Hex
  validators: Hex
  ipfsHash: string
  /** Unix seconds. */
  deadline: number
}

/** The name and version under which oracles sign; tests make wrong ones. */
const NAME = { name: 'KeeperOracles', version: '1' }

/** An oracle's signature of an update: 65 bytes. */
export function signUpdate(
  privateKey: Hex,
  { chainId, keeper }: KeeperDomain,
  { vault, ipfsHash, nonce, deadline }: UpdateMessage,
  name: { name: string; version: string } = NAME,
): Promise<Hex> {
  return privateKeyToAccount(privateKey).signTypedData({
    domain: { ...name, chainId, verifyingContract: keeper },
    types: {
      KeeperValidators: [
        { name: 'vault', type: 'address' },
        { name: 'exitSignaturesIpfsHash', type: 'string' },
        { name: 'nonce', type: 'uint256' },
        { name: 'deadline', type: 'uint256' },
      ],
    },
    primaryType: 'KeeperValidators',
    message: { vault, exitSignaturesIpfsHash: ipfsHash, nonce: BigInt(nonce), deadline: BigInt(deadline) },
  })
}

/** An oracle's signature of a registration: 65 bytes. */
export function signRegistration(
  privateKey: Hex,
  { chainId, keeper }: KeeperDomain,
  { root, vault, validators, ipfsHash, deadline }: RegistrationMessage,
): Promise<Hex> {
  return privateKeyToAccount(privateKey).signTypedData({
    domain: { ...NAME, chainId, verifyingContract: keeper },
    types: {
      KeeperValidators: [
        { name: 'validatorsRegistryRoot', type: 'bytes32' },
        { name: 'vault', type: 'address' },
        { name: 'validators', type: 'bytes' },
        { name: 'exitSignaturesIpfsHash', type: 'string' },
        { name: 'deadline', type: 'uint256' },
      ],
    },
    primaryType: 'KeeperValidators',
    message: {
      validatorsRegistryRoot: root,
      vault,
      validators,
      exitSignaturesIpfsHash: ipfsHash,
      deadline: BigInt(deadline),
    },
  })
}

/** An oracle's signature of consolidations, `validators` as the vault gets them: 65 bytes. */
export function signConsolidation(
  privateKey: Hex,
  { chainId, checker }: { chainId: number; checker: Hex },
  { vault, validators }: Pick<RegistrationMessage, 'vault' | 'validators'>,
): Promise<Hex> {
  return privateKeyToAccount(privateKey).signTypedData({
    domain: { name: 'ConsolidationsChecker', version: '1', chainId, verifyingContract: checker },
    types: {
      ConsolidationsChecker: [
        { name: 'vault', type: 'address' },
        { name: 'validators', type: 'bytes' },
      ],
    },
    primaryType: 'ConsolidationsChecker',
    message: { vault, validators },
  })
}

/** One signature and whose it is. */
export interface Signed {
  oracle: Hex
  signature: Hex
}

/** The first `count` of these signatures as the Keeper takes them: in ascending order of their oracles. */
export function joinSignatures(signed: readonly Signed[], count: number): Hex {
  const ascending = signed.slice(0, count).sort((a, b) => (BigInt(a.oracle) < BigInt(b.oracle) ? -1 : 1))
  return concatHex(ascending.map(({ signature }) => signature))
}
