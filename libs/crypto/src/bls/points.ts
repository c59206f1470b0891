/** What both engines do alike with the points of one group, given how a group reads, writes and adds them. */

import { CryptoError } from '../errors.ts'
import type { FactorRow, IndexedPoint } from './bls.ts'
import { lagrangeFactors } from './lagrange.ts'

/** One of G1 and G2 in an engine's own representation `P`. */
export interface PointGroup<P> {
  /** A point of the curve, infinity included; the subgroup is not checked. @throws {CryptoError} POINT_INVALID */
  parse(bytes: Uint8Array): P
  /** A point of the subgroup, not infinity. @throws {CryptoError} POINT_INVALID */
  parseChecked(bytes: Uint8Array): P
  /** The compressed encoding, undefined for infinity. */
  encode(point: P): Uint8Array | undefined
  /** `Σ rows[j][i] · point_i` for each row, with earlier results after the points. */
  combine(points: readonly P[], rows: readonly FactorRow[]): P[]
}

export interface PointOperations {
  isPoint(bytes: Uint8Array): boolean
  interpolate(shares: readonly IndexedPoint[], at?: bigint): Uint8Array
  add(points: readonly Uint8Array[]): Uint8Array
  combine(points: readonly Uint8Array[], rows: readonly FactorRow[]): (Uint8Array | undefined)[]
}

/** The small primes in the cofactors of G1 (3, 11) and of G2 (13, 23); the others have more than three digits. */
const SMALL_COFACTOR_PRIMES = [3n, 11n, 13n, 23n]

/**
 * The factors of `verifyCombined`: 1, 2, 4, 5, 7, 8, 10, 14 … Whole numbers, positive and distinct, so that a single error, the same
 * error everywhere, and two errors that are equal or opposite never cancel; none is a multiple of the order of a small point outside
 * the subgroup, so such a point never vanishes (docs/decisions/0012-crypto-shortcuts.md).
 */
export function combinationFactors(count: number): bigint[] {
  const factors: bigint[] = []
  for (let factor = 1n; factors.length < count; factor++)
    if (SMALL_COFACTOR_PRIMES.every((prime) => factor % prime !== 0n)) factors.push(factor)
  return factors
}

/** The error of every malformed point: it says nothing of the bytes. */
export function pointInvalid(cause?: unknown): CryptoError {
  return new CryptoError('POINT_INVALID', 'not a compressed point of the group', { cause })
}

/** The operations of {@link PointOperations} on bytes. */
export function createPointOperations<P>(group: PointGroup<P>): PointOperations {
  const sum = (points: readonly P[], row: FactorRow): Uint8Array => {
    const [result] = group.combine(points, [row]).map((point) => group.encode(point))
    if (result === undefined) throw new CryptoError('POINT_INFINITE', 'the sum of the points is infinity')
    return result
  }
  return {
    isPoint(bytes) {
      try {
        group.parseChecked(bytes)
        return true
      } catch {
        return false
      }
    },
    interpolate(shares, at = 0n) {
      const factors = lagrangeFactors(
        shares.map(({ index }) => index),
        at,
      )
      return sum(
        shares.map(({ point }) => group.parseChecked(point)),
        factors,
      )
    },
    add(points) {
      if (points.length === 0) throw new CryptoError('SHARES_TOO_FEW', 'no points to add')
      return sum(
        points.map((point) => group.parseChecked(point)),
        points.map(() => 1n),
      )
    },
    combine: (points, rows) =>
      group
        .combine(
          points.map((point) => group.parse(point)),
          rows,
        )
        .map((point) => group.encode(point)),
  }
}
