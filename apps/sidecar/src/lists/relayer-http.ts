/**
 * How the relayer is reached: with Node's own `fetch`, or, where its certificate is of a CA of one's own (RELAYER_CA_FILE), with that of
 * undici, which takes one for these requests alone. It is loaded only then.
 */

import type { Authenticate } from '@dvt-relayer/client/authentication.ts'
import { createRequests, type Requests } from '@dvt-relayer/client/requests.ts'
import { BootError, messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { readTextSync } from '@dvt-relayer/common/files/text-file.ts'
import type { HttpClientOptions, HttpFetch } from '@dvt-relayer/common/http/client.ts'
import { tlsFaultOf } from '@dvt-relayer/common/http/tls-fault.ts'
import { SIDECAR_SETTINGS, type SidecarConfig } from '../config.ts'
import { certificatesOf, readPem } from '../pem.ts'

const CA = 'RELAYER_CA_FILE'
const ENDPOINT = 'RELAYER_ENDPOINT_FILE'
const invalidCa = (message: string) => new BootError('RELAYER_CA_INVALID', message)

/** Where the relayer is, with the token, and the CA it is known by; `ca` is undefined for those of the system. */
interface FoundRelayer {
  readonly endpoint: URL
  readonly timeoutMs: number
  readonly ca: string | undefined
}

/** Reads the files that name the relayer, as they are now. @throws {BootError} RELAYER_CA_INVALID, RELAYER_ENDPOINT_INVALID */
export async function findRelayer(config: SidecarConfig['relayer']): Promise<FoundRelayer> {
  const { endpoint, endpointFile, timeoutMs, caFile } = config
  const ca = caFile === undefined ? undefined : readPem(CA, caFile, invalidCa)
  if (ca !== undefined) certificatesOf(ca, CA, caFile ?? '', invalidCa)
  return { endpoint: endpointFile === undefined ? endpoint : readEndpoint(endpointFile), timeoutMs, ca }
}

function readEndpoint(file: string): URL {
  const invalid = (why: string) => new BootError('RELAYER_ENDPOINT_INVALID', `${ENDPOINT} ${file} ${why}`)
  let text: string
  try {
    text = readTextSync(file).trim()
  } catch (error) {
    throw invalid(`cannot be read (${reasonOf(error)})`)
  }
  try {
    return SIDECAR_SETTINGS.RELAYER_ENDPOINT.parse(text)
  } catch (error) {
    // It says what is wrong with the text, and nothing of it.
    throw invalid(messageOf(error))
  }
}

/** What asks the relayer, for whoever asks it here. `bounds` are of its answers. */
export async function openRelayer(
  { endpoint, timeoutMs, ca }: FoundRelayer,
  authenticate: Authenticate | undefined,
  bounds: Pick<HttpClientOptions, 'maxBytes' | 'maxValues'>,
): Promise<Requests> {
  const fetchOfCa = ca === undefined ? {} : { fetch: await fetchWith(ca) }
  const program = 'dvt-relayer-sidecar'
  return createRequests({ endpoints: [endpoint], timeoutMs, program, authenticate, ...bounds, ...fetchOfCa })
}

async function fetchWith(ca: string): Promise<HttpFetch> {
  const { Agent, fetch } = await import('undici')
  // A proxy with HTTP/2 is spoken to as Node's own does.
  const dispatcher = new Agent({ connect: { ca, minVersion: 'TLSv1.2' }, allowH2: false })
  const send = fetch as unknown as (url: URL, init: object) => Promise<Response>
  return (url, init) => send(url, { ...init, dispatcher })
}

/** What to do about a request that failed with this code, where it is a matter of the relayer's certificate. */
export function relayerTlsHint(reason: string, caFile: string | undefined): string | undefined {
  const fault = tlsFaultOf(reason)
  if (fault === undefined || !fault.includes('CA')) return undefined
  return caFile === undefined
    ? `where that CA is your own, name its certificate in ${CA}`
    : `the CA is not the one of ${CA} (${caFile})`
}
