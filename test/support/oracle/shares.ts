/**
 * What an oracle checks of the shares of one exit before it approves them (docs/protocol.md#5-oracle-shares). With `eciesjs` and
 * `@noble/curves`, not with the project's own cryptography.
 */

import { bls12_381 } from '@noble/curves/bls12-381.js'
import { decrypt } from 'eciesjs'
import { verifySignature } from '../../demo/actors/oracles.ts'

const { G1 } = bls12_381

/** The shares of one exit as a request brings them, in oracle order. */
export interface ExitShards {
  /** 48 bytes. */
  publicKey: Uint8Array
  /** 48 bytes each. */
  publicKeyShards: readonly Uint8Array[]
  /** 193 bytes each. */
  exitSignatureShards: readonly Uint8Array[]
}

/** An oracle of a config: its key and its place, from 1. */
export interface Seat {
  secretKey: Uint8Array
  x: number
  oracles: number
  threshold: number
}

/**
 * What is wrong with the shares of one exit for the oracle in this seat; undefined where nothing is.
 *
 * @param root the exit's signing root
 */
export function judgeShards(seat: Seat, root: Uint8Array, shards: ExitShards): string | undefined {
  const { publicKey, publicKeyShards, exitSignatureShards } = shards
  if (publicKeyShards.length !== seat.oracles || exitSignatureShards.length !== seat.oracles)
    return `there are not ${seat.oracles} shares of each kind`
  const own = publicKeyShards[seat.x - 1] ?? new Uint8Array()
  let signature: Uint8Array
  try {
    signature = Uint8Array.from(decrypt(seat.secretKey, exitSignatureShards[seat.x - 1] ?? new Uint8Array()))
  } catch {
    return 'my share cannot be decrypted'
  }
  if (!verifySignature(signature, root, own)) return 'my share is not valid under its public key share'
  return judgeKeyShards(publicKey, publicKeyShards, seat.threshold)
}

/** What is wrong with public key shares that should need `threshold` of them to give the key; undefined where nothing is. */
function judgeKeyShards(
  publicKey: Uint8Array,
  publicKeyShards: readonly Uint8Array[],
  threshold: number,
): string | undefined {
  let points: Point[]
  try {
    points = [publicKey, ...publicKeyShards].map(readPoint)
  } catch {
    return 'a public key share is not a point of the group'
  }
  if (!isOfDegreeBelow(points, threshold)) return 'the public key shares do not give the validator key at the threshold'
  if (isOfDegreeBelow(points, threshold - 1)) return 'fewer public key shares than the threshold give the validator key'
  return undefined
}

type Point = InstanceType<typeof G1.Point>

function readPoint(bytes: Uint8Array): Point {
  const point = G1.Point.fromBytes(bytes)
  if (bytes.length !== 48 || point.is0() || !point.isTorsionFree()) throw new RangeError('not a public key')
  return point
}

/**
 * Whether the points at 0, 1 … n are f(x)·G1 with f of a degree below `k`: all their k-th differences vanish,
 *
 *     Σ_j (−1)^j · C(k, j) · P_(s + j) = 0    j = 0 … k    s = 0 … n − k
 */
function isOfDegreeBelow(points: readonly Point[], k: number): boolean {
  const binomials = Array.from({ length: k }).reduce<bigint[]>(
    (row) => [1n, ...row.slice(1).map((value, j) => value + (row[j] ?? 0n)), 1n],
    [1n],
  )
  return points.slice(k).every((_, s) =>
    binomials
      .reduce((sum, factor, j) => {
        const term = (points[s + j] ?? G1.Point.ZERO).multiplyUnsafe(factor)
        return j % 2 === 0 ? sum.add(term) : sum.subtract(term)
      }, G1.Point.ZERO)
      .is0(),
  )
}
