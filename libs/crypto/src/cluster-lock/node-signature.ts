/** Signatures that a node makes with the key of its ENR, straight over a 32-byte root: of a lock, and of what `charon` posts. */

import { secp256k1 } from '@noble/curves/secp256k1.js'

/**
 * The compressed key (33 bytes) whose signature r ++ s ++ v over a 32-byte digest this is, undefined when it is nobody's. v is 0 or 1, or
 * 27 or 28.
 */
export function recoverNodeKey(signature: Uint8Array, digest: Uint8Array): Uint8Array | undefined {
  try {
    return parseNodeSignature(signature)?.recoverPublicKey(digest).toBytes(true)
  } catch {
    // r is no x coordinate: not a signature.
    return undefined
  }
}

/** Whether 65 bytes may be a signature of anything: v is one of the four, r and s are in range. Costs next to nothing. */
export const isNodeSignature = (signature: Uint8Array): boolean => parseNodeSignature(signature) !== undefined

function parseNodeSignature(signature: Uint8Array) {
  const v = signature[64] ?? -1
  const recovery = v >= 27 ? v - 27 : v
  if (recovery !== 0 && recovery !== 1) return undefined
  try {
    return secp256k1.Signature.fromBytes(signature.subarray(0, 64), 'compact').addRecoveryBit(recovery)
  } catch {
    return undefined
  }
}
