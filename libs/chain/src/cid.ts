/**
 * IPFS content identifiers, and whether content is what one names.
 *
 * A CID is a hash of an encoding of the content, not of the content. For a file of one block (up to 256 KiB) the encodings in
 * use are few, so they are made again here and compared. That is what keeps a gateway from handing out oracles of its own.
 */

import { createHash } from 'node:crypto'
import { equalBytes } from '@dvt-relayer/common/hex.ts'

/** A CID with a SHA-256 digest: version 0 (`Qm…`), or version 1 in base32 (`b…`). */
export interface Cid {
  /** Without `ipfs://` or `/ipfs/`. */
  text: string
  /** `undefined`: a codec that cannot be checked here. */
  codec: 'dag-pb' | 'raw' | undefined
  /** 32 bytes; undefined for another hash than SHA-256. */
  digest: Uint8Array | undefined
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'
const CODECS = new Map<number, 'dag-pb' | 'raw'>([
  [0x70, 'dag-pb'],
  [0x55, 'raw'],
])
/** The largest block of the default chunker. */
const ONE_BLOCK = 256 * 1024

/** The CID of a text, `ipfs://` or `/ipfs/` before it stripped; undefined when it is none. */
export function parseCid(text: string): Cid | undefined {
  const bare = text.trim().replace(/^(ipfs:\/\/|\/ipfs\/)/, '')
  // Letters and digits only: the text becomes part of a URL.
  if (!/^[a-zA-Z0-9]{40,120}$/.test(bare)) return undefined
  if (bare.startsWith('Qm')) {
    const multihash = bare.length === 46 ? decodeBase58(bare) : undefined
    return multihash === undefined ? undefined : { text: bare, codec: 'dag-pb', digest: digestOf(multihash) }
  }
  if (!bare.startsWith('b')) return { text: bare, codec: undefined, digest: undefined }
  const bytes = decodeBase32(bare.slice(1))
  if (bytes?.[0] !== 1) return undefined
  return { text: bare, codec: CODECS.get(bytes[1] ?? 0), digest: digestOf(bytes.subarray(2)) }
}

/**
 * Whether the content is what the CID names.
 *
 * @returns `different` when it surely is not; `unknown` when the CID may stand for an encoding that is not known here
 */
export function checkContent(cid: Cid, content: Uint8Array): 'same' | 'different' | 'unknown' {
  const { codec, digest } = cid
  if (codec === undefined || digest === undefined) return 'unknown'
  const names = (block: Uint8Array) => equalBytes(sha256(block), digest)
  if (codec === 'raw') return names(content) ? 'same' : 'different'
  if (content.length > ONE_BLOCK) return 'unknown'
  return unixFsBlocks(content).some(names) ? 'same' : 'unknown'
}

/** The CID that `ipfs add` gives to a small file: version 0, or version 1 with a raw leaf. */
export function cidOf(content: Uint8Array, version: 0 | 1 = 0): string {
  if (content.length > ONE_BLOCK) throw new TypeError('a file of one block only')
  if (version === 1) return `b${encodeBase32(Uint8Array.of(1, 0x55, 0x12, 0x20, ...sha256(content)))}`
  const [block] = unixFsBlocks(content)
  return encodeBase58(Uint8Array.of(0x12, 0x20, ...sha256(block ?? new Uint8Array())))
}

/**
 * A file of one block as UnixFS inside dag-pb: `PBNode{1: Data}`, `Data{1: type, 2: content, 3: size}`, type 2 (file) or 0
 * (raw, the old form of a leaf), the size left out by some, as is an empty content.
 */
function unixFsBlocks(content: Uint8Array): Uint8Array[] {
  const body = content.length === 0 ? Buffer.alloc(0) : Buffer.concat([field(2, content.length), content])
  const size = Buffer.from([0x18, ...varint(content.length)])
  return [2, 0].flatMap((type) =>
    [size, Buffer.alloc(0)].map((tail) => {
      const data = Buffer.concat([Buffer.from([0x08, type]), body, tail])
      return Buffer.concat([field(1, data.length), data])
    }),
  )
}

/** Tag and length of a protobuf field of bytes. */
const field = (number: number, length: number) => Buffer.from([(number << 3) | 2, ...varint(length)])

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)]
}

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

/** The digest of a SHA-256 multihash: code 0x12, length 0x20. */
function digestOf(multihash: Uint8Array): Uint8Array | undefined {
  return multihash.length === 34 && multihash[0] === 0x12 && multihash[1] === 0x20 ? multihash.subarray(2) : undefined
}

function decodeBase58(text: string): Uint8Array | undefined {
  let value = 0n
  for (const letter of text) {
    const digit = BASE58.indexOf(letter)
    if (digit < 0) return undefined
    value = value * 58n + BigInt(digit)
  }
  const hex = value.toString(16)
  return new Uint8Array(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'))
}

function encodeBase58(bytes: Uint8Array): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  let text = ''
  for (; value > 0n; value /= 58n) text = `${BASE58[Number(value % 58n)]}${text}`
  return text
}

function decodeBase32(text: string): Uint8Array | undefined {
  const bytes: number[] = []
  let bits = 0
  let value = 0
  for (const letter of text) {
    const digit = BASE32.indexOf(letter)
    if (digit < 0) return undefined
    value = ((value << 5) | digit) & 0xfff
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes.push((value >> bits) & 0xff)
    }
  }
  return Uint8Array.from(bytes)
}

function encodeBase32(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const letters = bits.match(/.{1,5}/g) ?? []
  return letters.map((five) => BASE32[Number.parseInt(five.padEnd(5, '0'), 2)]).join('')
}
