import { createCipheriv } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { describe, expect, it } from 'vitest'
import { readFixtureBytes, readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { readCar } from './car.ts'
import { type Cid, parseCid, partsOf } from './cid.ts'
import { type Blocks, readIpfsFile } from './file.ts'
import { DEFAULT_LAYOUTS, LAYOUTS, type Layout, rootOf, sha256, toCid } from './unixfs.ts'
import { readVarint } from './varint.ts'

/** The first bytes of the AES-128-CTR key stream of a key and an iv of zeros. */
const stream = (size: number) =>
  createCipheriv('aes-128-ctr', new Uint8Array(16), new Uint8Array(16)).update(new Uint8Array(size))
const content = stream(3000)
const roots = readFixtureJson('ipfs/roots.json') as Record<string, string>
const MiB = 1024 * 1024

function cid(text: string): Cid {
  const parsed = parseCid(text)
  if (parsed === undefined) throw new Error(`not a CID: ${text}`)
  return parsed
}
const keyOf = ({ digest }: Cid) => toHex(digest ?? new Uint8Array())

/** Reads a file from blocks, and counts what is asked for. */
async function read(root: Cid, blocks: Blocks, { maxBytes = MiB, proven = new Map() as Blocks } = {}) {
  const asked: string[] = []
  const getBlock = async (wanted: Cid) => {
    asked.push(keyOf(wanted))
    const block = blocks.get(keyOf(wanted))
    if (block === undefined) throw new Error('missing')
    return block
  }
  const bytes = await readIpfsFile(root, getBlock, proven, maxBytes)
  return { bytes, asked, proven }
}

/** The blocks of a file that we make, by digest; and its CID. */
function make(bytes: Uint8Array, layout: Layout, version: 0 | 1 = 1): { root: Cid; blocks: Blocks } {
  const blocks: Blocks = new Map()
  const steps = rootOf(bytes, layout, version)
  let step = steps.next()
  for (; step.done !== true; step = steps.next()) blocks.set(toHex(sha256(step.value)), step.value)
  return { root: partsOf(toCid(step.value, version)), blocks }
}

/** A protobuf field. */
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))]
const bytesField = (field: number, value: Uint8Array) =>
  Buffer.concat([Buffer.from([(field << 3) | 2, ...varint(value.length)]), value])
const numberField = (field: number, value: number) => Buffer.from([field << 3, ...varint(value)])
const linkField = (child: Uint8Array, codec = 0x70) =>
  bytesField(2, bytesField(1, CID.createV1(codec, createDigest(0x12, sha256(child))).bytes))

/** A root of one block or some, made by hand. */
function byHand(root: Uint8Array, ...others: Uint8Array[]) {
  const blocks: Blocks = new Map([root, ...others].map((block) => [toHex(sha256(block)), block]))
  return { root: partsOf(CID.createV1(0x70, createDigest(0x12, sha256(root)))), blocks }
}
const refused = (reason = '') => ({ code: 'IPFS_UNVERIFIED', message: expect.stringContaining(reason) })

describe.each(Object.entries(roots))('a file of another implementation: %s', (name, text) => {
  const root = cid(text)
  const blocks = readCar(readFixtureBytes(`ipfs/${name}.car`))

  it('is read out of its blocks', async () => {
    const { bytes, asked, proven } = await read(root, blocks)
    expect(Buffer.compare(bytes, content)).toBe(0)
    expect(new Set(asked)).toEqual(new Set(blocks.keys()))
    // What is proven is not asked for again.
    expect((await read(root, new Map(), { proven })).asked).toEqual([])
  })

  it('is refused with a wrong byte in any block, any block missing, or any two swapped', async () => {
    const all = [...blocks]
    for (const [i, [key, block]] of all.entries()) {
      for (const at of [0, block.length >> 1, block.length - 1])
        await expect(read(root, new Map([...all, [key, block.with(at, (block[at] ?? 0) ^ 1)]]))).rejects.toMatchObject(
          refused('not the block'),
        )
      await expect(read(root, new Map([...all, [key, block.subarray(1)]]))).rejects.toMatchObject(refused())
      await expect(read(root, new Map([...all, [key, new Uint8Array()]]))).rejects.toMatchObject(refused())
      await expect(read(root, new Map(all.toSpliced(i, 1)))).rejects.toThrow('missing')
      const [other, otherBlock] = all[(i + 1) % all.length] ?? ['', block]
      const swapped = read(root, new Map([...all, [key, otherBlock], [other, block]]))
      await expect(swapped).rejects.toMatchObject(refused('not the block'))
    }
  })

  it('keeps what was proven before a block was missing', async () => {
    const leaf = [...blocks].find(([key]) => key !== keyOf(root))?.[0] ?? ''
    const proven: Blocks = new Map()
    await expect(read(root, new Map([...blocks].filter(([key]) => key !== leaf)), { proven })).rejects.toThrow(
      'missing',
    )
    expect(proven.get(keyOf(root))).toBeDefined()
    expect(proven.has(leaf)).toBe(false)
    const { bytes, asked } = await read(root, blocks, { proven })
    expect(Buffer.compare(bytes, content)).toBe(0)
    expect(asked.length).toBeLessThan(blocks.size)
  })

  it('is bounded by what is asked for', async () => {
    expect((await read(root, blocks, { maxBytes: 3000 })).bytes).toHaveLength(3000)
    const asked = read(root, blocks, { maxBytes: 2999 })
    await expect(asked).rejects.toMatchObject(refused('announces 3000 bytes'))
  })
})

