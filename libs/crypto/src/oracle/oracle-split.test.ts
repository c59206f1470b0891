import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import type { BlsEngine } from '../bls/bls.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { nextValueFactors } from '../bls/lagrange.ts'
import { createNobleEngine } from '../bls/noble.ts'
import { combinationFactors } from '../bls/points.ts'
import { bytesToNumber, GROUP_ORDER, modOrder, randomScalarBytes, scalarBytes } from '../bls/scalar.ts'
import { type ShareSet, splitExitSignature, splitWithCoefficients, verifyShareSets } from './oracle-split.ts'

interface Case {
  name: string
  exit_signature_recover_threshold: string
  oracles: string
  message_root: string
  validator_public_key: string
  exit_signature: string
  coefficients: string[]
  signature_shares: string[]
  public_key_shares: string[]
}
const vectors = readFixtureJson('vectors/oracle_split.json') as { cases: Case[] }

const blst = createBlstEngine()
const noble = createNobleEngine()
const message = Buffer.alloc(32, 3)
const secretKey = scalarBytes(123456789n)
const validator = { message, publicKey: blst.publicKeyOf(secretKey), signature: blst.sign(secretKey, message) }
const invalid = expect.objectContaining({ code: 'SHARE_SET_INVALID' })

const verifyShareSet = (engine: BlsEngine, set: ShareSet) => verifyShareSets(engine, [set])[0]

function requestOf(vector: Case) {
  return {
    message: fromHex(vector.message_root),
    signature: fromHex(vector.exit_signature),
    publicKey: fromHex(vector.validator_public_key),
    threshold: Number(vector.exit_signature_recover_threshold),
    oracles: Number(vector.oracles),
    coefficients: vector.coefficients.map((coefficient) => BigInt(coefficient)),
  }
}

describe.each([blst, noble])('$name: vectors', (engine) => {
  describe.each(['plain', 'fast'] as const)('%s', (path) => {
    it.each(vectors.cases)('$name', (vector) => {
      const shares = splitWithCoefficients(engine, { ...requestOf(vector), path })
      expect(shares.publicKeyShares.map(toHex)).toEqual(vector.public_key_shares)
      expect(shares.signatureShares.map(toHex)).toEqual(vector.signature_shares)
    })
  })

  it.each(vectors.cases)('$name: the set is accepted, each share verifies', (vector) => {
    const { message, publicKey, threshold } = requestOf(vector)
    const publicKeyShares = vector.public_key_shares.map((share) => fromHex(share))
    const signatureShares = vector.signature_shares.map((share) => fromHex(share))
    expect(verifyShareSet(engine, { message, publicKey, threshold, publicKeyShares, signatureShares })).toBe(true)
    publicKeyShares.slice(0, engine === blst ? undefined : 1).forEach((publicKeyShare, i) => {
      const signatureShare = signatureShares[i] ?? new Uint8Array()
      expect(engine.verify(publicKeyShare, message, signatureShare)).toBe(true)
      expect(engine.verify(publicKeyShare, new Uint8Array(32), signatureShare)).toBe(false)
    })
  })
})

