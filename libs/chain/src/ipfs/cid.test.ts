import { createCipheriv } from 'node:crypto'
import fc from 'fast-check'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import { type Cid, checkContent, cidOf, parseCid } from './cid.ts'
import { CODES, sha256, toCid } from './unixfs.ts'

const text = (value: string) => new TextEncoder().encode(value)
const hello = text('hello world\n')
/** CIDs as other implementations print them in public examples. */
const HELLO_V0 = 'QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o'
const HELLO_V1_RAW = 'bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4'
const NO_NEWLINE_V0 = 'Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD'
/** The empty file, as `ipfs add` knows it. */
const EMPTY_V0 = 'QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH'

function cid(value: string): Cid {
  const parsed = parseCid(value)
  if (parsed === undefined) throw new Error(`not a CID: ${value}`)
  return parsed
}

describe('known CIDs', () => {
  it('are computed', () => {
    expect(cidOf(hello, 0)).toBe(HELLO_V0)
    expect(cidOf(hello, 1)).toBe(HELLO_V1_RAW)
    expect(cidOf(text('hello world'), 0)).toBe(NO_NEWLINE_V0)
    expect(cidOf(new Uint8Array(), 0)).toBe(EMPTY_V0)
  })

  it.each([HELLO_V0, HELLO_V1_RAW])('%s is verified, and other content is not', async (known) => {
    expect(await checkContent(cid(known), hello)).toBe('same')
    expect(await checkContent(cid(known), text('hello world'))).not.toBe('same')
  })

  it('tells surely wrong content of a raw leaf from content of an encoding that is not known', async () => {
    expect(await checkContent(cid(HELLO_V1_RAW), text('other'))).toBe('different')
    expect(await checkContent(cid(HELLO_V0), text('other'))).toBe('unknown')
    expect(await checkContent(cid(HELLO_V0), new Uint8Array(300_000))).toBe('unknown')
  })

  it('are verified as version 1 of dag-pb', async () => {
    const v1 = cid('bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa')
    expect(v1.codec).toBe('dag-pb')
    expect(v1.digest).toEqual(cid(NO_NEWLINE_V0).digest)
    expect(await checkContent(v1, text('hello world'))).toBe('same')
  })
})

describe('the codec', () => {
  const digests = { raw: sha256(hello), 'dag-pb': cid(HELLO_V0).digest ?? new Uint8Array() }
  const others = { raw: 'dag-pb', 'dag-pb': 'raw' } as const

  it.each(['raw', 'dag-pb'] as const)('of a CID names the block that its digest is of: %s', async (codec) => {
    const own = cid(toCid({ codec, digest: digests[codec] }, 1).toString())
    expect(own.codec).toBe(codec)
    expect(await checkContent(own, hello)).toBe('same')
    // The digest of the block that the other codec would have: no block of this codec is that.
    const crossed = cid(toCid({ codec, digest: digests[others[codec]] }, 1).toString())
    expect(crossed.codec).toBe(codec)
    expect(await checkContent(crossed, hello)).not.toBe('same')
  })

  it('is written in the CID, and there is no raw block of version 0', () => {
    const digest = sha256(hello)
    expect(toCid({ codec: 'raw', digest }, 0)).toMatchObject({ version: 1, code: CODES.raw })
    expect(toCid({ codec: 'raw', digest }, 1)).toMatchObject({ version: 1, code: CODES.raw })
    expect(toCid({ codec: 'dag-pb', digest }, 0)).toMatchObject({ version: 0, code: CODES['dag-pb'] })
    expect(toCid({ codec: 'dag-pb', digest }, 1)).toMatchObject({ version: 1, code: CODES['dag-pb'] })
  })
})

