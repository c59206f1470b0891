import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import type { SignedMessage } from './bls.ts'
import { createBlstEngine } from './blst.ts'
import { createNobleEngine } from './noble.ts'
import { GROUP_ORDER, scalarBytes } from './scalar.ts'

interface Share {
  share_index: string
  secret_key: string
  public_key: string
  partial_signature: string
}
interface Case {
  name: string
  threshold: string
  message_root: string
  secret_key: string
  public_key: string
  signature: string
  shares: Share[]
  subsets_that_give_the_signature: string[][]
}
interface NegativeCase {
  name: string
  shares: { share_index: string; partial_signature: string }[]
  expected: string
}
const vectors = readFixtureJson('vectors/threshold.json') as {
  cases: Case[]
  negative_cases: NegativeCase[]
  bad_public_keys: { name: string; bytes: string }[]
  bad_signatures: { name: string; bytes: string }[]
}

const blst = createBlstEngine()
const noble = createNobleEngine()
const engines = [blst, noble]
const secret = (number: bigint | number) => scalarBytes(BigInt(number))
const message = Buffer.alloc(32, 7)
const coded = (code: string) => expect.objectContaining({ code })

const signaturesAt = (shares: readonly { share_index: string; partial_signature: string }[]) =>
  shares.map(({ share_index, partial_signature }) => ({
    index: BigInt(share_index),
    point: fromHex(partial_signature),
  }))
const keysAt = (shares: readonly Share[]) =>
  shares.map(({ share_index, public_key }) => ({ index: BigInt(share_index), point: fromHex(public_key) }))

describe.each(engines)('$name: vectors', (engine) => {
  it.each(vectors.cases)('$name: keys and signatures', (vector) => {
    const root = fromHex(vector.message_root)
    expect(toHex(engine.publicKeyOf(fromHex(vector.secret_key)))).toBe(vector.public_key)
    expect(toHex(engine.sign(fromHex(vector.secret_key), root))).toBe(vector.signature)
    expect(engine.verify(fromHex(vector.public_key), root, fromHex(vector.signature))).toBe(true)
    const checked = engine === blst ? vector.shares : vector.shares.slice(0, 1)
    for (const share of checked) {
      expect(toHex(engine.publicKeyOf(fromHex(share.secret_key)))).toBe(share.public_key)
      expect(toHex(engine.sign(fromHex(share.secret_key), root))).toBe(share.partial_signature)
      expect(engine.verify(fromHex(share.public_key), root, fromHex(share.partial_signature))).toBe(true)
    }
  })

  it.each(vectors.cases)('$name: subsets interpolate to the key and the signature', (vector) => {
    const subsets = vector.subsets_that_give_the_signature
    for (const subset of engine === blst ? subsets : subsets.slice(0, 1)) {
      const shares = vector.shares.filter(({ share_index }) => subset.includes(share_index))
      expect(toHex(engine.interpolateSignatures(signaturesAt(shares)))).toBe(vector.signature)
      expect(toHex(engine.interpolatePublicKeys(keysAt(shares)))).toBe(vector.public_key)
    }
  })

  it('interpolates at a share index', () => {
    for (const vector of vectors.cases.slice(0, 2)) {
      const threshold = Number(vector.threshold)
      const [base, further] = [vector.shares.slice(0, threshold), vector.shares[threshold]]
      const at = BigInt(further?.share_index ?? 0)
      expect(toHex(engine.interpolateSignatures(signaturesAt(base), at))).toBe(further?.partial_signature)
      expect(toHex(engine.interpolatePublicKeys(keysAt(base), at))).toBe(further?.public_key)
    }
  })

  const codes: Readonly<Record<string, string>> = {
    duplicate_index: 'SHARE_INDEX_DUPLICATE',
    zero_index: 'SHARE_INDEX_ZERO',
    invalid_point: 'POINT_INVALID',
  }
  it.each(vectors.negative_cases.filter(({ expected }) => expected in codes))('$name', ({ shares, expected }) => {
    expect(() => engine.interpolateSignatures(signaturesAt(shares))).toThrow(coded(codes[expected] ?? ''))
  })

  it.each(vectors.bad_public_keys)('public key: $name', ({ bytes }) => {
    const bad = fromHex(bytes)
    expect(engine.isPublicKey(bad)).toBe(false)
    expect(engine.verify(bad, message, engine.sign(secret(1), message))).toBe(false)
    expect(engine.verifyAggregate([bad], message, engine.sign(secret(1), message))).toBe(false)
    expect(() => engine.interpolatePublicKeys([{ index: 1n, point: bad }])).toThrow(coded('POINT_INVALID'))
    expect(() => engine.addPublicKeys([bad, engine.publicKeyOf(secret(1))])).toThrow(coded('POINT_INVALID'))
  })

  it.each(vectors.bad_signatures)('signature: $name', ({ bytes }) => {
    const bad = fromHex(bytes)
    expect(engine.isSignature(bad)).toBe(false)
    expect(engine.verify(engine.publicKeyOf(secret(1)), message, bad)).toBe(false)
    expect(engine.verifyAggregate([engine.publicKeyOf(secret(1))], message, bad)).toBe(false)
    expect(() => engine.interpolateSignatures([{ index: 1n, point: bad }])).toThrow(coded('POINT_INVALID'))
    expect(() => engine.addSignatures([bad, engine.sign(secret(1), message)])).toThrow(coded('POINT_INVALID'))
  })
})

