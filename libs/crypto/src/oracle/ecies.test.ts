import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createFastEcies, createPlainEcies, decryptEcies, oracleAddress, parseOraclePublicKey } from './ecies.ts'

const vectors = readFixtureJson('vectors/ecies.json') as {
  cases: {
    recipient_secret_key: string
    recipient_public_keys: Record<string, string>
    recipient_address: string
    plaintext: string
    ciphertext: string
  }[]
  must_fail: { name: string; recipient_secret_key: string; ciphertext: string }[]
}
const configs = readFixtureJson('vectors/oracle_config.json') as {
  valid: {
    name: string
    config: { oracles: { public_key: string }[] }
    uncompressed_public_keys: string[]
    addresses: string[]
  }[]
}

const fast = createFastEcies()
const plain = createPlainEcies()
const keyInvalid = expect.objectContaining({ code: 'ECIES_KEY_INVALID' })
const ciphertextInvalid = expect.objectContaining({ code: 'ECIES_CIPHERTEXT_INVALID' })

it('the fast one is native here', () => {
  expect([fast.name, plain.name]).toEqual(['fast', 'plain'])
})

it('falls back to the plain one without the native binding', () => {
  const load = () => {
    throw new Error('no prebuilt binary')
  }
  expect(createFastEcies(load).name).toBe('plain')
})

describe('oracle keys', () => {
  it.each(vectors.cases)('of $recipient_address in every spelling', (vector) => {
    const expected = fromHex(vector.recipient_public_keys['65_bytes_0x'] ?? '')
    for (const text of Object.values(vector.recipient_public_keys)) {
      expect(parseOraclePublicKey(text)).toEqual(expected)
      expect(parseOraclePublicKey(text.toUpperCase())).toEqual(expected)
    }
    expect(oracleAddress(expected)).toBe(vector.recipient_address)
  })

  it.each(configs.valid)('$name', ({ config, uncompressed_public_keys, addresses }) => {
    const keys = config.oracles.map(({ public_key }) => parseOraclePublicKey(public_key))
    expect(keys.map(toHex)).toEqual(uncompressed_public_keys)
    expect(keys.map(oracleAddress)).toEqual(addresses)
  })

  const good = vectors.cases[0]?.recipient_public_keys['65_bytes'] ?? ''
  const compressed = vectors.cases[0]?.recipient_public_keys['33_bytes'] ?? ''
  it.each([
    '',
    '0x',
    'no hex',
    good.slice(2, -2),
    `${good}00`,
    `05${good.slice(2)}`,
    `06${good.slice(2)}`,
    `07${good.slice(2)}`,
    `04${compressed.slice(2)}`,
    `05${compressed.slice(2)}`,
    '00'.repeat(64),
    '00'.repeat(65),
    `04${'ff'.repeat(64)}`,
    `${good.slice(0, -2)}${good.endsWith('00') ? '01' : '00'}`,
    `02${'ff'.repeat(32)}`,
  ])('refuses %s', (text) => {
    expect(() => parseOraclePublicKey(text)).toThrow(keyInvalid)
  })

  it('has an address only for 65 bytes', () => {
    expect(() => oracleAddress(new Uint8Array(64))).toThrow(keyInvalid)
  })
})

describe.each([fast, plain, { name: 'noble', decrypt: decryptEcies }])('$name decrypts', (ecies) => {
  it.each(vectors.cases)('what eciespy made for $recipient_address', (vector) => {
    const opened = ecies.decrypt(fromHex(vector.recipient_secret_key), fromHex(vector.ciphertext))
    expect(toHex(opened)).toBe(vector.plaintext)
  })

  it.each(vectors.must_fail)('refuses $name', ({ recipient_secret_key, ciphertext }) => {
    expect(() => ecies.decrypt(fromHex(recipient_secret_key), fromHex(ciphertext))).toThrow(ciphertextInvalid)
  })

  it('refuses hybrid ephemeral keys and bad secret keys', () => {
    const [vector] = vectors.cases
    const ciphertext = fromHex(vector?.ciphertext ?? '')
    const secret = fromHex(vector?.recipient_secret_key ?? '')
    const hybrid = Uint8Array.from(ciphertext)
    hybrid[0] = 6 + ((ciphertext[64] ?? 0) & 1)
    expect(() => ecies.decrypt(secret, hybrid)).toThrow(ciphertextInvalid)
    expect(() => ecies.decrypt(new Uint8Array(32), ciphertext)).toThrow(ciphertextInvalid)
    expect(() => ecies.decrypt(secret.subarray(1), ciphertext)).toThrow(ciphertextInvalid)
  })
})

