/** Who signed a digest, by the rules of the contracts that will ask the same. */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { addressOfPublicKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { recoverPublicKey } from '@dvt-relayer/crypto/oracle/request-signature.ts'

/** Half the order of secp256k1: contracts refuse the other of the two values of s. */
const HALF_ORDER = fromHex('7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0', 32)

/**
 * The checksummed address a digest was signed by.
 *
 * @param digest 32 bytes
 * @param signature `r ++ s ++ v`
 * @returns undefined unless the signature is 65 bytes with a low s and v 27 or 28, as contracts take it
 */
export function recoverSigner(digest: Uint8Array, signature: Uint8Array): `0x${string}` | undefined {
  const v = signature[64]
  const isLow = Buffer.compare(signature.subarray(32, 64), HALF_ORDER) <= 0
  if (signature.length !== 65 || (v !== 27 && v !== 28) || !isLow) return undefined
  try {
    return checksumAddress(addressOfPublicKey(recoverPublicKey(signature.subarray(0, 64), v - 27, digest)))
  } catch {
    return undefined
  }
}
