/**
 * CAR archives, version 1: a header, then blocks, each behind its CID.
 *
 *     length (varint) ++ header          length (varint) ++ CID ++ block …
 *
 * @see https://ipld.io/specs/transport/car/carv1/
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { CID } from 'multiformats/cid'
import type { Blocks } from './file.ts'
import { readVarint } from './varint.ts'

/**
 * The blocks of an archive, by the hex of the digest in their CIDs: none is compared with it here. Reading ends where the archive
 * is cut off or is none, and the header is passed over: the blocks below the root that is looked for are all that counts.
 */
export function readCar(archive: Uint8Array): Blocks {
  const blocks: Blocks = new Map()
  let isHeader = true
  for (let at = 0; at < archive.length; isHeader = false) {
    const length = readVarint(archive, at)
    if (length === undefined || length.next + length.value > archive.length) break
    at = length.next + length.value
    if (isHeader) continue
    try {
      const [{ multihash }, block] = CID.decodeFirst(archive.subarray(length.next, at))
      blocks.set(toHex(multihash.digest), block)
    } catch {
      break
    }
  }
  return blocks
}
