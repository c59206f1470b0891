/**
 * How the relayer is reached: with Node's own `fetch`, or, where its certificate is of a CA of one's own (RELAYER_CA_FILE), with that of
 * undici, which takes one for these requests alone. It is loaded only then.
 */

import { BootError } from '@dvt-relayer/common/errors.ts'
import type { HttpFetch } from '@dvt-relayer/common/http-client.ts'
import { tlsFaultOf } from '@dvt-relayer/common/tls-fault.ts'
import type { SidecarConfig } from '../config.ts'
import { certificatesOf, readPem } from '../pem.ts'

const NAME = 'RELAYER_CA_FILE'
const invalid = (message: string) => new BootError('RELAYER_CA_INVALID', message)

/** What every client of the relayer is made with. @throws {BootError} RELAYER_CA_INVALID */
export async function openRelayerHttp({
  endpoint,
  timeoutMs,
  caFile,
}: SidecarConfig['relayer']): Promise<{ endpoints: URL[]; timeoutMs: number; fetch?: HttpFetch }> {
  const options = { endpoints: [endpoint], timeoutMs }
  if (caFile === undefined) return options
  const ca = readPem(NAME, caFile, invalid)
  certificatesOf(ca, NAME, caFile, invalid)
  const { Agent, fetch } = await import('undici')
  // A proxy with HTTP/2 is spoken to as Node's own does.
  const dispatcher = new Agent({ connect: { ca, minVersion: 'TLSv1.2' }, allowH2: false })
  const send = fetch as unknown as (url: URL, init: object) => Promise<Response>
  return { ...options, fetch: (url, init) => send(url, { ...init, dispatcher }) }
}

/** What to do about a request that failed with this code, where it is a matter of the relayer's certificate. */
export function relayerTlsHint(reason: string, caFile: string | undefined): string | undefined {
  const fault = tlsFaultOf(reason)
  if (fault === undefined || !fault.includes('CA')) return undefined
  return caFile === undefined
    ? `where that CA is your own, name its certificate in ${NAME}`
    : `the CA is not the one of ${NAME} (${caFile})`
}
