/** Signing with keys that the demo knows: to play those who have them, and to know what must not be printed. Not for verifying. */

import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { bls12_381 } from '@noble/curves/bls12-381.js'

const engine = createBlstEngine()

/** A key of nobody else: 32 and 48 bytes. */
export function makeKey(): { secretKey: Uint8Array; publicKey: Uint8Array } {
  const secretKey = bls12_381.utils.randomSecretKey()
  return { secretKey, publicKey: engine.publicKeyOf(secretKey) }
}

/** Signs a signing root: 96 bytes. */
export const signRoot = (root: Uint8Array, secretKey: Uint8Array): Uint8Array => engine.sign(secretKey, root)
