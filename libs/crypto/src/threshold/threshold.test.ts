import { fromHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { lagrangeFactors, nextValueFactors, scaledLagrangeFactors } from '../bls/lagrange.ts'
import { createNobleEngine } from '../bls/noble.ts'
import { GROUP_ORDER, invertOrder, modOrder, randomScalarBytes, scalarBytes, signedOrder } from '../bls/scalar.ts'
import { publicKeySharesFit } from './threshold.ts'

interface Case {
  name: string
  threshold: string
  validator_public_key: string
  shares: { share_index: string; public_key_share: string }[]
  lies_on_polynomial: boolean
  note?: string
}
const vectors = readFixtureJson('vectors/lock_polynomial.json') as { cases: Case[] }

const blst = createBlstEngine()
const coded = (code: string) => expect.objectContaining({ code })
const at = (coefficients: readonly bigint[], x: bigint) =>
  coefficients.reduceRight((sum, coefficient) => modOrder(sum * x + coefficient), 0n)
const scalar = fc.bigInt({ min: 0n, max: GROUP_ORDER - 1n })
const indexes = (maxLength: number) =>
  fc.uniqueArray(fc.oneof(fc.bigInt({ min: 1n, max: 30n }), fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n })), {
    minLength: 1,
    maxLength,
  })

describe('Lagrange factors', () => {
  it('are small for consecutive indexes', () => {
    expect(lagrangeFactors([1n, 2n, 3n]).map(signedOrder)).toEqual([3n, -3n, 1n])
    expect(lagrangeFactors([2n, 3n, 4n]).map(signedOrder)).toEqual([6n, -8n, 3n])
    expect(lagrangeFactors([9n])).toEqual([1n])
    expect(lagrangeFactors([1n, 2n, 3n], 4n).map(signedOrder)).toEqual([1n, -3n, 3n])
    expect(lagrangeFactors([1n, 2n, 3n], 2n)).toEqual([0n, 1n, 0n])
  })

  it('evaluate every polynomial anywhere', () => {
    fc.assert(
      fc.property(indexes(8), fc.array(scalar, { minLength: 8, maxLength: 8 }), scalar, (positions, numbers, x) => {
        const coefficients = numbers.slice(0, positions.length)
        const factors = lagrangeFactors(positions, x)
        const value = factors.reduce(
          (sum, factor, i) => modOrder(sum + factor * at(coefficients, positions[i] ?? 0n)),
          0n,
        )
        expect(value).toBe(at(coefficients, x))
      }),
    )
  })

  it('scaled to whole numbers are the same up to the denominator', () => {
    const small = fc.uniqueArray(fc.bigInt({ min: 1n, max: 5000n }), { minLength: 1, maxLength: 9 })
    fc.assert(
      fc.property(fc.oneof(small, indexes(9)), (positions) => {
        const { factors, denominator } = scaledLagrangeFactors(positions)
        expect(modOrder(denominator)).not.toBe(0n)
        expect(lagrangeFactors(positions).map((factor) => modOrder(factor * denominator))).toEqual(
          factors.map(modOrder),
        )
      }),
    )
    expect(scaledLagrangeFactors([1n, 2n, 4n])).toEqual({ factors: [8n, -6n, 1n], denominator: 3n })
  })

  it.each([
    [[], 'SHARES_TOO_FEW'],
    [[1n, 0n], 'SHARE_INDEX_ZERO'],
    [[GROUP_ORDER], 'SHARE_INDEX_ZERO'],
    [[2n, 1n, 2n], 'SHARE_INDEX_DUPLICATE'],
    [[1n, GROUP_ORDER + 1n], 'SHARE_INDEX_DUPLICATE'],
  ] as const)('refuse %s', (positions, code) => {
    expect(() => lagrangeFactors(positions)).toThrow(coded(code))
    expect(() => scaledLagrangeFactors(positions)).toThrow(coded(code))
  })

  it('the vanishing difference gives the next value', () => {
    fc.assert(
      fc.property(fc.array(scalar, { minLength: 1, maxLength: 9 }), fc.nat(20), (coefficients, start) => {
        const k = coefficients.length
        const next = nextValueFactors(k).reduce(
          (sum, factor, j) => sum + factor * at(coefficients, BigInt(start + j)),
          0n,
        )
        expect(modOrder(next)).toBe(at(coefficients, BigInt(start + k)))
      }),
    )
  })
})

describe('scalars', () => {
  it('invert', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n }), (value) => {
        expect(modOrder(value * invertOrder(value))).toBe(1n)
        expect(modOrder(-value * invertOrder(-value))).toBe(1n)
      }),
    )
    expect(() => invertOrder(GROUP_ORDER)).toThrow(coded('SCALAR_INVALID'))
  })

  it('are drawn again when zero or not below the order, without their top bit', () => {
    const draws = [new Uint8Array(32), scalarBytes(GROUP_ORDER), scalarBytes(GROUP_ORDER - 1n)]
    let drawn = 0
    const random = () => draws[drawn++] ?? new Uint8Array(32)
    expect(randomScalarBytes(random)).toEqual(scalarBytes(GROUP_ORDER - 1n))
    expect(drawn).toBe(3)
    expect(randomScalarBytes(() => Uint8Array.from([0x80, ...new Uint8Array(30), 1]))).toEqual(scalarBytes(1n))
  })
})

