/**
 * What is wrong with a set of public key shares (protocol, sections 4 and 5): all `n` must lie on one polynomial of degree exactly
 * `threshold − 1`, in the order of the oracles, whose value at 0 is the validator key.
 */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine, IndexedPoint } from '@dvt-relayer/crypto/bls.ts'
import { subsetsToTry } from '@dvt-relayer/crypto/subsets.ts'
import { publicKeySharesFit } from '@dvt-relayer/crypto/threshold.ts'
import type { Verdict } from './verdicts.ts'

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

/** The value of the polynomial through the shares, undefined when it is infinity. */
function valueAt(engine: BlsEngine, shares: readonly IndexedPoint[], at: bigint): Uint8Array | undefined {
  try {
    return engine.interpolatePublicKeys(shares, at)
  } catch {
    return undefined
  }
}

/** What the polynomial through some `threshold` shares and the validator key gives at every place, if some such shares give the key. */
function expectedPoints(engine: BlsEngine, { publicKey, threshold, publicKeyShares }: KeyShares) {
  if (publicKeyShares.length > MOST_LOOKED_AT) return undefined
  const all = indexed(publicKeyShares)
  const counts = all.map(() => 1)
  for (const picks of subsetsToTry(counts, threshold, MOST_ATTEMPTS)) {
    const base = picks.flatMap(({ place }) => all[place] ?? [])
    const key = valueAt(engine, base, 0n)
    if (key !== undefined && equalBytes(key, publicKey))
      return all.map(({ index, point }) =>
        base.some((share) => share.index === index) ? point : valueAt(engine, base, index),
      )
  }
  return undefined
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
  if (publicKeySharesFit(engine, { publicKey, threshold, shares, exactDegree: true })) return undefined
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
  const own = valueAt(engine, shares.slice(0, threshold), 0n)
  if (publicKeyShares.length > threshold && own !== undefined && fits(engine, own, threshold, publicKeyShares)) {
    const message = `the public key shares are those of the key ${toHex(own)}, or do not count from 1`
    return { verdict: 'wrong_validator_key', message, places: [] }
  }
  return misfit(engine, set)
}
