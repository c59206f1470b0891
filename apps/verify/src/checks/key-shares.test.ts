import { fromHex } from '@dvt-relayer/common/hex.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { createNobleEngine } from '@dvt-relayer/crypto/bls/noble.ts'
import { scalarBytes } from '@dvt-relayer/crypto/bls/scalar.ts'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { findKeySharesFault } from './key-shares.ts'

const vectors = readFixtureJson('vectors/oracle_split.json') as {
  cases: {
    name: string
    exit_signature_recover_threshold: string
    validator_public_key: string
    public_key_shares: string[]
  }[]
}
const { bad_public_keys: badKeys } = readFixtureJson('vectors/threshold.json') as {
  bad_public_keys: { name: string; bytes: string }[]
}
const noble = createNobleEngine()
const blst = createBlstEngine()

/** Public key shares of the polynomial with these coefficients, lowest first, at 1 … n. */
const sharesOf = (coefficients: readonly bigint[], n: number, from = 1) =>
  Array.from({ length: n }, (_, i) => {
    const value = coefficients.reduceRight((sum, coefficient) => sum * BigInt(i + from) + coefficient, 0n)
    return blst.publicKeyOf(scalarBytes(value))
  })
const COEFFICIENTS = [101n, 202n, 303n, 404n, 505n, 606n, 707n]
const publicKey = blst.publicKeyOf(scalarBytes(101n))
const right = { publicKey, threshold: 7, publicKeyShares: sharesOf(COEFFICIENTS, 11) }
const stranger = blst.publicKeyOf(scalarBytes(999_999n))
const replaced = (places: readonly number[]) =>
  right.publicKeyShares.map((share, i) =>
    places.includes(i + 1) ? blst.publicKeyOf(scalarBytes(BigInt(7777 + i))) : share,
  )

describe('public key shares', () => {
  it.each(vectors.cases)('of the vector $name are right', (vector) => {
    const set = {
      publicKey: fromHex(vector.validator_public_key),
      threshold: Number(vector.exit_signature_recover_threshold),
      publicKeyShares: vector.public_key_shares.map((share) => fromHex(share)),
    }
    expect(findKeySharesFault(noble, set)).toBeUndefined()
    expect(findKeySharesFault(blst, { ...set, publicKey: stranger })).toBeDefined()
  })

  it('are right on a polynomial of degree threshold − 1', () => {
    expect(findKeySharesFault(noble, right)).toBeUndefined()
    expect(findKeySharesFault(blst, right)).toBeUndefined()
  })

  it('that let fewer suffice though the degree is right are told: the key itself, one share twice', () => {
    // x² − 3x + 100 is 100 at 0 and at 3; x² − 6x + 100 is 92 at 2 and at 4.
    const alone = { publicKey: blst.publicKeyOf(scalarBytes(100n)), threshold: 3 }
    const own = findKeySharesFault(noble, { ...alone, publicKeyShares: sharesOf([100n, -3n, 1n], 5) })
    expect(own).toMatchObject({ verdict: 'degree_too_low', places: [3] })
    const twins = findKeySharesFault(noble, { ...alone, publicKeyShares: sharesOf([100n, -6n, 1n], 5) })
    expect(twins).toMatchObject({ verdict: 'degree_too_low', places: [2, 4] })
    expect(findKeySharesFault(noble, { ...alone, publicKeyShares: sharesOf([100n, 60n, 1n], 5) })).toBeUndefined()
    const one = { publicKey, threshold: 1, publicKeyShares: sharesOf([101n], 3) }
    expect(findKeySharesFault(noble, one)).toBeUndefined()
  })

  it('are judged alike by both engines', () => {
    const set = { ...right, publicKeyShares: replaced([5]) }
    expect(findKeySharesFault(noble, set)).toEqual(findKeySharesFault(blst, set))
  })

  it.each([
    ['one alone', [4]],
    ['two', [1, 11]],
    ['as many as can be spared', [2, 3, 7, 10]],
  ])('%s that do not fit are named', (_, places) => {
    const fault = findKeySharesFault(blst, { ...right, publicKeyShares: replaced(places) })
    expect(fault).toMatchObject({ verdict: 'wrong_shares', places })
  })

  it('cannot be named when fewer than the threshold are right', () => {
    const fault = findKeySharesFault(blst, { ...right, publicKeyShares: replaced([1, 2, 3, 4, 5]) })
    expect(fault).toMatchObject({ verdict: 'wrong_shares', places: [] })
  })

  it('of a higher degree need more oracles', () => {
    const fault = findKeySharesFault(blst, { ...right, publicKeyShares: sharesOf([...COEFFICIENTS, 808n], 11) })
    expect(fault).toMatchObject({
      verdict: 'degree_too_high',
      message: expect.stringContaining('8 oracles would be needed'),
    })
  })

  it.each([
    [6, COEFFICIENTS.slice(0, 6)],
    [3, COEFFICIENTS.slice(0, 3)],
    [1, COEFFICIENTS.slice(0, 1)],
  ])('of a lower degree give the key to %d oracles', (enough, coefficients) => {
    const fault = findKeySharesFault(blst, { ...right, publicKeyShares: sharesOf(coefficients, 11) })
    expect(fault).toMatchObject({
      verdict: 'degree_too_low',
      message: expect.stringContaining(`${enough} of the oracles`),
    })
  })

  it('of another key, or counted from 0 or 2, share another key', () => {
    expect(findKeySharesFault(blst, { ...right, publicKey: stranger })?.verdict).toBe('wrong_validator_key')
    for (const from of [0, 2])
      expect(findKeySharesFault(blst, { ...right, publicKeyShares: sharesOf(COEFFICIENTS, 11, from) })?.verdict).toBe(
        'wrong_validator_key',
      )
  })

  it('in another order are told', () => {
    const { publicKeyShares } = right
    const [first, second, third, ...rest] = publicKeyShares
    const swapped = [third, second, first, ...rest].flatMap((share) => share ?? [])
    expect(findKeySharesFault(blst, { ...right, publicKeyShares: swapped })).toMatchObject({
      verdict: 'wrong_order',
      places: [1, 3],
    })
    expect(findKeySharesFault(blst, { ...right, publicKeyShares: publicKeyShares.toReversed() })?.verdict).toBe(
      'wrong_order',
    )
  })

  it('that are all needed cannot be told apart when they do not fit', () => {
    const all = { publicKey, threshold: 7, publicKeyShares: sharesOf(COEFFICIENTS, 7) }
    expect(findKeySharesFault(blst, all)).toBeUndefined()
    expect(findKeySharesFault(blst, { ...all, publicKey: stranger })).toMatchObject({
      verdict: 'wrong_shares',
      places: [],
    })
  })

  it.each(badKeys)('that are no points are named: $name', (bad) => {
    const publicKeyShares = right.publicKeyShares.map((share, i) => (i === 5 ? fromHex(bad.bytes) : share))
    expect(findKeySharesFault(blst, { ...right, publicKeyShares })).toMatchObject({
      verdict: 'invalid_point',
      places: [6],
    })
    expect(findKeySharesFault(blst, { ...right, publicKey: fromHex(bad.bytes) })?.verdict).toBe('invalid_point')
  })
})
