/**
 * What a sidecar says all public key shares of a validator are, as the database keeps it: 56 bytes a node, share index (8,
 * big-endian) and public key share (48). Whoever says it, it is a hint: it tells where to look first and refuses nothing.
 */

import { parseHex } from '@dvt-relayer/common/hex.ts'

/** One entry of `public_key_shares`, as it came. */
export interface PostedHint {
  share_index: number
  public_key_share: string
}

/** One entry as it is used. */
export interface KeyShareOfNode {
  shareIndex: number
  publicKeyShare: Uint8Array
}

const RECORD = 56
/** Nodes of more than any cluster there is; SSV's keyshares files may have as many. */
const MOST_NODES = 64

/**
 * Packs a posted list, by share index; undefined where it is missing, malformed, longer than any cluster's or names a share index twice: then
 * it is no hint.
 */
export function packHint(posted: readonly PostedHint[] | null | undefined): Uint8Array | undefined {
  if (posted === undefined || posted === null || posted.length === 0 || posted.length > MOST_NODES) return undefined
  const packed = Buffer.alloc(posted.length * RECORD)
  const sorted = posted.toSorted((a, b) => a.share_index - b.share_index)
  for (const [position, { share_index: shareIndex, public_key_share: text }] of sorted.entries()) {
    const share = parseHex(text, 48)
    if (share === undefined || !Number.isSafeInteger(shareIndex) || shareIndex < 1) return undefined
    if (shareIndex === sorted[position - 1]?.share_index) return undefined
    packed.writeBigUInt64BE(BigInt(shareIndex), position * RECORD)
    packed.set(share, position * RECORD + 8)
  }
  return packed
}

/** What was packed. */
export function unpackHint(packed: Buffer): KeyShareOfNode[] {
  return Array.from({ length: packed.length / RECORD }, (_, position) => ({
    shareIndex: Number(packed.readBigUInt64BE(position * RECORD)),
    publicKeyShare: packed.subarray(position * RECORD + 8, (position + 1) * RECORD),
  }))
}