describe.each(engines)('$name: edges', (engine) => {
  const point = engine.sign(secret(5), message)
  const negative = engine.sign(secret(GROUP_ORDER - 5n), message)
  const key = engine.publicKeyOf(secret(5))
  const negativeKey = engine.publicKeyOf(secret(GROUP_ORDER - 5n))

  it.each([new Uint8Array(32), scalarBytes(GROUP_ORDER), Buffer.alloc(32, 255), new Uint8Array(31), new Uint8Array(0)])(
    'refuses the secret key %#',
    (bytes) => {
      expect(() => engine.publicKeyOf(bytes)).toThrow(coded('SCALAR_INVALID'))
      expect(() => engine.sign(bytes, message)).toThrow(coded('SCALAR_INVALID'))
    },
  )

  it('adds a point to itself, to its negative, and nothing', () => {
    expect(engine.addSignatures([point, point])).toEqual(engine.sign(secret(10), message))
    expect(engine.addPublicKeys([key, key])).toEqual(engine.publicKeyOf(secret(10)))
    expect(() => engine.addSignatures([point, negative])).toThrow(coded('POINT_INFINITE'))
    expect(() => engine.addPublicKeys([key, negativeKey])).toThrow(coded('POINT_INFINITE'))
    expect(engine.addSignatures([point, negative, point])).toEqual(point)
    expect(() => engine.addSignatures([])).toThrow(coded('SHARES_TOO_FEW'))
    expect(() => engine.interpolateSignatures([])).toThrow(coded('SHARES_TOO_FEW'))
  })

  it('refuses an interpolation whose result is infinity', () => {
    // Factors of 1, 2 are 2, −1: 2·5 − 10 = 0.
    const shares = [
      { index: 1n, point },
      { index: 2n, point: engine.sign(secret(10), message) },
    ]
    expect(() => engine.interpolateSignatures(shares)).toThrow(coded('POINT_INFINITE'))
  })

  it('carries infinity through a combination', () => {
    const rows = [[0n, 0n], [1n, 1n], [1n, 0n, 7n, -3n], [2n, 1n, 0n, 0n, -1n], [-1n]]
    const results = engine.combineSignatures([point, negative], rows)
    expect(results).toEqual([undefined, undefined, point, undefined, negative])
    const keyResults = engine.combinePublicKeys([key, negativeKey], rows)
    expect(keyResults).toEqual([undefined, undefined, key, undefined, negativeKey])
  })

  it('verifies an aggregate of one message', () => {
    const keys = [2, 3, 5].map((number) => engine.publicKeyOf(secret(number)))
    const signature = engine.sign(secret(10), message)
    expect(engine.verifyAggregate(keys, message, signature)).toBe(true)
    expect(engine.verifyAggregate(keys.slice(1), message, signature)).toBe(false)
    expect(engine.verifyAggregate([], message, signature)).toBe(false)
    expect(engine.verifyAggregate([key, negativeKey], message, signature)).toBe(false)
    expect(engine.verifyAggregate(keys, Buffer.alloc(32), signature)).toBe(false)
  })

  it('verifies a batch of one', () => {
    const good = { publicKey: key, message, signature: point }
    expect(engine.verifyBatch([good])).toEqual([true])
    expect(engine.verifyBatch([{ ...good, signature: negative }])).toEqual([false])
  })

  it('verifies combined groups of its own, one verdict each', () => {
    const numbers = [2, 3, 5]
    const publicKeys = numbers.map((number) => engine.publicKeyOf(secret(number)))
    const signatures = numbers.map((number) => engine.sign(secret(number), message))
    const swapped = [...signatures.slice(1), ...signatures.slice(0, 1)]
    const empty = { message, publicKeys: [], signatures: [] }
    const verdicts = engine.verifyCombined([
      { message, publicKeys, signatures },
      { message, publicKeys, signatures: swapped },
      { message, publicKeys, signatures: signatures.slice(1) },
      { message, publicKeys, signatures: [...signatures.slice(1), new Uint8Array(96)] },
      empty,
    ])
    expect(verdicts).toEqual([true, false, false, false, false])
  })
})

