/**
 * Whether public key shares belong to a key: Shamir sharing over the BLS scalar field (docs/protocol.md#4-threshold-bls,
 * docs/protocol.md#11-obol).
 */

import { randomBytes } from 'node:crypto'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine, FactorRow, IndexedPoint } from '../bls/bls.ts'
import { lagrangeFactors, nextValueFactors } from '../bls/lagrange.ts'
import { bytesToNumber, invertOrder, modOrder, type RandomBytes, randomScalarBytes } from '../bls/scalar.ts'

/** Rows that are zero on the values at 0, 1 … n of every polynomial of degree k − 1, and all zero on no others. */
function differenceRows(n: number, k: number): bigint[][] {
  const row = [...nextValueFactors(k), -1n]
  return Array.from({ length: n + 1 - k }, (_, shift) => [...Array.from({ length: shift }, () => 0n), ...row])
}

/**
 * One row that is zero on the values at the given places of every polynomial of degree k − 1, and on others with probability 1/r:
 *
 *     Σ v_i · q(x_i) · f(x_i) = 0        v_i = Π_{j ≠ i} 1 / (x_i − x_j)        q random of degree N − k − 1
 *
 * @see Cascudo, David: SCRAPE (2017), section 2.1: q(x_i)·v_i runs through the dual of the Reed-Solomon code
 */
function randomParityRow(positions: readonly bigint[], k: number, random: RandomBytes): bigint[] {
  const coefficients = Array.from({ length: positions.length - k }, () => bytesToNumber(randomScalarBytes(random)))
  return positions.map((x, i) => {
    const q = coefficients.reduce((value, coefficient) => modOrder(value * x + coefficient), 0n)
    const product = positions.reduce((value, other, j) => (i === j ? value : modOrder(value * (x - other))), 1n)
    return modOrder(q * invertOrder(product))
  })
}

/**
 * Rows of factors over the key (first) and the shares (in their order) that all give infinity when the shares lie on one polynomial
 * of degree threshold − 1 through the key. Differences where the indexes are 1 … n and that is cheap, else a random parity check.
 */
function parityRows(indexes: readonly bigint[], threshold: number, random: RandomBytes): FactorRow[] {
  const n = indexes.length
  const consecutive = indexes.every((index, i) => index === BigInt(i + 1))
  const differenceBits = (n + 1 - threshold) * threshold
  if (consecutive && differenceBits < 255) return differenceRows(n, threshold)
  return [randomParityRow([0n, ...indexes.map(modOrder)], threshold, random)]
}

/** Public key shares and the key that they should share. */
export interface PublicKeyShares {
  publicKey: Uint8Array
  threshold: number
  shares: readonly IndexedPoint[]
}

/** As {@link publicKeySharesFit}, for points known to be valid and indexes known to be distinct: made by this process. */
export function ownPublicKeySharesFit(
  engine: BlsEngine,
  { publicKey, threshold, shares }: PublicKeyShares,
  random: RandomBytes = randomBytes,
): boolean {
  const rows = parityRows(
    shares.map(({ index }) => index),
    threshold,
    random,
  )
  return engine
    .combinePublicKeys([publicKey, ...shares.map(({ point }) => point)], rows)
    .every((result) => result === undefined)
}

/**
 * Whether all `n` public key shares lie on one polynomial of degree `threshold − 1` whose value at 0 is the public key.
 *
 * Necessary, not sufficient: anybody can make such a set for any key (docs/protocol.md#17-traps, trap 3).
 *
 * @param input.exactDegree also refuse a lower degree: shares 1 … threshold − 1 alone must not give the key, or fewer than declared can sign
 * @returns false for invalid points or indexes, and for a threshold that is not of 1 … n
 */
export function publicKeySharesFit(
  engine: BlsEngine,
  input: PublicKeyShares & { exactDegree?: boolean },
  random: RandomBytes = randomBytes,
): boolean {
  const { publicKey, threshold, shares, exactDegree = false } = input
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > shares.length) return false
  const reduced = new Set(shares.map(({ index }) => modOrder(index)))
  if (reduced.size !== shares.length || reduced.has(0n)) return false
  if (!engine.isPublicKey(publicKey) || !shares.every(({ point }) => engine.isPublicKey(point))) return false
  if (!ownPublicKeySharesFit(engine, input, random)) return false
  if (!exactDegree || threshold === 1) return true
  const fewer = shares.slice(0, threshold - 1)
  const factors = lagrangeFactors(fewer.map(({ index }) => index))
  const [result] = engine.combinePublicKeys(
    fewer.map(({ point }) => point),
    [factors],
  )
  return result === undefined || !equalBytes(result, publicKey)
}
