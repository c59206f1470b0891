/**
 * RSA keys of SSV operators: the private key file in every form it is kept in, the spellings of public keys, the decryption
 * of key shares, and the signing of requests (docs/protocol.md#12-ssv).
 */

import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  sign,
  verify,
} from 'node:crypto'
import { CodedError, messageOf } from '@dvt-relayer/common/errors.ts'
import { decodeText } from '@dvt-relayer/common/files/text-file.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { GROUP_ORDER, scalarBytes } from '../bls/scalar.ts'
import { parseJson, SMALL_JSON } from '../json-field.ts'
import { decryptKeystoreCrypto } from '../keystores/eip2335.ts'
import { parseKeystoreCrypto } from '../keystores/eip2335-format.ts'

export type OperatorKeyErrorCode =
  /** Neither an encrypted key file nor a PEM nor the base64 of one, or a key whose numbers are wrong. */
  | 'OPERATOR_KEY_MALFORMED'
  /** A key of another kind or size than RSA-2048, or a PEM under a passphrase. */
  | 'OPERATOR_KEY_UNSUPPORTED'
  | 'OPERATOR_KEY_PASSWORD_MISSING'

/** Why an operator key file cannot be used. Messages say nothing of its contents. */
export class OperatorKeyError extends CodedError<OperatorKeyErrorCode> {}

/** An operator's private key. It never leaves this object. */
export interface OperatorKey {
  /** As {@link parseOperatorPublicKey} gives it. */
  readonly publicKey: Uint8Array
  /** The file names another public key than its own (`pubKey` or `pubkey`), or one that cannot be read. */
  readonly isMislabelled: boolean
  /**
   * Decrypts one key share: RSA PKCS#1 v1.5 over the ASCII hex of 32 bytes, with or without `0x`.
   *
   *     block = ciphertext^d mod n = 00 02 ++ nonzero padding ++ 00 ++ hex       256 bytes
   *
   * Every failure is the same undefined, and takes as long: who watches learns nothing of the block. About 1 ms.
   *
   * @param ciphertext 256 bytes
   * @returns 32 bytes big-endian, a number of 1 … r − 1; the caller compares its public key with the public key share
   */
  decryptKeyShare(ciphertext: Uint8Array): Uint8Array | undefined
  /** Signs a text with RSA-PSS: SHA-256, MGF1 with SHA-256, a salt of 32 bytes. 256 bytes, about 1 ms. */
  sign(text: string): Uint8Array
}

/** Of RSA-PSS with a salt as long as the hash. */
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } as const

/** Bytes of what an operator's key signs. */
export const OPERATOR_SIGNATURE_BYTES = 256

/** Whether this is the RSA-PSS signature of a text by an operator's key ({@link OperatorKey.sign}). @param publicKey SPKI, DER */
export function verifyOperatorSignature(publicKey: Uint8Array, text: string, signature: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' })
  return verify('sha256', Buffer.from(text, 'utf8'), { key, ...PSS }, signature)
}

const MODULUS_BITS = 2048
const BLOCK_BYTES = MODULUS_BITS / 8
/** A PEM of RSA-4096 in base64 has about 1,100; what is longer is no key of ours. */
const MAX_PUBLIC_KEY_TEXT = 8_192
const PRIVATE_KEY_TYPES: ReadonlyMap<string, 'pkcs1' | 'pkcs8'> = new Map([
  ['RSA PRIVATE KEY', 'pkcs1'],
  ['PRIVATE KEY', 'pkcs8'],
])

const malformed = (reason: string) => new OperatorKeyError('OPERATOR_KEY_MALFORMED', `operator key: ${reason}`)
const unsupported = (reason: string) => new OperatorKeyError('OPERATOR_KEY_UNSUPPORTED', `operator key: ${reason}`)

interface Pem {
  /** What stands after BEGIN. */
  label: string
  /** Everything between the two lines, headers of a passphrase included. */
  body: string
}

const PEM = /^-----BEGIN ([A-Z0-9 ]{1,40})-----([\s\S]*)-----END \1-----$/

/** The PEM that a text is, or is the base64 of. */
function findPem(text: string): Pem | undefined {
  const trimmed = text.trim()
  const decoded = decodeBase64(trimmed)?.toString('latin1').trim()
  const [, label, body] = PEM.exec(trimmed) ?? PEM.exec(decoded ?? '') ?? []
  return label === undefined || body === undefined ? undefined : { label, body }
}

function decodeBase64(text: string): Buffer | undefined {
  const digits = text.replace(/\s+/g, '')
  return /^[A-Za-z0-9+/]+={0,2}$/.test(digits) ? Buffer.from(digits, 'base64') : undefined
}

