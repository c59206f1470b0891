/** Content from IPFS gateways, none of which is trusted: it is checked against its CID (docs/protocol.md#7-oracle-set). */

import { createBackoff } from '@dvt-relayer/common/backoff.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import {
  createHttpClient,
  type HttpAsk,
  type HttpClientOptions,
  HttpError,
  type HttpRequest,
} from '@dvt-relayer/common/http-client.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { ChainError } from '../errors.ts'
import { type Cid, checkContent, parseCid } from './cid.ts'

/**
 * What speaks for the content: `verified`, its CID was made again from it; `agreed`, the CID cannot be recomputed here and at
 * least two gateways gave the same bytes; `unverified`, it cannot and there is only one gateway (warn of it).
 */
export type Verification = 'verified' | 'agreed' | 'unverified'

export interface IpfsOptions {
  /** Gateways, in the order they are asked. */
  endpoints: readonly (string | URL)[]
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
  /** Time for one gateway's answer, instead of the client's. */
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
    maxBytes: options.maxBytes ?? MAX_BYTES,
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
      path: `/ipfs/${cid.text}`,
      headers: { accept: '*/*' },
      extraMs: (request.timeoutMs ?? options.timeoutMs) - options.timeoutMs,
      ...(request.maxBytes === undefined ? {} : { maxBytes: request.maxBytes }),
      ...(signal === undefined ? {} : { signal }),
    }
    const backoff = createBackoff({ firstMs: first, mostMs: most })
    for (;;) {
      const found = await askGateways(gateways, cid, request.what, ask)
      if (!(found instanceof ChainError)) return found
      const wait = backoff.fail()
      if (signal?.aborted || performance.now() + wait > deadline) throw found
      await pause(wait, signal)
    }
  }

  return { fetchContent }
}

/** One round: the first verified content, else what the gateways agree on, else why there is none. */
async function askGateways(
  gateways: readonly HttpAsk[],
  cid: Cid,
  what: string,
  ask: HttpRequest,
): Promise<Content | ChainError> {
  // Each content once, however many gateways gave it: it may be large.
  const unchecked: { content: Uint8Array; gateways: number }[] = []
  const problems: string[] = []
  for (const gateway of gateways) {
    try {
      const { bytes: content } = await gateway.send(ask)
      const known = unchecked.find((other) => equalBytes(other.content, content))
      if (known !== undefined) {
        known.gateways++
        continue
      }
      const check = await checkContent(cid, content)
      if (check === 'same') return { content, verification: 'verified' }
      if (check === 'unknown') unchecked.push({ content, gateways: 1 })
      problems.push(
        `${gateway.host}: content ${check === 'unknown' ? 'cannot be checked against' : 'differs from'} its CID`,
      )
    } catch (error) {
      if (!(error instanceof HttpError)) throw error
      problems.push(`${gateway.host}: ${error.code}${error.status === undefined ? '' : ` ${error.status}`}`)
    }
  }
  const agreed = unchecked.find((content) => content.gateways > 1)
  if (agreed !== undefined) return { content: agreed.content, verification: 'agreed' }
  const [only] = unchecked
  if (only !== undefined && gateways.length === 1) return { content: only.content, verification: 'unverified' }
  return only === undefined
    ? new ChainError('IPFS_UNAVAILABLE', `no IPFS gateway gave ${what} (${problems.join('; ')})`)
    : new ChainError('IPFS_UNVERIFIED', `${what} could not be verified (${problems.join('; ')})`)
}
