/** How requests go to a relayer, whoever sends them: the package's client, our sidecar and its doctor. */

import type { Send } from '@dvt-relayer/api/client.ts'
import {
  createHttpClient,
  type HttpAnswer,
  type HttpClientOptions,
  type HttpRequest,
} from '@dvt-relayer/common/http/client.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import type { Authenticate } from './authentication.ts'

/** A relayer, and who asks it. */
export interface Connection extends Omit<HttpClientOptions, 'headers'> {
  /** Of the program, as its User-Agent has it: by that the relayer says which nodes run what. */
  program: string
  /** How requests show who asks; undefined where that stands in the URL, or nothing is shown. */
  authenticate?: Authenticate | undefined
}

/** What a caller makes of one request: which statuses are answers, whether it is repeated, how much is read. */
export type Terms = Pick<HttpRequest, 'accepts' | 'idempotent' | 'maxBytes' | 'maxValues'>

/** Sends requests of the protocol, each with its sender's program and time. @throws {TypeError} an endpoint is none of http or https */
export function createRequests({ program, authenticate, ...options }: Connection) {
  const http = createHttpClient({ ...options, headers: { 'user-agent': `${program}/${VERSION}` } })
  /** @throws {HttpError} */
  return (
    { method, path, query, body, extraMs, signal }: Parameters<Send>[0],
    terms: Terms = {},
  ): Promise<HttpAnswer> =>
    http.send({
      method,
      path,
      query,
      extraMs,
      signal,
      ...(body === undefined ? {} : { body }),
      // By its time the relayer sees how far our clock is off: that of an attempt, which may be a minute after the first.
      sign: (sent) => ({ date: new Date().toUTCString(), ...authenticate?.(sent) }),
      ...terms,
    })
}
export type Requests = ReturnType<typeof createRequests>