/**
 * An operator's public key in one encoding (SPKI, DER), so that two keys are the same, in modulus and exponent, when the bytes are.
 *
 * @param text a PEM or the base64 of one, as key files, keyshares files and the chain spell it; a PEM headed `RSA PUBLIC KEY` holds SPKI
 * @returns undefined when the text is no RSA-2048 public key
 */
export function parseOperatorPublicKey(text: string): Uint8Array | undefined {
  if (text.length > MAX_PUBLIC_KEY_TEXT) return undefined
  const pem = findPem(text)
  if (pem === undefined || !pem.label.endsWith('PUBLIC KEY')) return undefined
  const key = decodeBase64(pem.body)
  if (key === undefined) return undefined
  for (const type of ['spki', 'pkcs1'] as const)
    try {
      return spkiOf(createPublicKey({ key, format: 'der', type }))
    } catch {
      // Not of this type; OpenSSL's words would add nothing.
    }
  return undefined
}

/** @returns undefined for another kind or size */
function spkiOf(key: KeyObject): Uint8Array | undefined {
  const isUsable = key.asymmetricKeyType === 'rsa' && key.asymmetricKeyDetails?.modulusLength === MODULUS_BITS
  return isUsable ? new Uint8Array(key.export({ format: 'der', type: 'spki' })) : undefined
}

/** A short name of an operator's public key: hex of the SHA-256 of its one encoding. */
export function operatorKeyFingerprint(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex')
}

/**
 * Opens an operator key file: `encrypted_private_key.json` (an EIP-2335 crypto object at the top level, pbkdf2 or scrypt), or an
 * unencrypted PKCS#1 PEM, or the base64 of one (`private_key`, `unencrypted_private_key.txt`).
 *
 * @param file the file's text or bytes
 * @param password text, or the bytes of a password file; only an encrypted file needs one
 * @throws {OperatorKeyError} every code; {KeystoreError} every code but KEYSTORE_SECRET_INVALID
 */
export async function openOperatorKey(file: Uint8Array | string, password?: Uint8Array | string): Promise<OperatorKey> {
  const text = (typeof file === 'string' ? file : read(file)).trim()
  if (text.length > SMALL_JSON.bytes) throw malformed(`is larger than ${SMALL_JSON.bytes} bytes`)
  if (!text.startsWith('{')) return createOperatorKey(readPrivateKey(text), [])
  const json = parseJson(text, SMALL_JSON, (_, reason) => malformed(reason)) as Record<string, unknown>
  if (Object.hasOwn(json, 'crypto'))
    throw malformed('is a validator keystore, not an operator key: an operator key has no crypto field')
  const crypto = parseKeystoreCrypto(json)
  if (password === undefined)
    throw new OperatorKeyError(
      'OPERATOR_KEY_PASSWORD_MISSING',
      'operator key: is encrypted and needs its password file',
    )
  const secret = await decryptKeystoreCrypto(crypto, password)
  let key: KeyObject
  try {
    key = readPrivateKey(Buffer.from(secret).toString('latin1'), 'what it holds ')
  } finally {
    secret.fill(0)
  }
  const labels = ['pubKey', 'pubkey'].flatMap((name) => (Object.hasOwn(json, name) ? [json[name]] : []))
  return createOperatorKey(
    key,
    labels.filter((label) => label !== null && label !== ''),
  )
}

/** @throws {OperatorKeyError} OPERATOR_KEY_MALFORMED */
function read(file: Uint8Array): string {
  try {
    return decodeText(file)
  } catch (error) {
    throw malformed(messageOf(error))
  }
}

/** @param subject begins the sentence that says what is wrong @throws {OperatorKeyError} OPERATOR_KEY_MALFORMED, OPERATOR_KEY_UNSUPPORTED */
function readPrivateKey(text: string, subject = ''): KeyObject {
  const pem = findPem(text)
  if (pem === undefined)
    throw malformed(`${subject}is neither an encrypted_private_key.json nor a PEM private key nor the base64 of one`)
  const { label, body } = pem
  if (label.endsWith('PUBLIC KEY')) throw malformed(`${subject}is a public key, but the private key is needed`)
  if (label.startsWith('ENCRYPTED') || body.includes('Proc-Type:'))
    throw unsupported(`${subject}is a PEM under a passphrase: use encrypted_private_key.json, or a PEM without one`)
  const type = PRIVATE_KEY_TYPES.get(label)
  if (type === undefined) throw unsupported(`${subject}is a PEM of another kind than an RSA private key`)
  const der = decodeBase64(body)
  if (der === undefined) throw malformed(`${subject}is a PEM whose body is not base64`)
  let key: KeyObject
  try {
    key = createPrivateKey({ key: der, format: 'der', type })
  } catch {
    // OpenSSL's error could say something of the key.
    throw malformed(`${subject}is a PEM whose body is not a private key`)
  } finally {
    der.fill(0)
  }
  const bits = key.asymmetricKeyDetails?.modulusLength
  if (key.asymmetricKeyType !== 'rsa') throw unsupported(`${subject}is not an RSA key`)
  if (bits !== MODULUS_BITS) throw unsupported(`${subject}has ${bits} bits, SSV operators have ${MODULUS_BITS}`)
  return key
}

