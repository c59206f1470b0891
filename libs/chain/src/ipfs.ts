/** The oracle config from IPFS gateways, none of which is trusted: content is checked against its CID (protocol section 7). */

import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { createHttpClient, type HttpAsk, type HttpClientOptions, HttpError } from '@dvt-relayer/common/http-client.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { type Cid, checkContent, parseCid } from './cid.ts'
import { ChainError } from './errors.ts'
import { type OracleConfig, parseOracleConfig } from './oracle-config.ts'

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

export interface IpfsClient {
  /**
   * Fetches and reads the config of a CID (`ipfs://` or `/ipfs/` before it is stripped).
   *
   * @throws {ChainError} IPFS_CID_INVALID, IPFS_UNAVAILABLE, IPFS_UNVERIFIED, ORACLE_CONFIG_INVALID
   */
  fetchOracleConfig(
    cid: string,
    signal?: AbortSignal,
  ): Promise<{ config: OracleConfig; content: Uint8Array; verification: Verification }>
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

  return {
    async fetchOracleConfig(text, signal) {
      const cid = parseCid(text)
      if (cid === undefined)
        throw new ChainError('IPFS_CID_INVALID', 'the Keeper names an oracle config by something that is not a CID')
      const deadline = performance.now() + options.retryTimeoutMs
      for (let round = 0; ; round++) {
        const found = await askGateways(gateways, cid, signal)
        if (!(found instanceof ChainError)) return { ...found, config: parseOracleConfig(parseJson(found.content)) }
        const wait = Math.random() * Math.min(most, first * 2 ** round)
        if (signal?.aborted || performance.now() + wait > deadline) throw found
        await pause(wait, signal)
      }
    },
  }
}

/** One round: the first verified content, else what the gateways agree on, else why there is none. */
async function askGateways(gateways: readonly HttpAsk[], cid: Cid, signal: AbortSignal | undefined) {
  const unchecked: Uint8Array[] = []
  const problems: string[] = []
  for (const gateway of gateways) {
    try {
      const path = `/ipfs/${cid.text}`
      const { bytes: content } = await gateway.send({ path, headers: { accept: '*/*' }, ...(signal && { signal }) })
      const check = checkContent(cid, content)
      if (check === 'same') return { content, verification: 'verified' as const }
      if (check === 'unknown') unchecked.push(content)
      problems.push(
        `${gateway.host}: content ${check === 'unknown' ? 'cannot be checked against' : 'differs from'} its CID`,
      )
    } catch (error) {
      if (!(error instanceof HttpError)) throw error
      problems.push(`${gateway.host}: ${error.code}${error.status === undefined ? '' : ` ${error.status}`}`)
    }
  }
  const agreed = unchecked.find((a, i) => unchecked.some((b, j) => i !== j && equalBytes(a, b)))
  if (agreed !== undefined) return { content: agreed, verification: 'agreed' as const }
  const [only] = unchecked
  if (only !== undefined && gateways.length === 1) return { content: only, verification: 'unverified' as const }
  return only === undefined
    ? new ChainError('IPFS_UNAVAILABLE', `no IPFS gateway gave the oracle config (${problems.join('; ')})`)
    : new ChainError('IPFS_UNVERIFIED', `the oracle config could not be verified (${problems.join('; ')})`)
}

function parseJson(content: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content))
  } catch {
    throw new ChainError('ORACLE_CONFIG_INVALID', 'the oracle config is refused: it is not JSON')
  }
}
