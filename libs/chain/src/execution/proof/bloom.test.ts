import { toHex } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { expect, it } from 'vitest'
import { bloomBits, hasBits } from './bloom.ts'
import { loadReceiptsRoot } from './receipts-root.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
function bloomOf(values: readonly Uint8Array[]): Uint8Array {
  const bloom = new Uint8Array(256)
  for (const bit of values.flatMap(bloomBits))
    bloom[255 - (bit >> 3)] = (bloom[255 - (bit >> 3)] ?? 0) | (1 << (bit & 7))
  return bloom
}

it('the filter is the one of go-ethereum', () => {
  const values = Array.from({ length: 100 }, (_, i) => bytes(`xxxxxxxxxx data ${i} yyyyyyyyyyyyyy`))
  const bloom = bloomOf(values)
  // core/types/bloom9_test.go, TestBloomExtensively
  expect(toHex(keccak_256(bloom))).toBe('0xc8d3ca65cdb4874300a9e39475508f23ed6da09fdbc487f89a2dcf50b09eb263')
  for (const value of values) expect(hasBits(bloom, bloomBits(value))).toBe(true)
})

it('a filter without one of the three bits says no', () => {
  const value = bytes('ConfigUpdated')
  const bloom = bloomOf([value])
  for (const bit of bloomBits(value)) {
    const lacking = bloom.slice()
    lacking[255 - (bit >> 3)] = (lacking[255 - (bit >> 3)] ?? 0) & ~(1 << (bit & 7))
    expect(hasBits(lacking, bloomBits(value))).toBe(false)
  }
  expect(hasBits(new Uint8Array(256), bloomBits(value))).toBe(false)
})

it('the root over no receipts is the one of every empty trie', async () => {
  const rootOf = await loadReceiptsRoot()
  expect(toHex(rootOf([]))).toBe('0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421')
})
