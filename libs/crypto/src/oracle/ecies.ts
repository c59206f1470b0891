/**
 * ECIES on secp256k1 as eciespy and eciesjs 0.4 do it by default (docs/protocol.md#6-ecies).
 *
 *     key        = HKDF-SHA256(ikm = E ++ D, no salt, no info, 32 bytes)    E = e·G, D = e·R, both uncompressed (65 bytes)
 *     ciphertext = E (65) ++ nonce (16) ++ tag (16) ++ AES-256-GCM(key, nonce, data)
 *
 * Two implementations, each reads the other: `fast` on the native secp256k1 binding and `node:crypto`, `plain` on eciesjs. Both packages are
 * loaded only when asked for: the sidecar encrypts nothing and installs neither. `decryptEcies` needs neither.
 */

import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { parseHex, slices } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { addressOfPublicKey, checksumAddress } from '../address.ts'
import { CryptoError } from '../errors.ts'

const KEY_BYTES = 65
const NONCE_BYTES = 16
const TAG_BYTES = 16
const HEADER_BYTES = KEY_BYTES + NONCE_BYTES + TAG_BYTES
const UNCOMPRESSED = 4
const EMPTY = new Uint8Array(0)

export interface Ecies {
  readonly name: 'fast' | 'plain'
  /**
   * Encrypts for a recipient.
   *
   * @param recipient 65-byte uncompressed public key, as {@link parseOraclePublicKey} gives it
   * @returns 97 bytes more than the data
   * @throws {CryptoError} ECIES_KEY_INVALID
   */
  encrypt(recipient: Uint8Array, data: Uint8Array): Uint8Array
  /**
   * Encrypts each of these for one recipient, under one ephemeral key where that saves time: the same E and key, a nonce of its own for
   * each (docs/decisions/0012-crypto-shortcuts.md). For few and short data; another recipient gets another ephemeral key always.
   *
   * @throws {CryptoError} ECIES_KEY_INVALID
   */
  encryptMany(recipient: Uint8Array, datas: readonly Uint8Array[]): Uint8Array[]
  /**
   * Decrypts with the recipient's 32-byte secret key.
   *
   * @throws {CryptoError} ECIES_CIPHERTEXT_INVALID, the same for whatever is wrong
   */
  decrypt(secretKey: Uint8Array, ciphertext: Uint8Array): Uint8Array
}

function keyInvalid(): CryptoError {
  return new CryptoError('ECIES_KEY_INVALID', 'not a secp256k1 public key')
}

function ciphertextInvalid(): CryptoError {
  return new CryptoError('ECIES_CIPHERTEXT_INVALID', 'the ciphertext cannot be decrypted')
}

/**
 * An oracle's public key as 65 uncompressed bytes, from any spelling the config may have: 64 bytes without the `04` prefix, 65 with it, 33
 * compressed, with or without `0x`, in any letter case.
 *
 * @throws {CryptoError} ECIES_KEY_INVALID when it is none of these or not on the curve
 */
export function parseOraclePublicKey(text: string): Uint8Array {
  const bytes = parseHex(text)
  if (bytes === undefined) throw keyInvalid()
  const encoded = bytes.length === 64 ? Uint8Array.from([UNCOMPRESSED, ...bytes]) : bytes
  const expected = encoded.length === KEY_BYTES ? [UNCOMPRESSED] : encoded.length === 33 ? [2, 3] : []
  if (!expected.includes(encoded[0] ?? 0)) throw keyInvalid()
  try {
    return secp256k1.Point.fromBytes(encoded).toBytes(false)
  } catch {
    throw keyInvalid()
  }
}

/**
 * The Ethereum address of an oracle's 65-byte public key, with EIP-55 letter case: the last 20 bytes of keccak256 of the 64 bytes.
 *
 * @throws {CryptoError} ECIES_KEY_INVALID for another length
 */
export function oracleAddress(publicKey: Uint8Array): `0x${string}` {
  if (publicKey.length !== KEY_BYTES) throw keyInvalid()
  return checksumAddress(addressOfPublicKey(publicKey))
}

/** The part of the `secp256k1` package that is used. */
interface Secp256k1Binding {
  privateKeyVerify(secretKey: Uint8Array): boolean
  publicKeyCreate(secretKey: Uint8Array, compressed: boolean): Uint8Array
  ecdh(
    publicKey: Uint8Array,
    secretKey: Uint8Array,
    options: { hashfn: (x: Uint8Array, y: Uint8Array) => Uint8Array },
    output: Uint8Array,
  ): Uint8Array
}

/** The native binding itself: the package's own entry falls back to `elliptic`, which is slow and not constant time. */
function loadBinding(): unknown {
  return createRequire(import.meta.url)('secp256k1/bindings.js')
}

/** The shared point, uncompressed, instead of the hash of it that libsecp256k1 gives by default. */
function sharedPoint(x: Uint8Array, y: Uint8Array): Uint8Array {
  const point = new Uint8Array(KEY_BYTES)
  point[0] = UNCOMPRESSED
  point.set(x, 1)
  point.set(y, 33)
  return point
}

