/**
 * Splitting an exit signature into one share for each oracle (docs/protocol.md#5-oracle-shares).
 *
 *     S_x = S + b_x · H(m)    P_x = P + b_x · G1    b_x = Σ_{j = 1 … k−1} a_j · x^j    x = 1 … n
 *
 * `b_x · H(m)` is a signature by the scalar `b_x`, so no multiplication of foreign points is needed. A polynomial of degree k − 1 that is 0 at 0
 * is given by its values at 1 … k − 1 as well as by its coefficients: uniform values are uniform coefficients, and nothing is computed on
 * secret numbers. Scalars are fresh for each call and are never stored.
 */

import { randomBytes } from 'node:crypto'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine, FactorRow } from '../bls/bls.ts'
import { nextValueFactors } from '../bls/lagrange.ts'
import { modOrder, type RandomBytes, randomScalarBytes, scalarBytes } from '../bls/scalar.ts'
import { CryptoError } from '../errors.ts'
import { ownPublicKeySharesFit } from '../threshold/threshold.ts'

export interface SplitRequest {
  /** The exit's signing root. */
  message: Uint8Array
  /** The full exit signature, already verified. */
  signature: Uint8Array
  publicKey: Uint8Array
  /** k: `exit_signature_recover_threshold`. */
  threshold: number
  /** n. */
  oracles: number
}

/** Shares in oracle order: the share of oracle x stands at position x − 1. */
export interface OracleShares {
  publicKeyShares: Uint8Array[]
  signatureShares: Uint8Array[]
}

/** A split that must be tried again with other scalars: a `b_x` is 0 or a share is infinity (probability about n/r). */
class UnusableScalars extends Error {}

function assertSizes({ threshold, oracles }: SplitRequest): void {
  if (!Number.isInteger(threshold) || !Number.isInteger(oracles) || threshold < 1 || threshold > oracles) {
    throw new CryptoError('SHARE_SET_INVALID', 'the threshold must be a whole number of 1 to the number of oracles', {
      meta: { threshold, oracles },
    })
  }
}

/** Values b_1 … b_count of the polynomial with the given coefficients a_1 … a_(k−1). */
function blindingValues(coefficients: readonly bigint[], count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => {
    const x = BigInt(i + 1)
    const value = coefficients.reduceRight((sum, coefficient) => modOrder((sum + coefficient) * x), 0n)
    if (value === 0n) throw new UnusableScalars()
    return scalarBytes(value)
  })
}

function present(points: readonly (Uint8Array | undefined)[]): Uint8Array[] {
  return points.map((point) => {
    if (point === undefined) throw new UnusableScalars()
    return point
  })
}

/** Rows over [base, blind_1 … blind_count]: the first shares are base + blind_x, further ones follow from the k before. */
function shareRows(count: number, threshold: number, oracles: number): FactorRow[] {
  const blinded = Array.from({ length: count }, (_, i) => [
    1n,
    ...Array.from({ length: count }, (_, j) => (i === j ? 1n : 0n)),
  ])
  const factors = nextValueFactors(threshold)
  const followers = Array.from({ length: oracles - count }, (_, i) => {
    // f(x) from f(x − k) … f(x − 1), where f(0) is the base and f(x) for x ≥ 1 the result of row x − 1.
    const first = count + 1 + i - threshold
    const row = Array.from({ length: 2 * count + 1 + i }, () => 0n)
    factors.forEach((factor, j) => {
      row[first + j === 0 ? 0 : count + first + j] = factor
    })
    return row
  })
  return [...blinded, ...followers]
}

/** Shares from the blinding values at 1 … blinds.length; the rest, if any, by the vanishing k-th difference. */
function sharesFrom(engine: BlsEngine, request: SplitRequest, blinds: readonly Uint8Array[]): OracleShares {
  const rows = shareRows(blinds.length, request.threshold, request.oracles)
  const signatures = blinds.map((blind) => engine.sign(blind, request.message))
  const keys = blinds.map((blind) => engine.publicKeyOf(blind))
  return {
    publicKeyShares: present(engine.combinePublicKeys([request.publicKey, ...keys], rows)),
    signatureShares: present(engine.combineSignatures([request.signature, ...signatures], rows)),
  }
}

