import { createCipheriv, pbkdf2Sync } from 'node:crypto'
import { inspect } from 'node:util'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { addressOfSecretKey } from '../address.ts'
import { KeystoreError } from './eip2335-format.ts'
import { decryptWeb3Keystore } from './web3-keystore.ts'

interface Keystore {
  address?: unknown
  version: unknown
  crypto: Record<string, unknown> & { kdfparams: Record<string, unknown>; cipherparams: Record<string, unknown> }
}
interface Case {
  name: string
  password: string
  password_file_text: string
  private_key: string
  keystore: Keystore
}
const vectors = readFixtureJson('vectors/web3_keystore.json') as {
  cases: Case[]
  must_fail: { name: string; password: string; keystore: Keystore; expected: string }[]
}

async function failure(keystore: unknown, password: Uint8Array | string = 'x'): Promise<KeystoreError> {
  const text = typeof keystore === 'string' ? keystore : JSON.stringify(keystore)
  const error = await decryptWeb3Keystore(text, password).catch((reason: unknown) => reason)
  if (!(error instanceof KeystoreError)) throw new Error(`not a KeystoreError: ${inspect(error)}`)
  return error
}

/** A wallet made here, of any secret and few rounds. */
function wallet(secret: Uint8Array, password = 'x') {
  const [salt, iv] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)]
  const key = pbkdf2Sync(password, salt, 2, 32, 'sha256')
  const ciphertext = createCipheriv('aes-128-ctr', key.subarray(0, 16), iv).update(secret)
  return {
    version: 3,
    crypto: {
      cipher: 'aes-128-ctr',
      cipherparams: { iv: toHex(iv) },
      ciphertext: ciphertext.toString('hex'),
      kdf: 'pbkdf2',
      kdfparams: { c: 2, dklen: 32, prf: 'hmac-sha256', salt: toHex(salt) },
      mac: toHex(keccak_256(Buffer.concat([key.subarray(16), ciphertext]))),
    },
  }
}
const secretKey = new Uint8Array(32).fill(7)

describe('vectors of other implementations', () => {
  it.each(vectors.cases)('decrypts: $name', async ({ keystore, password, password_file_text, private_key }) => {
    const text = JSON.stringify(keystore)
    expect(toHex(await decryptWeb3Keystore(text, password))).toBe(private_key)
    expect(toHex(await decryptWeb3Keystore(text, new TextEncoder().encode(password_file_text)))).toBe(private_key)
  })

  it.each(vectors.must_fail)('refuses: $name', async ({ keystore, password, expected }) => {
    const code = expected === 'mac' ? 'KEYSTORE_PASSWORD_WRONG' : 'KEYSTORE_UNSUPPORTED'
    expect((await failure(keystore, password)).code).toBe(code)
  })
})

describe('the password', () => {
  it('counts without outer whitespace and exactly as it is otherwise', async () => {
    const text = (password: string) => JSON.stringify(wallet(secretKey, password))
    for (const spelled of ['a b', ' a b', 'a b\r\n', '\n\ta b  \n', '\ufeffa b'])
      expect(await decryptWeb3Keystore(text('a b'), new TextEncoder().encode(spelled))).toEqual(secretKey)
    expect(await decryptWeb3Keystore(text('e\u0301'), 'e\u0301')).toEqual(secretKey)
    for (const [right, wrong] of [
      ['e\u0301', '\u00e9'],
      ['a b', 'a  b'],
      ['a b', 'A b'],
      ['a\u0001b', 'ab'],
    ] as const)
      expect((await failure(wallet(secretKey, right), wrong)).code).toBe('KEYSTORE_PASSWORD_WRONG')
  })

  it.each([
    ['the Operator strips the file', 'a b', ' a b \r\n'],
    ['geth takes the line with its spaces', ' a b ', ' a b \r\n'],
    ['a tool takes the file as it is', 'a b\n', 'a b\n'],
    ['a tool takes the file with its byte order mark', '\ufeffa b\r\n', '\ufeffa b\r\n'],
    ['ethers takes NFKC', '\u00e4 1', 'a\u0308 \u2460\n'],
    ['ethers takes NFKC with outer spaces', ' \u00e4', ' a\u0308\n'],
    ['eth-keyfile takes composed letters as they are', '\u00e4', '\u00e4\n'],
    ['eth-keyfile takes decomposed letters as they are', 'a\u0308', 'a\u0308\n'],
  ])('opens as other tools made the wallet: %s', async (_, password, passwordFile) => {
    const text = JSON.stringify(wallet(secretKey, password))
    expect(await decryptWeb3Keystore(text, Buffer.from(passwordFile))).toEqual(secretKey)
  })

  it('must be UTF-8', async () => {
    expect((await failure(wallet(secretKey), Uint8Array.of(0xff, 0xfe))).code).toBe('KEYSTORE_PASSWORD_WRONG')
  })
})

