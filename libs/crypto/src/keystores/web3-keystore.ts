/**
 * Web3 Secret Storage keystores, version 3: an Ethereum wallet's key under a password.
 *
 *     key        = KDF(password, salt)                     32 bytes
 *     mac        = keccak256(key[16:32] ++ ciphertext)     32 bytes
 *     ciphertext = AES-128-CTR(key[0:16], iv) ⊕ secret     32 bytes
 *
 * @see docs/protocol.md#10-manager-signature
 */

import { createDecipheriv, timingSafeEqual } from 'node:crypto'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { addressOfSecretKey } from '../address.ts'
import { JsonField, parseJson, SMALL_JSON } from '../json-field.ts'
import { deriveKey } from './eip2335.ts'
import { distinct, type Kdf, KeystoreError, malformed, oneOf, passwordText, readKdf, refuse } from './eip2335-format.ts'

interface Web3Keystore {
  kdf: Kdf
  /** 32 bytes. */
  mac: Uint8Array
  /** 16 bytes. */
  iv: Uint8Array
  /** 32 bytes. */
  ciphertext: Uint8Array
  /** 20 bytes; not every wallet writes it. */
  address: Uint8Array | undefined
}

function parseWeb3Keystore(text: string): Web3Keystore {
  const file = new JsonField(parseJson(text, SMALL_JSON, malformed), '', malformed)
  const version = file.get('version')
  if (version.integer(0) !== 3) throw refuse('KEYSTORE_UNSUPPORTED', version, 'is not 3')
  // Some wallets write it in upper case.
  const crypto = file.get('crypto').absent && !file.get('Crypto').absent ? file.get('Crypto') : file.get('crypto')
  const kdf = oneOf(crypto.get('kdf'), ['scrypt', 'pbkdf2'])
  oneOf(crypto.get('cipher'), ['aes-128-ctr'])
  const address = file.get('address')
  return {
    kdf: readKdf(kdf, crypto.get('kdfparams')),
    mac: crypto.get('mac').hex(32),
    iv: crypto.get('cipherparams').get('iv').hex(16),
    ciphertext: crypto.get('ciphertext').hex(32),
    address: address.absent ? undefined : address.hex(20),
  }
}

/**
 * The byte strings a password file stands for, to be tried in this order: without outer whitespace (the Operator), its line (geth), in
 * NFKC (ethers), and as it stands (tools that encrypt with what a file holds).
 */
function passwordCandidates(password: Uint8Array | string): readonly Uint8Array[] {
  const text = passwordText(password)
  const line = text.replace(/[\r\n]+$/, '')
  const exact = typeof password === 'string' ? password : Buffer.from(password).toString('utf8')
  return distinct(
    [text.trim(), line, text.trim().normalize('NFKC'), line.normalize('NFKC'), exact].map((one) =>
      new TextEncoder().encode(one),
    ),
  )
}

/**
 * Decrypts a wallet.
 *
 * @param text JSON of the keystore file
 * @param password text, or the bytes of a password file; outer whitespace does not count where it need not
 * @returns the 32-byte secp256k1 secret key
 * @throws {KeystoreError} every code; KEYSTORE_MALFORMED also when the file names another address than its key's
 */
export async function decryptWeb3Keystore(text: string, password: Uint8Array | string): Promise<Uint8Array> {
  const keystore = parseWeb3Keystore(text)
  const secret = await decrypt(keystore, passwordCandidates(password))
  const fault = faultOf(secret, keystore.address)
  if (fault === undefined) return secret
  secret.fill(0)
  throw fault
}

/** @throws {KeystoreError} KEYSTORE_PASSWORD_WRONG */
async function decrypt(
  { kdf, mac, iv, ciphertext }: Web3Keystore,
  candidates: readonly Uint8Array[],
): Promise<Uint8Array> {
  try {
    for (const candidate of candidates) {
      const key = await deriveKey(kdf, candidate)
      try {
        if (timingSafeEqual(keccak_256(Buffer.concat([key.subarray(16), ciphertext])), mac))
          return new Uint8Array(createDecipheriv('aes-128-ctr', key.subarray(0, 16), iv).update(ciphertext))
      } finally {
        key.fill(0)
      }
    }
  } finally {
    for (const candidate of candidates) candidate.fill(0)
  }
  throw new KeystoreError(
    'KEYSTORE_PASSWORD_WRONG',
    'keystore: the MAC does not fit (wrong password, or a damaged file)',
  )
}

/** Why this secret is not the wallet's that the file says, undefined when it is. */
function faultOf(secret: Uint8Array, address: Uint8Array | undefined): KeystoreError | undefined {
  let own: Uint8Array
  try {
    own = addressOfSecretKey(secret)
  } catch {
    return new KeystoreError('KEYSTORE_SECRET_INVALID', 'keystore: what it holds is not a secp256k1 secret key')
  }
  return address === undefined || equalBytes(address, own)
    ? undefined
    : malformed('address', 'is not that of the key in the file')
}
