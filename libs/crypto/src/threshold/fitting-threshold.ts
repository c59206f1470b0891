/**
 * Which threshold partial signatures fit, where the one that was stated is another: for a message to a person. Nothing is accepted, and
 * nothing is signed, by what it says.
 */

import type { BlsEngine, IndexedPoint } from '../bls/bls.ts'
import { givesSignature, type RecoverRequest } from './recover.ts'

/** No usual cluster has more nodes; each size is one attempt of about 2 ms. */
const MOST_SHARES = 13

/**
 * The smallest number of shares that gives a signature of the key, other than the stated threshold. Fewer than the true threshold give
 * none, that many and more right ones do; so sizes above are tried where `isFound` is false (the stated one gave none), and sizes below
 * where it is true, or where there are fewer shares than stated. Only first candidates at the lowest indexes are looked at: with a wrong one among them there is no answer.
 */
export function findFittingThreshold(engine: BlsEngine, request: RecoverRequest, isFound: boolean): number | undefined {
  const { threshold, candidates } = request
  const shares = [...candidates]
    .flatMap(([index, [point]]): IndexedPoint[] => (point === undefined ? [] : [{ index, point }]))
    .sort((a, b) => (a.index < b.index ? -1 : 1))
    .filter(({ point }) => engine.isSignature(point))
    .slice(0, MOST_SHARES)
  const fits = (size: number) => givesSignature(engine, request, shares.slice(0, size))
  const descend = (from: number): number => {
    let smallest = from
    while (smallest > 1 && fits(smallest - 1)) smallest--
    return smallest
  }
  if (shares.length < threshold) return shares.length > 0 && fits(shares.length) ? descend(shares.length) : undefined
  if (!isFound) {
    for (let size = threshold + 1; size <= shares.length; size++) if (fits(size)) return size
    return undefined
  }
  const smallest = descend(threshold)
  return smallest === threshold ? undefined : smallest
}
