/** An IPFS gateway stand-in: true CIDs and blocks, and content that is not what its CID says when a test wants that. */

import { parseCid } from '@dvt-relayer/chain/ipfs/cid.ts'
import {
  CODES,
  DEFAULT_LAYOUTS,
  type Layout,
  rootOf,
  SHA256_CODE,
  sha256,
  toCid,
} from '@dvt-relayer/chain/ipfs/unixfs.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { type HttpStandIn, type StandInAnswer, startHttpStandIn } from './http-stand-in.ts'

/** The forms that a gateway serves; what it does not is answered as `otherwise` says. */
export type Form = 'raw' | 'car' | 'plain'

/** How a gateway is odd. */
export interface IpfsQuirks {
  /** Which forms it serves; all of them unless given. */
  forms?: readonly Form[]
  /** To a form that it does not serve: a status, a page of words with 200, or the bare bytes, as if none had been named. */
  otherwise?: 400 | 404 | 406 | 501 | 'html' | 'plain'
  /** What it makes of a block; undefined: it has none. Also of those in an archive. */
  block?: (block: Uint8Array, digest: string) => Uint8Array | undefined
  /** What it makes of an archive. */
  archive?: (archive: Uint8Array) => Uint8Array
  /** Sends every request on to the same path of this gateway. */
  redirectTo?: string
}

export interface Ipfs extends HttpStandIn {
  /** Adds bytes, or a value as JSON; returns the true CID. */
  add(content: Uint8Array | object, version?: 0 | 1, layout?: Layout): string
  /** Adds a file whose blocks somebody else made. */
  addBlocks(cid: string, blocks: readonly Uint8Array[], content: Uint8Array): void
  /** Serves this content under this CID, whatever it is, and no blocks of it: a hostile gateway, or an encoding unknown to us. */
  put(cid: string, content: Uint8Array | object): void
  /** Is odd from now on. */
  setQuirks(quirks: IpfsQuirks): void
}

const bytesOf = (content: Uint8Array | object): Uint8Array =>
  content instanceof Uint8Array ? content : new TextEncoder().encode(JSON.stringify(content))

const HTML: StandInAnswer = {
  status: 200,
  body: new TextEncoder().encode('<html>The page you asked for is not here</html>'),
  headers: { 'content-type': 'text/html' },
}

/** All blocks of a file, the root last, and its CID. */
export function blocksOf(content: Uint8Array, version: 0 | 1, layout: Layout) {
  const steps = rootOf(content, layout, version)
  const blocks: Uint8Array[] = []
  let step = steps.next()
  for (; step.done !== true; step = steps.next()) blocks.push(step.value)
  return { blocks, cid: toCid(step.value, version).toString() }
}

/** An archive with these blocks, under the CIDs that their digests make. */
function archiveOf(blocks: Iterable<readonly [digest: string, block: Uint8Array | undefined]>): Uint8Array {
  const varint = (value: number): number[] => (value < 128 ? [value] : [(value % 128) | 128, ...varint(value >> 7)])
  const frame = (part: Uint8Array) => Buffer.concat([Buffer.from(varint(part.length)), part])
  // {"roots": [], "version": 1}
  const frames = [frame(Buffer.from('a265726f6f7473806776657273696f6e01', 'hex'))]
  for (const [digest, block] of blocks) {
    if (block === undefined) continue
    const cid = CID.createV1(CODES['dag-pb'], createDigest(SHA256_CODE, fromHex(digest)))
    frames.push(frame(Buffer.concat([cid.bytes, block])))
  }
  return Buffer.concat(frames)
}

/** Starts a gateway: `GET /ipfs/{cid}`; and `POST /api/v0/add` for JSON, which answers with the `Hash` it has from then on. */
export async function startIpfs(files: readonly (Uint8Array | object)[] = []): Promise<Ipfs> {
  const contents = new Map<string, Uint8Array>()
  /** By the hex of their digest. */
  const blocks = new Map<string, Uint8Array>()
  let quirks: IpfsQuirks = {}
  const blockOf = (digest: string): Uint8Array | undefined => {
    const block = blocks.get(digest)
    return block && (quirks.block === undefined ? block : quirks.block(block, digest))
  }
  /** All there is: whoever asks takes what belongs to it. */
  const archive = () => {
    const whole = archiveOf([...blocks.keys()].map((digest) => [digest, blockOf(digest)] as const))
    return quirks.archive?.(whole) ?? whole
  }
  const server = await startHttpStandIn(({ path, query, headers, method, body: added }) => {
    if (method === 'POST' && path === '/api/v0/add') return { status: 200, body: { Hash: add(added as object) } }
    const text = path.replace(/^\/ipfs\//, '')
    const form = query.get('format') ?? 'plain'
    if (quirks.redirectTo !== undefined)
      return { status: 302, body: '', headers: { location: `${quirks.redirectTo}${path}?${query}` } }
    if (form !== 'plain' && headers['accept'] !== `application/vnd.ipld.${form}`)
      throw new Error('the two names of the form differ')
    const isServed = (quirks.forms ?? ['raw', 'car', 'plain']).some((served) => served === form)
    const { otherwise = 404 } = quirks
    if (!isServed && otherwise !== 'plain')
      return otherwise === 'html' ? HTML : { status: otherwise, body: { message: 'no such form' } }
    const content = contents.get(text)
    const digest = toHex(parseCid(text)?.digest ?? new Uint8Array())
    const body =
      !isServed || form === 'plain' || !blocks.has(digest) ? content : form === 'raw' ? blockOf(digest) : archive()
    return body === undefined ? { status: 404, body: { message: 'no such content' } } : { status: 200, body }
  })
  const addBlocks = (cid: string, added: readonly Uint8Array[], content: Uint8Array) => {
    for (const block of added) blocks.set(toHex(sha256(block)), block)
    contents.set(cid, content)
  }
  const add = (content: Uint8Array | object, version: 0 | 1 = 0, layout: Layout = DEFAULT_LAYOUTS[version]) => {
    const bytes = bytesOf(content)
    const made = blocksOf(bytes, version, layout)
    addBlocks(made.cid, made.blocks, bytes)
    return made.cid
  }
  for (const file of files) add(file)
  return {
    ...server,
    add,
    addBlocks,
    put(cid, content) {
      contents.set(cid, bytesOf(content))
      blocks.delete(toHex(parseCid(cid)?.digest ?? new Uint8Array()))
    },
    setQuirks(next) {
      quirks = next
    },
  }
}
