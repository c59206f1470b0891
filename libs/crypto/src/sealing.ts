/**
 * Sealing at rest: AES-256-GCM under a key from outside the database, bound to the place a value is stored at.
 *
 *     sealed = key id (8) ++ nonce (12) ++ tag (16) ++ ciphertext        key id = SHA-256("dvt-relayer sealing key id" ++ key)[0:8]
 *     AAD    = UTF-8 of the place, for example "partial_signatures:17:3:exit"
 *
 * A value moved to another row does not open. Random 96-bit nonces: safe for 2^32 values under one key.
 */

import { createCipheriv, createDecipheriv, createHash, createSecretKey, randomBytes } from 'node:crypto'
import { CodedError } from '@dvt-relayer/common/errors.ts'

const KEY_ID_LENGTH = 8
const NONCE_LENGTH = 12
const TAG_LENGTH = 16
const OVERHEAD = KEY_ID_LENGTH + NONCE_LENGTH + TAG_LENGTH

/** A sealed value cannot be opened: made with another key, damaged, or moved from its place. */
export class SealingError extends CodedError<'SEALED_UNREADABLE'> {}

export interface Sealer {
  /** What values of the current key, then of the previous one, begin with: 8 bytes each. */
  readonly keyIds: readonly Uint8Array[]
  /** Seals `plaintext` for `place`. */
  seal(plaintext: Uint8Array, place: string): Uint8Array
  /** Opens what was sealed for `place`, under the current or the previous key. @throws {SealingError} SEALED_UNREADABLE */
  open(sealed: Uint8Array, place: string): Uint8Array
  /** Whether a value is sealed under the current key. */
  isCurrent(sealed: Uint8Array): boolean
}

/** A sealer for a 32-byte key; values of `previousKey` open too, so that keys can be rotated. */
export function createSealer(key: Uint8Array, previousKey?: Uint8Array): Sealer {
  const keys = [key, ...(previousKey === undefined ? [] : [previousKey])].map((bytes) => ({
    // Prepared once: raw bytes would be made a key anew for every value, which takes longer than the sealing itself.
    secret: createSecretKey(bytes),
    length: bytes.length,
    id: createHash('sha256').update('dvt-relayer sealing key id').update(bytes).digest().subarray(0, KEY_ID_LENGTH),
  }))
  const current = keys[0]
  if (current === undefined || keys.some(({ length }) => length !== 32))
    throw new TypeError('a sealing key has 32 bytes')
  return {
    keyIds: keys.map(({ id }) => new Uint8Array(id)),
    seal(plaintext, place) {
      const nonce = randomBytes(NONCE_LENGTH)
      const cipher = createCipheriv('aes-256-gcm', current.secret, nonce).setAAD(Buffer.from(place))
      const data = Buffer.concat([cipher.update(plaintext), cipher.final()])
      return new Uint8Array(Buffer.concat([current.id, nonce, cipher.getAuthTag(), data]))
    },
    open(sealed, place) {
      const value = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
      const key = keys.find(({ id }) => id.equals(value.subarray(0, KEY_ID_LENGTH)))
      if (key === undefined || value.length < OVERHEAD)
        throw new SealingError('SEALED_UNREADABLE', 'a stored value was sealed with another key', { meta: { place } })
      const nonce = value.subarray(KEY_ID_LENGTH, KEY_ID_LENGTH + NONCE_LENGTH)
      const tag = value.subarray(KEY_ID_LENGTH + NONCE_LENGTH, OVERHEAD)
      const decipher = createDecipheriv('aes-256-gcm', key.secret, nonce, { authTagLength: TAG_LENGTH })
        .setAAD(Buffer.from(place))
        .setAuthTag(tag)
      try {
        return new Uint8Array(Buffer.concat([decipher.update(value.subarray(OVERHEAD)), decipher.final()]))
      } catch {
        throw new SealingError('SEALED_UNREADABLE', 'a stored value is damaged or not in its place', {
          meta: { place },
        })
      }
    },
    isCurrent: (sealed) => current.id.equals(Buffer.from(sealed.subarray(0, KEY_ID_LENGTH))),
  }
}