describe('a split', () => {
  const shape = fc
    .integer({ min: 1, max: 14 })
    .chain((oracles) => fc.record({ oracles: fc.constant(oracles), threshold: fc.integer({ min: 1, max: oracles }) }))

  it('is the same by both paths for the same coefficients', () => {
    fc.assert(
      fc.property(shape, fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n }), (size, seed) => {
        const coefficients = Array.from({ length: size.threshold - 1 }, (_, i) => (seed * BigInt(i + 7)) % GROUP_ORDER)
        const request = { ...validator, ...size, coefficients }
        expect(splitWithCoefficients(blst, { ...request, path: 'fast' })).toEqual(
          splitWithCoefficients(blst, { ...request, path: 'plain' }),
        )
      }),
      { numRuns: 25 },
    )
  })

  it('gives any threshold oracles the signature, fewer another point', () => {
    fc.assert(
      fc.property(shape, fc.infiniteStream(fc.nat(1000)), (size, order) => {
        const set = splitExitSignature(blst, { ...validator, ...size })
        expect(verifyShareSet(blst, { ...validator, ...size, ...set })).toBe(true)
        const shuffled = set.signatureShares
          .map((point, i) => ({ index: BigInt(i + 1), point, rank: order.next().value }))
          .sort((a, b) => a.rank - b.rank)
        const chosen = shuffled.slice(0, size.threshold)
        expect(blst.interpolateSignatures(chosen)).toEqual(validator.signature)
        const keys = chosen.map(({ index }) => ({
          index,
          point: set.publicKeyShares[Number(index) - 1] ?? new Uint8Array(),
        }))
        expect(blst.interpolatePublicKeys(keys)).toEqual(validator.publicKey)
        if (size.threshold > 1) {
          expect(blst.interpolateSignatures(chosen.slice(1))).not.toEqual(validator.signature)
        }
      }),
      { numRuns: 15 },
    )
  })

  it('is another one each time', () => {
    const [one, other] = [0, 1].map(() => splitExitSignature(blst, { ...validator, threshold: 3, oracles: 5 }))
    const shares = [...(one?.signatureShares ?? []), ...(other?.signatureShares ?? [])].map(toHex)
    expect(new Set(shares).size).toBe(10)
  })

  it('draws again when a share would be the signature itself or infinity', () => {
    // k = 3: b_1 = 2, b_2 = 1 put 0 at x = 3. Then b_1 = −secret key makes share 1 infinity.
    const minusKey = scalarBytes(GROUP_ORDER - bytesToNumber(secretKey))
    const draws = [scalarBytes(3n), scalarBytes(3n), minusKey, scalarBytes(5n)]
    const random = (length: number) => draws.shift() ?? randomScalarBytes().subarray(0, length)
    const request = { ...validator, threshold: 3, oracles: 3, random }
    const shares = splitExitSignature(blst, request)
    expect(draws).toEqual([])
    expect(verifyShareSet(blst, { ...request, ...shares })).toBe(true)
  })

  it.each([
    [0, 3],
    [4, 3],
    [1.5, 3],
    [2, Number.NaN],
    [1, 0],
  ])('refuses %s of %s', (threshold, oracles) => {
    expect(() => splitExitSignature(blst, { ...validator, threshold, oracles })).toThrow(invalid)
  })

  it.each(['plain', 'fast'] as const)('%s: refuses unusable coefficients', (path) => {
    const request = { ...validator, threshold: 2, oracles: 3, path }
    expect(() => splitWithCoefficients(blst, { ...request, coefficients: [] })).toThrow(invalid)
    expect(() => splitWithCoefficients(blst, { ...request, coefficients: [0n] })).toThrow(invalid)
    const minusKey = GROUP_ORDER - bytesToNumber(secretKey)
    expect(() => splitWithCoefficients(blst, { ...request, coefficients: [minusKey] })).toThrow(invalid)
    // b_3 = 3·a_1 + 9·a_2 = 0
    expect(() =>
      splitWithCoefficients(blst, { ...request, threshold: 3, coefficients: [GROUP_ORDER - 3n, 1n] }),
    ).toThrow(invalid)
  })

  it('refuses a signature or a key that is no point', () => {
    const request = { ...validator, threshold: 2, oracles: 3 }
    const point = expect.objectContaining({ code: 'POINT_INVALID' })
    expect(() => splitExitSignature(blst, { ...request, signature: new Uint8Array(96) })).toThrow(point)
    expect(() => splitExitSignature(blst, { ...request, publicKey: new Uint8Array(47) })).toThrow(point)
  })
})