describe('parsing', () => {
  it('strips what stands before the CID', () => {
    for (const prefix of ['', 'ipfs://', '/ipfs/', ' ipfs://']) expect(cid(`${prefix}${HELLO_V0}`).text).toBe(HELLO_V0)
  })

  it.each([
    '',
    'Qm',
    '../../etc/passwd',
    `${HELLO_V0}/../x`,
    `${HELLO_V0}?x=1`,
    `${HELLO_V0.slice(0, -1)}0`,
    `${HELLO_V0}a`,
    // The two bits that its last letter has beyond the digest are not zero.
    `${HELLO_V1_RAW.slice(0, -1)}5`,
    'b1111111111111111111111111111111111111111111111111111111111',
    'x'.repeat(500),
  ])('refuses %j', (value) => expect(parseCid(value)).toBeUndefined())

  it('reads version 1 in base58 as in base32', async () => {
    const other = cid('zdj7Wd8AMwqnhJGQCbFxBVodGSBG84TM7Hs1rcJuQMwTyfEDS')
    expect(other).toMatchObject({ codec: 'dag-pb', digest: expect.any(Uint8Array) })
    expect(await checkContent(other, hello)).toBe('unknown')
    const raw = CID.parse(HELLO_V1_RAW).toString(base58btc)
    expect(cid(raw)).toEqual({ ...cid(HELLO_V1_RAW), text: raw })
    expect(await checkContent(cid(raw), hello)).toBe('same')
    expect(await checkContent(cid(raw), text('other'))).toBe('different')
  })

  it('cannot check other bases, codecs and hashes', async () => {
    for (const other of [`k${'2'.repeat(60)}`, `z${'x'.repeat(50)}`]) {
      expect(cid(other)).toEqual({ text: other, codec: undefined, digest: undefined })
      expect(await checkContent(cid(other), hello)).toBe('unknown')
    }
    const cbor = CID.createV1(0x71, CID.parse(HELLO_V1_RAW).multihash).toString()
    expect(cid(cbor)).toMatchObject({ codec: undefined })
    expect(await checkContent(cid(cbor), hello)).toBe('unknown')
    const sha512 = cid(`b${'afkrgq'}${'a'.repeat(104)}`)
    expect(sha512.digest).toBeUndefined()
    expect(await checkContent(sha512, hello)).toBe('unknown')
  })
})

describe('any content of one block', () => {
  it('is verified under its own CID and no other', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 2_000 }),
        fc.constantFrom<0 | 1>(0, 1),
        fc.nat(),
        async (content, version, position) => {
          const own = cid(cidOf(content, version))
          expect(await checkContent(own, content)).toBe('same')
          const changed =
            content.length === 0
              ? Uint8Array.of(1)
              : content.with(position % content.length, ((content[position % content.length] ?? 0) + 1) & 255)
          expect(await checkContent(own, changed)).not.toBe('same')
        },
      ),
    )
  })
})

const CHUNK = 256 * 1024
/**
 * What ipfs-unixfs-importer 17.1.1 gives to the first bytes of the AES-128-CTR key stream of a key and an iv of zeros. More than
 * 174 chunks need a second level of nodes.
 */