describe('a file', () => {
  const good = { ...wallet(secretKey), address: toHex(addressOfSecretKey(secretKey)) }

  it('may name its address in any spelling, or not at all, and write Crypto', async () => {
    const { crypto, ...rest } = good
    const digits = good.address.slice(2)
    for (const address of [digits, `0x${digits.toUpperCase()}`, null, undefined])
      expect(await decryptWeb3Keystore(JSON.stringify({ ...good, address }), 'x')).toEqual(secretKey)
    expect(await decryptWeb3Keystore(JSON.stringify({ ...rest, Crypto: crypto }), 'x')).toEqual(secretKey)
  })

  it('is refused when its address is not its key’s', async () => {
    const error = await failure({ ...good, address: '11'.repeat(20) })
    expect([error.code, error.meta['field']]).toEqual(['KEYSTORE_MALFORMED', 'address'])
  })

  it.each(['00'.repeat(32), 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141', 'ff'.repeat(32)])(
    'is refused when what it holds is no key (%s)',
    async (secret) => {
      expect((await failure(wallet(fromHex(secret)))).code).toBe('KEYSTORE_SECRET_INVALID')
    },
  )

  it('is refused when it is of another version', async () => {
    for (const version of [0, 2, 4]) expect((await failure({ ...good, version })).code).toBe('KEYSTORE_UNSUPPORTED')
  })

  it('has its own crypto field, whatever stands under another name', async () => {
    expect(await decryptWeb3Keystore(JSON.stringify({ ...good, Crypto: {} }), 'x')).toEqual(secretKey)
  })

  it('is refused when it would cost too much', async () => {
    const { crypto } = good
    const scrypt = (n: number, r: number, p: number) => ({
      ...good,
      crypto: { ...crypto, kdf: 'scrypt', kdfparams: { dklen: 32, n, r, p, salt: 'ab' } },
    })
    for (const costly of [
      scrypt(2 ** 22, 8, 1),
      scrypt(2 ** 19, 8, 1),
      scrypt(2, 2 ** 30, 1),
      scrypt(1024, 8, 9),
      { ...good, crypto: { ...crypto, kdfparams: { ...crypto.kdfparams, c: 10_000_001 } } },
    ])
      expect((await failure(costly)).code).toBe('KEYSTORE_TOO_COSTLY')
    expect(await failure(scrypt(1000, 8, 1))).toMatchObject({
      code: 'KEYSTORE_MALFORMED',
      meta: { field: 'crypto.kdfparams.n' },
    })
    for (const usable of [scrypt(32_768, 1, 1), scrypt(65_536, 1, 1)])
      expect((await failure(usable)).code).toBe('KEYSTORE_PASSWORD_WRONG')
  })

  const positions: (readonly string[])[] = [
    ['version'],
    ['address'],
    ['crypto'],
    ...['cipher', 'cipherparams', 'ciphertext', 'kdf', 'kdfparams', 'mac'].map((name) => ['crypto', name]),
    ['crypto', 'cipherparams', 'iv'],
    ...['c', 'dklen', 'prf', 'salt'].map((name) => ['crypto', 'kdfparams', name]),
  ]
  it.each(positions.map((path) => ({ path })))(
    'is refused, and the field named, for a wrong $path',
    async ({ path }) => {
      const values = [undefined, null, true, 1.5, -1, 'zz', `0x${'ab'.repeat(2_000)}`, [], {}]
      for (const value of values) {
        if (path[0] === 'address' && (value === undefined || value === null)) continue
        const changed = structuredClone(good) as Record<string, unknown>
        const parent = path.slice(0, -1).reduce((at, name) => at[name] as Record<string, unknown>, changed)
        parent[path.at(-1) ?? ''] = value
        const error = await failure(changed)
        expect(['KEYSTORE_MALFORMED', 'KEYSTORE_UNSUPPORTED'], JSON.stringify(value)).toContain(error.code)
        expect(String(error.meta['field'])).toContain(path.join('.'))
        expect(error.message).not.toContain('zz')
      }
    },
  )

  it('is not repeated when it is not JSON, not an object, or too large', async () => {
    for (const text of ['s3cret', '"s3cret"', '["s3cret"]', 'null', '', `"${'s3cret'.repeat(200_000)}"`]) {
      const error = await failure(text)
      expect(error.code).toBe('KEYSTORE_MALFORMED')
      expect(inspect(error)).not.toContain('s3cret')
    }
  })
})
