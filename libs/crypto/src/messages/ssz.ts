/**
 * Hash tree roots of SSZ values, as far as cluster locks need them.
 *
 * Every function returns a 32-byte root; composite types are built by passing the roots of their parts.
 *
 * @see consensus-specs, ssz/simple-serialize.md, "Merkleization"
 */

import { hash } from 'node:crypto'

const CHUNK_BYTES = 32

function hashPair(left: Uint8Array, right: Uint8Array): Uint8Array {
  const pair = new Uint8Array(2 * CHUNK_BYTES)
  pair.set(left)
  pair.set(right, CHUNK_BYTES)
  const digest = hash('sha256', pair, 'buffer')
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.length)
}

/** Roots of all-zero trees: ZERO_ROOTS[d] has 2^d zero chunks. */
const ZERO_ROOTS: readonly Uint8Array[] = Array.from({ length: 40 }).reduce<Uint8Array[]>(
  (roots) => {
    const last = roots[roots.length - 1] ?? new Uint8Array(CHUNK_BYTES)
    return [...roots, hashPair(last, last)]
  },
  [new Uint8Array(CHUNK_BYTES)],
)

function zeroRoot(depth: number): Uint8Array {
  const root = ZERO_ROOTS[depth]
  if (root === undefined) throw new RangeError('tree too deep')
  return root
}

/**
 * Root of a binary tree over `chunks`, padded with zero chunks to the next power of two of `limit`.
 * Costs as many hashes as there are chunks plus the depth, whatever the limit.
 */
export function merkleize(chunks: readonly Uint8Array[], limit = chunks.length): Uint8Array {
  if (chunks.length > limit) throw new RangeError(`${chunks.length} chunks, at most ${limit} fit`)
  const depth = Math.ceil(Math.log2(Math.max(1, limit)))
  let level = chunks
  for (let height = 0; height < depth; height++) {
    const above: Uint8Array[] = []
    for (let position = 0; position < level.length; position += 2)
      above.push(hashPair(level[position] ?? zeroRoot(height), level[position + 1] ?? zeroRoot(height)))
    level = above
  }
  return level[0] ?? zeroRoot(depth)
}

function pack(bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let offset = 0; offset < bytes.length; offset += CHUNK_BYTES) {
    const chunk = new Uint8Array(CHUNK_BYTES)
    chunk.set(bytes.subarray(offset, offset + CHUNK_BYTES))
    chunks.push(chunk)
  }
  return chunks
}

function littleEndian(value: bigint | number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function mixInLength(root: Uint8Array, length: number): Uint8Array {
  return hashPair(root, uint64Root(length))
}

/** Root of a uint64. */
export function uint64Root(value: bigint | number): Uint8Array {
  const chunk = new Uint8Array(CHUNK_BYTES)
  chunk.set(littleEndian(value))
  return chunk
}

/** Root of a boolean. */
export function booleanRoot(value: boolean): Uint8Array {
  return uint64Root(value ? 1 : 0)
}

/** Root of `Bytes<length>`. @throws {RangeError} when `bytes` has another length */
export function bytesRoot(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new RangeError(`${bytes.length} bytes, not ${length}`)
  return merkleize(pack(bytes))
}

/** Root of `ByteList[limit]`. @throws {RangeError} when `bytes` is longer */
export function byteListRoot(bytes: Uint8Array, limit: number): Uint8Array {
  if (bytes.length > limit) throw new RangeError(`${bytes.length} bytes, at most ${limit} fit`)
  return mixInLength(merkleize(pack(bytes), Math.ceil(limit / CHUNK_BYTES)), bytes.length)
}

/** Root of `List[uint64, limit]`. @throws {RangeError} when there are more */
export function uint64ListRoot(values: readonly bigint[], limit: number): Uint8Array {
  if (values.length > limit) throw new RangeError(`${values.length} values, at most ${limit} fit`)
  const bytes = Buffer.concat(values.map(littleEndian))
  return mixInLength(merkleize(pack(bytes), Math.ceil((limit * 8) / CHUNK_BYTES)), values.length)
}

/** Root of `List[T, limit]` of composite values, from their roots. @throws {RangeError} when there are more */
export function listRoot(roots: readonly Uint8Array[], limit: number): Uint8Array {
  return mixInLength(merkleize(roots, limit), roots.length)
}

/** Root of a container, from the roots of its fields. */
export function containerRoot(fieldRoots: readonly Uint8Array[]): Uint8Array {
  return merkleize(fieldRoots)
}
