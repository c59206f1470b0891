/**
 * The bloom filter in the header of a block: which contracts and topics its logs may have (docs/protocol.md#14-chain-calls).
 *
 *     bits(v) = { (h[0..2] mod 2048), (h[2..4] mod 2048), (h[4..6] mod 2048) }        h = keccak256(v)
 *
 * Of an address or topic that a block has, all three bits are set; most of those it has not lack one. So "no" is certain and "maybe" is not:
 * the blocks of mainnet are full, and of an event that is not there every tenth to every second of them says "maybe".
 *
 * @see the Ethereum yellow paper, section 4.4.3 (M3:2048)
 */

import { keccak_256 } from '@noble/hashes/sha3.js'

export const BLOOM_BYTES = 256

/** The bits of an address or topic, counted from the lowest. */
export function bloomBits(value: Uint8Array): readonly number[] {
  const hash = keccak_256(value)
  return [0, 2, 4].map((at) => (((hash[at] ?? 0) << 8) | (hash[at + 1] ?? 0)) & 2047)
}

/** Whether all these bits are set in a filter of 256 bytes. */
export const hasBits = (bloom: Uint8Array, bits: readonly number[]): boolean =>
  bits.every((bit) => (((bloom[BLOOM_BYTES - 1 - (bit >> 3)] ?? 0) >> (bit & 7)) & 1) === 1)
