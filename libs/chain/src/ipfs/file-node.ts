/**
 * One block of a file, read (`unixfs.ts` writes them): the bytes it holds itself, and the blocks whose bytes follow.
 *
 *     PBNode { 1: Data, 2: PBLink { 1: CID, 2: name, 3: bytes of the tree } … }
 *     Data   { 1: type, 2: bytes, 3: bytes of the file from here on, 4: of each link's part … }
 *
 * @see https://specs.ipfs.tech/unixfs/
 */

import { CID } from 'multiformats/cid'
import { type Cid, partsOf } from './cid.ts'
import { readVarint } from './varint.ts'

/** What one block says of a file. */
export interface FileNode {
  data: Uint8Array
  children: readonly FileLink[]
  /** Bytes of the file in this block and below. A safe integer. */
  fileBytes: number
}

/** A block of a file as its parent names it. */
export interface FileLink {
  cid: Cid
  /** Bytes of the file in it and below, as its parent says; undefined of the root, which has none. */
  fileBytes: number | undefined
}

type Field = Uint8Array | number

/** UnixFS of type 0 (raw, the old form of a leaf) and 2 (file). The others are directories and what no file is made of. */
const FILE_TYPES: readonly unknown[] = [0, 2]

/** Reads a block. Undefined: it is none of a file, or it contradicts itself. */
export function readFileNode(codec: Cid['codec'], block: Uint8Array): FileNode | undefined {
  if (codec === 'raw') return { data: block, children: [], fileBytes: block.length }
  const node = readFields(block)
  const [data, ...moreData] = node?.get(1) ?? []
  if (!(data instanceof Uint8Array) || moreData.length > 0) return undefined
  const fields = readFields(data)
  if (fields === undefined || !FILE_TYPES.includes(only(fields, 1))) return undefined
  const own = fields.has(2) ? only(fields, 2) : new Uint8Array()
  const cids = (node?.get(2) ?? []).map(linkedCid)
  const sizes = fields.get(4) ?? []
  if (!(own instanceof Uint8Array) || sizes.length !== cids.length) return undefined
  const children: FileLink[] = []
  let fileBytes = own.length
  for (const [i, cid] of cids.entries()) {
    const size = sizes[i]
    if (cid === undefined || typeof size !== 'number') return undefined
    children.push({ cid, fileBytes: size })
    fileBytes += size
  }
  // Some leaves were written without their size.
  const told = fields.has(3) ? only(fields, 3) : fileBytes
  return told === fileBytes && Number.isSafeInteger(fileBytes) ? { data: own, children, fileBytes } : undefined
}

function linkedCid(link: Field): Cid | undefined {
  const fields = link instanceof Uint8Array ? readFields(link) : undefined
  const bytes = fields && only(fields, 1)
  if (!(bytes instanceof Uint8Array)) return undefined
  try {
    return partsOf(CID.decode(bytes))
  } catch {
    return undefined
  }
}

/** The one value of a field. Programs do not agree on which of several counts: then it has none. */
function only(fields: ReadonlyMap<number, Field[]>, field: number): Field | undefined {
  const values = fields.get(field)
  return values?.length === 1 ? values[0] : undefined
}

/** The fields of a protobuf message by number; undefined when it is none, or has fields of kinds that do not occur here. */
function readFields(message: Uint8Array): Map<number, Field[]> | undefined {
  const fields = new Map<number, Field[]>()
  for (let at = 0; at < message.length; ) {
    const tag = readVarint(message, at)
    const number = tag && readVarint(message, tag.next)
    if (tag === undefined || number === undefined) return undefined
    const kind = tag.value % 8
    const end = kind === 2 ? number.next + number.value : number.next
    if ((kind !== 0 && kind !== 2) || end > message.length) return undefined
    const value = kind === 2 ? message.subarray(number.next, end) : number.value
    const field = Math.floor(tag.value / 8)
    const values = fields.get(field)
    if (values === undefined) fields.set(field, [value])
    else values.push(value)
    at = end
  }
  return fields
}
