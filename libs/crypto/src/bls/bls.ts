/**
 * One interface to BLS12-381 signatures of the proof-of-possession suite; only bytes cross it.
 *
 * Public keys are 48-byte compressed points of G1, signatures 96-byte compressed points of G2, secret keys 32 bytes big-endian,
 * messages any bytes (here: 32-byte signing roots). Every operation that takes points "from outside" (all but `combine*` and
 * `verifyCombined`) refuses other lengths, points off the curve, outside the subgroup, and infinity (docs/protocol.md#3-messages,
 * docs/protocol.md#17-traps).
 */

/** The hash-to-curve tag. Libraries default to the `_NUL_` one. */
export const BLS_DST = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'

export const SECRET_KEY_BYTES = 32
export const PUBLIC_KEY_BYTES = 48
export const SIGNATURE_BYTES = 96

/** A signature and what it should be of. */
export interface SignedMessage {
  publicKey: Uint8Array
  message: Uint8Array
  signature: Uint8Array
}

/** A point at a share index. */
export interface IndexedPoint {
  index: bigint
  point: Uint8Array
}

/** Signatures of one message, each under the public key at its position. */
export interface SignatureGroup {
  message: Uint8Array
  publicKeys: readonly Uint8Array[]
  signatures: readonly Uint8Array[]
}

/** One row of factors: `row[i]` multiplies point i, and past the points, the results of earlier rows. */
export type FactorRow = readonly bigint[]

export interface BlsEngine {
  readonly name: 'blst' | 'noble'

  /** The public key of a secret key. @throws {CryptoError} SCALAR_INVALID when it is not of 1 … r − 1 */
  publicKeyOf(secretKey: Uint8Array): Uint8Array
  /** `secretKey · H(message)`. Constant time in blst. @throws {CryptoError} SCALAR_INVALID */
  sign(secretKey: Uint8Array, message: Uint8Array): Uint8Array
  /** Whether the signature is the key's on the message; false for malformed points too. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
  /**
   * A verdict for each triple. Triples are checked together by a random linear combination (error 2^-64), those of one message at
   * the price of one pairing; when a batch fails it is halved until the bad ones are named: k bad of n cost about 2·k·log n checks.
   */
  verifyBatch(triples: readonly SignedMessage[]): boolean[]
  /**
   * Whether the signature is the sum of everybody's signatures on one message. Proves possession to nobody: keys that were not
   * proven can cancel each other. False for no keys and for malformed points.
   */
  verifyAggregate(publicKeys: readonly Uint8Array[], message: Uint8Array, signature: Uint8Array): boolean
  /** Whether the bytes are a public key: compressed, on the curve, in the subgroup, not infinity. */
  isPublicKey(bytes: Uint8Array): boolean
  /** Whether the bytes are a signature: compressed, on the curve, in the subgroup, not infinity. */
  isSignature(bytes: Uint8Array): boolean

  /**
   * Interpolates the polynomial through partial signatures.
   *
   *     S = Σ λ_i · S_i        λ_i = Π_{j ≠ i} (at − x_j) / (x_i − x_j)   (mod r)
   *
   * Any set of points gives *a* point of the group, right or wrong: the caller verifies it.
   *
   * @param shares 96-byte compressed G2 points by share index (1-based; SSV indexes have gaps)
   * @param at where to evaluate, 0n for the full signature
   * @throws {CryptoError} SHARES_TOO_FEW, SHARE_INDEX_ZERO, SHARE_INDEX_DUPLICATE, POINT_INVALID, POINT_INFINITE (the result)
   * @see RFC 9591, section 4.2; draft-irtf-cfrg-bls-signature-05
   */
  interpolateSignatures(shares: readonly IndexedPoint[], at?: bigint): Uint8Array
  /** The same for public key shares: 48-byte compressed G1 points. */
  interpolatePublicKeys(shares: readonly IndexedPoint[], at?: bigint): Uint8Array
  /** The sum of signatures. @throws {CryptoError} SHARES_TOO_FEW, POINT_INVALID, POINT_INFINITE (the sum) */
  addSignatures(points: readonly Uint8Array[]): Uint8Array
  /** The sum of public keys. @throws {CryptoError} SHARES_TOO_FEW, POINT_INVALID, POINT_INFINITE (the sum) */
  addPublicKeys(points: readonly Uint8Array[]): Uint8Array

  /**
   * Linear combinations of points, one for each row: `Σ row[i] · point_i`; factors past the points multiply the results of earlier
   * rows, so a recurrence is one call. Small factors (positive or negative) cost additions only. Time depends on the factors: they
   * must be public. Points must be on the curve; the subgroup is *not* checked: results are to be verified, or the points our own.
   *
   * @returns for each row the point, undefined when it is infinity
   * @throws {CryptoError} POINT_INVALID
   */
  combineSignatures(points: readonly Uint8Array[], rows: readonly FactorRow[]): (Uint8Array | undefined)[]
  /** The same for public keys. */
  combinePublicKeys(points: readonly Uint8Array[], rows: readonly FactorRow[]): (Uint8Array | undefined)[]
  /**
   * Whether in each group every signature verifies under its key: one pairing a group, by a combination with distinct small factors
   * ({@link combinationFactors}). A guard against faults, not against forgers: whoever chooses two signatures can have their errors
   * cancel. For sets this process made itself: the subgroup is checked of the combination only.
   */
  verifyCombined(groups: readonly SignatureGroup[]): boolean[]
}