describe('blst', () => {
  it('says so when its native module cannot be loaded', () => {
    const load = () => {
      throw new Error('no prebuilt binary')
    }
    expect(() => createBlstEngine(load)).toThrow(coded('BLST_UNAVAILABLE'))
  })

  it('does not take a changed array for the point that it once held', () => {
    const bytes = Uint8Array.from(blst.sign(secret(3), message))
    expect(blst.verify(blst.publicKeyOf(secret(3)), message, bytes)).toBe(true)
    bytes.set(blst.sign(secret(4), message))
    expect(blst.verify(blst.publicKeyOf(secret(3)), message, bytes)).toBe(false)
    expect(blst.verify(blst.publicKeyOf(secret(4)), message, bytes)).toBe(true)
    bytes.fill(0)
    expect(blst.isSignature(bytes)).toBe(false)
  })

  it('checks the subgroup of a point that was read without that check before', () => {
    const bad = fromHex(vectors.bad_signatures.find(({ name }) => name === 'not_in_the_subgroup')?.bytes ?? '')
    expect(blst.combineSignatures([bad], [[1n]])).toHaveLength(1)
    expect(blst.isSignature(bad)).toBe(false)
    const [copy = bad] = blst.combineSignatures([bad], [[1n]])
    expect(blst.isSignature(copy)).toBe(false)
  })
})

describe('engine against engine', () => {
  const factor = fc.oneof(fc.bigInt({ min: -300n, max: 300n }), fc.bigInt({ min: -GROUP_ORDER, max: 2n * GROUP_ORDER }))

  it('combines points alike, and as scalars say', () => {
    const secrets = fc.array(fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(secrets, fc.array(factor, { minLength: 4, maxLength: 4 }), (scalars, factors) => {
        const row = factors.slice(0, scalars.length)
        const sum = scalars.reduce((total, scalar, i) => total + scalar * (row[i] ?? 0n), 0n)
        const expected = ((sum % GROUP_ORDER) + GROUP_ORDER) % GROUP_ORDER
        const signatures = scalars.map((scalar) => blst.sign(secret(scalar), message))
        const keys = scalars.map((scalar) => blst.publicKeyOf(secret(scalar)))
        const [signature] = blst.combineSignatures(signatures, [row])
        const [key] = blst.combinePublicKeys(keys, [row])
        expect(signature).toEqual(expected === 0n ? undefined : blst.sign(secret(expected), message))
        expect(key).toEqual(expected === 0n ? undefined : blst.publicKeyOf(secret(expected)))
        expect(noble.combinePublicKeys(keys, [row])).toEqual([key])
      }),
      { numRuns: 25 },
    )
  })

  it('signs and verifies alike', () => {
    const number = fc.bigInt({ min: 1n, max: GROUP_ORDER - 1n })
    fc.assert(
      fc.property(number, fc.uint8Array({ minLength: 0, maxLength: 64 }), (scalar, text) => {
        const signature = noble.sign(secret(scalar), text)
        expect(blst.sign(secret(scalar), text)).toEqual(signature)
        expect(blst.verify(noble.publicKeyOf(secret(scalar)), text, signature)).toBe(true)
        expect(noble.verify(blst.publicKeyOf(secret(scalar)), Uint8Array.from([...text, 0]), signature)).toBe(false)
      }),
      { numRuns: 5 },
    )
  })
})

