/**
 * IPFS content identifiers, and whether content is what one names.
 *
 * A CID is a hash of an encoding of the content, not of the content. The encodings in use are few (`unixfs.ts`), so they are
 * made again here and compared. That is what keeps a gateway from handing out oracles of its own.
 */

import { setImmediate } from 'node:timers/promises'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { DEFAULT_LAYOUTS, LAYOUTS, type Root, rootOf, sha256 } from './unixfs.ts'

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
/** Chunks of a large file that are hashed at once: some milliseconds. */
const CHUNKS_AT_ONCE = 16

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
 * Whether the content is what the CID names. Large content is hashed in portions, others work between them.
 *
 * @returns `different` when it surely is not; `unknown` when the CID may stand for an encoding that is not known here
 */
export async function checkContent(cid: Cid, content: Uint8Array): Promise<'same' | 'different' | 'unknown'> {
  const { codec, digest } = cid
  if (codec === undefined || digest === undefined) return 'unknown'
  if (codec === 'raw') return equalBytes(sha256(content), digest) ? 'same' : 'different'
  const version = cid.text.startsWith('Qm') ? 0 : 1
  for (const layout of LAYOUTS) {
    const steps = rootOf(content, layout, version)
    let step = steps.next()
    for (let chunks = 1; step.done !== true; chunks++) {
      if (chunks % CHUNKS_AT_ONCE === 0) await setImmediate()
      step = steps.next()
    }
    const root = step.value
    if (root.codec === codec && equalBytes(root.digest, digest)) return 'same'
  }
  return 'unknown'
}

/** The CID that `ipfs add` gives to a file: version 0, or version 1 with raw leaves. */
export function cidOf(content: Uint8Array, version: 0 | 1 = 0): string {
  const { codec, digest } = finish(rootOf(content, DEFAULT_LAYOUTS[version], version))
  if (version === 0) return encodeBase58(Uint8Array.of(0x12, 0x20, ...digest))
  return `b${encodeBase32(Uint8Array.of(1, codec === 'raw' ? 0x55 : 0x70, 0x12, 0x20, ...digest))}`
}

function finish(steps: Generator<void, Root>): Root {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

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
