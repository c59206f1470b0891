/** How the operator encodes for the vault: by itself, sharing no code with the relayer for that. */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { depositDataRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Hex } from 'viem'
import { concatHex, numberToHex, toHex } from 'viem/utils'

/** The same hex with `0x`; nothing is empty bytes. */
export const hexOf = (text: string | null | undefined): Hex => `0x${(text ?? '').replace(/^0x/i, '')}`

/** 8 bytes, big-endian. */
export const uint64 = (value: number): Hex => numberToHex(value, { size: 8 })

/**
 * pubkey 48 ++ deposit signature 96 ++ deposit data root 32, for type `0x02` ++ amount uint64 big-endian
 * (docs/protocol.md#10-manager-signature).
 */
export function encodeDeposit(
  vault: Hex,
  type: '0x01' | '0x02',
  publicKey: string,
  amountGwei: number,
  signature: Uint8Array,
): Hex {
  const deposit = {
    publicKey: fromHex(publicKey, 48),
    withdrawalCredentials: fromHex(`${type}${'00'.repeat(11)}${vault.slice('0x'.length)}`, 32),
    amountGwei: BigInt(amountGwei),
    signature,
  }
  const fields = [toHex(deposit.publicKey), toHex(signature), toHex(depositDataRoot(deposit))]
  return concatHex(type === '0x01' ? fields : [...fields, uint64(amountGwei)])
}
