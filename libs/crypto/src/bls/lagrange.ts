/** Lagrange factors over the BLS scalar field (docs/protocol.md#4-threshold-bls, docs/protocol.md#11-obol). */

import { CryptoError } from '../errors.ts'
import { bitLength, GROUP_ORDER, invertOrder, modOrder } from './scalar.ts'

/**
 * Refuses share indexes that no sharing has: none at all, 0 modulo r (it is the secret itself), two equal modulo r.
 *
 * @throws {CryptoError} SHARES_TOO_FEW, SHARE_INDEX_ZERO, SHARE_INDEX_DUPLICATE
 */
function assertShareIndexes(indexes: readonly bigint[]): void {
  if (indexes.length === 0) throw new CryptoError('SHARES_TOO_FEW', 'no shares')
  const seen = new Set<bigint>()
  for (const index of indexes) {
    const reduced = modOrder(index)
    if (reduced === 0n) throw new CryptoError('SHARE_INDEX_ZERO', 'a share index is zero')
    if (seen.has(reduced)) throw new CryptoError('SHARE_INDEX_DUPLICATE', 'a share index occurs twice')
    seen.add(reduced)
  }
}

/** Numerators and denominators of the Lagrange factors; `%` keeps the sign, so those of small indexes stay small and exact. */
function lagrangeFractions(indexes: readonly bigint[], at: bigint): { numerator: bigint; denominator: bigint }[] {
  return indexes.map((x, i) => {
    let [numerator, denominator] = [1n, 1n]
    indexes.forEach((other, j) => {
      if (i === j) return
      numerator = (numerator * (at - other)) % GROUP_ORDER
      denominator = (denominator * (x - other)) % GROUP_ORDER
    })
    return { numerator, denominator }
  })
}

/**
 * Lagrange factors: the value at `at` of the polynomial of degree `indexes.length − 1` is `Σ λ_i · f(x_i)`.
 *
 *     λ_i = Π_{j ≠ i} (at − x_j) / (x_i − x_j)   (mod r)
 *
 * Those of consecutive indexes are small whole numbers (1, 2, 3 → 3, −3, 1; negative ones as r − 3).
 *
 * @throws {CryptoError} SHARES_TOO_FEW, SHARE_INDEX_ZERO, SHARE_INDEX_DUPLICATE
 * @see RFC 9591, section 4.2
 */
export function lagrangeFactors(indexes: readonly bigint[], at = 0n): bigint[] {
  assertShareIndexes(indexes)
  const reduced = indexes.map(modOrder)
  const fractions = lagrangeFractions(reduced, modOrder(at))
  // One inversion for all: products of the denominators before each, walked back from the inverse of the whole product.
  const before = [1n]
  for (const { denominator } of fractions) before.push(((before.at(-1) ?? 1n) * denominator) % GROUP_ORDER)
  let inverse = invertOrder(before.at(-1) ?? 1n)
  const factors: bigint[] = []
  for (let i = fractions.length - 1; i >= 0; i--) {
    const { numerator = 0n, denominator = 1n } = fractions[i] ?? {}
    factors[i] = modOrder(numerator * ((inverse * (before[i] ?? 1n)) % GROUP_ORDER))
    inverse = (inverse * denominator) % GROUP_ORDER
  }
  return factors
}

const absolute = (value: bigint): bigint => (value < 0n ? -value : value)
const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? absolute(a) : gcd(b, a % b))

/**
 * Whole numbers proportional to the Lagrange factors at 0: `denominator · S = Σ factors_i · S_i`. A multiple of the signature is as
 * good for a check (under the same multiple of the key) and needs a tenth of the additions where indexes are small.
 *
 * @throws {CryptoError} SHARES_TOO_FEW, SHARE_INDEX_ZERO, SHARE_INDEX_DUPLICATE
 */
export function scaledLagrangeFactors(indexes: readonly bigint[]): { factors: bigint[]; denominator: bigint } {
  assertShareIndexes(indexes)
  // Products are exact only while none has been reduced, and worth it only while they are shorter than r.
  const bits = indexes.reduce((most, index) => Math.max(most, bitLength(index)), 0) + 1
  if (bits * (indexes.length - 1) > 120) return { factors: lagrangeFactors(indexes), denominator: 1n }
  const fractions = lagrangeFractions(indexes, 0n)
  const denominator = fractions.reduce((lcm, fraction) => {
    const lowest = absolute(fraction.denominator) / gcd(fraction.numerator, fraction.denominator)
    return (lcm * lowest) / gcd(lcm, lowest)
  }, 1n)
  const factors = fractions.map((fraction) => (denominator * fraction.numerator) / fraction.denominator)
  return [...factors, denominator].some((factor) => bitLength(factor) > 200)
    ? { factors: lagrangeFactors(indexes), denominator: 1n }
    : { factors, denominator }
}

/** Binomial coefficients C(k, 0) … C(k, k). */
function binomials(k: number): bigint[] {
  const row = [1n]
  for (let j = 1; j <= k; j++) row.push(((row[j - 1] ?? 0n) * BigInt(k - j + 1)) / BigInt(j))
  return row
}

/**
 * The vanishing k-th difference of a polynomial of degree k − 1 at whole numbers, solved for its last value:
 *
 *     f(x + k) = Σ_{j < k} factors_j · f(x + j)        factors_j = (−1)^(k − j + 1) · C(k, j)
 */
export function nextValueFactors(k: number): bigint[] {
  return binomials(k)
    .slice(0, k)
    .map((binomial, j) => ((k - j) % 2 === 1 ? binomial : -binomial))
}