describe.each([blst, createNobleEngine()])('$name: public key shares', (engine) => {
  it.each(vectors.cases)('$name', (vector) => {
    const input = {
      publicKey: fromHex(vector.validator_public_key),
      threshold: Number(vector.threshold),
      shares: vector.shares.map(({ share_index, public_key_share }) => ({
        index: BigInt(share_index),
        point: fromHex(public_key_share),
      })),
    }
    expect(publicKeySharesFit(engine, input)).toBe(vector.lies_on_polynomial)
    const lower = vector.name.includes('the polynomial has a lower degree')
    expect(publicKeySharesFit(engine, { ...input, exactDegree: true })).toBe(vector.lies_on_polynomial && !lower)
  })
})

describe('sets of any size', () => {
  const set = (
    n: number,
    coefficients: readonly bigint[],
    positions = Array.from({ length: n }, (_, i) => BigInt(i + 1)),
  ) => ({
    publicKey: blst.publicKeyOf(scalarBytes(coefficients[0] ?? 1n)),
    threshold: coefficients.length,
    shares: positions.map((index) => ({ index, point: blst.publicKeyOf(scalarBytes(at(coefficients, index))) })),
  })
  const polynomial = (degree: number) => Array.from({ length: degree + 1 }, (_, i) => BigInt(i * 97 + 1000003))

  it('fits 256 shares, and refuses them when one is wrong', () => {
    const good = set(256, polynomial(170))
    expect(publicKeySharesFit(blst, { ...good, exactDegree: true })).toBe(true)
    const [first, second, ...rest] = good.shares
    const swapped = [
      { index: 1n, point: second?.point ?? new Uint8Array() },
      { index: 2n, point: first?.point ?? new Uint8Array() },
      ...rest,
    ]
    expect(publicKeySharesFit(blst, { ...good, shares: swapped })).toBe(false)
    expect(publicKeySharesFit(blst, { ...good, threshold: 170 })).toBe(false)
    expect(publicKeySharesFit(blst, { ...good, threshold: 172 })).toBe(true)
    expect(publicKeySharesFit(blst, { ...good, threshold: 172, exactDegree: true })).toBe(false)
  })

  it.each([0, -1, 1.5, Number.NaN, 6])('fits no threshold of %d with five shares', (threshold) => {
    const good = set(5, polynomial(2))
    for (const exactDegree of [true, false])
      expect(publicKeySharesFit(blst, { ...good, threshold, exactDegree })).toBe(false)
  })

  it('fits where all five are needed, and where each is the key', () => {
    for (const degree of [0, 4])
      expect(publicKeySharesFit(blst, { ...set(5, polynomial(degree)), exactDegree: true })).toBe(true)
  })

  it.each([0n, 3n, GROUP_ORDER, GROUP_ORDER + 3n])(
    'fits no two shares at one index, and none at the key: %d',
    (index) => {
      const good = set(5, polynomial(2))
      const shares = good.shares.map((share, i) => (i === 0 ? { ...share, index } : share))
      expect(publicKeySharesFit(blst, { ...good, shares })).toBe(false)
    },
  )

  it('fits no point that is none', () => {
    const good = set(5, polynomial(2))
    expect(publicKeySharesFit(blst, { ...good, publicKey: new Uint8Array(48) })).toBe(false)
    const shares = good.shares.map((share, i) => (i === 4 ? { ...share, point: new Uint8Array(48) } : share))
    expect(publicKeySharesFit(blst, { ...good, shares })).toBe(false)
  })

  it('of neighbours that do not begin at 1, fits by its own indexes and by no others', () => {
    for (const start of [0, 1, 2, 3].map((from) => [1n, 2n, 3n, 4n, 5n].map((index) => index + BigInt(from)))) {
      const good = set(5, polynomial(2), start)
      expect(publicKeySharesFit(blst, { ...good, exactDegree: true })).toBe(true)
      const shifted = good.shares.map(({ index, point }) => ({ index: index + 1n, point }))
      expect(publicKeySharesFit(blst, { ...good, shares: shifted })).toBe(false)
    }
  })

  it('fits, whatever the indexes, order and threshold; no share may change', () => {
    fc.assert(
      fc.property(indexes(7), fc.nat(6), fc.nat(6), fc.boolean(), (gaps, degree, position, consecutive) => {
        const positions = consecutive ? gaps.map((_, i) => BigInt(i + 1)) : gaps
        const good = set(positions.length, polynomial(degree % positions.length), positions)
        expect(publicKeySharesFit(blst, { ...good, exactDegree: true })).toBe(true)
        const wrong = blst.publicKeyOf(scalarBytes(42n))
        const shares = good.shares.map((share, i) =>
          i === position % positions.length ? { ...share, point: wrong } : share,
        )
        expect(publicKeySharesFit(blst, { ...good, shares })).toBe(false)
        expect(publicKeySharesFit(blst, { ...good, publicKey: wrong })).toBe(false)
      }),
      { numRuns: 40 },
    )
  })
})
