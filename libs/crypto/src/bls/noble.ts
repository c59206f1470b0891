/** The independent second implementation, on @noble/curves: thirty times slower, for tests and cross-checks. */

import { bls12_381 } from '@noble/curves/bls12-381.js'
import { CryptoError } from '../errors.ts'
import { BLS_DST, type BlsEngine, type FactorRow, PUBLIC_KEY_BYTES, SECRET_KEY_BYTES, SIGNATURE_BYTES } from './bls.ts'
import { combinationFactors, createPointOperations, type PointGroup, pointInvalid } from './points.ts'
import { bytesToNumber, GROUP_ORDER, signedOrder } from './scalar.ts'

const { G1, G2, longSignatures } = bls12_381

interface NoblePoint<P> {
  add(other: P): P
  negate(): P
  multiplyUnsafe(scalar: bigint): P
  is0(): boolean
  isTorsionFree(): boolean
  toBytes(isCompressed?: boolean): Uint8Array
}

function createGroup<P extends NoblePoint<P>>(
  length: number,
  curve: { ZERO: P; fromBytes(bytes: Uint8Array): P },
): PointGroup<P> {
  const parse = (bytes: Uint8Array): P => {
    if (bytes.length !== length) throw pointInvalid()
    try {
      return curve.fromBytes(bytes)
    } catch (error) {
      throw pointInvalid(error)
    }
  }
  const multiply = (point: P, factor: bigint): P => {
    const signed = signedOrder(factor)
    return signed < 0n ? point.multiplyUnsafe(-signed).negate() : point.multiplyUnsafe(signed)
  }
  return {
    parse,
    parseChecked(bytes) {
      const point = parse(bytes)
      if (point.is0() || !point.isTorsionFree()) throw pointInvalid()
      return point
    },
    encode: (point) => (point.is0() ? undefined : point.toBytes(true)),
    combine(points, rows: readonly FactorRow[]) {
      if (points.length === 0) throw new CryptoError('SHARES_TOO_FEW', 'no points to combine')
      const all = [...points]
      return rows.map((row) => {
        const result = row.reduce((sum, factor, i) => {
          const point = all[i]
          if (point === undefined) throw new TypeError('more factors than points')
          return sum.add(multiply(point, factor))
        }, curve.ZERO)
        all.push(result)
        return result
      })
    },
  }
}

/** The engine on @noble/curves. Secret keys are not handled in constant time. */
export function createNobleEngine(): BlsEngine {
  const keys = createGroup(PUBLIC_KEY_BYTES, G1.Point)
  const signatures = createGroup(SIGNATURE_BYTES, G2.Point)
  const keyOperations = createPointOperations(keys)
  const signatureOperations = createPointOperations(signatures)
  const hashed = (message: Uint8Array) => longSignatures.hash(message, BLS_DST)

  /** noble reduces a secret key that is not below the group order: refused here. */
  const checkedSecretKey = (secretKey: Uint8Array): Uint8Array => {
    const number = bytesToNumber(secretKey)
    if (secretKey.length === SECRET_KEY_BYTES && number > 0n && number < GROUP_ORDER) return secretKey
    throw new CryptoError('SCALAR_INVALID', 'a secret key must be 32 bytes, above zero and below the group order')
  }
  const verify: BlsEngine['verify'] = (publicKey, message, signature) => {
    try {
      return longSignatures.verify(signatures.parseChecked(signature), hashed(message), keys.parseChecked(publicKey))
    } catch {
      return false
    }
  }

  return {
    name: 'noble',
    publicKeyOf: (secretKey) => longSignatures.getPublicKey(checkedSecretKey(secretKey)).toBytes(true),
    sign: (secretKey, message) => longSignatures.sign(hashed(message), checkedSecretKey(secretKey)).toBytes(true),
    verify,
    verifyBatch: (triples) => triples.map(({ publicKey, message, signature }) => verify(publicKey, message, signature)),
    verifyAggregate(publicKeys, message, signature) {
      try {
        const key = publicKeys.reduce((sum, bytes) => sum.add(keys.parseChecked(bytes)), G1.Point.ZERO)
        return !key.is0() && longSignatures.verify(signatures.parseChecked(signature), hashed(message), key)
      } catch {
        return false
      }
    },
    isPublicKey: keyOperations.isPoint,
    isSignature: signatureOperations.isPoint,
    interpolateSignatures: signatureOperations.interpolate,
    interpolatePublicKeys: keyOperations.interpolate,
    addSignatures: signatureOperations.add,
    addPublicKeys: keyOperations.add,
    combineSignatures: signatureOperations.combine,
    combinePublicKeys: keyOperations.combine,
    verifyCombined: (groups) =>
      groups.map((group) => {
        if (group.publicKeys.length === 0 || group.publicKeys.length !== group.signatures.length) return false
        const row = combinationFactors(group.publicKeys.length)
        try {
          const [publicKey] = keyOperations.combine(group.publicKeys, [row])
          const [signature] = signatureOperations.combine(group.signatures, [row])
          return publicKey !== undefined && signature !== undefined && verify(publicKey, group.message, signature)
        } catch {
          return false
        }
      }),
  }
}
