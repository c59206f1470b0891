/** The receipt of a set of oracle shares: who made, handed on or got it can compare what they have. */

import { sha256 } from '@noble/hashes/sha2.js'
import { CryptoError } from '../errors.ts'

const TAG = new TextEncoder().encode('dvt-relayer/oracle-shares/v1')
const LENGTHS = { publicKey: 48, signingRoot: 32, oracle: 65, publicKeyShare: 48, ciphertext: 193 } as const

/** What a receipt is of. Lists are in oracle order. */
export interface ShareSet {
  /** Validator public key, 48 bytes. */
  publicKey: Uint8Array
  epoch: number
  validatorIndex: number
  /** Of the exit, 32 bytes. */
  signingRoot: Uint8Array
  threshold: number
  /** 65 bytes each, uncompressed. */
  oracles: readonly Uint8Array[]
  /** 48 bytes each. */
  publicKeyShares: readonly Uint8Array[]
  /** 193 bytes each. */
  ciphertexts: readonly Uint8Array[]
}

/**
 * The receipt of a share set, 32 bytes:
 *
 *     SHA-256("dvt-relayer/oracle-shares/v1" ++ public key (48) ++ epoch (8) ++ validator index (8) ++ signing root (32)
 *             ++ threshold (4) ++ n (4) ++ n oracle public keys (65) ++ n public key shares (48) ++ n ciphertexts (193))
 *
 * Integers are big-endian. Every part has a fixed length once n is known, so two different sets never give the same bytes.
 *
 * @throws {CryptoError} LENGTH_INVALID for a part of another length, or lists of different lengths
 */
export function shareReceipt(set: ShareSet): Uint8Array {
  const { oracles, publicKeyShares, ciphertexts } = set
  const isWhole =
    set.publicKey.length === LENGTHS.publicKey &&
    set.signingRoot.length === LENGTHS.signingRoot &&
    publicKeyShares.length === oracles.length &&
    ciphertexts.length === oracles.length &&
    oracles.every((key) => key.length === LENGTHS.oracle) &&
    publicKeyShares.every((share) => share.length === LENGTHS.publicKeyShare) &&
    ciphertexts.every((ciphertext) => ciphertext.length === LENGTHS.ciphertext)
  if (!isWhole) throw new CryptoError('LENGTH_INVALID', 'a part of a share set does not have its length')
  const numbers = new DataView(new ArrayBuffer(24))
  numbers.setBigUint64(0, BigInt(set.epoch))
  numbers.setBigUint64(8, BigInt(set.validatorIndex))
  numbers.setUint32(16, set.threshold)
  numbers.setUint32(20, oracles.length)
  const bytes = new Uint8Array(numbers.buffer)
  const hash = sha256.create().update(TAG).update(set.publicKey).update(bytes.subarray(0, 16)).update(set.signingRoot)
  hash.update(bytes.subarray(16))
  for (const part of [...oracles, ...publicKeyShares, ...ciphertexts]) hash.update(part)
  return hash.digest()
}
