/**
 * A file out of its blocks, each compared with the CID by which its parent names it, from the root on: whoever hands them out can
 * leave out a block, and never change a byte.
 */

import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { ChainError } from '../errors.ts'
import type { Cid } from './cid.ts'
import { type FileLink, type FileNode, readFileNode } from './file-node.ts'
import { sha256 } from './unixfs.ts'

/** No block on IPFS is larger. */
export const MOST_BLOCK_BYTES = 2 * 1024 * 1024
/** Levels below the root. Files of this size have two or three; a tree that is nothing but narrow ends here. */
const MOST_LEVELS = 32
/** Blocks that are asked for at once. */
const AT_ONCE = 8

/** Most blocks of a file of so many bytes: whatever its size some hundred, and beyond that chunks of 4 KiB on average. */
const mostBlocks = (maxBytes: number) => 1024 + Math.ceil(maxBytes / 4096)

/** Most bytes of all blocks of a file: what stands in them beside the file is some dozen bytes a block. */
export const mostTreeBytes = (maxBytes: number) => maxBytes + 256 * mostBlocks(maxBytes)

/** Blocks that were proven, by the hex of their digest. */
export type Blocks = Map<string, Uint8Array>

/**
 * Reads a file from its root on, level by level.
 *
 * @param getBlock gives what is said to be the block of a CID; what it throws ends the reading
 * @param proven blocks that need not be asked for; those that are found are added, also when the file stays incomplete
 * @param maxBytes of the file. Nothing below a block is asked for that announces more
 * @throws {ChainError} IPFS_UNVERIFIED a block is not what its CID names, or not of a file, or beyond a bound
 */
export async function readIpfsFile(
  root: Cid,
  getBlock: (cid: Cid) => Promise<Uint8Array>,
  proven: Blocks,
  maxBytes: number,
): Promise<Uint8Array> {
  let blocks = 0
  let treeBytes = 0

  async function blockOf({ text, digest }: Cid): Promise<Uint8Array> {
    if (digest === undefined) throw refuse(`${text} has a hash that cannot be checked here`)
    const key = toHex(digest)
    const known = proven.get(key)
    if (known !== undefined) return known
    const block = await getBlock({ text, digest, codec: undefined })
    if (block.length > MOST_BLOCK_BYTES || !equalBytes(sha256(block), digest)) throw refuse(`not the block ${text}`)
    proven.set(key, block)
    return block
  }

  async function nodeOf({ cid, fileBytes }: FileLink): Promise<FileNode> {
    if (cid.codec === undefined) throw refuse(`${cid.text} is of a kind that is none of a file`)
    const block = await blockOf(cid)
    treeBytes += block.length
    const node = readFileNode(cid.codec, block)
    if (node === undefined || (fileBytes ?? node.fileBytes) !== node.fileBytes)
      throw refuse(`${cid.text} is no block of a file`)
    if (node.fileBytes > maxBytes) throw refuse(`it announces ${node.fileBytes} bytes, more than ${maxBytes}`)
    if (treeBytes > mostTreeBytes(maxBytes)) throw refuse('its blocks are larger than such a file needs')
    return node
  }

  // The file in its order: bytes that are known, and links whose bytes are still to come in their place.
  let parts: (Uint8Array | FileLink)[] = [{ cid: root, fileBytes: undefined }]
  for (let level = 0; parts.some(isLink); level++) {
    blocks += parts.filter(isLink).length
    // The same block may stand in a tree at many places: places are counted.
    if (level > MOST_LEVELS || blocks > mostBlocks(maxBytes)) throw refuse('it has more blocks than such a file needs')
    const found = await inTurn(parts, async (part) => {
      if (!isLink(part)) return [part]
      const { data, children } = await nodeOf(part)
      return [data, ...children]
    })
    parts = found.flat()
  }
  return Buffer.concat(parts.filter((part) => part instanceof Uint8Array))
}

const isLink = (part: Uint8Array | FileLink): part is FileLink => !(part instanceof Uint8Array)

/** The results of work on all items, in their order; some at once, and none begun after one has failed. */
async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const line = items.entries()
  let hasFailed = false
  async function worker(): Promise<void> {
    for (const [i, item] of line) {
      if (hasFailed) return
      try {
        results[i] = await work(item)
      } catch (error) {
        hasFailed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}

const refuse = (reason: string) => new ChainError('IPFS_UNVERIFIED', reason)
