import { createCipheriv, createHash, pbkdf2Sync } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixture } from '../../../../test/support/keys/fixtures.ts'
import { decryptKeystore, decryptKeystoreCrypto, encryptKeystore, passwordCandidates } from './eip2335.ts'
import { isWeakKdf, KeystoreError, parseKeystore, parseKeystoreCrypto } from './eip2335-format.ts'

interface Case {
  name: string
  password: string
  password_file_text: string
  normalised_password: string
  secret_key: string
  public_key: string
  keystore: unknown
}
interface Vectors {
  cases: Case[]
  must_fail: { name: string; password: string; keystore: unknown; expected: string }[]
  ssv_operator_keys: { name: string; password_file_text: string; keystore: unknown; private_key_pem: string }[]
}
const vectors = JSON.parse(readFixture('vectors/eip2335.json')) as Vectors

const publicKeyOf = (secret: Uint8Array) => bls12_381.G1.Point.BASE.multiply(BigInt(toHex(secret))).toBytes(true)

/** What a rejected promise was rejected with. */
async function rejection(promise: Promise<unknown>): Promise<KeystoreError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof KeystoreError) return error
  throw new Error('expected a KeystoreError', { cause: error })
}

describe('vectors of other implementations', () => {
  it.each(vectors.cases)('$name', async ({ keystore, password_file_text, secret_key, public_key }) => {
    expect(toHex(await decryptKeystore(JSON.stringify(keystore), Buffer.from(password_file_text)))).toBe(secret_key)
    const stated = parseKeystore(keystore).publicKey
    expect(stated === undefined ? undefined : toHex(stated)).toBe(public_key)
  })

  it.each(vectors.cases)('normalises the password of: $name', ({ password, normalised_password }) => {
    expect(toHex(passwordCandidates(password)[0] ?? new Uint8Array())).toBe(normalised_password)
  })

  const codes: Record<string, string> = {
    checksum: 'KEYSTORE_PASSWORD_WRONG',
    unsupported: 'KEYSTORE_UNSUPPORTED',
    malformed: 'KEYSTORE_MALFORMED',
    invalid_secret_key: 'KEYSTORE_SECRET_INVALID',
  }
  it.each(vectors.must_fail)('refuses: $name', async ({ keystore, password, expected }) => {
    expect((await rejection(decryptKeystore(keystore, password))).code).toBe(codes[expected])
  })

  it('decrypts a bare crypto object of another length: an SSV operator key', async () => {
    const [operator] = vectors.ssv_operator_keys
    const crypto = parseKeystoreCrypto(operator?.keystore)
    const secret = await decryptKeystoreCrypto(crypto, operator?.password_file_text ?? '')
    expect(Buffer.from(secret).toString().trim()).toBe(operator?.private_key_pem.trim())
  })

  it.each([
    'split-keys/keystore-0',
    'split-keys/keystore-1',
    'cluster-4-secure/node2/validator_keys/keystore-0',
    'cluster-dkg/operator1/.charon/validator_keys/keystore-0',
    'cluster-4/node3/validator_keys/keystore-insecure-11',
  ])('reads what charon and its tools wrote: %s', async (name) => {
    const keystore = readFixture(`obol/${name}.json`)
    const secret = await decryptKeystore(keystore, Buffer.from(readFixture(`obol/${name}.txt`)))
    expect(publicKeyOf(secret)).toEqual(parseKeystore(keystore).publicKey)
    expect(isWeakKdf(parseKeystore(keystore).crypto.kdf)).toBe(name.includes('insecure'))
  })
})

it('a key derivation is weak below the cost that EIP-2335 gives as its example', () => {
  const scrypt = (n: number, r: number) => isWeakKdf({ function: 'scrypt', n, r, p: 1 })
  expect([262_143, 262_144].map((c) => isWeakKdf({ function: 'pbkdf2', c }))).toEqual([true, false])
  expect([scrypt(131_072, 8), scrypt(262_144, 8)]).toEqual([true, false])
  expect([scrypt(131_072, 15), scrypt(131_072, 16)]).toEqual([true, false])
})

