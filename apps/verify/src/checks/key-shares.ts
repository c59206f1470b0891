/**
 * What is wrong with a set of public key shares (docs/protocol.md#4-threshold-bls, docs/protocol.md#5-oracle-shares): all `n` must lie on
 * one polynomial of degree exactly `threshold − 1`, in the order of the oracles, whose value at 0 is the validator key.
 */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine, IndexedPoint } from '@dvt-relayer/crypto/bls/bls.ts'
import { lagrangeFactors, scaledLagrangeFactors } from '@dvt-relayer/crypto/bls/lagrange.ts'
import { subsetsToTry } from '@dvt-relayer/crypto/threshold/subsets.ts'
import { publicKeySharesFit } from '@dvt-relayer/crypto/threshold/threshold.ts'
import type { Verdict } from '../verdicts.ts'

/** All choices of 7 of 11 are 330. */
const MOST_ATTEMPTS = 400
/** Above, wrong shares are not looked for one by one. */
const MOST_LOOKED_AT = 32

export interface KeyShares {
  publicKey: Uint8Array
  threshold: number
  /** At place x − 1 the share of oracle x. */
  publicKeyShares: readonly Uint8Array[]
}

export interface KeySharesFault {
  verdict: Verdict<'verify-set'>
  message: string
  /** Places (from 1) of the shares that are wrong, where they can be told. */
  places: readonly number[]
}

const indexed = (points: readonly Uint8Array[]): IndexedPoint[] =>
  points.map((point, i) => ({ index: BigInt(i + 1), point }))

/** Whether the points lie on a polynomial of degree `threshold − 1` at most through the key. */
const fits = (engine: BlsEngine, publicKey: Uint8Array, threshold: number, points: readonly Uint8Array[]): boolean =>
  publicKeySharesFit(engine, { publicKey, threshold, shares: indexed(points) })

/** The value at 0 of the polynomial through the first `threshold` shares, undefined when it is infinity. */
function ownKey(engine: BlsEngine, { threshold, publicKeyShares }: KeyShares): Uint8Array | undefined {
  const points = publicKeyShares.slice(0, threshold)
  return engine.combinePublicKeys(points, [lagrangeFactors(points.map((_, i) => BigInt(i + 1)))])[0]
}

/**
 * What the polynomial through some `threshold` shares gives at every place, for the first such shares that give the validator key.
 * All choices are tried in one call, as sums that are infinity where they do: whole factors are small, and points are read once.
 */
function expectedPoints(engine: BlsEngine, { publicKey, threshold, publicKeyShares }: KeyShares) {
  const n = publicKeyShares.length
  if (n > MOST_LOOKED_AT) return undefined
  const choices = [
    ...subsetsToTry(
      publicKeyShares.map(() => 1),
      threshold,
      MOST_ATTEMPTS,
    ),
  ].map((picks) => picks.map(({ position }) => position).sort((a, b) => a - b))
  const rowOf = (choice: readonly number[], factors: readonly bigint[]) =>
    publicKeyShares.map((_, i) => factors[choice.indexOf(i)] ?? 0n)
  const indexesOf = (choice: readonly number[]) => choice.map((i) => BigInt(i + 1))
  const sums = engine.combinePublicKeys(
    [publicKey, ...publicKeyShares],
    choices.map((choice) => {
      const { factors, denominator } = scaledLagrangeFactors(indexesOf(choice))
      return [-denominator, ...rowOf(choice, factors)]
    }),
  )
  const base = choices.find((_, i) => sums[i] === undefined)
  if (base === undefined) return undefined
  return engine.combinePublicKeys(
    publicKeyShares,
    publicKeyShares.map((_, i) => rowOf(base, lagrangeFactors(indexesOf(base), BigInt(i + 1)))),
  )
}