describe('a file of our layouts', () => {
  it.each(LAYOUTS)('%j is read out of its blocks, and of nothing else', async (layout) => {
    for (const version of [0, 1] as const)
      for (const size of [0, 1, layout.chunkBytes, 2 * layout.chunkBytes + 1]) {
        if (layout.leaf.endsWith('without size') && size > layout.chunkBytes) continue
        const bytes = stream(size)
        const { root, blocks } = make(bytes, layout, version)
        expect(Buffer.compare((await read(root, blocks, { maxBytes: 4 * MiB })).bytes, bytes)).toBe(0)
      }
  })

  it('has its bytes in their order, whatever their number and however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 600 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 2, max: 5 }),
        fc.constantFrom<Layout['leaf']>('raw', 'file', 'old'),
        async (bytes, chunkBytes, width, leaf) => {
          const { root, blocks } = make(bytes, { chunkBytes, width, leaf })
          expect(Buffer.compare((await read(root, blocks)).bytes, bytes)).toBe(0)
        },
      ),
    )
  })

  it('with equal chunks, whose block stands in it many times, is whole', async () => {
    const bytes = new Uint8Array(100_000)
    const { root, blocks } = make(bytes, { ...DEFAULT_LAYOUTS[1], chunkBytes: 1000 })
    expect(blocks.size).toBe(2)
    expect(Buffer.compare((await read(root, blocks)).bytes, bytes)).toBe(0)
  })
})

