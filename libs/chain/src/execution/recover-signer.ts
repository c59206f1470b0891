/** Who signed a digest, by the rules of the contracts that will ask the same. */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'

/** Half the order of secp256k1: contracts refuse the other of the two values of s. */
const HALF_ORDER = fromHex('7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0', 32)

/**
 * The checksummed address a digest was signed by.
 *
 * @param digest 32 bytes
 * @param signature `r ++ s ++ v`
 * @returns undefined unless the signature is 65 bytes with a low s and v 27 or 28, as contracts take it
 */
export async function recoverSigner(digest: Uint8Array, signature: Uint8Array): Promise<`0x${string}` | undefined> {
  const v = signature[64]
  const isLow = Buffer.compare(signature.subarray(32, 64), HALF_ORDER) <= 0
  if (signature.length !== 65 || (v !== 27 && v !== 28) || !isLow) return undefined
  const { recoverAddress } = await import('../viem/utils.ts')
  try {
    return await recoverAddress({ hash: toHex(digest), signature: toHex(signature) })
  } catch {
    return undefined
  }
}