describe.each([fast, plain])('$name encrypts', (ecies) => {
  it('refuses recipients that are no uncompressed points', () => {
    const key = fromHex(vectors.cases[0]?.recipient_public_keys['65_bytes'] ?? '')
    const off = Uint8Array.from(key)
    off[64] = (off[64] ?? 0) ^ 1
    const compressed = fromHex(vectors.cases[0]?.recipient_public_keys['33_bytes'] ?? '')
    const hybrid = key.with(0, 6 + ((key[64] ?? 0) & 1))
    for (const bad of [off, hybrid, compressed, key.subarray(1), new Uint8Array(65), new Uint8Array(0)]) {
      expect(() => ecies.encrypt(bad, new Uint8Array(96))).toThrow(keyInvalid)
    }
  })

  it('makes 193 bytes of a share, never the same twice', () => {
    const key = fromHex(vectors.cases[0]?.recipient_public_keys['65_bytes'] ?? '')
    const [one, other] = [0, 1].map(() => ecies.encrypt(key, new Uint8Array(96)))
    expect(one).toHaveLength(193)
    expect(one?.subarray(0, 65)).not.toEqual(other?.subarray(0, 65))
    expect(one?.subarray(65, 81)).not.toEqual(other?.subarray(65, 81))
  })
})

describe('many for one recipient', () => {
  const { secretKey, publicKey } = secp256k1.keygen()
  const recipient = parseOraclePublicKey(toHex(publicKey))
  const shares = Array.from({ length: 16 }, (_, i) => new Uint8Array(96).fill(i >> 1))
  const parts = (ciphertexts: readonly Uint8Array[], from: number, to: number) =>
    new Set(ciphertexts.map((ciphertext) => toHex(ciphertext.subarray(from, to)))).size

  it.each([fast, plain])('$name: every reader decrypts each by itself, in any order', (writer) => {
    const ciphertexts = writer.encryptMany(recipient, shares)
    expect(ciphertexts.map(({ length }) => length)).toEqual(shares.map(() => 193))
    for (const reader of [fast, plain, { decrypt: decryptEcies }])
      for (const i of [15, 3, 0, 7])
        expect(reader.decrypt(secretKey, ciphertexts[i] ?? new Uint8Array())).toEqual(shares[i])
    expect(writer.encryptMany(recipient, [])).toEqual([])
  })

  it('have one ephemeral key, nonces of their own, and nothing alike even where the data are', () => {
    const ciphertexts = fast.encryptMany(recipient, shares)
    expect(parts(ciphertexts, 0, 65)).toBe(1)
    for (const [from, to] of [
      [65, 81],
      [81, 97],
      [97, 193],
    ] as const)
      expect(parts(ciphertexts, from, to)).toBe(16)
  })

  it('share no ephemeral key with another call or another recipient', () => {
    const other = parseOraclePublicKey(toHex(secp256k1.keygen().publicKey))
    const calls = [recipient, recipient, other, other].flatMap((to) => fast.encryptMany(to, shares.slice(0, 2)))
    expect(parts(calls, 0, 65)).toBe(4)
  })

  it('are opened by no other recipient, and not when their parts are exchanged', () => {
    const [one = new Uint8Array(), two = new Uint8Array()] = fast.encryptMany(recipient, shares.slice(0, 4).slice(1, 3))
    expect(() => fast.decrypt(secp256k1.keygen().secretKey, one)).toThrow(ciphertextInvalid)
    for (const [from, to] of [
      [65, 81],
      [81, 97],
      [97, 193],
    ] as const) {
      const mixed = Uint8Array.from(one)
      mixed.set(two.subarray(from, to), from)
      expect(() => fast.decrypt(secretKey, mixed)).toThrow(ciphertextInvalid)
    }
  })

  it.each([fast, plain])('$name: refuses a recipient that is no point', (writer) => {
    expect(() => writer.encryptMany(new Uint8Array(65), shares)).toThrow(keyInvalid)
  })
})

it('each reads the other, whatever the data', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 200 }), fc.boolean(), (data, fromFast) => {
      const { secretKey, publicKey } = secp256k1.keygen()
      const recipient = parseOraclePublicKey(toHex(publicKey))
      const [writer, reader] = fromFast ? [fast, plain] : [plain, fast]
      const ciphertext = writer.encrypt(recipient, data)
      expect(reader.decrypt(secretKey, ciphertext)).toEqual(data)
      expect(writer.decrypt(secretKey, ciphertext)).toEqual(data)
    }),
    {
      numRuns: 20,
      // Nothing at all is as long as the header.
      examples: [
        [new Uint8Array(), true],
        [new Uint8Array(), false],
      ],
    },
  )
})
