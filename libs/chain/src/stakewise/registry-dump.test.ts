import { toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRegistryDump, type RegistryRecord } from './registry-dump.ts'

const LAST = 1_000

function keyOf(number: number): Uint8Array {
  const key = Buffer.alloc(48, 7)
  key.writeUInt32BE(number, 44)
  return key
}

/** The bytes of a dump, behind others in their buffer as a network hands them over. */
function dumpOf(records: readonly (readonly [blockNumber: number, key: number])[]): Uint8Array {
  const bytes = Buffer.alloc(8 + 52 * records.length)
  for (const [position, [blockNumber, key]] of records.entries()) {
    bytes.writeUInt32BE(blockNumber, 8 + 52 * position)
    bytes.set(keyOf(key), 8 + 52 * position + 4)
  }
  return bytes.subarray(8)
}

const flat = (portions: Iterable<RegistryRecord[]>) =>
  [...portions].flat().map(({ blockNumber, publicKey }) => [blockNumber, toHex(publicKey)] as const)

describe('a registry dump', () => {
  it('is read record by record, in its order', async () => {
    const records = [
      [5, 3],
      [5, 1],
      [9, 2],
      [LAST, 4],
    ] as const
    const dump = await parseRegistryDump(dumpOf(records), LAST)
    expect(dump.count).toBe(4)
    expect(flat(dump.records())).toEqual(records.map(([block, key]) => [block, toHex(keyOf(key))]))
  })

  it('comes in portions, as often as it is asked for', async () => {
    const dump = await parseRegistryDump(dumpOf(Array.from({ length: 7 }, (_, key) => [key, key])), LAST)
    for (const [portion, sizes] of [
      [3, [3, 3, 1]],
      [7, [7]],
      [8, [7]],
      [1, [1, 1, 1, 1, 1, 1, 1]],
    ] as const)
      expect([...dump.records(portion)].map(({ length }) => length)).toEqual(sizes)
  })

  it('has each key once, with its first block', async () => {
    const record = fc.tuple(fc.nat({ max: LAST }), fc.nat({ max: 30 }))
    await fc.assert(
      fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 200 }), async (records) => {
        const first = new Map<string, number>()
        for (const [block, key] of records) {
          const hex = toHex(keyOf(key))
          first.set(hex, Math.min(block, first.get(hex) ?? block))
        }
        const dump = await parseRegistryDump(dumpOf(records), LAST)
        const found = flat(dump.records(10))
        expect(dump.count).toBe(first.size)
        expect(found).toHaveLength(first.size)
        expect(new Map(found.map(([block, key]) => [key, block]))).toEqual(first)
      }),
      {
        examples: [
          [
            [
              [5, 1],
              [9, 1],
              [7, 1],
            ],
          ],
          [
            [
              [9, 1],
              [5, 1],
              [7, 1],
              [3, 1],
            ],
          ],
        ],
      },
    )
  })

  it.each([
    ['it is empty', new Uint8Array()],
    ['its 51 bytes', new Uint8Array(51)],
    ['its 53 bytes', new Uint8Array(53)],
    ['its 105 bytes', new Uint8Array(105)],
    [
      'record 2 is of block 1001, the dump ends at 1000',
      dumpOf([
        [LAST, 1],
        [LAST + 1, 2],
        [1, 3],
      ]),
    ],
    ['record 1 is of block 4294967295', dumpOf([[2 ** 32 - 1, 1]])],
  ])('is refused: %s', async (reason, bytes) => {
    await expect(parseRegistryDump(bytes, LAST)).rejects.toMatchObject({
      code: 'REGISTRY_DUMP_INVALID',
      message: expect.stringContaining(reason),
    })
  })

  it('lets others work while it is read', async () => {
    let turns = 0
    const turn = () => {
      turns++
      timer = setImmediate(turn)
    }
    let timer = setImmediate(turn)
    const dump = await parseRegistryDump(dumpOf(Array.from({ length: 100_000 }, (_, key) => [1, key])), LAST)
    clearImmediate(timer)
    expect([dump.count, turns > 3]).toEqual([100_000, true])
  })
})
