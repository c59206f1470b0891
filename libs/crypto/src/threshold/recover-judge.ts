/** Judging candidates by the polynomial through some of them. */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine, IndexedPoint } from '../bls/bls.ts'
import { lagrangeFactors } from '../bls/lagrange.ts'
import { bitLength, signedOrder } from '../bls/scalar.ts'

/** Indexes that are looked at, lowest first; no cluster has more nodes. Candidates beyond are neither right nor wrong: `unjudged`. */
export const LOOKED_AT_INDEXES = 256

/** A partial signature that somebody sent for a share index. */
export interface Candidate {
  index: bigint
  signature: Uint8Array
}

/** Factors by indexes and place: the validators of a batch have the same clusters. */
export type FactorsOf = (indexes: readonly bigint[], at: bigint) => bigint[]

/** Lowest index first. */
export const ascending = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0)

/** Lagrange factors that are computed once for a batch. */
export function rememberingFactors(): FactorsOf {
  const known = new Map<string, bigint[]>()
  return (indexes, at) => {
    const key = `${indexes.join()}@${at}`
    let factors = known.get(key)
    if (factors === undefined) {
      factors = lagrangeFactors(indexes, at)
      // Indexes come from outside: what is remembered stays small.
      if (known.size < 1024) known.set(key, factors)
    }
    return factors
  }
}

/** Of right shares, the neighbours whose interpolation needs the fewest steps: consecutive indexes have small factors. */
export function cheapestBase(shares: readonly IndexedPoint[], threshold: number, factorsOf: FactorsOf): IndexedPoint[] {
  const sorted = [...shares].sort((a, b) => ascending(a.index, b.index))
  let best = { bits: Number.POSITIVE_INFINITY, base: sorted.slice(0, threshold) }
  for (let start = 0; start + threshold <= sorted.length; start++) {
    const base = sorted.slice(start, start + threshold)
    const factors = factorsOf(
      base.map(({ index }) => index),
      0n,
    )
    const bits = Math.max(...factors.map((factor) => bitLength(signedOrder(factor))))
    if (bits < best.bits) best = { bits, base }
  }
  return best.base
}

/** What a base says of every candidate. */
export interface Judged {
  /** The value at 0, undefined for infinity. */
  signature: Uint8Array | undefined
  right: Map<bigint, Uint8Array>
  wrong: Candidate[]
  unjudged: Candidate[]
}

/** The value at 0 of the polynomial through `base`; undefined for infinity. Points are not checked for the subgroup. */
export function valueAtZero(
  engine: BlsEngine,
  base: readonly IndexedPoint[],
  factorsOf: FactorsOf,
): Uint8Array | undefined {
  const indexes = base.map(({ index }) => index)
  return engine.combineSignatures(
    base.map(({ point }) => point),
    [factorsOf(indexes, 0n)],
  )[0]
}

/**
 * Interpolates `base` at 0, unless its value there is known, and at every candidate's index: a candidate that is not the value there is
 * wrong. True as far as the base is. Points are not checked for the subgroup.
 */
export function judge(
  engine: BlsEngine,
  candidates: ReadonlyMap<bigint, readonly Uint8Array[]>,
  base: readonly IndexedPoint[],
  factorsOf: FactorsOf,
  signature: Uint8Array | undefined = valueAtZero(engine, base, factorsOf),
): Judged {
  const inBase = new Map(base.map(({ index, point }) => [index, point]))
  const sorted = [...candidates.keys()].sort(ascending)
  const others = sorted.filter((index) => !inBase.has(index)).slice(0, LOOKED_AT_INDEXES)
  const indexes = [...inBase.keys()]
  const values = engine.combineSignatures(
    [...inBase.values()],
    others.map((at) => factorsOf(indexes, at)),
  )
  const valueAt = new Map([...inBase, ...others.map((index, i) => [index, values[i]] as const)])
  const judged: Judged = { signature, right: new Map(), wrong: [], unjudged: [] }
  for (const [index, listed] of candidates) {
    const value = valueAt.get(index)
    for (const candidate of listed) {
      if (!valueAt.has(index)) judged.unjudged.push({ index, signature: candidate })
      else if (value !== undefined && equalBytes(candidate, value)) judged.right.set(index, candidate)
      else judged.wrong.push({ index, signature: candidate })
    }
  }
  return judged
}
