import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
  sign,
} from 'node:crypto'
import { inspect } from 'node:util'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixture, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createBlstEngine } from '../bls/blst.ts'
import { GROUP_ORDER, scalarBytes } from '../bls/scalar.ts'
import { encryptKeystore } from '../keystores/eip2335.ts'
import {
  type OperatorKey,
  openOperatorKey,
  operatorKeyFingerprint,
  parseOperatorPublicKey,
  verifyOperatorSignature,
} from './operator-key.ts'

interface KeyShare {
  encrypted_key_share: string
  plaintext?: string
  secret_key?: string
  public_key?: string
  error?: string
}
interface Vector {
  name: string
  password: string
  password_file_text: string
  keystore: Record<string, unknown>
  private_key_pem: string
  raw_private_key_file: string
  key_shares: KeyShare[]
}
interface Cluster {
  validators: {
    public_key: string
    public_key_shares: { share_index: number; public_key_share: string; secret_key_share: string }[]
  }[]
}
interface Keyshares {
  shares: { payload: { publicKey: string; operatorIds: number[]; sharesData: string } }[]
}

const vectors = (readFixtureJson('vectors/eip2335.json') as { ssv_operator_keys: Vector[] }).ssv_operator_keys
const operators = (readFixtureJson('ssv/expected.json') as { operators: { id: number; public_key: string }[] })
  .operators
const engine = createBlstEngine()

const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64')

const opened = new Map<number, Promise<OperatorKey>>()
/** Each file is decrypted once: that is what takes time. */
function openFixture(id: number): Promise<OperatorKey> {
  const folder = `ssv/operators/${id}`
  const key =
    opened.get(id) ??
    (id === 70001
      ? openOperatorKey(readFixture(`${folder}/private_key`))
      : openOperatorKey(readFixture(`${folder}/encrypted_private_key.json`), readFixture(`${folder}/password.txt`)))
  opened.set(id, key)
  return key
}

async function rejection(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  const reason = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(reason instanceof Error) || !('code' in reason)) throw new Error('expected a coded error', { cause: reason })
  return { code: String(reason.code), message: reason.message }
}

/** A key of ours, and blocks encrypted to it by hand. */
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pkcs1 = pair.privateKey.export({ format: 'pem', type: 'pkcs1' }).toString()
const own = await openOperatorKey(pkcs1)
const encryptBlock = (block: Uint8Array) =>
  publicEncrypt({ key: pair.publicKey, padding: constants.RSA_NO_PADDING }, block)
const encrypt = (text: string, key: KeyObject = pair.publicKey) =>
  publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, Buffer.from(text, 'latin1'))
/** 00 02 ++ padding ++ 00 ++ text */
function blockOf(text: string): Buffer {
  const block = Buffer.alloc(256, 0xff)
  block.set([0, 2])
  block[255 - text.length] = 0
  block.write(text, 256 - text.length, 'latin1')
  return block
}

describe('operator key files', () => {
  it.each(operators)('of operator $id opens and is the key of its OperatorAdded', async ({ id, public_key }) => {
    const key = await openFixture(id)
    expect(key.publicKey).toEqual(parseOperatorPublicKey(public_key))
    expect(key.isMislabelled).toBe(false)
    for (const other of operators) {
      const isSame = operatorKeyFingerprint(parseOperatorPublicKey(other.public_key) ?? new Uint8Array())
      expect(isSame === operatorKeyFingerprint(key.publicKey)).toBe(other.id === id)
    }
  })

  it.each(vectors)('opens what another implementation wrote: $name', async (vector) => {
    const encrypted = await openOperatorKey(JSON.stringify(vector.keystore), Buffer.from(vector.password_file_text))
    const spki = createPublicKey(vector.private_key_pem).export({ format: 'der', type: 'spki' })
    expect(toHex(encrypted.publicKey)).toBe(toHex(spki))
    for (const plain of [vector.private_key_pem, vector.raw_private_key_file, `${vector.raw_private_key_file}\n`])
      expect((await openOperatorKey(Buffer.from(plain))).publicKey).toEqual(encrypted.publicKey)
  })

  it('opens PKCS#8, line ends of Windows, a byte order mark and wrapped base64', async () => {
    const pkcs8 = pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    const wrapped = base64(pkcs1).replace(/.{64}/g, '$&\n')
    for (const text of [pkcs8, pkcs1.replaceAll('\n', '\r\n'), `\ufeff${pkcs1}\n\n`, wrapped])
      expect((await openOperatorKey(text)).publicKey).toEqual(own.publicKey)
  })

  it('says when the public key in the file is another one, and needs none', async () => {
    const { crypto } = await encryptKeystore(Buffer.from(pkcs1), 'x', {
      publicKey: new Uint8Array(),
      kdf: { function: 'pbkdf2', c: 1 },
    })
    const spki = pair.publicKey.export({ format: 'pem', type: 'spki' }).toString()
    const rsa = pair.publicKey.export({ format: 'pem', type: 'pkcs1' }).toString()
    const label = (fields: object) => openOperatorKey(JSON.stringify({ ...crypto, ...fields }), 'x')
    const headed = base64(spki.replaceAll('PUBLIC KEY', 'RSA PUBLIC KEY'))
    for (const fields of [
      {},
      { pubKey: headed },
      { pubkey: headed },
      { pubkey: base64(rsa) },
      { pubKey: spki },
      { pubkey: '' },
    ])
      expect(await label(fields)).toMatchObject({ isMislabelled: false, publicKey: own.publicKey })
    const other = operators[0]?.public_key
    for (const fields of [
      { pubKey: other },
      { pubkey: other },
      { pubKey: headed, pubkey: other },
      { pubkey: 'x' },
      { pubkey: 5 },
    ])
      expect(await label(fields)).toMatchObject({ isMislabelled: true, publicKey: own.publicKey })
  })
})

