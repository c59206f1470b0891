/** Ethereum node records (EIP-778): the one thing a cluster lock needs of them, the node's public key. */

const MAX_RECORD_BYTES = 1_024

/** Reads one RLP byte string or list header at `offset`; undefined when it does not fit into `bytes`. */
function readItem(bytes: Uint8Array, offset: number): { list: boolean; start: number; end: number } | undefined {
  const head = bytes[offset]
  if (head === undefined) return undefined
  if (head < 0x80) return { list: false, start: offset, end: offset + 1 }
  const list = head >= 0xc0
  const short = head - (list ? 0xc0 : 0x80)
  // 56 bytes and more: the length itself stands in the next one or two bytes, which is all a record can need.
  const lengthBytes = short > 55 ? short - 55 : 0
  if (lengthBytes > 2) return undefined
  const length =
    lengthBytes === 0
      ? short
      : bytes.subarray(offset + 1, offset + 1 + lengthBytes).reduce((sum, byte) => sum * 256 + byte, 0)
  const start = offset + 1 + lengthBytes
  const end = start + length
  return end <= bytes.length ? { list, start, end } : undefined
}

/**
 * The `secp256k1` entry of a record: 33 bytes, a compressed public key not yet checked to be on the curve.
 *
 *     enr = "enr:" ++ base64url(RLP [signature, seq, key, value, key, value, …])
 *
 * The record's own signature is not checked.
 *
 * @returns undefined when the text is no such record or has no such entry
 * @see EIP-778
 */
export function enrPublicKey(enr: string): Uint8Array | undefined {
  const text = /^enr:([A-Za-z0-9_-]+)$/.exec(enr)?.[1]
  if (text === undefined) return undefined
  const bytes = new Uint8Array(Buffer.from(text, 'base64url'))
  const record = bytes.length > MAX_RECORD_BYTES ? undefined : readItem(bytes, 0)
  if (record === undefined || !record.list || record.end !== bytes.length) return undefined
  const items: Uint8Array[] = []
  for (let offset = record.start; offset < record.end; ) {
    const item = readItem(bytes, offset)
    if (item === undefined || item.end > record.end) return undefined
    items.push(bytes.subarray(item.start, item.end))
    offset = item.end
  }
  for (let position = 2; position + 1 < items.length; position += 2) {
    const value = items[position + 1]
    if (Buffer.from(items[position] ?? []).toString('latin1') === 'secp256k1' && value?.length === 33) return value
  }
  return undefined
}
