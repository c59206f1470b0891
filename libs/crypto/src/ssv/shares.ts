/**
 * What an SSV registration says of one validator: the owner's signature, each operator's public key share and its encrypted key
 * share (docs/protocol.md#12-ssv). Anybody can put any bytes on the chain, so every fault is a value.
 */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { checksumAddress } from '../address.ts'
import { type BlsEngine, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from '../bls/bls.ts'
import { publicKeySharesFit } from '../threshold/threshold.ts'
import type { OperatorKey } from './operator-key.ts'

/** The sizes of SSV clusters. */
const SSV_CLUSTER_SIZES: readonly number[] = [4, 7, 10, 13]
/** A ciphertext of RSA-2048. */
export const ENCRYPTED_KEY_SHARE_BYTES = 256
const SHARE_BYTES = PUBLIC_KEY_BYTES + ENCRYPTED_KEY_SHARE_BYTES
/** The longest shares data: 13 operators. */
export const MAX_SHARES_DATA_BYTES = SIGNATURE_BYTES + 13 * SHARE_BYTES

export type SharesFaultKind =
  /** Not 4, 7, 10 or 13 operators. */
  | 'operator_count'
  /** An operator id that is no share index, or ids that do not ascend strictly. */
  | 'operator_ids'
  | 'length'
  /** The validator key or a public key share is not a valid point. */
  | 'point'
  /** The public key shares do not share the validator key with the threshold of their number. */
  | 'polynomial'
  /** The validator key has not signed this owner and nonce: an impostor, or a node that left events out. */
  | 'owner_signature'

/** Why shares cannot be used. `reason` completes "the shares …". */
export interface SharesFault {
  fault: SharesFaultKind
  reason: string
}

/** One operator's part. */
export interface SsvShare {
  /** The share index. */
  operatorId: number
  /** 48 bytes. */
  publicKeyShare: Uint8Array
  /** 256 bytes, for the operator's key; noise is possible. */
  encryptedKeyShare: Uint8Array
}

/** The parts of a registration's `shares`, which are views of `bytes`. */
export interface SharesData {
  bytes: Uint8Array
  /** 96 bytes: see {@link verifyOwnerSignature}. */
  ownerSignature: Uint8Array
  threshold: number
  /** In the order of the operator ids. */
  shares: readonly SsvShare[]
}

/** The threshold of an SSV cluster: n − ⌊(n − 1) / 3⌋. */
export function ssvThreshold(operators: number): number {
  return operators - Math.floor((operators - 1) / 3)
}

/**
 * Takes `shares` apart; points and signature are not looked at yet: see {@link verifyShares}.
 *
 *     96 signature ++ 48·n public key shares ++ 256·n encrypted key shares
 *
 * @param operatorIds as the event or file has them, in its order
 */
export function parseSharesData(bytes: Uint8Array, operatorIds: readonly number[]): SharesData | SharesFault {
  const n = operatorIds.length
  if (!SSV_CLUSTER_SIZES.includes(n))
    return { fault: 'operator_count', reason: `are of ${n} operators, must be of 4, 7, 10 or 13` }
  if (!operatorIds.every((id) => Number.isSafeInteger(id) && id >= 1))
    return { fault: 'operator_ids', reason: 'are of an operator id that is not from 1 to 2^53 - 1' }
  if (!operatorIds.every((id, position) => id > (operatorIds[position - 1] ?? 0)))
    return { fault: 'operator_ids', reason: 'are of operator ids that do not ascend' }
  const expected = SIGNATURE_BYTES + n * SHARE_BYTES
  if (bytes.length !== expected)
    return { fault: 'length', reason: `have ${bytes.length} bytes, must have ${expected} for ${n} operators` }
  const ciphertexts = SIGNATURE_BYTES + n * PUBLIC_KEY_BYTES
  const part = (start: number, length: number, position: number) =>
    bytes.subarray(start + position * length, start + (position + 1) * length)
  return {
    bytes,
    ownerSignature: bytes.subarray(0, SIGNATURE_BYTES),
    threshold: ssvThreshold(n),
    shares: operatorIds.map((operatorId, position) => ({
      operatorId,
      publicKeyShare: part(SIGNATURE_BYTES, PUBLIC_KEY_BYTES, position),
      encryptedKeyShare: part(ciphertexts, ENCRYPTED_KEY_SHARE_BYTES, position),
    })),
  }
}

/** Who has registered a validator, and how often before. */
export interface OwnerSignature {
  /** 20 bytes. */
  ownerAddress: Uint8Array
  /** Number of the owner's earlier `ValidatorAdded` events, malformed ones included. */
  nonce: number
  /** 48 bytes. */
  publicKey: Uint8Array
  /** 96 bytes. */
  signature: Uint8Array
}

/**
 * Whether the validator key has signed that this owner registers it: BLS over keccak256 of the text `<address>:<nonce>`, the address in
 * EIP-55 letter case, the nonce decimal. It is what tells the owner of a key from an impostor.
 */
export function verifyOwnerSignature(
  engine: Pick<BlsEngine, 'verify'>,
  { ownerAddress, nonce, publicKey, signature }: OwnerSignature,
): boolean {
  const text = `${checksumAddress(ownerAddress)}:${nonce}`
  return engine.verify(publicKey, keccak_256(new TextEncoder().encode(text)), signature)
}

/** A registration whose shares have the right form. */
export interface SharesOfOwner extends Omit<OwnerSignature, 'signature'> {
  data: SharesData
}

/**
 * Verifies a registration: every point, the public key shares on one polynomial of degree threshold − 1 (no lower) through the validator
 * key, and the owner's signature. About 6 ms. The ciphertexts are each operator's own to check.
 *
 * Who can sign with the validator key can make any such set: it is as trustworthy as the owner is.
 *
 * @returns the first fault, undefined when there is none
 */
export function verifyShares(
  engine: BlsEngine,
  { ownerAddress, nonce, publicKey, data }: SharesOfOwner,
): SharesFault | undefined {
  const shares = data.shares.map(({ operatorId, publicKeyShare }) => ({
    index: BigInt(operatorId),
    point: publicKeyShare,
  }))
  if (!publicKeySharesFit(engine, { publicKey, threshold: data.threshold, shares, exactDegree: true })) {
    if (!engine.isPublicKey(publicKey)) return { fault: 'point', reason: 'are of a key that is no BLS public key' }
    const wrong = data.shares.find(({ publicKeyShare }) => !engine.isPublicKey(publicKeyShare))
    return wrong === undefined
      ? { fault: 'polynomial', reason: `do not belong to the validator key with threshold ${data.threshold}` }
      : { fault: 'point', reason: `have a public key share of operator ${wrong.operatorId} that is no BLS public key` }
  }
  return verifyOwnerSignature(engine, { ownerAddress, nonce, publicKey, signature: data.ownerSignature })
    ? undefined
    : { fault: 'owner_signature', reason: `are not signed by the validator key for this owner and nonce ${nonce}` }
}

/**
 * Decrypts an operator's own share, which must have the public key share beside it.
 *
 * @returns the 32-byte secret key share; undefined for every failure alike: noise, another operator's share, another key's secret
 */
export function openKeyShare(
  engine: Pick<BlsEngine, 'publicKeyOf'>,
  operatorKey: Pick<OperatorKey, 'decryptKeyShare'>,
  { encryptedKeyShare, publicKeyShare }: Pick<SsvShare, 'encryptedKeyShare' | 'publicKeyShare'>,
): Uint8Array | undefined {
  const secret = operatorKey.decryptKeyShare(encryptedKeyShare)
  if (secret !== undefined && equalBytes(engine.publicKeyOf(secret), publicKeyShare)) return secret
  secret?.fill(0)
  return undefined
}
