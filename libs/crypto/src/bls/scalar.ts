/** Numbers of the BLS12-381 scalar field. */

import { randomBytes } from 'node:crypto'
import { CryptoError } from '../errors.ts'

/** r: the order of G1 and G2. */
export const GROUP_ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n
const HALF_ORDER = GROUP_ORDER >> 1n

/** The remainder of 0 … r − 1. */
export function modOrder(value: bigint): bigint {
  const remainder = value % GROUP_ORDER
  return remainder < 0n ? remainder + GROUP_ORDER : remainder
}

/** The representative with the smallest absolute value: −r/2 … r/2. Lagrange factors of small indexes become small again. */
export function signedOrder(value: bigint): bigint {
  if (value <= HALF_ORDER && value >= -HALF_ORDER) return value
  const remainder = modOrder(value)
  return remainder > HALF_ORDER ? remainder - GROUP_ORDER : remainder
}

/** 1 / value (mod r), by the extended Euclidean algorithm; for public numbers. @throws {CryptoError} SCALAR_INVALID for 0 */
export function invertOrder(value: bigint): bigint {
  let [a, b, x, y] = [modOrder(value), GROUP_ORDER, 1n, 0n]
  if (a === 0n) throw new CryptoError('SCALAR_INVALID', 'zero has no inverse')
  while (a > 1n) {
    const quotient = b / a
    ;[a, b, x, y] = [b - quotient * a, a, y - quotient * x, x]
  }
  return modOrder(x)
}

/** 32 big-endian bytes of a number of 0 … r − 1. */
export function scalarBytes(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'))
}

/** The number of big-endian bytes. */
export function bytesToNumber(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
}

/** The number of bits of a number's absolute value. */
export function bitLength(value: bigint): number {
  return value === 0n ? 0 : (value < 0n ? -value : value).toString(2).length
}

/** Uniform bytes: `node:crypto`'s `randomBytes`, or a source of known bytes in tests. */
export type RandomBytes = (length: number) => Uint8Array

const ORDER_BYTES = scalarBytes(GROUP_ORDER)

/**
 * A uniform scalar of 1 … r − 1 as 32 bytes: 255 random bits, drawn again when they are 0 or not below r (about one time in ten).
 * No arithmetic touches the value.
 */
export function randomScalarBytes(random: RandomBytes = randomBytes): Uint8Array {
  for (;;) {
    const bytes = Uint8Array.from(random(32))
    bytes[0] = (bytes[0] ?? 0) & 0x7f
    if (Buffer.compare(bytes, ORDER_BYTES) < 0 && bytes.some((byte) => byte !== 0)) return bytes
  }
}