describe('a set of shares', () => {
  const size = { threshold: 3, oracles: 5 }
  const good = { ...validator, ...size, ...splitExitSignature(blst, { ...validator, ...size }) }
  const other = splitExitSignature(blst, { ...validator, ...size })
  const replaced = (points: readonly Uint8Array[], position: number, point?: Uint8Array) =>
    points.map((old, i) => (i === position && point !== undefined ? point : old))

  it.each([blst, noble])('$name: refuses every single fault', (engine) => {
    const bad = [
      { ...good, message: new Uint8Array(32) },
      { ...good, publicKey: blst.publicKeyOf(scalarBytes(5n)) },
      { ...good, threshold: 2 },
      { ...good, threshold: 0 },
      { ...good, threshold: 6 },
      { ...good, signatureShares: replaced(good.signatureShares, 2, other.signatureShares[2]) },
      { ...good, signatureShares: replaced(good.signatureShares, 4, new Uint8Array(96)) },
      { ...good, publicKeyShares: replaced(good.publicKeyShares, 2, other.publicKeyShares[2]) },
      { ...good, publicKeyShares: good.publicKeyShares.slice(1) },
      // Each share verifies, but they do not lie on one polynomial.
      {
        ...good,
        publicKeyShares: replaced(good.publicKeyShares, 1, other.publicKeyShares[1]),
        signatureShares: replaced(good.signatureShares, 1, other.signatureShares[1]),
      },
      // Each share verifies and lies on a polynomial, but every one is the full signature.
      {
        ...good,
        publicKeyShares: good.publicKeyShares.map(() => validator.publicKey),
        signatureShares: good.signatureShares.map(() => validator.signature),
      },
    ]
    const sets = engine === blst ? bad : bad.slice(5, 7)
    expect(verifyShareSets(engine, [...sets, good])).toEqual([...sets.map(() => false), true])
  })

  it('has a fault found at any oracle, however it spreads to those after it', () => {
    for (const [oracles, threshold] of [
      [11, 7],
      [14, 9],
      [30, 20],
      [40, 3],
    ] as const) {
      const row = combinationFactors(oracles)
      const next = nextValueFactors(threshold)
      for (let at = 1; at <= oracles; at++) {
        const error = Array.from({ length: oracles + 1 }, (_, x) => BigInt(x === at))
        for (let x = Math.max(threshold, at + 1); x <= oracles; x++)
          error[x] = next.reduce((sum, factor, j) => sum + factor * (error[x - threshold + j] ?? 0n), 0n)
        expect(modOrder(row.reduce((sum, factor, i) => sum + factor * (error[i + 1] ?? 0n), 0n))).not.toBe(0n)
      }
    }
  })

  it.each([blst, noble])(
    '$name: refuses two shares that are exchanged, an error everywhere, and equal and opposite ones',
    (engine) => {
      const error = blst.sign(scalarBytes(77n), message)
      const [minus = error] = blst.combineSignatures([error], [[-1n]])
      const plus = (by: readonly (Uint8Array | undefined)[]) =>
        good.signatureShares.map((share, i) => blst.addSignatures([share, ...(by[i] === undefined ? [] : [by[i]])]))
      const [first, second, ...rest] = good.signatureShares
      if (first === undefined || second === undefined) throw new Error('no shares')
      const sets = [
        [second, first, ...rest],
        plus([error, error, error, error, error]),
        plus([error, minus]),
        plus([undefined, error, undefined, minus]),
        plus([error, error]),
      ].map((signatureShares) => ({ ...good, signatureShares }))
      const some = engine === blst ? sets : sets.slice(0, 2)
      expect(verifyShareSets(engine, [...some, good])).toEqual([...some.map(() => false), true])
    },
  )

  it('has no factor under which a small part outside the subgroup vanishes', () => {
    const { bad_signatures: bad } = readFixtureJson('vectors/threshold.json') as {
      bad_signatures: { name: string; bytes: string }[]
    }
    const outside = fromHex(bad.find(({ name }) => name === 'not_in_the_subgroup')?.bytes ?? '')
    const [, small = outside] = blst.combineSignatures([outside], [[(GROUP_ORDER - 1n) / 2n], [1n, 2n]])
    const sets = good.signatureShares.map((share, i) => {
      const [shifted] = blst.combineSignatures([share, small], [[1n, 1n]])
      return { ...good, signatureShares: replaced(good.signatureShares, i, shifted) }
    })
    expect(verifyShareSets(blst, sets)).toEqual(sets.map(() => false))
    const factors = combinationFactors(256)
    expect(new Set(factors).size).toBe(256)
    // h1 = 3 · 11² · 10177² · …, h2 = 13² · 23² · 2713 · …: below 2713 these four alone.
    for (const prime of [3n, 11n, 13n, 23n]) expect(factors.some((factor) => factor % prime === 0n)).toBe(false)
    expect(factors.every((factor) => factor > 0n && factor < 2713n)).toBe(true)
  })

  it('is a guard against faults, not against forgers: whoever chooses two shares has their errors cancel', () => {
    // What it rests on: shares come from our own split, of a signature that was verified by random factors.
    const [one = 0n, other = 0n] = combinationFactors(2)
    const error = blst.sign(scalarBytes(77n), message)
    const shifts = blst.combineSignatures([error], [[other], [-one]])
    const signatureShares = good.signatureShares.map((share, i) => {
      const shift = shifts[i]
      return shift === undefined ? share : blst.addSignatures([share, shift])
    })
    expect(verifyShareSet(blst, { ...good, signatureShares })).toBe(true)
  })

  it('no sets are no verdicts', () => {
    expect(verifyShareSets(blst, [])).toEqual([])
  })
})
