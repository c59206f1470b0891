import { toHex } from '@dvt-relayer/common/hex.ts'
import { keccak_256 } from '@noble/hashes/sha3.js'
import type { Hex } from 'viem'
import { toRlp } from 'viem/utils'
import { describe, expect, it } from 'vitest'
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

it.each([
  ['itself where it has less than 32 bytes', 21, 31],
  ['by its hash where it has more', 22, 32],
])('a node of the trie stands in the one above it %s', async (_, bloomBytes, nodeBytes) => {
  const logsBloom = `0x${'ab'.repeat(bloomBytes)}` as const
  const receipt = toRlp(['0x01', '0x5208', logsBloom, []])
  // Of the paths 80 and 01, which are the RLP of 0 and 1, the second half byte is left for the leaf.
  const nodes = (['0x30', '0x31'] as const).map((path) => [path, receipt] as const)
  const [first, second] = nodes.map((node) => {
    const encoded = toRlp(node, 'bytes')
    expect(encoded).toHaveLength(nodeBytes)
    return encoded.length < 32 ? [...node] : toHex(keccak_256(encoded))
  })
  if (first === undefined || second === undefined) throw new Error('no nodes')
  const empty = (count: number) => Array.from({ length: count }, () => '0x' as const)
  const branch = [second, ...empty(7), first, ...empty(8)]
  const rootOf = await loadReceiptsRoot()
  const fields = { type: '0x0', status: '0x1', cumulativeGasUsed: '0x5208', logsBloom, logs: [] }
  expect(toHex(rootOf([fields, fields]))).toBe(toHex(keccak_256(toRlp(branch, 'bytes'))))
})

describe('the trie over the receipts of a block', () => {
  type Node = readonly (Hex | readonly Hex[])[]
  const logsBloom = `0x${'00'.repeat(256)}` as const
  const receipt = toRlp(['0x01', '0x5208', logsBloom, []])
  const hashOf = (node: Node) => toHex(keccak_256(toRlp(node as never, 'bytes')))
  /** A leaf, by what is left of its path: nothing, or one half byte. */
  const [leaf, leafOf0] = (['0x20', '0x30'] as const).map((path) => hashOf([path, receipt])) as [Hex, Hex]
  const branch = (children: Readonly<Record<number, Hex>>): Node => [
    ...Array.from({ length: 16 }, (_, half) => children[half] ?? ('0x' as const)),
    '0x',
  ]
  const upTo16 = (from: number, child: Hex) =>
    Object.fromEntries(Array.from({ length: 16 - from }, (_, i) => [from + i, child]))
  const full = hashOf(branch(upTo16(0, leaf)))
  const below16 = hashOf(branch(upTo16(1, leaf)))

  // Paths are the RLP of positions: 80 of 0, one byte up to 7f, then 81 and a byte, then 82 and two.
  it.each<[number, Node]>([
    [1, ['0x2080', receipt]],
    [17, branch({ 0: below16, 1: leafOf0, 8: leafOf0 })],
    [
      130,
      branch({
        ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((half) => [half, full])),
        0: below16,
        8: hashOf(branch({ 0: leaf, 1: hashOf(['0x18', hashOf(branch({ 0: leaf, 1: leaf }))]) })),
      }),
    ],
    [
      273,
      branch({
        ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((half) => [half, full])),
        0: below16,
        8: hashOf(
          branch({
            0: leaf,
            1: hashOf(branch(upTo16(8, full))),
            2: hashOf(['0x0001', hashOf(branch({ 0: full, 1: leafOf0 }))]),
          }),
        ),
      }),
    ],
  ])('is the one by hand: %i receipts', async (count, root) => {
    const rootOf = await loadReceiptsRoot()
    const fields = { status: '0x1', cumulativeGasUsed: '0x5208', logsBloom, logs: [] }
    expect(toHex(rootOf(Array.from({ length: count }, () => fields)))).toBe(hashOf(root))
  })
})