const LARGE: readonly [number, string, string][] = [
  [1, 'version 1, raw leaves', 'bafkreibff4imqnqq5pfbubm4boxievplul4vxzgr266pvcoxesfifwprce'],
  [1, 'version 1, file leaves', 'bafybeia4vt2vvx4rn7dbptsj67dco4f74lirxlwastecs4oemrmzgvyrzu'],
  [1, 'version 1, old leaves', 'bafybeif4hy4cbdoptvjdc5gljd5qhgpxieeiecs2sxkepjsbksdzo5m43m'],
  [1, 'version 0, file leaves', 'QmQGb6CHE3S7BK7gJCBNNnDAALk8pXokXH8Krhy77nsEma'],
  [1, 'version 0, old leaves', 'Qmb1UPD8ngtbXYVLUNnKFKoDuEHQaf8V27ptGY4NJzCVht'],
  [CHUNK + 1, 'version 1, raw leaves', 'bafybeiarmnsuysfm6isa7dphlf65rydo7ibar5rjh4437ipzby7m4abkky'],
  [CHUNK + 1, 'version 1, file leaves', 'bafybeib7lvoplw45kailkb4emwn7y2f35ishssc2rryuarzhd4e7vjes44'],
  [CHUNK + 1, 'version 1, old leaves', 'bafybeigsq7ddoqd2wwyumrrifiuopybnthva7vm5a2oygxv4z2nczc3ei4'],
  [CHUNK + 1, 'version 0, file leaves', 'QmeHYS2duenz96c1s5g5DaNHZYawncykge5CJTRuHczR15'],
  [CHUNK + 1, 'version 0, raw leaves', 'QmPWXYeXsaH6uTFunm1DSBLFnh7uCNEuGo5Msi5gDv3sBj'],
  [CHUNK + 1, 'version 0, old leaves', 'QmNSvtzfRCj9eDm4cyVLuLqRYtHSVfWuutWQQes9z1w5BX'],
  [CHUNK + 1, 'version 1, raw leaves of 1 MiB', 'bafkreieouzejw6wxvukn4e7wf4b54rlmzmy6mn3wbevma2fps5ukez5qha'],
  [4 * CHUNK + 1, 'version 1, raw leaves', 'bafybeie5f5t2zb25qzx5wc2a4rwuxaoed6jekuvmlh3h6tpihn5l35nfhu'],
  [4 * CHUNK + 1, 'version 1, file leaves', 'bafybeifsdbloorjlffqgw2vo5k6gylhn7maj5iapjlyxz5bu4kujni2u2u'],
  [4 * CHUNK + 1, 'version 1, old leaves', 'bafybeigs4whax7jlhk5nq6aqrmmw4x4pyskzwndmhfwk6fxdqnimcaoujm'],
  [4 * CHUNK + 1, 'version 0, file leaves', 'QmeS5Xg8wfGYQ6ehN47wkDaCJDKdapmWRF8xRrSYAEMw5w'],
  [4 * CHUNK + 1, 'version 0, raw leaves', 'QmYvEeGGoUk66Wo9VL3squ2FKhXgbFwvBRG18qw2GPoEdJ'],
  [4 * CHUNK + 1, 'version 0, old leaves', 'QmeUKfPiTdPdMxWQsiF65p4uLXoHBN91eB2F8x1WuhfX6N'],
  [4 * CHUNK + 1, 'version 1, raw leaves of 1 MiB', 'bafybeics73zsnujkgr7fxco76dwmec4iumw3cbjaci4yqyubwwv75rci6e'],
  [174 * CHUNK, 'version 1, raw leaves', 'bafybeihc2g7zissuxsiqry6ycpliuzboaiqgnqmuqqfuu5ex64qylntplm'],
  [174 * CHUNK + 1, 'version 1, raw leaves', 'bafybeicbswzmlaylotbe2xnhzaxs5zg5btvwlx2cjd2czmaprznra3fwca'],
  [174 * CHUNK + 1, 'version 0, file leaves', 'QmRnxi88xtknvr7Fj3E2NBA5wBB69jjZfTMSat4vsM3BGW'],
]

describe('files of another implementation', () => {
  const longest = Math.max(...LARGE.map(([size]) => size))
  const stream = createCipheriv('aes-128-ctr', new Uint8Array(16), new Uint8Array(16)).update(new Uint8Array(longest))

  it.each(LARGE)('of %i bytes are verified: %s', async (size, _, known) => {
    const content = stream.subarray(0, size)
    expect(await checkContent(cid(known), content)).toBe('same')
    // Every layout is tried before content is refused.
    if (size > 10 * CHUNK) return
    const changed = Uint8Array.from(content)
    changed[size - 1] = (changed[size - 1] ?? 0) ^ 1
    expect(await checkContent(cid(known), changed)).not.toBe('same')
  })

  it('have the CIDs that `ipfs add` gives', () => {
    const known = LARGE.map(([, , text]) => text)
    for (const size of [1, CHUNK + 1, 4 * CHUNK + 1])
      for (const version of [0, 1] as const) expect(known).toContain(cidOf(stream.subarray(0, size), version))
  })

  it('let others work while they are hashed', async () => {
    let turns = 0
    const turn = () => {
      turns++
      timer = setImmediate(turn)
    }
    let timer = setImmediate(turn)
    await checkContent(cid(LARGE.at(-1)?.[2] ?? ''), stream.subarray(0, 20 * CHUNK))
    clearImmediate(timer)
    expect(turns).toBeGreaterThan(1)
  })
})
