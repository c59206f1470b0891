/** The points of one group in blst: reading them once, adding, negating, and multiplying by public numbers. */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { CryptoError } from '../errors.ts'
import type { FactorRow } from './bls.ts'
import { type PointGroup, pointInvalid } from './points.ts'
import { signedOrder } from './scalar.ts'

/** A point of the binding. */
export interface Encoded {
  toBytes(compressed?: boolean): Uint8Array
}

/** How blst reads and adds the points of one group. */
export interface BlstGroup<P extends Encoded> {
  length: number
  fromBytes(bytes: Uint8Array, checked: boolean): P
  aggregate(points: P[]): P
}

/** A parsed point, and whether it is known to be in the subgroup and not infinity. */
export interface Parsed<P> {
  point: P
  checked: boolean
}

/** First byte of the compressed encoding of infinity. */
const INFINITY_FLAGS = 0xc0
/** Set in the first byte of the uncompressed encoding of infinity. */
const INFINITY_FLAG = 0x40
const FIELD_BYTES = 48
const FIELD_MODULUS =
  0x1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaabn

/** The point with −y: from the uncompressed encoding, whose second half is y, since reading it takes no square root. */
function negate<P extends Encoded>(group: BlstGroup<P>, point: P): P {
  const bytes = Buffer.from(point.toBytes(false))
  if (((bytes[0] ?? 0) & INFINITY_FLAG) !== 0) return point
  for (let start = bytes.length / 2; start < bytes.length; start += FIELD_BYTES) {
    const y = BigInt(`0x${bytes.toString('hex', start, start + FIELD_BYTES)}`)
    if (y !== 0n) bytes.write((FIELD_MODULUS - y).toString(16).padStart(2 * FIELD_BYTES, '0'), start, 'hex')
  }
  return group.fromBytes(bytes, false)
}

/**
 * `Σ row_i · point_i` by shared double-and-add: the binding adds points but has no multiplication.
 * Doublings are shared by all points, and a small factor costs as many steps as it has bits. Undefined for an empty sum.
 */
function multiScalar<P extends Encoded>(
  group: BlstGroup<P>,
  point: (i: number, negative: boolean) => P,
  row: FactorRow,
): P | undefined {
  const terms = row.flatMap((factor, i) => {
    const signed = signedOrder(factor)
    if (signed === 0n) return []
    return [{ point: point(i, signed < 0n), bits: (signed < 0n ? -signed : signed).toString(2) }]
  })
  const steps = terms.reduce((most, { bits }) => Math.max(most, bits.length), 0)
  let sum: P | undefined
  for (let step = steps; step > 0; step--) {
    const summands = sum === undefined ? [] : [sum, sum]
    for (const term of terms) if (term.bits[term.bits.length - step] === '1') summands.push(term.point)
    sum = summands.length > 1 ? group.aggregate(summands) : (summands[0] ?? sum)
  }
  return sum
}

/** A group that remembers the points of byte arrays it has read or written, so that one's square root is taken once. */
export function createGroup<P extends Encoded>(
  blst: BlstGroup<P>,
): PointGroup<Parsed<P>> & { remember(point: P): Uint8Array } {
  const known = new WeakMap<Uint8Array, Parsed<P>>()

  /** The remembered point, if the array still holds its bytes. */
  const recall = (bytes: Uint8Array): Parsed<P> | undefined => {
    const parsed = known.get(bytes)
    return parsed !== undefined && equalBytes(parsed.point.toBytes(), bytes) ? parsed : undefined
  }
  const read = (bytes: Uint8Array, checked: boolean): Parsed<P> => {
    const recalled = recall(bytes)
    if (recalled !== undefined && (recalled.checked || !checked)) return recalled
    if (bytes.length !== blst.length) throw pointInvalid()
    let point: P
    try {
      point = blst.fromBytes(bytes, checked)
    } catch (error) {
      throw pointInvalid(error)
    }
    const parsed = { point, checked }
    known.set(bytes, parsed)
    return parsed
  }
  const write = (parsed: Parsed<P>): Uint8Array | undefined => {
    const bytes = parsed.point.toBytes()
    if (bytes[0] === INFINITY_FLAGS) return undefined
    known.set(bytes, parsed)
    return bytes
  }

  return {
    parse: (bytes) => read(bytes, false),
    parseChecked: (bytes) => read(bytes, true),
    encode: write,
    remember(point) {
      const bytes = point.toBytes()
      known.set(bytes, { point, checked: true })
      return bytes
    },
    combine(points, rows) {
      const all = points.map(({ point }) => point)
      const checked = points.every((point) => point.checked)
      const negated: P[] = []
      const at = (i: number, negative: boolean): P => {
        const point = all[i]
        if (point === undefined) throw new TypeError('more factors than points')
        if (!negative) return point
        negated[i] ??= negate(blst, point)
        return negated[i]
      }
      return rows.map((row) => {
        const [first] = all
        if (first === undefined) throw new CryptoError('SHARES_TOO_FEW', 'no points to combine')
        const result = multiScalar(blst, at, row) ?? blst.aggregate([first, negate(blst, first)])
        all.push(result)
        return { point: result, checked }
      })
    },
  }
}