/** Prepared once: raw bytes would be made a key anew for every message. */
function symmetricKey(ephemeral: Uint8Array, shared: Uint8Array): KeyObject {
  return createSecretKey(new Uint8Array(hkdfSync('sha256', Buffer.concat([ephemeral, shared]), EMPTY, EMPTY, 32)))
}

/** The shared point of a 65-byte public key and a secret key, 65 bytes uncompressed. */
type Ecdh = (publicKey: Uint8Array, secretKey: Uint8Array) => Uint8Array

function decryptWith(ecdh: Ecdh, secretKey: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  if (ciphertext.length < HEADER_BYTES || ciphertext[0] !== UNCOMPRESSED) throw ciphertextInvalid()
  try {
    const ephemeral = ciphertext.subarray(0, KEY_BYTES)
    const nonce = ciphertext.subarray(KEY_BYTES, KEY_BYTES + NONCE_BYTES)
    const key = symmetricKey(ephemeral, ecdh(ephemeral, secretKey))
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(ciphertext.subarray(KEY_BYTES + NONCE_BYTES, HEADER_BYTES))
    return new Uint8Array(Buffer.concat([decipher.update(ciphertext.subarray(HEADER_BYTES)), decipher.final()]))
  } catch {
    throw ciphertextInvalid()
  }
}

/**
 * Decrypts without any package but @noble/curves, for programs that are bundled into one file; some milliseconds a message.
 *
 * @throws {CryptoError} ECIES_CIPHERTEXT_INVALID, the same for whatever is wrong
 */
export function decryptEcies(secretKey: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  return decryptWith((publicKey, secret) => secp256k1.getSharedSecret(secret, publicKey, false), secretKey, ciphertext)
}

/**
 * ECIES on the native secp256k1 binding, about 0.25 ms a message; where the binding is not available, {@link createPlainEcies}.
 *
 * @param load how the native binding is loaded
 */
export function createFastEcies(load: () => unknown = loadBinding): Ecies {
  let curve: Secp256k1Binding
  try {
    curve = load() as Secp256k1Binding
  } catch {
    return createPlainEcies()
  }
  const ecdh = (publicKey: Uint8Array, secretKey: Uint8Array) =>
    curve.ecdh(publicKey, secretKey, { hashfn: sharedPoint }, new Uint8Array(KEY_BYTES))
  /** A fresh ephemeral key for a recipient: its public key, and the symmetric key. */
  const agree = (recipient: Uint8Array) => {
    if (recipient.length !== KEY_BYTES || recipient[0] !== UNCOMPRESSED) throw keyInvalid()
    let secret: Uint8Array = randomBytes(32)
    while (!curve.privateKeyVerify(secret)) secret = randomBytes(32)
    const ephemeral = curve.publicKeyCreate(secret, false)
    try {
      return { ephemeral, key: symmetricKey(ephemeral, ecdh(recipient, secret)) }
    } catch {
      throw keyInvalid()
    }
  }
  const seal = ({ ephemeral, key }: ReturnType<typeof agree>, data: Uint8Array, nonce: Uint8Array) => {
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    const encrypted = cipher.update(data)
    cipher.final()
    return new Uint8Array(Buffer.concat([ephemeral, nonce, cipher.getAuthTag(), encrypted]))
  }
  return {
    name: 'fast',
    encrypt: (recipient, data) => seal(agree(recipient), data, randomBytes(NONCE_BYTES)),
    encryptMany(recipient, datas) {
      const agreed = agree(recipient)
      const nonces = slices(randomBytes(NONCE_BYTES * datas.length), NONCE_BYTES)
      return datas.map((data, position) => seal(agreed, data, nonces[position] ?? randomBytes(NONCE_BYTES)))
    },
    decrypt: (secretKey, ciphertext) => decryptWith(ecdh, secretKey, ciphertext),
  }
}

/** ECIES on eciesjs, about 25 ms a message: the reference, and what remains where there is no native binding. */
export function createPlainEcies(): Ecies {
  const eciesjs = createRequire(import.meta.url)('eciesjs') as {
    encrypt(recipient: Uint8Array, data: Uint8Array): Uint8Array
    decrypt(secretKey: Uint8Array, ciphertext: Uint8Array): Uint8Array
  }
  const encrypt = (recipient: Uint8Array, data: Uint8Array) => {
    if (recipient.length !== KEY_BYTES || recipient[0] !== UNCOMPRESSED) throw keyInvalid()
    try {
      return eciesjs.encrypt(recipient, data)
    } catch {
      throw keyInvalid()
    }
  }
  return {
    name: 'plain',
    encrypt,
    encryptMany: (recipient, datas) => datas.map((data) => encrypt(recipient, data)),
    decrypt(secretKey, ciphertext) {
      if (ciphertext.length < HEADER_BYTES || ciphertext[0] !== UNCOMPRESSED) throw ciphertextInvalid()
      try {
        return eciesjs.decrypt(secretKey, ciphertext)
      } catch {
        throw ciphertextInvalid()
      }
    },
  }
}
