/** Content from IPFS gateways, none of which is trusted: its CID proves it, or nothing does (docs/protocol.md#7-oracle-set). */

import { createBackoff } from '@dvt-relayer/common/flow/backoff.ts'
import { createHttpClient, type HttpAsk, type HttpClientOptions } from '@dvt-relayer/common/http/client.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { ChainError } from '../errors.ts'
import { parseCid } from './cid.ts'
import type { Blocks } from './file.ts'
import { askGateway, type GatewayRequest } from './gateway.ts'

/** What speaks for the content: `verified`, its CID; `unverified`, nothing but the one gateway there is (refuse it, or warn of it). */
export type Verification = 'verified' | 'unverified'

export interface IpfsOptions {
  /** Gateways, in the order they are asked. */
  endpoints: readonly (string | URL)[]
  /** Time for one gateway, however many blocks it is asked for. */
  timeoutMs: number
  /** For how long rounds over all gateways may start. */
  retryTimeoutMs: number
  /** Largest content in bytes; default 1 MiB. */
  maxBytes?: number
  onResult?: NonNullable<HttpClientOptions['onResult']>
  /** First and largest back-off between rounds; for tests. */
  backoffMs?: { first: number; most: number }
}

/** What is fetched, and within which bounds. */
export interface ContentRequest {
  /** As error messages call it, such as `the registry dump`. */
  what: string
  /** Largest content in bytes, instead of the client's. */
  maxBytes?: number
  /** Time for one gateway, however many blocks it is asked for, instead of the client's. */
  timeoutMs?: number
  /** For how long rounds over all gateways may start, instead of the client's. */
  retryTimeoutMs?: number
}

/** Content, and what speaks for it. */
export interface Content {
  content: Uint8Array
  verification: Verification
}

export interface IpfsClient {
  /**
   * Fetches the content of a CID (`ipfs://` or `/ipfs/` before it is stripped).
   *
   * @throws {ChainError} IPFS_CID_INVALID, IPFS_UNAVAILABLE, IPFS_UNVERIFIED
   */
  fetchContent(cid: string, request: ContentRequest, signal?: AbortSignal): Promise<Content>
}

const MAX_BYTES = 1024 * 1024
const BACKOFF_MS = { first: 500, most: 10_000 }

/** Creates a client over gateways. */
export function createIpfsClient(options: IpfsOptions): IpfsClient {
  const { each: gateways } = createHttpClient({
    endpoints: options.endpoints,
    timeoutMs: options.timeoutMs,
    redirects: 'follow',
    ...(options.onResult === undefined ? {} : { onResult: options.onResult }),
  })
  const { first, most } = options.backoffMs ?? BACKOFF_MS

  async function fetchContent(text: string, request: ContentRequest, signal?: AbortSignal): Promise<Content> {
    const cid = parseCid(text)
    if (cid === undefined)
      throw new ChainError('IPFS_CID_INVALID', `${request.what} is named by something that is not a CID`)
    const deadline = performance.now() + (request.retryTimeoutMs ?? options.retryTimeoutMs)
    const ask = {
      cid,
      maxBytes: request.maxBytes ?? options.maxBytes ?? MAX_BYTES,
      timeoutMs: request.timeoutMs ?? options.timeoutMs,
      clientTimeoutMs: options.timeoutMs,
      signal,
    }
    // Kept from gateway to gateway and from round to round: what one of them lacks another has.
    const blocks: Blocks = new Map()
    const backoff = createBackoff({ firstMs: first, mostMs: most })
    for (;;) {
      const found = await askGateways(gateways, ask, request.what, blocks)
      if (!(found instanceof ChainError)) return found
      const wait = backoff.fail()
      if (signal?.aborted || performance.now() + wait > deadline) throw found
      await pause(wait, signal)
    }
  }

  return { fetchContent }
}

/** One round: the first proven content, else why there is none. */
async function askGateways(
  gateways: readonly HttpAsk[],
  request: GatewayRequest,
  what: string,
  blocks: Blocks,
): Promise<Content | ChainError> {
  const problems: string[] = []
  let unproven: Uint8Array | undefined
  for (const gateway of gateways) {
    const answer = await askGateway(gateway, request, blocks)
    if (answer.proven !== undefined) return { content: answer.proven, verification: 'verified' }
    unproven ??= answer.unproven
    problems.push(answer.problem)
  }
  const why = problems.join('; ')
  if (unproven === undefined) return new ChainError('IPFS_UNAVAILABLE', `no IPFS gateway gave ${what} (${why})`)
  // Of several gateways each could have proven it. That they agree proves nothing: they may be one and the same.
  return gateways.length === 1
    ? { content: unproven, verification: 'unverified' }
    : new ChainError('IPFS_UNVERIFIED', `${what} could not be verified (${why})`)
}