describe('batches', () => {
  const signed = (number: number, text: Uint8Array): SignedMessage => ({
    publicKey: blst.publicKeyOf(secret(number)),
    message: text,
    signature: blst.sign(secret(number), text),
  })
  const spoil = (triple: SignedMessage, how: number): SignedMessage => {
    if (how % 5 === 0) return { ...triple, signature: blst.sign(secret(999), triple.message) }
    if (how % 5 === 1) return { ...triple, signature: new Uint8Array(96) }
    if (how % 5 === 2) return { ...triple, publicKey: blst.publicKeyOf(secret(998)) }
    if (how % 5 === 3) return { ...triple, publicKey: Buffer.concat([triple.publicKey, triple.publicKey]) }
    return { ...triple, signature: fromHex(vectors.bad_signatures[0]?.bytes ?? '') }
  }
  /** 8 messages by 4 keys. */
  const triples = Array.from({ length: 32 }, (_, i) => signed((i % 4) + 1, Buffer.alloc(32, i >> 2)))

  it('passes good ones, refuses each bad one and nothing else', () => {
    expect(blst.verifyBatch([])).toEqual([])
    expect(blst.verifyBatch(triples)).toEqual(triples.map(() => true))
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(31), { minLength: 1, maxLength: 6 }), fc.nat(4), (bad, how) => {
        const mixed = triples.map((triple, i) => (bad.includes(i) ? spoil(triple, how + i) : triple))
        expect(blst.verifyBatch(mixed)).toEqual(triples.map((_, i) => !bad.includes(i)))
      }),
      { numRuns: 12 },
    )
    expect(blst.verifyBatch(triples.map((triple) => spoil(triple, 0)))).toEqual(triples.map(() => false))
  })

  it('refuses two bad ones that cancel each other', () => {
    const [one, other] = triples.slice(0, 2) as [SignedMessage, SignedMessage]
    const shift = blst.sign(secret(77), one.message)
    const back = blst.sign(secret(GROUP_ORDER - 77n), one.message)
    const pair = [
      { ...one, signature: blst.addSignatures([one.signature, shift]) },
      { ...other, signature: blst.addSignatures([other.signature, back]) },
    ]
    expect(blst.verifyBatch([...pair, ...triples.slice(2)])).toEqual(triples.map((_, i) => i > 1))
    expect(blst.verifyBatch(pair)).toEqual([false, false])
  })

  it('refuses infinity among signatures of one message', () => {
    const infinity = fromHex(vectors.bad_signatures.find(({ name }) => name === 'infinity')?.bytes ?? '')
    const [one, other] = triples.slice(0, 2) as [SignedMessage, SignedMessage]
    expect(blst.verifyBatch([one, { ...other, signature: infinity }])).toEqual([true, false])
  })

  it('agrees with noble', () => {
    const mixed = triples.slice(0, 4).map((triple, i) => (i === 2 ? spoil(triple, 0) : triple))
    expect(noble.verifyBatch(mixed)).toEqual(blst.verifyBatch(mixed))
  })
})