describe('passwords', () => {
  const secret = fromHex('01'.repeat(32))
  const options = { publicKey: new Uint8Array(48), kdf: { function: 'pbkdf2', c: 1 } } as const

  it('tries the password once more without outer spaces', async () => {
    const keystore = await encryptKeystore(secret, 'pass word', options)
    expect(await decryptKeystore(keystore, ' \tpass word \r\n')).toEqual(secret)
    expect(await decryptKeystore(keystore, '\ufeffpass word\n')).toEqual(secret)
    expect((await rejection(decryptKeystore(keystore, 'password'))).code).toBe('KEYSTORE_PASSWORD_WRONG')
  })

  it('takes outer spaces for part of the password first', async () => {
    const keystore = await encryptKeystore(secret, ' spaced ', options)
    expect(await decryptKeystore(keystore, ' spaced \n')).toEqual(secret)
  })

  it.each([
    ['charon writes it without a line end', 'pass word', 'pass word'],
    ['an editor ends the line', 'pass word', 'pass word\n'],
    ['an editor of Windows ends the line', 'pass word', '\ufeffpass word\r\n'],
    ['a shell left spaces', 'pass word', ' pass word  \n'],
    ['the spaces are part of it', ' pass word ', ' pass word \n'],
    ['composed letters, as most keyboards give them', 'p\u00e4ss', 'p\u00e4ss\n'],
    ['decomposed letters, as macOS gives them', 'p\u00e4ss', 'pa\u0308ss\n'],
  ])('opens what EIP-2335 encrypted: %s', async (_, password, file) => {
    const keystore = await encryptKeystore(secret, password, options)
    expect(await decryptKeystore(keystore, Buffer.from(file))).toEqual(secret)
  })

  it.each([
    ['composed letters', 'p\u00e4ss', 'p\u00e4ss'],
    ['the line end of the file', 'pass word\n', 'pass word\n'],
    ['the byte order mark of the file', '\ufeffpass word\r\n', '\ufeffpass word\r\n'],
  ])('opens what a tool encrypted that takes the password as it stands: %s', async (_, password, file) => {
    const keystore = encryptPlainly(password)
    expect(await decryptKeystore(keystore, Buffer.from(file))).toEqual(secret)
    expect((await rejection(decryptKeystore(keystore, `${file}x`))).code).toBe('KEYSTORE_PASSWORD_WRONG')
  })

  /** By the formula of EIP-2335, without its normalisation. */
  function encryptPlainly(password: string) {
    const [salt, iv] = [Buffer.alloc(32, 1), Buffer.alloc(16, 2)]
    const key = pbkdf2Sync(password, salt, 2, 32, 'sha256')
    const ciphertext = createCipheriv('aes-128-ctr', key.subarray(0, 16), iv).update(secret)
    const checksum = createHash('sha256').update(key.subarray(16)).update(ciphertext).digest('hex')
    const kdf = { c: 2, dklen: 32, prf: 'hmac-sha256', salt: salt.toString('hex') }
    return {
      version: 4,
      crypto: {
        kdf: { function: 'pbkdf2', params: kdf, message: '' },
        checksum: { function: 'sha256', params: {}, message: checksum },
        cipher: { function: 'aes-128-ctr', params: { iv: iv.toString('hex') }, message: ciphertext.toString('hex') },
      },
    }
  }

  it('refuses bytes that are not UTF-8, and names UTF-16', async () => {
    const keystore = await encryptKeystore(secret, '', options)
    expect((await rejection(decryptKeystore(keystore, Uint8Array.of(0xff)))).code).toBe('KEYSTORE_PASSWORD_WRONG')
    expect((await rejection(decryptKeystore(keystore, Buffer.from('pass word', 'utf16le')))).message).toBe(
      'keystore: the password is UTF-16 (little endian) text: save it as UTF-8',
    )
  })
})

describe('round trip', () => {
  const scalar = fc.bigInt(1n, 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000n)
  const kdf = fc.oneof(
    fc.record({ function: fc.constant('pbkdf2' as const), c: fc.integer({ min: 1, max: 50 }) }),
    fc.record({
      function: fc.constant('scrypt' as const),
      n: fc.constantFrom(2, 16, 1024),
      r: fc.integer({ min: 1, max: 8 }),
      p: fc.integer({ min: 1, max: 3 }),
    }),
  )
  it('decrypts what it encrypted, whatever key, password and cost', async () => {
    await fc.assert(
      fc.asyncProperty(scalar, fc.string({ unit: 'binary' }), kdf, async (key, password, cost) => {
        const secret = fromHex(key.toString(16).padStart(64, '0'))
        const file = await encryptKeystore(secret, password, { publicKey: new Uint8Array(48), kdf: cost })
        expect(await decryptKeystore(JSON.stringify(file), password)).toEqual(secret)
      }),
      { numRuns: 50 },
    )
  })
})