function createOperatorKey(key: KeyObject, labels: readonly unknown[]): OperatorKey {
  const publicKey = spkiOf(createPublicKey(key))
  if (publicKey === undefined || !isWhole(key)) throw malformed('is damaged: its numbers do not belong together')
  return {
    publicKey,
    isMislabelled: labels.some((label) => {
      const stated = typeof label === 'string' ? parseOperatorPublicKey(label) : undefined
      return stated === undefined || !equalBytes(stated, publicKey)
    }),
    decryptKeyShare(ciphertext) {
      const block = decryptBlock(key, ciphertext)
      if (block === undefined) return undefined
      const secret = readBlock(block)
      block.fill(0)
      return secret
    },
    sign: (text) => new Uint8Array(sign('sha256', Buffer.from(text, 'utf8'), { key, ...PSS })),
  }
}

/** Whether the private exponent undoes the public one: an unencrypted file has no checksum. */
function isWhole(key: KeyObject): boolean {
  const block = randomBytes(BLOCK_BYTES)
  block[0] = 0
  try {
    const ciphertext = publicEncrypt({ key: createPublicKey(key), padding: constants.RSA_NO_PADDING }, block)
    const decrypted = decryptBlock(key, ciphertext)
    return decrypted !== undefined && equalBytes(decrypted, block)
  } catch {
    return false
  }
}

/** The 256 bytes under a ciphertext; undefined for another length, and for one that is not below the modulus: both anybody can see. */
function decryptBlock(key: KeyObject, ciphertext: Uint8Array): Buffer | undefined {
  if (ciphertext.length !== BLOCK_BYTES) return undefined
  try {
    // Node refuses PKCS#1 v1.5 decryption itself, for the timing of its failures: the padding is read by hand.
    return privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, ciphertext)
  } catch {
    return undefined
  }
}

/** 1 for 0, 0 for any other number of 0 … 2^31 − 1. */
const isZero = (value: number): number => (value - 1) >>> 31

const ORDER = scalarBytes(GROUP_ORDER)
const HEX_AT = BLOCK_BYTES - 64

/**
 * The secret in a padded block. Since its hex has 64 digits, the zero before it stands at one of two places, right before them or before
 * `0x`; so all bytes are looked at in the same way, and no branch depends on one before the last.
 */
function readBlock(block: Uint8Array): Uint8Array | undefined {
  const at = (position: number) => block[position] ?? 0
  let wrong = at(0) | (at(1) ^ 2)
  for (let position = 2; position < HEX_AT - 3; position++) wrong |= isZero(at(position))
  const bare = isZero(at(HEX_AT - 3)) | isZero(at(HEX_AT - 2)) | at(HEX_AT - 1)
  const prefixed = at(HEX_AT - 3) | (at(HEX_AT - 2) ^ 0x30) | (at(HEX_AT - 1) ^ 0x78)
  wrong |= (1 - isZero(bare)) & (1 - isZero(prefixed))
  const secret = new Uint8Array(32)
  for (let position = 0; position < 64; position++) {
    const { value, fault } = hexDigit(at(HEX_AT + position))
    wrong |= fault
    const byte = position >> 1
    secret[byte] = ((secret[byte] ?? 0) << 4) | value
  }
  const any = secret.reduce((bits, byte) => bits | byte, 0)
  if (wrong === 0 && any !== 0 && Buffer.compare(secret, ORDER) < 0) return secret
  secret.fill(0)
  return undefined
}

/** The value of a hex digit of either case; `fault` is 0 for one and −1 for any other byte. */
function hexDigit(code: number): { value: number; fault: number } {
  const digit = code - 0x30
  const letter = (code | 0x20) - 0x61
  const noDigit = (digit | (9 - digit)) >> 31
  const noLetter = (letter | (5 - letter)) >> 31
  return { value: (digit & ~noDigit) | ((letter + 10) & ~noLetter), fault: noDigit & noLetter }
}
