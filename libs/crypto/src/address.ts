/** Ethereum addresses: 20 bytes, their EIP-55 spelling, and the one that belongs to a secret key. */

import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { CryptoError } from './errors.ts'

const ADDRESS_BYTES = 20

/**
 * The spelling of an address with EIP-55 letter case: a letter is upper case where the nibble at its place in
 * keccak256(lower-case digits) is 8 or more.
 *
 * @throws {RangeError} for another length than 20 bytes
 */
export function checksumAddress(address: Uint8Array): `0x${string}` {
  if (address.length !== ADDRESS_BYTES) throw new RangeError(`an address has ${ADDRESS_BYTES} bytes`)
  const digits = Buffer.from(address).toString('hex')
  const cases = keccak_256(Buffer.from(digits, 'ascii'))
  const letters = [...digits].map((digit, i) => {
    const nibble = ((cases[i >> 1] ?? 0) >> (i % 2 === 0 ? 4 : 0)) & 15
    return nibble >= 8 ? digit.toUpperCase() : digit
  })
  return `0x${letters.join('')}`
}

/** More vaults than one relayer serves. */
const SPELLED = 1000

/** Spells addresses that come again and again: {@link checksumAddress} costs a hash each, and the rows of a list are of few vaults. */
export function createSpelling(spell: (address: Uint8Array) => string = checksumAddress) {
  const spelled = new Map<string, string>()
  return (address: Uint8Array): string => {
    const key = toHex(address)
    const known = spelled.get(key)
    if (known !== undefined) return known
    if (spelled.size >= SPELLED) spelled.clear()
    const spelling = spell(address)
    spelled.set(key, spelling)
    return spelling
  }
}

/**
 * The 20 bytes of an address, with or without `0x`, in any letter case; undefined when the text is none. EIP-55 is checked
 * only where lower and upper case are mixed: that is what tells a checksum from a habit (docs/protocol.md#9-generation-4).
 */
export function parseAddress(text: string): Uint8Array | undefined {
  const address = parseHex(text, ADDRESS_BYTES)
  if (address === undefined) return undefined
  const digits = text.slice(-2 * ADDRESS_BYTES)
  const isMixed = digits !== digits.toLowerCase() && digits !== digits.toUpperCase()
  return isMixed && checksumAddress(address) !== `0x${digits}` ? undefined : address
}

/**
 * The bytes of one address of a setting that lists them.
 *
 * @param whose what they are addresses of, in the plural
 * @throws {Error} with a message that completes "NAME …"
 */
export function parseListedAddress(text: string, whose: string): Uint8Array {
  const address = parseAddress(text)
  if (address !== undefined) return address
  throw new Error(
    `must be addresses of ${whose}, which ${text.slice(0, 10)}… is not: 0x and 40 hex digits, and where upper and lower case are mixed, a right checksum`,
  )
}

/** The address of a 65-byte uncompressed secp256k1 public key: the last 20 bytes of keccak256(x ++ y). The caller has checked it. */
export const addressOfPublicKey = (publicKey: Uint8Array): Uint8Array => keccak_256(publicKey.subarray(1)).subarray(12)

/**
 * The address of a 32-byte secp256k1 secret key.
 *
 * @throws {CryptoError} SCALAR_INVALID unless it is 1 … n − 1
 */
export function addressOfSecretKey(secretKey: Uint8Array): Uint8Array {
  if (secretKey.length !== 32 || !secp256k1.utils.isValidSecretKey(secretKey))
    throw new CryptoError('SCALAR_INVALID', 'not a secp256k1 secret key')
  return addressOfPublicKey(secp256k1.getPublicKey(secretKey, false))
}
