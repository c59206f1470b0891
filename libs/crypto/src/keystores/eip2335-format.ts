/**
 * The file format of EIP-2335 keystores: read from untrusted JSON, every parameter checked and bounded. Its key derivation is
 * that of Web3 keystores, too.
 */

import { CodedError, messageOf } from '@dvt-relayer/common/errors.ts'
import { decodeText } from '@dvt-relayer/common/files/text-file.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { JsonField, parseJson, SMALL_JSON } from '../json-field.ts'

export type KeystoreErrorCode =
  /** A field is missing or of the wrong type, length or form. */
  | 'KEYSTORE_MALFORMED'
  /** Version, cipher, checksum or key derivation function that this project does not know. */
  | 'KEYSTORE_UNSUPPORTED'
  /** Key derivation parameters beyond what a real keystore has: the file would cost too much time or memory. */
  | 'KEYSTORE_TOO_COSTLY'
  /** The checksum does not fit: wrong password, or a damaged file. */
  | 'KEYSTORE_PASSWORD_WRONG'
  /** Password fits, but the secret is no key: not 32 bytes, zero, or not below the group order. */
  | 'KEYSTORE_SECRET_INVALID'

/** Why a keystore cannot be used. `meta.field` is the JSON path where there is one. */
export class KeystoreError extends CodedError<KeystoreErrorCode> {}

export interface Pbkdf2Parameters {
  function: 'pbkdf2'
  /** Rounds of HMAC-SHA-256. */
  c: number
}
export interface ScryptParameters {
  function: 'scrypt'
  n: number
  r: number
  p: number
}
export type KdfParameters = Pbkdf2Parameters | ScryptParameters
export type Kdf = KdfParameters & { salt: Uint8Array }

/** The `crypto` object of a keystore, its modules already known to be pbkdf2 or scrypt, sha256 and aes-128-ctr. */
export interface KeystoreCrypto {
  kdf: Kdf
  /** SHA-256 of derived key [16, 32) ++ ciphertext. */
  checksum: Uint8Array
  iv: Uint8Array
  ciphertext: Uint8Array
}

/** A keystore of version 4. */
export interface Keystore {
  crypto: KeystoreCrypto
  /** What the file says its public key is; compare it with the key derived from the secret. */
  publicKey: Uint8Array | undefined
  path: string
}

/** Rounds from which the key derivation counts as strong (EIP-2335's example, charon's default). */
export const STRONG_ROUNDS = 262_144

const MAX_CIPHERTEXT_BYTES = 65_536
const MAX_SALT_BYTES = 1_024
/** About four seconds of one core; the usual cost is 262,144. */
const MAX_PBKDF2_ROUNDS = 10_000_000
/** Twice the usual 256 MiB (n = 262,144, r = 8): scrypt holds n + p blocks of 128·r bytes. */
const MAX_SCRYPT_BYTES = 512 * 1024 * 1024
/** The usual p is 1. */
const MAX_SCRYPT_PARALLEL = 8

/** The error for a wrong field of a keystore. */
export const malformed = (path: string, reason: string): KeystoreError =>
  new KeystoreError('KEYSTORE_MALFORMED', `keystore${path === '' ? '' : `: ${path}`} ${reason}`, {
    meta: path === '' ? {} : { field: path },
  })

/** The error for a field that is well formed and yet cannot be used. */
export function refuse(code: KeystoreErrorCode, field: JsonField, reason: string): KeystoreError {
  return new KeystoreError(code, `keystore: ${field.path} ${reason}`, { meta: { field: field.path } })
}

/** The text of a password, or of a password file. @throws {KeystoreError} KEYSTORE_PASSWORD_WRONG: it is of another encoding */
export function passwordText(password: Uint8Array | string): string {
  if (typeof password === 'string') return password
  try {
    return decodeText(password)
  } catch (error) {
    throw new KeystoreError('KEYSTORE_PASSWORD_WRONG', `keystore: the password ${messageOf(error)}`)
  }
}

/** These byte strings, each once: a key is derived for every one that is tried. */
export const distinct = (candidates: readonly Uint8Array[]): readonly Uint8Array[] =>
  candidates.filter((one, position) => candidates.findIndex((other) => equalBytes(one, other)) === position)

/** This text, which must be one of `known`. @throws {KeystoreError} KEYSTORE_MALFORMED, KEYSTORE_UNSUPPORTED */
export function oneOf<const T extends string>(field: JsonField, known: readonly T[]): T {
  const name = field.text(64)
  const found = known.find((candidate) => candidate === name)
  if (found === undefined) throw refuse('KEYSTORE_UNSUPPORTED', field, `is not ${known.join(' or ')}`)
  return found
}