/**
 * The split with given coefficients a_1 … a_(k−1), for vectors and cross-checks: `plain` makes n blinded shares by n multiplications, `fast`
 * only k − 1 and the rest by additions. Both give the same bytes.
 *
 * @throws {CryptoError} SHARE_SET_INVALID for a threshold that is not of 1 … n, another number of coefficients, or coefficients that
 *   make a share its own base or infinity; POINT_INVALID
 * @internal
 */
export function splitWithCoefficients(
  engine: BlsEngine,
  request: SplitRequest & { coefficients: readonly bigint[]; path: 'plain' | 'fast' },
): OracleShares {
  assertSizes(request)
  const { coefficients, threshold, oracles, path } = request
  if (coefficients.length !== threshold - 1) {
    throw new CryptoError('SHARE_SET_INVALID', 'a split needs threshold − 1 coefficients', { meta: { threshold } })
  }
  try {
    // All n values, so that both paths refuse the same coefficients.
    const blinds = threshold === 1 ? [] : blindingValues(coefficients, oracles)
    return sharesFrom(engine, request, path === 'plain' ? blinds : blinds.slice(0, threshold - 1))
  } catch (error) {
    if (!(error instanceof UnusableScalars)) throw error
    throw new CryptoError('SHARE_SET_INVALID', 'these coefficients give a share that is infinity or not blinded')
  }
}

/**
 * Splits an exit signature for `n` oracles, any `k` of which can recover it, with fresh uniform scalars: k − 1 multiplications in each group,
 * the other n − k + 1 shares by additions.
 *
 * @throws {CryptoError} SHARE_SET_INVALID for a threshold that is not of 1 … n; POINT_INVALID
 */
export function splitExitSignature(engine: BlsEngine, request: SplitRequest & { random?: RandomBytes }): OracleShares {
  assertSizes(request)
  const { threshold, signature, random = randomBytes } = request
  for (;;) {
    try {
      const blinds = Array.from({ length: threshold - 1 }, () => randomScalarBytes(random))
      const shares = sharesFrom(engine, request, blinds)
      // b_x = 0 for some x would hand that oracle the full signature.
      if (threshold === 1 || !shares.signatureShares.some((share) => equalBytes(share, signature))) return shares
    } catch (error) {
      if (!(error instanceof UnusableScalars)) throw error
    }
  }
}

/** A set of oracle shares to be checked before it is stored. */
export interface ShareSet extends OracleShares {
  message: Uint8Array
  publicKey: Uint8Array
  threshold: number
}

/**
 * Whether each set of shares, made by this process, is what its oracles need:
 *
 * - the public key shares lie on one polynomial of degree k − 1 through the public key;
 * - each signature share verifies under its public key share, so that any k of them give the exit signature;
 * - below the full threshold (k > 1) no share is the public key itself.
 *
 * A guard against faults, not against forgers: see `verifyCombined`. One pairing a set, all sets in one check.
 */
export function verifyShareSets(engine: BlsEngine, sets: readonly ShareSet[]): boolean[] {
  const verified = engine.verifyCombined(
    sets.map(({ message, publicKeyShares, signatureShares }) => ({
      message,
      publicKeys: publicKeyShares,
      signatures: signatureShares,
    })),
  )
  return sets.map((set, i) => verified[i] === true && keySharesFit(engine, set))
}

function keySharesFit(engine: BlsEngine, { publicKey, threshold, publicKeyShares }: ShareSet): boolean {
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > publicKeyShares.length) return false
  if (threshold > 1 && publicKeyShares.some((share) => equalBytes(share, publicKey))) return false
  try {
    const shares = publicKeyShares.map((point, i) => ({ index: BigInt(i + 1), point }))
    return ownPublicKeySharesFit(engine, { publicKey, threshold, shares })
  } catch {
    return false
  }
}
