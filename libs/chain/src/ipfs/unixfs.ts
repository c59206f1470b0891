/**
 * Files as IPFS stores them: cut into chunks, each chunk a leaf, and balanced trees of nodes above them, every node naming its
 * children by their hashes. The hash of the root is the file's CID.
 *
 * How a file is cut and how its leaves are wrapped is the choice of whoever adds it, and the CID does not tell it: the few
 * layouts in use are listed here.
 *
 * @see https://specs.ipfs.tech/unixfs/
 */

import { createHash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'

/** How a CID names the encoding of its block. */
export const CODES = { raw: 0x55, 'dag-pb': 0x70 } as const
/** How a CID names SHA-256. */
export const SHA256_CODE = 0x12

/** The codec and the SHA-256 digest (32 bytes) of a file's root block. */
export interface Root {
  codec: keyof typeof CODES
  digest: Uint8Array
}

/** How a file becomes blocks. */
export interface Layout {
  chunkBytes: number
  /** Most children of a node. */
  width: number
  /** A leaf: the chunk itself; or UnixFS of type 2 (file) or 0 (raw, the old form of a leaf) inside dag-pb, with or without its size. */
  leaf: 'raw' | 'file' | 'old' | 'file without size' | 'old without size'
}

const KIB = 1024
const [KUBO, LATER] = [
  { chunkBytes: 256 * KIB, width: 174 },
  { chunkBytes: 1024 * KIB, width: 1024 },
]

/** Version 0 of `ipfs add`, and version 1. */
export const DEFAULT_LAYOUTS: readonly [Layout, Layout] = [
  { ...KUBO, leaf: 'file' },
  { ...KUBO, leaf: 'raw' },
]

/** Every layout in use, the usual ones first. */
export const LAYOUTS: readonly Layout[] = [
  ...DEFAULT_LAYOUTS.toReversed(),
  { ...KUBO, leaf: 'old' },
  { ...LATER, leaf: 'raw' },
  { ...LATER, width: KUBO.width, leaf: 'raw' },
  // Only files of one block were ever written so.
  { ...KUBO, leaf: 'file without size' },
  { ...KUBO, leaf: 'old without size' },
]

/** A block as its parent names it. */
interface Link {
  codec: Root['codec']
  digest: Uint8Array
  /** Bytes of the file below it. */
  fileBytes: number
  /** Bytes of it and all blocks below it. */
  treeBytes: number
}

/**
 * The root of a file. A generator of the file's blocks, so that whoever drives it can let others work between the chunks of a
 * large file.
 *
 * @param version of the CIDs by which nodes name their children
 */
export function* rootOf(content: Uint8Array, layout: Layout, version: 0 | 1): Generator<Uint8Array, Root> {
  const { chunkBytes, width, leaf } = layout
  let level: Link[] = []
  for (let from = 0; from === 0 || from < content.length; from += chunkBytes)
    level.push(yield* leafOf(content.subarray(from, from + chunkBytes), leaf))
  while (level.length > 1) {
    const above: Link[] = []
    for (let from = 0; from < level.length; from += width)
      above.push(yield* nodeOf(level.slice(from, from + width), version))
    level = above
  }
  const [root] = level
  if (root === undefined) throw new RangeError('a file has at least one chunk')
  return { codec: root.codec, digest: root.digest }
}

function* leafOf(chunk: Uint8Array, leaf: Layout['leaf']): Generator<Uint8Array, Link> {
  if (leaf === 'raw') return yield* linkTo('raw', chunk, chunk.length, 0)
  const type = leaf.startsWith('file') ? 2 : 0
  const size = leaf.endsWith('without size') ? [] : [number(3, chunk.length)]
  const data = Buffer.concat([number(1, type), ...(chunk.length === 0 ? [] : [bytes(2, chunk)]), ...size])
  return yield* linkTo('dag-pb', bytes(1, data), chunk.length, 0)
}

/** `PBNode{2: links, 1: Data}`, `PBLink{1: CID, 2: empty name, 3: bytes of the tree}`, `Data{1: type, 3: size, 4: sizes}`. */
function* nodeOf(children: readonly Link[], version: 0 | 1): Generator<Uint8Array, Link> {
  const links = children.map((child) =>
    bytes(
      2,
      Buffer.concat([bytes(1, toCid(child, version).bytes), bytes(2, new Uint8Array()), number(3, child.treeBytes)]),
    ),
  )
  const fileBytes = sum(children.map((child) => child.fileBytes))
  const sizes = children.map((child) => number(4, child.fileBytes))
  const data = Buffer.concat([number(1, 2), number(3, fileBytes), ...sizes])
  const block = Buffer.concat([...links, bytes(1, data)])
  return yield* linkTo('dag-pb', block, fileBytes, sum(children.map((child) => child.treeBytes)))
}

function* linkTo(
  codec: Root['codec'],
  block: Uint8Array,
  fileBytes: number,
  bytesBelow: number,
): Generator<Uint8Array, Link> {
  yield block
  return { codec, digest: sha256(block), fileBytes, treeBytes: block.length + bytesBelow }
}

/** The CID of a block; version 0 knows no raw blocks. */
export function toCid({ codec, digest }: Root, version: 0 | 1): CID {
  const multihash = createDigest(SHA256_CODE, digest)
  return codec === 'raw' || version === 1 ? CID.createV1(CODES[codec], multihash) : CID.createV0(multihash)
}

/** A protobuf field of bytes. */
const bytes = (field: number, value: Uint8Array) =>
  Buffer.concat([Buffer.from([(field << 3) | 2, ...varint(value.length)]), value])

/** A protobuf field of a number. */
const number = (field: number, value: number) => Buffer.from([field << 3, ...varint(value)])

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))]
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

export const sha256 = (block: Uint8Array): Uint8Array => createHash('sha256').update(block).digest()