/** The bytes of a hex field of 1 to `max` bytes. */
function hexUpTo(field: JsonField, max: number): Uint8Array {
  const length = Math.ceil(field.text(2 * max + 2).replace(/^0x/i, '').length / 2)
  if (length === 0 || length > max) throw field.fault(`must have 1 to ${max} bytes`)
  return field.hex(length)
}

function parseScrypt(params: JsonField): ScryptParameters {
  const n = params.get('n').integer(2)
  const r = params.get('r').integer(1)
  const p = params.get('p').integer(1)
  // RFC 7914, section 2, wants it below 2^(16 r) as well. Wallets of the field are not: n = 262,144 with r = 1.
  if (!Number.isInteger(Math.log2(n))) throw params.get('n').fault('must be a power of two')
  if (128 * r * (n + p) > MAX_SCRYPT_BYTES)
    throw refuse('KEYSTORE_TOO_COSTLY', params.get('n'), `with r and p asks for more than ${MAX_SCRYPT_BYTES} bytes`)
  if (p > MAX_SCRYPT_PARALLEL) throw refuse('KEYSTORE_TOO_COSTLY', params.get('p'), `is above ${MAX_SCRYPT_PARALLEL}`)
  return { function: 'scrypt', n, r, p }
}

function parsePbkdf2(params: JsonField): Pbkdf2Parameters {
  oneOf(params.get('prf'), ['hmac-sha256'])
  const c = params.get('c').integer(1)
  if (c > MAX_PBKDF2_ROUNDS)
    throw refuse('KEYSTORE_TOO_COSTLY', params.get('c'), `is above ${MAX_PBKDF2_ROUNDS} rounds`)
  return { function: 'pbkdf2', c }
}

/**
 * The key derivation of 32 bytes that `params` describe, its cost bounded.
 *
 * @throws {KeystoreError} KEYSTORE_MALFORMED, KEYSTORE_UNSUPPORTED, KEYSTORE_TOO_COSTLY
 */
export function readKdf(name: 'pbkdf2' | 'scrypt', params: JsonField): Kdf {
  const dklen = params.get('dklen')
  if (dklen.integer(1) !== 32) throw refuse('KEYSTORE_UNSUPPORTED', dklen, 'is not 32')
  const cost = name === 'scrypt' ? parseScrypt(params) : parsePbkdf2(params)
  return { ...cost, salt: hexUpTo(params.get('salt'), MAX_SALT_BYTES) }
}

function readCrypto(crypto: JsonField): KeystoreCrypto {
  const kdf = crypto.get('kdf')
  const kdfName = oneOf(kdf.get('function'), ['pbkdf2', 'scrypt'])
  oneOf(crypto.get('checksum').get('function'), ['sha256'])
  oneOf(crypto.get('cipher').get('function'), ['aes-128-ctr'])
  return {
    kdf: readKdf(kdfName, kdf.get('params')),
    checksum: crypto.get('checksum').get('message').hex(32),
    iv: crypto.get('cipher').get('params').get('iv').hex(16),
    ciphertext: hexUpTo(crypto.get('cipher').get('message'), MAX_CIPHERTEXT_BYTES),
  }
}

/**
 * Reads a bare EIP-2335 crypto object (`kdf`, `checksum`, `cipher`), as SSV operator key files have at their top level.
 *
 * @param crypto JSON text or its parsed value
 * @throws {KeystoreError} KEYSTORE_MALFORMED, KEYSTORE_UNSUPPORTED, KEYSTORE_TOO_COSTLY
 */
export function parseKeystoreCrypto(crypto: unknown): KeystoreCrypto {
  return readCrypto(new JsonField(parseJson(crypto, SMALL_JSON, malformed), '', malformed))
}

/**
 * Reads a keystore of version 4.
 *
 * @param keystore JSON text or its parsed value
 * @throws {KeystoreError} KEYSTORE_MALFORMED, KEYSTORE_UNSUPPORTED, KEYSTORE_TOO_COSTLY
 * @see EIP-2335
 */
export function parseKeystore(keystore: unknown): Keystore {
  const file = new JsonField(parseJson(keystore, SMALL_JSON, malformed), '', malformed)
  const version = file.get('version')
  if (version.integer(0) !== 4) throw refuse('KEYSTORE_UNSUPPORTED', version, 'is not 4')
  const publicKey = file.get('pubkey')
  const path = file.get('path')
  return {
    crypto: readCrypto(file.get('crypto')),
    publicKey: publicKey.absent || publicKey.value === '' ? undefined : publicKey.hex(48),
    path: path.absent ? '' : path.text(1_024),
  }
}

/** Whether passwords are cheaper to guess than EIP-2335 means them to be (charon's `--insecure-keys` has 16 rounds). */
export function isWeakKdf(kdf: KdfParameters): boolean {
  return kdf.function === 'pbkdf2' ? kdf.c < STRONG_ROUNDS : kdf.n * kdf.r < STRONG_ROUNDS * 8
}
