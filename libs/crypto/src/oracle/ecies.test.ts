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
    for (const bad of [off, compressed, key.subarray(1), new Uint8Array(65), new Uint8Array(0)]) {
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
    { numRuns: 20 },
  )
})
