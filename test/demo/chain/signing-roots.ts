/** The signing roots of exits and deposits, worked out here once more: what the demo verifies owes nothing to the code that it shows. */

import { createHash } from 'node:crypto'

export interface Deposit {
  publicKey: Uint8Array
  withdrawalCredentials: Uint8Array
  amountGwei: bigint
}

const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()
const zeros = (bytes: number) => Buffer.alloc(bytes)

function uint64Chunk(value: bigint): Buffer {
  const chunk = zeros(32)
  chunk.writeBigUInt64LE(value)
  return chunk
}

/** `H(object_root ++ domain_type ++ H(fork_version ++ genesis_validators_root)[0:28])`, the fork version padded to 32 bytes. */
function signingRoot(objectRoot: Uint8Array, domainType: string, forkVersion: Uint8Array, genesisRoot: Uint8Array) {
  const forkRoot = sha256(forkVersion, zeros(28), genesisRoot)
  return sha256(objectRoot, Buffer.from(domainType, 'hex'), forkRoot.subarray(0, 28))
}

/**
 * The signing root of a VoluntaryExit: `object_root = H(epoch ++ validator_index)`, each padded to 32 bytes.
 *
 * @see docs/protocol.md#3-messages; EIP-7044
 */
export function exitRoot(
  network: { capellaForkVersion: Uint8Array; genesisValidatorsRoot: Uint8Array },
  exit: { epoch: number; validatorIndex: number },
): Uint8Array {
  const objectRoot = sha256(uint64Chunk(BigInt(exit.epoch)), uint64Chunk(BigInt(exit.validatorIndex)))
  return signingRoot(objectRoot, '04000000', network.capellaForkVersion, network.genesisValidatorsRoot)
}

/**
 * The signing root of a DepositMessage: `object_root = H(H(H(pubkey) ++ withdrawal_credentials) ++ H(amount ++ 0))`, the key and
 * the amount padded to 64 and 32 bytes.
 *
 * @see docs/protocol.md#3-messages
 */
export function depositRoot(network: { genesisForkVersion: Uint8Array }, deposit: Deposit): Uint8Array {
  const keyRoot = sha256(deposit.publicKey, zeros(16))
  const amountRoot = sha256(uint64Chunk(deposit.amountGwei), zeros(32))
  const objectRoot = sha256(sha256(keyRoot, deposit.withdrawalCredentials), amountRoot)
  return signingRoot(objectRoot, '03000000', network.genesisForkVersion, zeros(32))
}
