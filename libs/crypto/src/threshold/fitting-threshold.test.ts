import { describe, expect, it } from 'vitest'
import { createBlstEngine } from '../bls/blst.ts'
import { modOrder, scalarBytes } from '../bls/scalar.ts'
import { findFittingThreshold } from './fitting-threshold.ts'

const engine = createBlstEngine()
const message = Buffer.alloc(32, 9)
const noise = engine.sign(new Uint8Array(32).fill(5), message)

interface Cluster {
  /** What the validator key was split with. */
  truth: number
  stated: number
  /** Nodes that have sent something. */
  sent: number
}
/** What is found where the nodes of a cluster have sent right shares, but for those that `change` puts in their place. */
function find({ truth, stated, sent }: Cluster, isFound: boolean, change: [bigint, Uint8Array[]][] = []) {
  const coefficients = Array.from({ length: truth }, (_, i) => modOrder(BigInt(i + 2) ** 31n + 12345n))
  const at = (x: number) =>
    scalarBytes(coefficients.reduceRight((sum, coefficient) => modOrder(sum * BigInt(x) + coefficient), 0n))
  const right = Array.from(
    { length: sent },
    (_, i) => [BigInt(i + 1), [engine.sign(at(i + 1), message)]] as [bigint, readonly Uint8Array[]],
  )
  const publicKey = engine.publicKeyOf(at(0))
  const candidates = new Map(right.toReversed())
  for (const [index, listed] of change) candidates.set(index, listed)
  return findFittingThreshold(engine, { message, publicKey, threshold: stated, candidates, maxAttempts: 1 }, isFound)
}

describe('the threshold that fits instead of the stated one', () => {
  it.each([
    [3, 2, 7, 3],
    [4, 2, 7, 4],
    [7, 2, 7, 7],
    [8, 2, 7, undefined],
  ])('is above one that gave nothing: truly %i, stated %i, of %i nodes', (truth, stated, sent, fitting) => {
    expect(find({ truth, stated, sent }, false)).toBe(fitting)
  })

  it('is none at or below one that gave nothing', () => {
    expect(find({ truth: 3, stated: 4, sent: 4 }, false)).toBeUndefined()
    expect(find({ truth: 3, stated: 5, sent: 7 }, false)).toBe(6)
  })

  it.each([
    [3, 4, 7, 3],
    [3, 6, 7, 3],
    [1, 2, 7, 1],
    [1, 4, 7, 1],
    [3, 3, 7, undefined],
    [1, 1, 7, undefined],
  ])('is below one that gave the signature: truly %i, stated %i, of %i nodes', (truth, stated, sent, fitting) => {
    expect(find({ truth, stated, sent }, true)).toBe(fitting)
  })

  it.each([
    [3, 5, 4, 3],
    [3, 5, 3, 3],
    [1, 2, 1, 1],
    [3, 5, 2, undefined],
    [3, 5, 0, undefined],
  ])('is one that fewer shares than stated give: truly %i, stated %i, of %i nodes', (truth, stated, sent, fitting) => {
    expect(find({ truth, stated, sent }, false)).toBe(fitting)
  })

  it('is told by the first candidates at the lowest indexes', () => {
    const cluster = { truth: 3, stated: 2, sent: 7 }
    expect(find(cluster, false, [[7n, [noise]]])).toBe(3)
    expect(find(cluster, false, [[1n, [noise]]])).toBeUndefined()
    expect(find(cluster, false, [[8n, []]])).toBe(3)
    // What is no signature at all is passed over.
    expect(find(cluster, false, [[1n, [new Uint8Array(96)]]])).toBe(3)
  })

  it('is looked for in as many shares as the largest cluster has', () => {
    expect(find({ truth: 13, stated: 9, sent: 14 }, false)).toBe(13)
    expect(find({ truth: 14, stated: 9, sent: 14 }, false)).toBeUndefined()
  })
})
