/**
 * A content at one gateway. Gateways differ in what they serve, so that it is asked for in three ways: block by block, all blocks in
 * one archive, and the bare bytes of the file.
 *
 * @see https://specs.ipfs.tech/http-gateways/trustless-gateway/
 */

import { setImmediate } from 'node:timers/promises'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { type HttpAsk, HttpError, type HttpRequest } from '@dvt-relayer/common/http/client.ts'
import { ChainError } from '../errors.ts'
import { readCar } from './car.ts'
import { type Cid, checkContent } from './cid.ts'
import { type Blocks, MOST_BLOCK_BYTES, mostTreeBytes, readIpfsFile } from './file.ts'

/** What is asked for, and within which bounds. */
export interface GatewayRequest {
  cid: Cid
  /** Of the content. */
  maxBytes: number
  /** For all requests to this gateway together. */
  timeoutMs: number
  /** What the gateway's client allows one request. */
  clientTimeoutMs: number
  signal: AbortSignal | undefined
}

/** Content that its CID proves; or why there is none, and the content that was given without a proof. */
export type GatewayAnswer =
  | { proven: Uint8Array }
  | { proven: undefined; unproven: Uint8Array | undefined; problem: string }

/** A request to the gateway, for a block or for all of the content, within what is left of the time. */
type Get = (cid: Cid, accept: string, more: Pick<HttpRequest, 'query' | 'maxBytes'>) => Promise<Uint8Array>

/** One way to ask. `isProven` is false of content that may be encoded in a way that is not known here. */
type Way = (request: GatewayRequest, get: Get, blocks: Blocks) => Promise<{ content: Uint8Array; isProven: boolean }>

const byBlocks: Way = async ({ cid, maxBytes }, get, blocks) => {
  const more = { query: { format: 'raw' }, maxBytes: MOST_BLOCK_BYTES }
  const getBlock = (block: Cid) => get(block, 'application/vnd.ipld.raw', more)
  return { content: await readIpfsFile(cid, getBlock, blocks, maxBytes), isProven: true }
}

const byArchive: Way = async ({ cid, maxBytes }, get, blocks) => {
  const more = { query: { format: 'car' }, maxBytes: mostTreeBytes(maxBytes) }
  const archive = readCar(await get(cid, 'application/vnd.ipld.car', more))
  return { content: await readIpfsFile(cid, (block) => blockFrom(archive, block), blocks, maxBytes), isProven: true }
}

const byContent: Way = async ({ cid, maxBytes }, get) => {
  const content = await get(cid, '*/*', { maxBytes })
  const check = await checkContent(cid, content)
  if (check === 'different') throw new ChainError('IPFS_UNVERIFIED', 'content differs from its CID')
  return { content, isProven: check === 'same' }
}

const WAYS: readonly (readonly [name: string, take: Way])[] = [
  ['block by block', byBlocks],
  ['as a CAR', byArchive],
  ['whole', byContent],
]

/** Asks one gateway. `blocks` holds what was proven so far, at whatever gateway, and takes what is proven here. */
export async function askGateway(gateway: HttpAsk, request: GatewayRequest, blocks: Blocks): Promise<GatewayAnswer> {
  const { cid } = request
  const end = performance.now() + request.timeoutMs
  const problems: string[] = []
  let unproven: Uint8Array | undefined
  // A CID that cannot be compared with a block leaves the bare bytes, which cannot be checked either.
  for (const [name, take] of cid.codec === undefined || cid.digest === undefined ? WAYS.slice(-1) : WAYS) {
    const done = new AbortController()
    const signal = AbortSignal.any([done.signal, ...(request.signal === undefined ? [] : [request.signal])])
    try {
      const get: Get = async ({ text }, accept, more) => {
        const extraMs = Math.max(1, Math.ceil(end - performance.now())) - request.clientTimeoutMs
        return (await gateway.send({ path: `/ipfs/${text}`, headers: { accept }, extraMs, signal, ...more })).bytes
      }
      const { content, isProven } = await take(request, get, blocks)
      if (isProven) return { proven: content }
      unproven = content
      problems.push(`${name}: content cannot be checked against its CID`)
    } catch (error) {
      if (!(error instanceof HttpError || error instanceof ChainError)) throw error
      problems.push(`${name}: ${wordsOf(error)}`)
      if (!mayAskOtherwise(error)) break
    } finally {
      // Other blocks are still under way when one has failed.
      done.abort()
    }
  }
  return { proven: undefined, unproven, problem: `${gateway.host}: ${problems.join(', ')}` }
}

/** A block of an archive. Hashing many of them lets others work in between. */
async function blockFrom(archive: Blocks, { text, digest }: Cid): Promise<Uint8Array> {
  await setImmediate()
  const block = digest && archive.get(toHex(digest))
  if (block === undefined) throw new ChainError('IPFS_UNVERIFIED', `without the block ${text}`)
  return block
}

const wordsOf = (error: HttpError | ChainError) =>
  error instanceof ChainError ? error.message : `${error.code}${error.status === undefined ? '' : ` ${error.status}`}`

/** Statuses that say nothing of the form that was asked for. */
const BUSY = [408, 425, 429]

/** Whether the gateway may have the content in another form. One that is away, slow or busy has none now. */
function mayAskOtherwise(error: HttpError | ChainError): boolean {
  // Not the block: a page of words, or the bare file from a gateway that knows no forms. The file may be too large for a block.
  if (error instanceof ChainError || error.code === 'HTTP_TOO_LARGE') return true
  const { status } = error
  return (
    error.code === 'HTTP_STATUS' && status !== undefined && (status === 501 || (status < 500 && !BUSY.includes(status)))
  )
}