describe('files that are no operator key', () => {
  const cheap = { publicKey: new Uint8Array(), kdf: { function: 'pbkdf2', c: 1 } } as const
  const encrypted = async (text: string) =>
    JSON.stringify((await encryptKeystore(Buffer.from(text), 'x', cheap)).crypto)
  const pemOf = (bits: number) =>
    generateKeyPairSync('rsa', { modulusLength: bits }).privateKey.export({ format: 'pem', type: 'pkcs1' }).toString()
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey
  const locked = { format: 'pem', cipher: 'aes-128-cbc', passphrase: 'x' } as const
  /** A key whose private exponents are another's. */
  const damaged = () => {
    const jwk = pair.privateKey.export({ format: 'jwk' })
    const { d, dp, dq } = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })
    const parts = { ...jwk, ...(d && dp && dq ? { d, dp, dq } : {}) }
    return createPrivateKey({ key: parts, format: 'jwk' }).export({ format: 'pem', type: 'pkcs1' }).toString()
  }
  const neither = 'is neither an encrypted_private_key.json nor a PEM private key nor the base64 of one'
  const bits = (count: number) => `has ${count} bits, SSV operators have 2048`
  const passphrase = 'is a PEM under a passphrase: use encrypted_private_key.json, or a PEM without one'

  it.each([
    ['empty', 'MALFORMED', neither, () => ''],
    ['text', 'MALFORMED', neither, () => 'hunter2'],
    ['base64 of text', 'MALFORMED', neither, () => base64('hunter2')],
    ['a PEM without its end', 'MALFORMED', neither, () => pkcs1.slice(0, -30)],
    ['a list', 'MALFORMED', neither, () => '["hunter2"]'],
    ['broken JSON', 'MALFORMED', 'is not JSON', () => '{"hunter2'],
    ['as long as a file may be', 'MALFORMED', neither, () => 'a'.repeat(1 << 20)],
    ['endless', 'MALFORMED', 'is larger than 1048576 bytes', () => 'a'.repeat((1 << 20) + 1)],
    [
      'a validator keystore',
      'MALFORMED',
      'is a validator keystore, not an operator key: an operator key has no crypto field',
      () => readFixture('obol/cluster-4/node0/validator_keys/keystore-insecure-0.json'),
    ],
    [
      'a public key',
      'MALFORMED',
      'is a public key, but the private key is needed',
      () => operators[0]?.public_key ?? '',
    ],
    ['a PEM that is not base64', 'MALFORMED', 'is a PEM whose body is not base64', () => pkcs1.replace('MII', 'M*I')],
    [
      'a PEM cut short',
      'MALFORMED',
      'is a PEM whose body is not a private key',
      () => pkcs1.replace(/\n.{64}\n/, '\n'),
    ],
    ['numbers that do not belong together', 'MALFORMED', 'is damaged: its numbers do not belong together', damaged],
    ['RSA-1024', 'UNSUPPORTED', bits(1024), () => pemOf(1024)],
    ['RSA-3072', 'UNSUPPORTED', bits(3072), () => base64(pemOf(3072))],
    [
      'PKCS#8 under a passphrase',
      'UNSUPPORTED',
      passphrase,
      () => pair.privateKey.export({ ...locked, type: 'pkcs8' }),
    ],
    [
      'PKCS#1 under a passphrase',
      'UNSUPPORTED',
      passphrase,
      () => pair.privateKey.export({ ...locked, type: 'pkcs1' }),
    ],
    [
      'a SEC1 key',
      'UNSUPPORTED',
      'is a PEM of another kind than an RSA private key',
      () => ec.export({ format: 'pem', type: 'sec1' }),
    ],
    ['an EC key', 'UNSUPPORTED', 'is not an RSA key', () => ec.export({ format: 'pem', type: 'pkcs8' })],
    ['an RSA-PSS key', 'UNSUPPORTED', 'is not an RSA key', () => pss.export({ format: 'pem', type: 'pkcs8' })],
  ])('%s', async (_, code, reason, make) => {
    const text = make().toString()
    const error = await rejection(openOperatorKey(text))
    expect(error).toEqual({ code: `OPERATOR_KEY_${code}`, message: `operator key: ${reason}` })
    if (text === '' || text.startsWith('{') || text.length > 10_000) return
    // The same inside an encrypted file.
    expect(await rejection(openOperatorKey(await encrypted(text), 'x'))).toEqual({
      code: `OPERATOR_KEY_${code}`,
      message: `operator key: ${reason.startsWith('is damaged') ? '' : 'what it holds '}${reason}`,
    })
  })

  it('of an encrypted key: no password, a wrong one, a wrong file', async () => {
    const file = await encrypted(pkcs1)
    expect(await rejection(openOperatorKey(file))).toEqual({
      code: 'OPERATOR_KEY_PASSWORD_MISSING',
      message: 'operator key: is encrypted and needs its password file',
    })
    expect(await rejection(openOperatorKey(file, 'hunter2'))).toEqual({
      code: 'KEYSTORE_PASSWORD_WRONG',
      message: 'keystore: the checksum does not fit (wrong password, or a damaged file)',
    })
    expect(await rejection(openOperatorKey('{"kdf":{"function":"hunter2"}}', 'x'))).toEqual({
      code: 'KEYSTORE_UNSUPPORTED',
      message: 'keystore: kdf.function is not pbkdf2 or scrypt',
    })
    expect((await rejection(openOperatorKey('{}', 'x'))).code).toBe('KEYSTORE_MALFORMED')
  })
})

