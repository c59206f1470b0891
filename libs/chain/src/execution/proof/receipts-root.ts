/**
 * The root over the receipts of a block, which its header holds: whoever gives receipts with this root has left none out, nor a log of one.
 *
 *     receipt  = type? ++ rlp([status, cumulativeGasUsed, logsBloom, [[address, topics, data], …]])
 *     root     = keccak256(rlp(node)) of the Merkle Patricia trie from rlp(position) to receipt
 *
 * @see the Ethereum yellow paper, section 4.4.1 and appendix D; EIP-2718, EIP-658
 */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'

/** What of a receipt its root covers, as JSON-RPC has it. */
export interface ReceiptFields {
  type?: string
  status: string
  cumulativeGasUsed: string
  logsBloom: string
  logs: readonly { address: string; topics: readonly string[]; data: string }[]
}

type Item = Uint8Array | Item[]
type ToRlp = (item: Item) => Uint8Array
interface Entry {
  /** Half bytes. */
  path: readonly number[]
  value: Uint8Array
}

const EMPTY = new Uint8Array(0)

/** Creates a function that gives the root over the receipts of a block, in the order of its transactions: 32 bytes. */
export async function loadReceiptsRoot(): Promise<(receipts: readonly ReceiptFields[]) => Uint8Array> {
  // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
  const { toRlp } = await import('../../viem/utils.ts')
  const encode: ToRlp = (item) => toRlp(item, 'bytes')
  return (receipts) => {
    const entries = receipts.map((receipt, position) => ({
      path: [...encode(wholeBytes(position))].flatMap((byte) => [byte >> 4, byte & 15]),
      value: encodeReceipt(receipt, encode),
    }))
    return keccak_256(encode(nodeOf(entries, 0, encode)))
  }
}

function encodeReceipt({ type, status, cumulativeGasUsed, logsBloom, logs }: ReceiptFields, encode: ToRlp): Uint8Array {
  const fields = [
    quantityBytes(status),
    quantityBytes(cumulativeGasUsed),
    fromHex(logsBloom),
    logs.map(({ address, topics, data }) => [fromHex(address), topics.map((topic) => fromHex(topic)), fromHex(data)]),
  ]
  // Transactions of the first kind have no type before them.
  return Uint8Array.from([...quantityBytes(type ?? '0x0'), ...encode(fields)])
}

/** The node of the trie over these entries, whose paths have `depth` half bytes in common. No path is the beginning of another. */
function nodeOf(entries: readonly Entry[], depth: number, encode: ToRlp): Item {
  const [first, ...others] = entries
  if (first === undefined) return EMPTY
  if (others.length === 0) return [compact(first.path.slice(depth), true), first.value]
  let end = depth
  while (others.every(({ path }) => path[end] === first.path[end])) end++
  if (end > depth)
    return [compact(first.path.slice(depth, end), false), reference(nodeOf(entries, end, encode), encode)]
  const children = Array.from({ length: 16 }, (_, half) =>
    reference(
      nodeOf(
        entries.filter(({ path }) => path[depth] === half),
        depth + 1,
        encode,
      ),
      encode,
    ),
  )
  return [...children, EMPTY]
}

/** A node within another: itself where it is short, else its hash. */
function reference(node: Item, encode: ToRlp): Item {
  const encoded = encode(node)
  return node === EMPTY || encoded.length < 32 ? node : keccak_256(encoded)
}

/** Half bytes as bytes, with what they are and whether their number is odd in the first half byte. */
function compact(path: readonly number[], isLeaf: boolean): Uint8Array {
  const isOdd = path.length % 2
  const halves = [(isLeaf ? 2 : 0) + isOdd, ...(isOdd === 1 ? [] : [0]), ...path]
  return Uint8Array.from(
    { length: halves.length / 2 },
    (_, i) => ((halves[2 * i] ?? 0) << 4) | (halves[2 * i + 1] ?? 0),
  )
}

/** A whole number without leading zeros; 0 is no byte. */
const wholeBytes = (value: number): Uint8Array => quantityBytes(`0x${value.toString(16)}`)
function quantityBytes(quantity: string): Uint8Array {
  const digits = quantity.slice(2).replace(/^0+/, '')
  return fromHex(`0x${digits.length % 2 === 1 ? '0' : ''}${digits}`)
}
