/**
 * Requests an oracle signs with its secp256k1 key, so that it needs no token.
 *
 *     text      = six lines that name the request (`requestText`)
 *     digest    = keccak256("\x19Ethereum Signed Message:\n" ++ length of text ++ text)        EIP-191, version 0x45
 *     signature = r (32) ++ s (32) ++ v (1), s in the lower half of the order, v 27 or 28 (or 0 or 1)
 *
 * The text has no field that could hold a line break, so two requests never have one text.
 */

import { createRequire } from 'node:module'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { addressOfPublicKey } from '../address.ts'
import { CryptoError } from '../errors.ts'

const SIGNATURE_BYTES = 65
const NONCE_BYTES = { least: 16, most: 32 }

/** What a signature is over. */
export interface SignedRequest {
  /** In upper case. */
  method: string
  /** Path with its query, exactly as it is sent. */
  path: string
  /** Name of the relayer's network. */
  network: string
  /** Unix seconds. */
  time: number
  /** 16 to 32 random bytes, new for every request. */
  nonce: Uint8Array
}

/** What the `Authorization` header of a signed request carries. */
export interface RequestCredentials extends Pick<SignedRequest, 'time' | 'nonce'> {
  /** 65 bytes. */
  signature: Uint8Array
}

/** The text that is signed. Lines end with one line feed each, the last one with none; the nonce is lower-case hex with `0x`. */
export function requestText({ method, path, network, time, nonce }: SignedRequest): string {
  return [
    'dvt-relayer request',
    `network: ${network}`,
    `method: ${method}`,
    `path: ${path}`,
    `time: ${time}`,
    `nonce: ${toHex(nonce)}`,
  ].join('\n')
}

/**
 * Reads what stands after the scheme `Oracle` in an `Authorization` header: `<time>:<nonce>:<signature>`, the last two as hex with or
 * without `0x`; undefined when the text is not that.
 */
export function parseRequestCredentials(text: string): RequestCredentials | undefined {
  const [, digits = '', nonceText = '', signatureText = ''] = /^([1-9]\d{0,15}):(\w+):(\w+)$/.exec(text) ?? []
  const time = Number(digits)
  const nonce = parseHex(nonceText)
  const signature = parseHex(signatureText, SIGNATURE_BYTES)
  if (digits === '' || !Number.isSafeInteger(time) || nonce === undefined || signature === undefined) return undefined
  if (nonce.length < NONCE_BYTES.least || nonce.length > NONCE_BYTES.most) return undefined
  return { time, nonce, signature }
}

/** The 65-byte public key under which `signature` (r, s) of `digest` verifies; throws where there is none. */
export type RecoverPublicKey = (signature: Uint8Array, recovery: number, digest: Uint8Array) => Uint8Array

/** With @noble/curves: some milliseconds. */
export const recoverPlainly: RecoverPublicKey = (signature, recovery, digest) =>
  secp256k1.Signature.fromBytes(signature, 'compact').addRecoveryBit(recovery).recoverPublicKey(digest).toBytes(false)

/**
 * With the native secp256k1 binding, some 0.1 ms: strangers make a relayer do this, on its event loop. Where the binding is not
 * available, plainly.
 */
export function createRecover(load: () => unknown = loadBinding): RecoverPublicKey {
  try {
    const binding = load() as {
      ecdsaRecover(signature: Uint8Array, recovery: number, digest: Uint8Array, isCompressed: boolean): Uint8Array
    }
    return (signature, recovery, digest) => binding.ecdsaRecover(signature, recovery, digest, false)
  } catch {
    return recoverPlainly
  }
}

/** The binding itself: the package's own entry falls back to a slower library. */
const loadBinding = (): unknown => createRequire(import.meta.url)('secp256k1/bindings.js')

let recover: RecoverPublicKey | undefined

/**
 * The address (20 bytes) whose key signed the request. Every signature of the right form recovers to some address, so the caller
 * compares it with the one that was to sign.
 *
 * @param signature 65 bytes
 * @throws {CryptoError} SIGNATURE_INVALID for another length, r or s out of range, s in the upper half of the order (it would be a
 * second signature of the same request), another v, and where no key can have made it
 */
export function recoverRequestSigner(request: SignedRequest, signature: Uint8Array): Uint8Array {
  const v = signature[SIGNATURE_BYTES - 1] ?? 255
  const recovery = v >= 27 ? v - 27 : v
  if (signature.length !== SIGNATURE_BYTES || recovery > 1) throw signatureInvalid()
  const text = Buffer.from(requestText(request), 'utf8')
  const digest = keccak_256(Buffer.concat([Buffer.from(`\x19Ethereum Signed Message:\n${text.length}`, 'utf8'), text]))
  try {
    const compact = signature.subarray(0, SIGNATURE_BYTES - 1)
    if (secp256k1.Signature.fromBytes(compact, 'compact').hasHighS()) throw signatureInvalid()
    recover ??= createRecover()
    return addressOfPublicKey(recover(compact, recovery, digest))
  } catch (error) {
    throw error instanceof CryptoError ? error : signatureInvalid()
  }
}

const signatureInvalid = () => new CryptoError('SIGNATURE_INVALID', 'not a signature of a request')