describe('public keys', () => {
  const spki = pair.publicKey.export({ format: 'pem', type: 'spki' }).toString()

  it('are the same in every spelling', () => {
    const rsa = pair.publicKey.export({ format: 'pem', type: 'pkcs1' }).toString()
    const headed = spki.replaceAll('PUBLIC KEY', 'RSA PUBLIC KEY')
    for (const pem of [spki, rsa, headed, headed.trim(), headed.replaceAll('\n', '\r\n')])
      for (const text of [pem, base64(pem), `${base64(pem)}\n`])
        expect(parseOperatorPublicKey(text)).toEqual(own.publicKey)
  })

  it('are read up to a length that no key has', () => {
    const padded = (length: number) => parseOperatorPublicKey(spki.padEnd(length))
    expect([padded(8_192), padded(8_193)]).toEqual([own.publicKey, undefined])
  })

  it('that are none are undefined', () => {
    const other = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits }).publicKey
    const texts = [
      '',
      'x',
      base64('x'),
      pkcs1,
      base64(pkcs1),
      spki.replaceAll('PUBLIC', 'PRIVATE'),
      spki.replace(/\n.{64}\n/, '\n'),
      `${spki}${' '.repeat(8_192)}`,
      other(1024).export({ format: 'pem', type: 'spki' }).toString(),
      other(3072).export({ format: 'pem', type: 'spki' }).toString(),
      generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    ]
    for (const text of texts) expect(parseOperatorPublicKey(text), text.slice(0, 30)).toBeUndefined()
    fc.assert(fc.property(fc.string(), (text) => parseOperatorPublicKey(text) === undefined))
  })
})