/** The fault of shares that lie on no polynomial of the right degree at all. */
function misfit(engine: BlsEngine, set: KeyShares): KeySharesFault {
  const { publicKey, threshold, publicKeyShares } = set
  const n = publicKeyShares.length
  for (let needed = threshold + 1; needed <= n; needed++) {
    if (fits(engine, publicKey, needed, publicKeyShares)) {
      const message = `${needed} oracles would be needed to make the validator leave, not ${threshold}`
      return { verdict: 'degree_too_high', message, places: [] }
    }
  }
  const expected = expectedPoints(engine, set)
  const isWrong = (share: Uint8Array, i: number) => expected?.[i] === undefined || !equalBytes(share, expected[i])
  const places = expected === undefined ? [] : publicKeyShares.flatMap((share, i) => (isWrong(share, i) ? [i + 1] : []))
  if (places.length === 0) {
    const message =
      n === threshold
        ? 'the public key shares do not give the validator key; with all oracles needed it cannot be told which are wrong'
        : 'the public key shares do not lie on one polynomial through the validator key; too many are wrong to tell which'
    return { verdict: 'wrong_shares', message, places }
  }
  const texts = (points: readonly (Uint8Array | undefined)[]) =>
    places.map((place) => toHex(points[place - 1] ?? new Uint8Array())).sort()
  if (expected !== undefined && texts(expected).join() === texts(publicKeyShares).join()) {
    const message = `the public key shares at places ${places.join(', ')} stand in another order than their oracles`
    return { verdict: 'wrong_order', message, places }
  }
  const message = `the public key shares at places ${places.join(', ')} do not lie on the polynomial of the others`
  return { verdict: 'wrong_shares', message, places }
}

/**
 * Why fewer oracles than the threshold suffice although the degree is right: a share that is the validator key's own makes its oracle
 * do so alone, two that are one make each oracle count for both. An honest dealer draws neither; other relations cannot be seen.
 */
function findTwin({ publicKey, threshold, publicKeyShares }: KeyShares): KeySharesFault | undefined {
  if (threshold === 1) return undefined
  const own = publicKeyShares.findIndex((share) => equalBytes(share, publicKey))
  if (own >= 0) {
    const message = `the public key share at place ${own + 1} is the validator's own key: that oracle alone can make the validator leave`
    return { verdict: 'degree_too_low', message, places: [own + 1] }
  }
  const seen = new Map<string, number>()
  for (const [i, share] of publicKeyShares.entries()) {
    const twin = seen.get(toHex(share))
    if (twin !== undefined) {
      const message = `the oracles at places ${twin} and ${i + 1} have one share: with both places of it, ${threshold - 1} oracles suffice to make the validator leave`
      return { verdict: 'degree_too_low', message, places: [twin, i + 1] }
    }
    seen.set(toHex(share), i + 1)
  }
  return undefined
}

/** What is wrong with the set, undefined when nothing is. */
export function findKeySharesFault(engine: BlsEngine, set: KeyShares): KeySharesFault | undefined {
  const { publicKey, threshold, publicKeyShares } = set
  if (!engine.isPublicKey(publicKey))
    return { verdict: 'invalid_point', message: "the validator's public key is not a point of the group", places: [] }
  const invalid = publicKeyShares.flatMap((share, i) => (engine.isPublicKey(share) ? [] : [i + 1]))
  if (invalid.length > 0) {
    const message = `the public key shares at places ${invalid.join(', ')} are not points of the group`
    return { verdict: 'invalid_point', message, places: invalid }
  }
  const shares = indexed(publicKeyShares)
  if (publicKeySharesFit(engine, { publicKey, threshold, shares, exactDegree: true })) return findTwin(set)
  if (fits(engine, publicKey, threshold, publicKeyShares)) {
    let enough = threshold - 1
    while (enough > 1 && fits(engine, publicKey, enough - 1, publicKeyShares)) enough--
    const message = `${enough} of the oracles suffice to make the validator leave, not ${threshold}`
    return { verdict: 'degree_too_low', message, places: [] }
  }
  if (fits(engine, publicKey, threshold, publicKeyShares.toReversed())) {
    const message = 'the public key shares stand in the reverse order of the oracles'
    return { verdict: 'wrong_order', message, places: publicKeyShares.map((_, i) => i + 1) }
  }
  const own = ownKey(engine, set)
  if (publicKeyShares.length > threshold && own !== undefined && fits(engine, own, threshold, publicKeyShares)) {
    const message = `the public key shares are those of the key ${toHex(own)}, or do not count from 1`
    return { verdict: 'wrong_validator_key', message, places: [] }
  }
  return misfit(engine, set)
}
