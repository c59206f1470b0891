/**
 * The registry dump: the keys of all validly signed deposits up to a block, which seeds a registry without reading millions
 * of logs (docs/protocol.md#2-networks, docs/protocol.md#14-chain-calls).
 *
 *     record = block number (uint32, big-endian) ++ validator public key (48)
 *
 * Mainnet's has more than a million records, so that they never all become objects at once.
 */

import { randomInt } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { ChainError } from '../errors.ts'

/** A validator public key and the first block of the dump it stands with. */
export interface RegistryRecord {
  blockNumber: number
  /** 48 bytes, a view of the dump's. Not checked to be a point. */
  publicKey: Uint8Array
}

export interface RegistryDump {
  /** Number of different keys. */
  readonly count: number
  /** The records, each key once, in the order of the dump, in portions. */
  records(portion?: number): Generator<RegistryRecord[]>
}

const RECORD_BYTES = 52
const KEY_AT = 4
/** Records that are looked at before others may work: some milliseconds. */
const AT_ONCE = 20_000

/**
 * Reads a dump. Where a key stands twice, its first block counts.
 *
 * @param bytes is kept, not copied
 * @param lastBlock the last block it may speak of: later blocks are read from the chain
 * @throws {ChainError} REGISTRY_DUMP_INVALID for no records, a length that is not of whole records, or a later block
 */
export async function parseRegistryDump(bytes: Uint8Array, lastBlock: number): Promise<RegistryDump> {
  const total = bytes.length / RECORD_BYTES
  if (total === 0) throw refuse('it is empty')
  if (!Number.isInteger(total)) throw refuse(`its ${bytes.length} bytes are not records of ${RECORD_BYTES}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const blockOf = (record: number) => view.getUint32(record * RECORD_BYTES)
  const keys = createKeyTable(view, total)
  const isLeftOut = new Uint8Array(total)
  let count = 0
  for (let record = 0; record < total; record++) {
    if (blockOf(record) > lastBlock)
      throw refuse(`record ${record + 1} is of block ${blockOf(record)}, the dump ends at ${lastBlock}`)
    const slot = keys.find(record)
    const other = keys.at(slot)
    if (other === undefined) count++
    else isLeftOut[blockOf(record) < blockOf(other) ? other : record] = 1
    if (isLeftOut[record] !== 1) keys.put(slot, record)
    if (record % AT_ONCE === 0) await setImmediate()
  }
  return {
    count,
    *records(portion = 5_000) {
      let open: RegistryRecord[] = []
      for (let record = 0; record < total; record++) {
        if (isLeftOut[record] === 1) continue
        const at = record * RECORD_BYTES
        open.push({ blockNumber: blockOf(record), publicKey: bytes.subarray(at + KEY_AT, at + RECORD_BYTES) })
        if (open.length < portion) continue
        yield open
        open = []
      }
      if (open.length > 0) yield open
    },
  }
}

/** A hash table of records by key, 4 bytes a slot and half of them free: a `Map` of a million texts takes 50 times as much. */
function createKeyTable(view: DataView, total: number) {
  const size = 2 ** Math.ceil(Math.log2(2 * total))
  // Record + 1; 0 is free.
  const slots = new Uint32Array(size)
  // Nobody can choose keys that all fall into one place.
  const seed = randomInt(2 ** 32)
  const wordAt = (record: number, position: number) => view.getUint32(record * RECORD_BYTES + position)

  function hashOf(record: number): number {
    let hash = seed
    for (let position = KEY_AT; position < RECORD_BYTES; position += 4) {
      hash = Math.imul(hash ^ wordAt(record, position), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    return hash >>> 0
  }

  function isSameKey(a: number, b: number): boolean {
    for (let position = KEY_AT; position < RECORD_BYTES; position += 4)
      if (wordAt(a, position) !== wordAt(b, position)) return false
    return true
  }

  const at = (slot: number): number | undefined => (slots[slot] === 0 ? undefined : (slots[slot] ?? 0) - 1)
  return {
    at,
    /** The slot that has this record's key, or the free one where it belongs. */
    find(record: number): number {
      for (let slot = hashOf(record) % size; ; slot = (slot + 1) % size) {
        const other = at(slot)
        if (other === undefined || isSameKey(record, other)) return slot
      }
    },
    put(slot: number, record: number): void {
      slots[slot] = record + 1
    },
  }
}

const refuse = (reason: string) => new ChainError('REGISTRY_DUMP_INVALID', `the registry dump is refused: ${reason}`)