describe('key shares', () => {
  it.each(vectors)('of another implementation decrypt, or all fail alike: $name', async (vector) => {
    const key = await openOperatorKey(vector.private_key_pem)
    expect(vector.key_shares.filter(({ error }) => error !== undefined)).toHaveLength(5)
    for (const { encrypted_key_share, secret_key, public_key, error } of vector.key_shares) {
      const secret = key.decryptKeyShare(fromHex(encrypted_key_share))
      expect(secret === undefined ? undefined : toHex(secret), error).toBe(secret_key)
      if (secret !== undefined) expect(toHex(engine.publicKeyOf(secret))).toBe(public_key)
    }
  })

  it.each(['cluster-4', 'cluster-4-gaps', 'cluster-7', 'cluster-4-readded', 'cluster-4-dkg'])(
    'of %s are those of its operators, and nobody else’s',
    async (name) => {
      const { validators } = readFixtureJson(`ssv/${name}/expected.json`) as Cluster
      const { shares } = readFixtureJson(`ssv/${name}/keyshares.json`) as Keyshares
      const keys = new Map<number, OperatorKey>()
      for (const id of shares[0]?.payload.operatorIds ?? []) keys.set(id, await openFixture(id))
      for (const { payload } of shares) {
        const expected = validators.find(({ public_key }) => public_key === payload.publicKey)?.public_key_shares ?? []
        const bytes = fromHex(payload.sharesData)
        const ciphertexts = payload.operatorIds.map((_, position) => {
          const start = 96 + 48 * payload.operatorIds.length + 256 * position
          return bytes.subarray(start, start + 256)
        })
        for (const [position, id] of payload.operatorIds.entries())
          for (const [other, ciphertext] of ciphertexts.entries()) {
            const secret = keys.get(id)?.decryptKeyShare(ciphertext)
            if (other !== position) expect(secret).toBeUndefined()
            else expect(toHex(secret ?? new Uint8Array())).toBe(expected[position]?.secret_key_share)
          }
        expect(expected.map(({ share_index }) => share_index)).toEqual(payload.operatorIds)
      }
    },
  )

  const scalar = fc.bigInt(1n, GROUP_ORDER - 1n).map(scalarBytes)

  it('come back, with and without 0x, in either case', () => {
    fc.assert(
      fc.property(scalar, fc.boolean(), fc.boolean(), (secret, prefix, upper) => {
        const digits = Buffer.from(secret).toString('hex')
        const text = `${prefix ? '0x' : ''}${upper ? digits.toUpperCase() : digits}`
        expect(own.decryptKeyShare(encrypt(text))).toEqual(secret)
      }),
      { numRuns: 50 },
    )
  })

  const digits = '1f'.repeat(32)
  it.each([
    ['one digit less', digits.slice(1)],
    ['one digit more', `${digits}0`],
    ['two digits more', `${digits}00`],
    ['a prefix in upper case', `0X${digits}`],
    ['a prefix of other characters', `1x${digits}`],
    ['a newline after it', `${digits}\n`],
    ['a space before it', ` ${digits}`],
    ['nothing', ''],
    ['zero', '0'.repeat(64)],
    ['the group order', GROUP_ORDER.toString(16)],
    ['above the group order', 'f'.repeat(64)],
    ['32 raw bytes', String.fromCharCode(...new Uint8Array(32).fill(7))],
  ])('of %s are none', (_, text) => {
    expect(own.decryptKeyShare(encrypt(text))).toBeUndefined()
  })

  it.each([digits, `0x${digits}`])('fail for a single byte that is no hex digit, at every place (%s)', (text) => {
    const good = blockOf(text)
    expect(own.decryptKeyShare(encryptBlock(good))).toEqual(fromHex(digits))
    const start = 256 - text.length
    for (let position = start; position < 256; position++)
      for (const code of [0x00, 0x2f, 0x3a, 0x40, 0x47, 0x60, 0x67, 0x80, 0xb1, 0xff]) {
        const block = Buffer.from(good)
        block[position] = code
        expect(own.decryptKeyShare(encryptBlock(block)), `${position} ${code}`).toBeUndefined()
      }
  })

  it.each([digits, `0x${digits}`])('fail for padding that is not 00 02, nonzero bytes, 00 (%s)', (text) => {
    const good = blockOf(text)
    const end = 255 - text.length
    for (let position = 0; position <= end; position++) {
      const block = Buffer.from(good)
      block[position] = position < 2 || position === end ? 1 : 0
      expect(own.decryptKeyShare(encryptBlock(block)), `${position}`).toBeUndefined()
    }
    const block = Buffer.from(good)
    block[1] = 0
    expect(own.decryptKeyShare(encryptBlock(block))).toBeUndefined()
  })

  it('fail for noise, other lengths, and numbers not below the modulus', () => {
    const modulus = Buffer.from(pair.publicKey.export({ format: 'jwk' }).n ?? '', 'base64url')
    const good = encrypt(digits)
    for (const ciphertext of [
      ...Array.from({ length: 20 }, () => randomBytes(256)),
      new Uint8Array(256),
      new Uint8Array(256).fill(0xff),
      modulus,
      new Uint8Array(),
      good.subarray(1),
      Buffer.concat([Buffer.of(0), good]),
      Buffer.concat([good, Buffer.of(0)]),
    ])
      expect(own.decryptKeyShare(ciphertext)).toBeUndefined()
  })

  it('fail without their leading zero: the same number in fewer bytes', () => {
    let good = encrypt(digits)
    while (good[0] !== 0) good = encrypt(digits)
    expect(own.decryptKeyShare(good)).toEqual(fromHex(digits))
    expect(own.decryptKeyShare(good.subarray(1))).toBeUndefined()
  })

  it('are encrypted to one operator only', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const stranger = await openOperatorKey(other.privateKey.export({ format: 'pem', type: 'pkcs1' }))
    expect(stranger.decryptKeyShare(encrypt(digits, other.publicKey))).toEqual(fromHex(digits))
    expect(stranger.decryptKeyShare(encrypt(digits))).toBeUndefined()
  })
})