describe('what its own CID names', () => {
  const leaf = stream(10)
  const file = (...sizes: number[]) => Buffer.concat([numberField(1, 2), ...sizes.map((size) => numberField(4, size))])

  it('is no file when it is a directory, something else of dag-pb, or nothing of it', async () => {
    const wrong: [string, Uint8Array][] = [
      ['a directory', bytesField(1, numberField(1, 1))],
      ['a sharded directory', bytesField(1, numberField(1, 5))],
      ['a link', bytesField(1, numberField(1, 4))],
      ['no type', bytesField(1, bytesField(2, leaf))],
      ['no data', linkField(leaf, 0x55)],
      ['text', new TextEncoder().encode('<html>')],
      ['nothing', new Uint8Array()],
      ['a field of another kind', Buffer.from([0x0d, 1, 2, 3, 4])],
      ['a field that is cut off', bytesField(1, file()).subarray(0, -1)],
      ['less than its length says', Buffer.from([0x0a, 5, ...file()])],
      ['a length beyond all bounds', Buffer.from([0x0a, ...varint(Number.MAX_SAFE_INTEGER)])],
      ['a number that does not end', Buffer.from(new Uint8Array(100).fill(0xff))],
      ['two of what counts once', Buffer.concat([bytesField(1, file()), bytesField(1, file())])],
      ['bytes twice', bytesField(1, Buffer.concat([file(), bytesField(2, leaf), bytesField(2, leaf)]))],
      ['bytes that are a number', bytesField(1, Buffer.concat([file(), numberField(2, 1)]))],
    ]
    for (const [what, block] of wrong) {
      const { root, blocks } = byHand(block)
      await expect(read(root, blocks), what).rejects.toMatchObject(refused('no block of a file'))
    }
  })

  it('is refused when what it says of itself does not fit', async () => {
    const wrong: [string, Uint8Array][] = [
      ['more links than sizes', Buffer.concat([linkField(leaf, 0x55), bytesField(1, file())])],
      ['more sizes than links', Buffer.concat([linkField(leaf, 0x55), bytesField(1, file(10, 10))])],
      ['a child of another size', Buffer.concat([linkField(leaf, 0x55), bytesField(1, file(11))])],
      [
        'a sum of another size',
        Buffer.concat([linkField(leaf, 0x55), bytesField(1, Buffer.concat([file(10), numberField(3, 9)]))]),
      ],
      ['a link without CID', Buffer.concat([bytesField(2, numberField(3, 1)), bytesField(1, file(10))])],
      ['a link to no CID', Buffer.concat([bytesField(2, bytesField(1, leaf)), bytesField(1, file(10))])],
    ]
    for (const [what, block] of wrong) {
      const { root, blocks } = byHand(block, leaf)
      await expect(read(root, blocks), what).rejects.toMatchObject(refused('no block of a file'))
    }
    const right = byHand(Buffer.concat([linkField(leaf, 0x55), bytesField(1, file(10))]), leaf)
    expect(Buffer.compare((await read(right.root, right.blocks)).bytes, leaf)).toBe(0)
    // Data may stand before the links, and own bytes before those of children.
    const own = Buffer.concat([file(10), bytesField(2, stream(3)), numberField(3, 13)])
    const both = byHand(Buffer.concat([bytesField(1, own), linkField(leaf, 0x55)]), leaf)
    expect(Buffer.from((await read(both.root, both.blocks)).bytes)).toEqual(Buffer.concat([stream(3), leaf]))
  })

  it('is not followed when it announces more than is asked for, whatever that is', async () => {
    for (const size of [MiB + 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      const { root, blocks } = byHand(Buffer.concat([linkField(leaf), bytesField(1, file(size))]))
      await expect(read(root, blocks)).rejects.toMatchObject(refused(`announces ${size} bytes`))
    }
    const beyond = byHand(
      Buffer.concat([linkField(leaf), linkField(leaf), bytesField(1, file(Number.MAX_SAFE_INTEGER, 1))]),
    )
    await expect(read(beyond.root, beyond.blocks)).rejects.toMatchObject(refused('no block of a file'))
  })

  it('is not followed into kinds and hashes that cannot be checked', async () => {
    const cbor = byHand(Buffer.concat([linkField(leaf, 0x71), bytesField(1, file(10))]), leaf)
    await expect(read(cbor.root, cbor.blocks)).rejects.toMatchObject(refused('none of a file'))
    const sha512 = CID.createV1(0x55, createDigest(0x13, new Uint8Array(64))).bytes
    const other = byHand(Buffer.concat([bytesField(2, bytesField(1, sha512)), bytesField(1, file(10))]))
    await expect(read(other.root, other.blocks)).rejects.toMatchObject(refused('cannot be checked here'))
  })

  it('ends where it has more levels, places or bytes than a file of such a size', async () => {
    /** A file of so many blocks below its root, each below the other. */
    const deep = (levels: number) => {
      let node: Uint8Array = bytesField(1, file())
      const chain = [node]
      for (let level = 0; level < levels; level++) {
        node = Buffer.concat([linkField(node), bytesField(1, file(0))])
        chain.push(node)
      }
      return byHand(node, ...chain)
    }
    for (const levels of [1, 32]) {
      const { root, blocks } = deep(levels)
      await expect(read(root, blocks)).resolves.toMatchObject({ bytes: Buffer.alloc(0) })
    }
    for (const levels of [33, 40]) {
      const { root, blocks } = deep(levels)
      await expect(read(root, blocks)).rejects.toMatchObject(refused('more blocks'))
    }
    // A root with so many places of one block below it; of 1 MiB a file may have 1024 + 256 in all.
    const flat = (places: number) => {
      const leaf = bytesField(1, file())
      const links = Array.from({ length: places }, () => linkField(leaf))
      return byHand(Buffer.concat([...links, bytesField(1, file(...links.map(() => 0)))]), leaf)
    }
    const [most, tooMany] = [flat(1279), flat(1280)]
    await expect(read(most.root, most.blocks)).resolves.toMatchObject({ bytes: Buffer.alloc(0) })
    await expect(read(tooMany.root, tooMany.blocks)).rejects.toMatchObject(refused('more blocks'))
    // 100 ** 20 places of 20 blocks.
    let wide: Uint8Array = bytesField(1, file())
    const levels = [wide]
    for (let level = 0; level < 20; level++) {
      const link = linkField(wide)
      const links = Array.from({ length: 100 }, () => link)
      wide = Buffer.concat([...links, bytesField(1, file(...links.map(() => 0)))])
      levels.push(wide)
    }
    const bomb = byHand(wide, ...levels)
    await expect(read(bomb.root, bomb.blocks)).rejects.toMatchObject(refused('more blocks'))
    // Blocks with much in them that is none of the file.
    const padded = Array.from({ length: 3 }, (_, i) =>
      bytesField(1, Buffer.concat([file(), numberField(9, i), bytesField(10, new Uint8Array(MiB))])),
    )
    const fat = byHand(
      Buffer.concat([...padded.map((block) => linkField(block)), bytesField(1, file(0, 0, 0))]),
      ...padded,
    )
    await expect(read(fat.root, fat.blocks)).rejects.toMatchObject(refused('larger than such a file needs'))
    // Of 1 MiB all blocks may have 256 bytes more for each of those places.
    const oneOf = (size: number) => {
      const block = bytesField(1, Buffer.concat([file(), bytesField(10, new Uint8Array(size - 10))]))
      expect(block).toHaveLength(size)
      return byHand(block)
    }
    const lengthOf = async (made: ReturnType<typeof byHand>, maxBytes = MiB) =>
      (await read(made.root, made.blocks, { maxBytes })).bytes.length
    const [whole, above] = [oneOf(MiB + 256 * 1280), oneOf(MiB + 256 * 1280 + 1)]
    expect(await lengthOf(whole)).toBe(0)
    await expect(lengthOf(above)).rejects.toMatchObject(refused('larger than such a file needs'))
    const alone = (size: number) => make(new Uint8Array(size), { ...DEFAULT_LAYOUTS[1], chunkBytes: 8 * MiB })
    const [large, huge] = [alone(2 * MiB), alone(2 * MiB + 1)]
    expect(await lengthOf(large, 8 * MiB)).toBe(2 * MiB)
    await expect(lengthOf(huge, 8 * MiB)).rejects.toMatchObject(refused('not the block'))
  })

  it('begins nothing more once a block has failed', async () => {
    const { root, blocks } = make(stream(100_000), { ...DEFAULT_LAYOUTS[1], chunkBytes: 1000 })
    const { promise: others, resolve: answerOthers } = Promise.withResolvers<void>()
    let asked = 0
    const getBlock = async (wanted: Cid) => {
      if (keyOf(wanted) !== keyOf(root)) {
        if (++asked === 1) throw new Error('away')
        await others
      }
      return blocks.get(keyOf(wanted)) ?? new Uint8Array()
    }
    await expect(readIpfsFile(root, getBlock, new Map(), MiB)).rejects.toThrow('away')
    answerOthers()
    await setImmediate()
    expect(asked).toBe(8)
  })
})

describe('an archive', () => {
  const archive = readFixtureBytes('ipfs/balanced-fixed-v1-raw.car')

  it('is read as far as it goes', () => {
    const whole = readCar(archive)
    expect(whole.size).toBe(19)
    for (let end = 0; end < archive.length; end += 7) {
      const cut = readCar(archive.subarray(0, end))
      expect(cut.size).toBeLessThan(19)
      for (const [key, block] of cut) expect(Buffer.compare(block, whole.get(key) ?? new Uint8Array())).toBe(0)
    }
    expect(readCar(Buffer.concat([archive, Buffer.from([0xff])])).size).toBe(19)
  })

  it('of any bytes is read without a fault', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readCar(bytes)))
    expect(readCar(new TextEncoder().encode('<html>sorry</html>')).size).toBe(0)
  })
})

it('a number is read up to the largest safe integer', () => {
  for (const value of [0, 127, 128, 300, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER])
    expect(readVarint(Buffer.from(varint(value)), 0)).toEqual({ value, next: varint(value).length })
  expect(readVarint(Buffer.from(varint(2 ** 53)), 0)).toBeUndefined()
  expect(readVarint(Buffer.from([0x80]), 0)).toBeUndefined()
  // More bytes than any such number needs.
  expect(readVarint(Buffer.from([...new Uint8Array(8).fill(0x80), 0]), 0)).toBeUndefined()
  expect(readVarint(new Uint8Array(), 0)).toBeUndefined()
})
