/** Ethereum node records for clusters made by the tests. */

import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'

/** RLP of a byte string of up to 255 bytes. */
function rlpBytes(bytes: Uint8Array): Buffer {
  const [first] = bytes
  if (bytes.length === 1 && first !== undefined && first < 0x80) return Buffer.from(bytes)
  return Buffer.concat([Buffer.from(bytes.length < 56 ? [0x80 + bytes.length] : [0xb8, bytes.length]), bytes])
}

/** RLP of a list whose items are encoded already, of up to 255 bytes. */
function rlpList(items: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(items)
  return Buffer.concat([Buffer.from(body.length < 56 ? [0xc0 + body.length] : [0xf8, body.length]), body])
}

/** A record of identity scheme v4 with sequence number 0 and no address, as charon makes it. @see EIP-778 */
export function makeEnr(secretKey: Uint8Array): string {
  const content = [
    new Uint8Array(),
    Buffer.from('id'),
    Buffer.from('v4'),
    Buffer.from('secp256k1'),
    secp256k1.getPublicKey(secretKey, true),
  ].map(rlpBytes)
  const signature = secp256k1.sign(keccak_256(rlpList(content)), secretKey, { prehash: false, format: 'compact' })
  return `enr:${rlpList([rlpBytes(signature), ...content]).toString('base64url')}`
}
