/** The signing root of an exit, worked out here once more: what the demo verifies owes nothing to the code that it shows. */

import { createHash } from 'node:crypto'

const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()

function uint64Chunk(value: number): Buffer {
  const chunk = Buffer.alloc(32)
  chunk.writeBigUInt64LE(BigInt(value))
  return chunk
}

/**
 * `signing_root = H(H(epoch ++ validator_index) ++ domain)`,
 * `domain = 0x04000000 ++ H(capella_fork_version ++ genesis_validators_root)[0:28]`; each value padded to 32 bytes.
 *
 * @see protocol section 3; EIP-7044
 */
export function exitRoot(
  network: { capellaForkVersion: Uint8Array; genesisValidatorsRoot: Uint8Array },
  exit: { epoch: number; validatorIndex: number },
): Uint8Array {
  const forkRoot = sha256(network.capellaForkVersion, Buffer.alloc(28), network.genesisValidatorsRoot)
  const domain = Buffer.concat([Buffer.from('04000000', 'hex'), forkRoot.subarray(0, 28)])
  return sha256(sha256(uint64Chunk(exit.epoch), uint64Chunk(exit.validatorIndex)), domain)
}