it('nothing of the private key shows', () => {
  const { d = '', p = '' } = pair.privateKey.export({ format: 'jwk' })
  for (const text of [inspect(own, { depth: 10, showHidden: true }), JSON.stringify(own)])
    for (const secret of [d.slice(0, 20), p.slice(0, 20), 'PRIVATE']) expect(text).not.toContain(secret)
})

describe('signatures of requests', () => {
  const { requests } = readFixtureJson('identity/signed-requests.json') as {
    requests: { name: string; scheme: string; text: string; signature: `0x${string}` }[]
  }
  const signed = requests.filter(({ scheme }) => scheme === 'Operator')

  it.each(signed)(
    'of the vector $name verify under the key that the chain has, and no other',
    ({ text, signature }) => {
      const keyOf = (id: number) =>
        parseOperatorPublicKey(operators.find((operator) => operator.id === id)?.public_key ?? '') ?? new Uint8Array()
      const bytes = fromHex(signature, 256)
      expect(verifyOperatorSignature(keyOf(70001), text, bytes)).toBe(true)
      expect(verifyOperatorSignature(keyOf(263), text, bytes)).toBe(false)
      expect(verifyOperatorSignature(keyOf(70001), `${text} `, bytes)).toBe(false)
      expect(verifyOperatorSignature(keyOf(70001), text, bytes.with(255, (bytes[255] ?? 0) ^ 1))).toBe(false)
      for (const wrong of [new Uint8Array(), bytes.subarray(1), new Uint8Array(256), new Uint8Array(256).fill(255)])
        expect(verifyOperatorSignature(keyOf(70001), text, wrong)).toBe(false)
    },
  )

  it('are PSS with SHA-256 and a salt of 32 bytes, as another implementation verifies them', async () => {
    const spki = pair.publicKey.export({ format: 'der', type: 'spki' })
    const algorithm = { name: 'RSA-PSS', hash: 'SHA-256' }
    const key = await crypto.subtle.importKey('spki', new Uint8Array(spki), algorithm, false, ['verify'])
    const isRight = (saltLength: number, signature: Uint8Array) =>
      crypto.subtle.verify({ name: 'RSA-PSS', saltLength }, key, new Uint8Array(signature), Buffer.from('a text'))
    expect(await isRight(32, own.sign('a text'))).toBe(true)
    expect(await isRight(20, own.sign('a text'))).toBe(false)
    // Of one text no two are alike, and a signature with another padding is none.
    expect(own.sign('a text')).not.toEqual(own.sign('a text'))
    const other = sign('sha256', Buffer.from('a text'), pair.privateKey)
    const long = sign('sha256', Buffer.from('a text'), {
      key: pair.privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: 222,
    })
    for (const wrong of [other, long]) expect(verifyOperatorSignature(own.publicKey, 'a text', wrong)).toBe(false)
  })
})
