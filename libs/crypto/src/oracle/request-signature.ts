/**
 * Requests that a caller signs with a key it has, so that it needs no token: an oracle or an Obol node with its secp256k1 key, an SSV
 * operator with its RSA key (`ssv/operator-key.ts`). The text is the same for all.
 *
 *     text      = eight lines that name the request, or the six of the first version (`requestText`)
 *     digest    = keccak256("\x19Ethereum Signed Message:\n" ++ length of text ++ text)        EIP-191, version 0x45
 *     signature = r (32) ++ s (32) ++ v (1), s in the lower half of the order, v 27 or 28 (or 0 or 1)
 *
 * The text has no field that could hold a line break, so two requests never have one text (docs/protocol.md#19-identity-by-key).
 */

import { createRequire } from 'node:module'
import { parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
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
  /** What the second version binds beyond the first: which relayer is meant, and which body. */
  bound?: {
    /** As {@link relayerName} spells it. */
    relayer: string
    /** SHA-256 of the body, of no bytes where there is none. */
    bodyHash: Uint8Array
  }
}

/** What the `Authorization` header of a signed request carries. */
export interface RequestCredentials extends Pick<SignedRequest, 'time' | 'nonce'> {
  /** 65 bytes, or the 256 of an RSA key. */
  signature: Uint8Array
}

/** How a request names the relayer that it is for: its public URL without credentials, query and slashes at the end. */
export function relayerName({ origin, pathname }: URL): string {
  return `${origin}${pathname.replace(/\/+$/, '')}`
}

/** The text that is signed. Lines end with one line feed each, the last one with none; the nonce is lower-case hex with `0x`. */
export function requestText({ method, path, network, time, nonce, bound }: SignedRequest): string {
  return [
    'dvt-relayer request',
    `network: ${network}`,
    ...(bound === undefined ? [] : [`relayer: ${bound.relayer}`]),
    `method: ${method}`,
    `path: ${path}`,
    ...(bound === undefined ? [] : [`body: ${toHex(bound.bodyHash)}`]),
    `time: ${time}`,
    `nonce: ${toHex(nonce)}`,
  ].join('\n')
}

/**
 * Reads what stands in an `Authorization` header after the scheme: `<time>:<nonce>:<signature>`, the last two as hex with or without `0x`;
 * undefined when the text is not that.
 */
export function parseRequestCredentials(
  text: string,
  signatureBytes: number = SIGNATURE_BYTES,
): RequestCredentials | undefined {
  const [, digits = '', nonceText = '', signatureText = ''] = /^([1-9]\d{0,15}):(\w+):(\w+)$/.exec(text) ?? []
  const time = Number(digits)
  const nonce = parseHex(nonceText)
  const signature = parseHex(signatureText, signatureBytes)
  if (digits === '' || !Number.isSafeInteger(time) || nonce === undefined || signature === undefined) return undefined
  if (nonce.length < NONCE_BYTES.least || nonce.length > NONCE_BYTES.most) return undefined
  return { time, nonce, signature }
}

/** What stands in the header of a request that is signed. */
export const credentialsText = ({ time, nonce, signature }: RequestCredentials): string =>
  `${time}:${toHex(nonce)}:${toHex(signature)}`

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

/** The same as the two above, the quicker where it is there. */
export const recoverPublicKey: RecoverPublicKey = (signature, recovery, digest) => {
  recover ??= createRecover()
  return recover(signature, recovery, digest)
}

/** What the signature of a text is over. */
function digestOf(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'utf8')
  return keccak_256(Buffer.concat([Buffer.from(`\x19Ethereum Signed Message:\n${bytes.length}`, 'utf8'), bytes]))
}

/**
 * The key whose signature of the request this is, uncompressed (65 bytes). Every signature of the right form recovers to some key,
 * so the caller compares it, or its address, with that of who was to sign.
 *
 * @param signature 65 bytes
 * @throws {CryptoError} SIGNATURE_INVALID for another length, r or s out of range, s in the upper half of the order (it would be a
 * second signature of the same request), another v, and where no key can have made it
 */
export function recoverRequestKey(request: SignedRequest, signature: Uint8Array): Uint8Array {
  const v = signature[SIGNATURE_BYTES - 1] ?? 255
  const recovery = v >= 27 ? v - 27 : v
  if (signature.length !== SIGNATURE_BYTES || recovery > 1) throw signatureInvalid()
  try {
    const compact = signature.subarray(0, SIGNATURE_BYTES - 1)
    if (secp256k1.Signature.fromBytes(compact, 'compact').hasHighS()) throw signatureInvalid()
    return recoverPublicKey(compact, recovery, digestOf(requestText(request)))
  } catch (error) {
    throw error instanceof CryptoError ? error : signatureInvalid()
  }
}

/** The same key in 33 bytes, as an ENR has it. */
export const compressedKey = (key: Uint8Array): Uint8Array =>
  Uint8Array.from([2 + ((key[64] ?? 0) & 1), ...key.subarray(1, 33)])

/**
 * Signs a request.
 *
 * @param secretKey 32 bytes
 * @returns 65 bytes: r, s in the lower half of the order, v 27 or 28
 */
export function signRequest(request: SignedRequest, secretKey: Uint8Array): Uint8Array {
  const recovered = secp256k1.sign(digestOf(requestText(request)), secretKey, { prehash: false, format: 'recovered' })
  return Uint8Array.from([...recovered.subarray(1), 27 + (recovered[0] ?? 0)])
}

/**
 * Reads the file of an Obol node's key (`charon-enr-private-key`): 64 hex digits. Nothing of a text that is none is repeated.
 *
 * @throws {CryptoError} SCALAR_INVALID
 */
export function parseNodeKey(text: string): { secretKey: Uint8Array; publicKey: Uint8Array } {
  const secretKey = parseHex(text.trim(), 32)
  if (secretKey === undefined || !secp256k1.utils.isValidSecretKey(secretKey))
    throw new CryptoError('SCALAR_INVALID', 'not a secp256k1 secret key: 64 hex digits, as charon leaves them')
  return { secretKey, publicKey: secp256k1.getPublicKey(secretKey, true) }
}

const signatureInvalid = () => new CryptoError('SIGNATURE_INVALID', 'not a signature of a request')
