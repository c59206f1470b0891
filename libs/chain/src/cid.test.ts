import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Cid, checkContent, cidOf, parseCid } from './cid.ts'

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

  it.each([HELLO_V0, HELLO_V1_RAW])('%s is verified, and other content is not', (known) => {
    expect(checkContent(cid(known), hello)).toBe('same')
    expect(checkContent(cid(known), text('hello world'))).not.toBe('same')
  })

  it('tells surely wrong content of a raw leaf from content of an encoding that is not known', () => {
    expect(checkContent(cid(HELLO_V1_RAW), text('other'))).toBe('different')
    expect(checkContent(cid(HELLO_V0), text('other'))).toBe('unknown')
    expect(checkContent(cid(HELLO_V0), new Uint8Array(300_000))).toBe('unknown')
  })

  it('are verified as version 1 of dag-pb', () => {
    const v1 = cid('bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa')
    expect(v1.codec).toBe('dag-pb')
    expect(v1.digest).toEqual(cid(NO_NEWLINE_V0).digest)
    expect(checkContent(v1, text('hello world'))).toBe('same')
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
    'b1111111111111111111111111111111111111111111111111111111111',
    'x'.repeat(500),
  ])('refuses %j', (value) => expect(parseCid(value)).toBeUndefined())

  it('cannot check other bases, codecs and hashes', () => {
    const other = cid('zdj7Wd8AMwqnhJGQCbFxBVodGSBG84TM7Hs1rcJuQMwTyfEDS')
    expect(checkContent(other, hello)).toBe('unknown')
    const sha512 = cid(`b${'afkrgq'}${'a'.repeat(104)}`)
    expect(sha512.digest).toBeUndefined()
    expect(checkContent(sha512, hello)).toBe('unknown')
  })
})

describe('any content of one block', () => {
  it('is verified under its own CID and no other', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2_000 }),
        fc.constantFrom<0 | 1>(0, 1),
        fc.nat(),
        (content, version, place) => {
          const own = cid(cidOf(content, version))
          expect(checkContent(own, content)).toBe('same')
          const changed =
            content.length === 0
              ? Uint8Array.of(1)
              : content.with(place % content.length, ((content[place % content.length] ?? 0) + 1) & 255)
          expect(checkContent(own, changed)).not.toBe('same')
        },
      ),
    )
  })
})
