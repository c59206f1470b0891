/**
 * EIP-2335 keystores, version 4: a secret under a password.
 *
 *     key        = KDF(password, salt)                      32 bytes
 *     checksum   = SHA-256(key[16:32] ++ ciphertext)        32 bytes
 *     ciphertext = AES-128-CTR(key[0:16], iv) ⊕ secret      as long as the secret
 *
 * @see EIP-2335; docs/protocol.md#11-obol
 */

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  pbkdf2,
  randomBytes,
  randomUUID,
  scrypt,
  timingSafeEqual,
} from 'node:crypto'
import { promisify } from 'node:util'
import { scryptAsync as scryptHere } from '@noble/hashes/scrypt.js'
import { bytesToNumber, GROUP_ORDER } from '../bls/scalar.ts'
import {
  distinct,
  type Kdf,
  type KdfParameters,
  type KeystoreCrypto,
  KeystoreError,
  parseKeystore,
  passwordText,
  STRONG_ROUNDS,
} from './eip2335-format.ts'

const pbkdf2Async = promisify(pbkdf2)
const scryptAsync = promisify<
  Uint8Array,
  Uint8Array,
  number,
  { N: number; r: number; p: number; maxmem: number },
  Buffer
>(scrypt)

/** NFKD, then without the control codes C0, DEL and C1; UTF-8 bytes. */
function normalise(text: string): Uint8Array {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control codes are what EIP-2335 strips
  return new TextEncoder().encode(text.normalize('NFKD').replace(/[\u0000-\u001f\u007f-\u009f]/g, ''))
}

/**
 * The byte strings a password stands for, to be tried in this order: EIP-2335's, then the same text without outer spaces (the
 * existing sidecar strips password files), then as it stands (tools that encrypt with what a file holds, and do not normalise).
 *
 * @param password text, or the UTF-8 bytes of a password file
 * @throws {KeystoreError} KEYSTORE_PASSWORD_WRONG when the bytes are not UTF-8
 */
export function passwordCandidates(password: Uint8Array | string): readonly Uint8Array[] {
  const text = passwordText(password)
  const exact = typeof password === 'string' ? new TextEncoder().encode(password) : new Uint8Array(password)
  return distinct([normalise(text), normalise(text.trim()), exact])
}

/** From this n on, OpenSSL refuses to derive: the bound of RFC 7914, section 2. */
const opensslBound = (r: number): number => 2 ** (16 * r)

/** The 32-byte key of a password, derived on libuv's threads wherever OpenSSL can. */
export async function deriveKey(kdf: Kdf, password: Uint8Array): Promise<Buffer> {
  if (kdf.function === 'pbkdf2') return pbkdf2Async(password, kdf.salt, kdf.c, 32, 'sha256')
  const { n, r, p } = kdf
  // Some seconds on this thread, which others get their turn on in between.
  if (n >= opensslBound(r)) return Buffer.from(await scryptHere(password, kdf.salt, { N: n, r, p, dkLen: 32 }))
  return scryptAsync(password, kdf.salt, 32, { N: n, r, p, maxmem: 128 * r * (n + p + 2) + (1 << 20) })
}

function checksumOf(key: Uint8Array, ciphertext: Uint8Array): Buffer {
  return createHash('sha256').update(key.subarray(16, 32)).update(ciphertext).digest()
}

/**
 * Decrypts the crypto object of a keystore: any secret, whatever its length.
 *
 * @throws {KeystoreError} KEYSTORE_PASSWORD_WRONG
 */
export async function decryptKeystoreCrypto(
  crypto: KeystoreCrypto,
  password: Uint8Array | string,
): Promise<Uint8Array> {
  for (const candidate of passwordCandidates(password)) {
    const key = await deriveKey(crypto.kdf, candidate)
    try {
      if (!timingSafeEqual(checksumOf(key, crypto.ciphertext), crypto.checksum)) continue
      return new Uint8Array(createDecipheriv('aes-128-ctr', key.subarray(0, 16), crypto.iv).update(crypto.ciphertext))
    } finally {
      key.fill(0)
      candidate.fill(0)
    }
  }
  throw new KeystoreError(
    'KEYSTORE_PASSWORD_WRONG',
    'keystore: the checksum does not fit (wrong password, or a damaged file)',
  )
}

/** Whether 32 big-endian bytes are a BLS secret key: 1 … r − 1. */
function isSecretKey(secret: Uint8Array): boolean {
  if (secret.length !== 32) return false
  const scalar = bytesToNumber(secret)
  return scalar > 0n && scalar < GROUP_ORDER
}

/**
 * Decrypts a BLS keystore. The caller compares the key derived from the secret with `parseKeystore(…).publicKey`.
 *
 * @param keystore JSON text or its parsed value
 * @param password text, or the bytes of a password file
 * @returns the 32-byte secret, big-endian
 * @throws {KeystoreError} every code
 */
export async function decryptKeystore(keystore: unknown, password: Uint8Array | string): Promise<Uint8Array> {
  const secret = await decryptKeystoreCrypto(parseKeystore(keystore).crypto, password)
  if (isSecretKey(secret)) return secret
  secret.fill(0)
  throw new KeystoreError('KEYSTORE_SECRET_INVALID', 'keystore: what it holds is not a BLS secret key')
}

/** A keystore of version 4 as JSON has it. */
export interface KeystoreFile {
  crypto: {
    checksum: { function: 'sha256'; message: string; params: Record<string, never> }
    cipher: { function: 'aes-128-ctr'; message: string; params: { iv: string } }
    kdf: { function: 'pbkdf2' | 'scrypt'; message: ''; params: Record<string, string | number> }
  }
  description: string
  pubkey: string
  path: string
  uuid: string
  version: 4
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/**
 * Encrypts a secret into a keystore of version 4 with fresh salt, iv and uuid.
 *
 * @param options `kdf` is pbkdf2 with 262,144 rounds when left out; `publicKey` goes into `pubkey`, without `0x`
 * @internal for keystores in tests: nothing here writes one
 */
export async function encryptKeystore(
  secret: Uint8Array,
  password: Uint8Array | string,
  options: { publicKey: Uint8Array; kdf?: KdfParameters; path?: string },
): Promise<KeystoreFile> {
  const kdf: Kdf = {
    ...(options.kdf ?? { function: 'pbkdf2', c: STRONG_ROUNDS }),
    salt: new Uint8Array(randomBytes(32)),
  }
  const iv = randomBytes(16)
  const key = await deriveKey(kdf, passwordCandidates(password)[0] ?? new Uint8Array())
  const ciphertext = createCipheriv('aes-128-ctr', key.subarray(0, 16), iv).update(secret)
  const checksum = checksumOf(key, ciphertext)
  key.fill(0)
  const salt = hex(kdf.salt)
  const params: Record<string, string | number> =
    kdf.function === 'pbkdf2'
      ? { c: kdf.c, dklen: 32, prf: 'hmac-sha256', salt }
      : { dklen: 32, n: kdf.n, r: kdf.r, p: kdf.p, salt }
  return {
    crypto: {
      checksum: { function: 'sha256', message: hex(checksum), params: {} },
      cipher: { function: 'aes-128-ctr', message: hex(ciphertext), params: { iv: hex(iv) } },
      kdf: { function: kdf.function, message: '', params },
    },
    description: '',
    pubkey: hex(options.publicKey),
    path: options.path ?? 'm/12381/3600/0/0/0',
    uuid: randomUUID().toUpperCase(),
    version: 4,
  }
}
