import { createHash } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  booleanRoot,
  byteListRoot,
  bytesRoot,
  containerRoot,
  listRoot,
  merkleize,
  uint64ListRoot,
  uint64Root,
} from './ssz.ts'

const sha256 = (...parts: Uint8Array[]) => new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest())
const zero = new Uint8Array(32)

/** The specification's definition word for word: pad with zero chunks to the power of two, hash pairs. */
function merkleizePlainly(chunks: readonly Uint8Array[], limit: number): Uint8Array {
  let width = 1
  while (width < limit) width *= 2
  let level = [...chunks, ...Array.from({ length: width - chunks.length }, () => zero)]
  while (level.length > 1)
    level = Array.from({ length: level.length / 2 }, (_, i) => sha256(level[2 * i] ?? zero, level[2 * i + 1] ?? zero))
  return level[0] ?? zero
}

describe('merkleize', () => {
  it('equals the padded tree of the specification', () => {
    const chunks = fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 20 })
    fc.assert(
      fc.property(chunks, fc.nat(40), (leaves, spare) => {
        const limit = leaves.length + spare
        expect(merkleize(leaves, limit)).toEqual(merkleizePlainly(leaves, limit))
      }),
    )
  })

  it('refuses more chunks than fit', () => {
    expect(() => merkleize([zero, zero, zero], 2)).toThrow(RangeError)
  })

  it('knows the root of an empty tree of two chunks', () => {
    expect(toHex(merkleize([], 2))).toBe('0xf5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b')
  })
})

describe('roots of values', () => {
  it('puts basic values little-endian into one chunk', () => {
    expect(toHex(uint64Root(258))).toBe(`0x0201${'00'.repeat(30)}`)
    expect(toHex(uint64Root((1n << 64n) - 1n))).toBe(`0x${'ff'.repeat(8)}${'00'.repeat(24)}`)
    expect([true, false].map((value) => toHex(booleanRoot(value)))).toEqual([
      `0x01${'00'.repeat(31)}`,
      `0x${'00'.repeat(32)}`,
    ])
    expect(() => uint64Root(1n << 64n)).toThrow(RangeError)
  })

  it('splits byte vectors into chunks', () => {
    const key = fromHex('ab'.repeat(48))
    expect(bytesRoot(key, 48)).toEqual(sha256(key, new Uint8Array(16)))
    expect(() => bytesRoot(key, 47)).toThrow(RangeError)
  })

  it('mixes the length into byte lists', () => {
    const text = new TextEncoder().encode('v1.10.0')
    const chunk = new Uint8Array(32)
    chunk.set(text)
    expect(byteListRoot(text, 16)).toEqual(sha256(chunk, uint64Root(7)))
    expect(byteListRoot(new Uint8Array(), 16)).toEqual(sha256(zero, zero))
    expect(byteListRoot(new Uint8Array(1), 16)).not.toEqual(byteListRoot(new Uint8Array(), 16))
    expect(() => byteListRoot(new Uint8Array(17), 16)).toThrow(RangeError)
  })

  it('packs four uint64 into a chunk', () => {
    const packed = fromHex([1, 2, 3].map((byte) => `0${byte}${'00'.repeat(7)}`).join('') + '00'.repeat(8))
    expect(uint64ListRoot([1n, 2n, 3n], 4)).toEqual(sha256(packed, uint64Root(3)))
    expect(uint64ListRoot([1n, 2n, 3n], 8)).toEqual(sha256(sha256(packed, zero), uint64Root(3)))
    expect(() => uint64ListRoot([1n, 2n, 3n], 2)).toThrow(RangeError)
  })

  it('takes as many bytes and values as the limit says', () => {
    const bytes = new Uint8Array(33).fill(7)
    const chunks = [bytes.subarray(0, 32), new Uint8Array(32).fill(7, 0, 1)]
    expect(byteListRoot(bytes, 33)).toEqual(sha256(sha256(...chunks), uint64Root(33)))
    expect(() => byteListRoot(bytes, 32)).toThrow(RangeError)
    expect(uint64ListRoot([5n], 1)).toEqual(sha256(uint64Root(5), uint64Root(1)))
    expect(() => uint64ListRoot([5n, 6n], 1)).toThrow(RangeError)
  })

  it('builds lists and containers from roots', () => {
    const [a, b, c] = [uint64Root(1), uint64Root(2), uint64Root(3)]
    expect(containerRoot([a, b, c])).toEqual(sha256(sha256(a, b), sha256(c, zero)))
    expect(listRoot([a], 4)).toEqual(sha256(sha256(sha256(a, zero), sha256(zero, zero)), uint64Root(1)))
  })
})