describe('hostile files', () => {
  const good = vectors.cases[2]?.keystore as { crypto: { kdf: { params: object }; cipher: object } }
  const withCrypto = (change: object) => ({ ...good, crypto: { ...good.crypto, ...change } })
  const withKdf = (name: string, params: object) =>
    withCrypto({ kdf: { function: name, params: { ...good.crypto.kdf.params, ...params }, message: '' } })

  it.each([
    ['rounds', 'KEYSTORE_TOO_COSTLY', withKdf('pbkdf2', { c: 10_000_001 })],
    ['rounds beyond 2^53', 'KEYSTORE_MALFORMED', withKdf('pbkdf2', { c: 2 ** 60 })],
    ['no rounds', 'KEYSTORE_MALFORMED', withKdf('pbkdf2', { c: 0 })],
    ['rounds as text', 'KEYSTORE_MALFORMED', withKdf('pbkdf2', { c: '16' })],
    ['another prf', 'KEYSTORE_UNSUPPORTED', withKdf('pbkdf2', { prf: 'hmac-sha1' })],
    ['another key length', 'KEYSTORE_UNSUPPORTED', withKdf('pbkdf2', { dklen: 64 })],
    ['scrypt memory', 'KEYSTORE_TOO_COSTLY', withKdf('scrypt', { n: 2 ** 20, r: 8, p: 1 })],
    ['scrypt block size', 'KEYSTORE_TOO_COSTLY', withKdf('scrypt', { n: 2, r: 2 ** 40, p: 1 })],
    ['scrypt memory of parallel blocks', 'KEYSTORE_TOO_COSTLY', withKdf('scrypt', { n: 2, r: 2 ** 20, p: 8 })],
    ['scrypt parallelism', 'KEYSTORE_TOO_COSTLY', withKdf('scrypt', { n: 2, r: 1, p: 9 })],
    ['scrypt n that is no power of two', 'KEYSTORE_MALFORMED', withKdf('scrypt', { n: 1000, r: 8, p: 1 })],
    ['salt missing', 'KEYSTORE_MALFORMED', withKdf('pbkdf2', { salt: '' })],
    ['salt of odd length', 'KEYSTORE_MALFORMED', withKdf('pbkdf2', { salt: 'abc' })],
    ['salt too long', 'KEYSTORE_MALFORMED', withKdf('pbkdf2', { salt: '00'.repeat(1025) })],
    ['short iv', 'KEYSTORE_MALFORMED', withCrypto({ cipher: { ...good.crypto.cipher, params: { iv: '00' } } })],
    ['ciphertext as list', 'KEYSTORE_MALFORMED', withCrypto({ cipher: { ...good.crypto.cipher, message: [] } })],
    ['function as object', 'KEYSTORE_MALFORMED', withCrypto({ kdf: { function: {}, params: {} } })],
    ['crypto as list', 'KEYSTORE_MALFORMED', { ...good, crypto: [] }],
    ['inherited fields', 'KEYSTORE_MALFORMED', { version: 4, crypto: Object.create(good.crypto) as unknown }],
    ['public key too short', 'KEYSTORE_MALFORMED', { ...good, pubkey: '00' }],
    ['version as text', 'KEYSTORE_MALFORMED', { ...good, version: '4' }],
    ['null', 'KEYSTORE_MALFORMED', null],
    ['not JSON', 'KEYSTORE_MALFORMED', 'hunter2 is my password'],
    ['endless', 'KEYSTORE_MALFORMED', ' '.repeat((1 << 20) + 1)],
  ])('refuses: %s', async (_, code, keystore) => {
    const error = await rejection(decryptKeystore(keystore, '0f5c21d9a7b34e68'))
    expect(error.code).toBe(code)
    expect(error.message).not.toContain('hunter2')
  })

  const cipherOf = (bytes: number) => withCrypto({ cipher: { ...good.crypto.cipher, message: '00'.repeat(bytes) } })
  it.each([
    ['rounds', withKdf('pbkdf2', { c: 10_000_000 })],
    ['scrypt memory', withKdf('scrypt', { n: 2, r: 2 ** 20, p: 2 })],
    ['scrypt parallelism', withKdf('scrypt', { n: 2, r: 1, p: 8 })],
    ['salt', withKdf('pbkdf2', { salt: `0x${'00'.repeat(1024)}` })],
    ['short salt', withKdf('pbkdf2', { salt: '00' })],
    ['ciphertext', cipherOf(65_536)],
    ['short ciphertext', cipherOf(1)],
  ])('may go to the last bound: %s', (_, keystore) => {
    expect(parseKeystore(keystore).crypto).toBeDefined()
  })

  it.each([
    ['scrypt memory', 'KEYSTORE_TOO_COSTLY', withKdf('scrypt', { n: 2, r: 2 ** 20 + 1, p: 2 })],
    ['scrypt n', 'KEYSTORE_MALFORMED', withKdf('scrypt', { n: 1, r: 8, p: 1 })],
    ['ciphertext', 'KEYSTORE_MALFORMED', cipherOf(65_537)],
    ['no ciphertext', 'KEYSTORE_MALFORMED', cipherOf(0)],
    ['length of the key', 'KEYSTORE_UNSUPPORTED', withKdf('pbkdf2', { dklen: 1 })],
    ['version', 'KEYSTORE_UNSUPPORTED', { ...good, version: 0 }],
    ['function', 'KEYSTORE_UNSUPPORTED', withKdf('x'.repeat(64), {})],
    ['name of the function', 'KEYSTORE_MALFORMED', withKdf('x'.repeat(65), {})],
  ])('may not go beyond: %s', (_, code, keystore) => {
    expect(() => parseKeystore(keystore)).toThrow(expect.objectContaining({ code }))
  })

  it('may leave out what nothing is decrypted by', () => {
    for (const pubkey of [undefined, null, '']) expect(parseKeystore({ ...good, pubkey }).publicKey).toBeUndefined()
    expect(parseKeystore({ ...good, pubkey: '11'.repeat(48) }).publicKey).toEqual(new Uint8Array(48).fill(0x11))
    for (const path of [undefined, null, '']) expect(parseKeystore({ ...good, path }).path).toBe('')
  })

  it('names the field by its path', async () => {
    const error = await rejection(decryptKeystore(withKdf('pbkdf2', { c: -1 }), ''))
    expect(error.meta).toEqual({ field: 'crypto.kdf.params.c' })
    expect(error.message).toContain('crypto.kdf.params.c')
  })

  it('refuses every single leaf of the crypto object when it is changed to another type', async () => {
    const required = (value: unknown, path: string[] = []): string[][] =>
      typeof value === 'object' && value !== null
        ? Object.entries(value).flatMap(([key, inner]) => required(inner, [...path, key]))
        : [path]
    // EIP-2335 gives the key derivation's message no meaning.
    const leaves = required(good.crypto).filter((path) => path.join('.') !== 'kdf.message')
    expect(leaves.length).toBeGreaterThanOrEqual(9)
    for (const path of leaves) {
      const copy = structuredClone(good.crypto) as unknown as Record<string, unknown>
      const holder = path.slice(0, -1).reduce((inner, key) => inner[key] as Record<string, unknown>, copy)
      holder[path.at(-1) ?? ''] = true
      expect(() => parseKeystoreCrypto(copy), path.join('.')).toThrow(KeystoreError)
    }
  })

  it('anything in place of the file is an error of ours', () => {
    fc.assert(
      fc.property(fc.anything({ key: fc.constantFrom('crypto', 'kdf', 'params', 'function', 'version') }), (value) => {
        expect(() => parseKeystore(value)).toThrow(KeystoreError)
        expect(() => parseKeystore({ ...good, crypto: value })).toThrow(KeystoreError)
        expect(() => parseKeystore(withCrypto({ kdf: value }))).toThrow(KeystoreError)
      }),
    )
  })
})
