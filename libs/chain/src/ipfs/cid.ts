/**
 * IPFS content identifiers, and whether content is what one names.
 *
 * A CID is a hash of an encoding of the content, not of the content. Whoever has the blocks of the encoding compares each with
 * its CID (`file.ts`). Whoever has the bare content makes the encodings in use again, which are few (`unixfs.ts`), and compares.
 */

import { setImmediate } from 'node:timers/promises'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { CID } from 'multiformats/cid'
import { CODES, DEFAULT_LAYOUTS, LAYOUTS, type Root, rootOf, SHA256_CODE, sha256, toCid } from './unixfs.ts'

/** A CID of version 0 (`Qm…`), or of version 1 in base32 (`b…`) or base58 (`z…`). */
export interface Cid {
  /** Without `ipfs://` or `/ipfs/`. */
  text: string
  /** `undefined`: a codec that cannot be checked here. */
  codec: Root['codec'] | undefined
  /** 32 bytes; undefined for another hash than SHA-256. */
  digest: Uint8Array | undefined
}

/** Letters and digits only: the text becomes part of a URL. */
const SPELLING = /^[a-zA-Z0-9]{40,120}$/
const VERSION_0 = /^Qm/
/** Version 1 in base32: the first byte is a 1. */
const VERSION_1 = /^ba[e-h][a-z2-7]*$/
/** Version 1 in base58. */
const BASE58 = /^z/
/** Letters of a version 1 with a SHA-256 digest under one of our codecs: 36 bytes. */
const SHA256_LENGTH = 59
/** Blocks of a large file that are hashed at once: some milliseconds. */
const BLOCKS_AT_ONCE = 16

/** The CID of a text, `ipfs://` or `/ipfs/` before it stripped; undefined when it is none. */
export function parseCid(text: string): Cid | undefined {
  const bare = text.trim().replace(/^(ipfs:\/\/|\/ipfs\/)/, '')
  if (!SPELLING.test(bare)) return undefined
  const opaque = { text: bare, codec: undefined, digest: undefined }
  if (VERSION_1.test(bare)) {
    // One of another length has another hash or codec: whether it is well formed changes nothing, it cannot be checked here.
    return readCid(bare) ?? (bare.length === SHA256_LENGTH ? undefined : opaque)
  }
  if (VERSION_0.test(bare)) return readCid(bare)
  if (BASE58.test(bare)) return readCid(bare) ?? opaque
  return bare.startsWith('b') ? undefined : opaque
}

function readCid(text: string): Cid | undefined {
  try {
    return partsOf(CID.parse(text), text)
  } catch {
    return undefined
  }
}

/** The parts of a CID that are needed here. */
export function partsOf(cid: CID, text = cid.toString()): Cid {
  const { code, multihash } = cid
  return {
    text,
    codec: code === CODES.raw ? 'raw' : code === CODES['dag-pb'] ? 'dag-pb' : undefined,
    digest: multihash.code === SHA256_CODE && multihash.size === 32 ? multihash.digest : undefined,
  }
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
  const version = VERSION_0.test(cid.text) ? 0 : 1
  for (const layout of LAYOUTS) {
    const steps = rootOf(content, layout, version)
    let step = steps.next()
    for (let blocks = 1; step.done !== true; blocks++) {
      if (blocks % BLOCKS_AT_ONCE === 0) await setImmediate()
      step = steps.next()
    }
    const root = step.value
    if (root.codec === codec && equalBytes(root.digest, digest)) return 'same'
  }
  return 'unknown'
}

/**
 * The CID that `ipfs add` gives to a file: version 0, or version 1 with raw leaves.
 *
 * @internal for gateways in tests
 */
export function cidOf(content: Uint8Array, version: 0 | 1 = 0): string {
  const steps = rootOf(content, DEFAULT_LAYOUTS[version], version)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return toCid(step.value, version).toString()
  }
}
