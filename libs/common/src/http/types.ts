/** What a request, an answer and a client are. */

import type { Static, TSchema } from 'typebox'
import type { HttpOutcome } from './error.ts'

export interface HttpRequest {
  /** GET unless said otherwise. */
  method?: 'GET' | 'POST'
  /** Path below the endpoint, starting with a slash, or empty for the endpoint itself. It may appear in error messages. */
  path: string
  query?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  body?: unknown
  headers?: Readonly<Record<string, string>>
  /** Further headers, made anew for each attempt: what signs a request has to see it as it is sent. */
  sign?: (sent: SentRequest) => Readonly<Record<string, string>>
  /** Whether the request may be sent more than once. Default: GET yes, POST no. */
  idempotent?: boolean
  /** How long this one answer may take beyond the client's timeout (long polling). */
  extraMs?: number
  /** For how long attempts may start, instead of the client's `retryTimeoutMs`; 0 is one round over the endpoints. */
  retryTimeoutMs?: number
  /** Largest answer in bytes, instead of the client's. */
  maxBytes?: number
  /** Most JSON values in the answer, itself and everything in it counted, instead of the client's. */
  maxValues?: number
  /** Which statuses are an answer and not an error. Default: 200 to 299. */
  accepts?: (status: number) => boolean
  /**
   * Which statuses from 400 to 499, beside the client's own, are the endpoint's trouble and not the question's: the next endpoint is
   * asked, and this one again. Only of a request that may be sent more than once.
   */
  isPassing?: (status: number) => boolean
  signal?: AbortSignal
  /** Whether an endpoint is asked only while the client's `vouch` lets it. */
  isVouched?: boolean
}

/** A request as it goes out. */
export interface SentRequest {
  method: 'GET' | 'POST'
  /** Below the endpoint, with its query. */
  path: string
  /** Undefined where there is none. */
  body: string | undefined
}

export interface HttpAnswer {
  status: number
  headers: Headers
  bytes: Uint8Array
  /** How many values it may hold where it is JSON. */
  maxValues: number
  /** Host of the endpoint that answered. */
  host: string
}

/** What is told of each attempt, for metrics. */
export interface HttpResult {
  host: string
  outcome: HttpOutcome
  seconds: number
}

/** What sends a request, as `fetch` does. */
export type HttpFetch = (url: URL, init: RequestInit) => Promise<Response>

export interface HttpClientOptions {
  /** Base URLs in order of preference; `https://name:token@host/path?key=…` is fine. The one that answered last is asked first. */
  endpoints: readonly (string | URL)[]
  /** Time for one attempt, its body included. */
  timeoutMs: number
  /** For how long new attempts may start; 0 (the default) is one round over the endpoints. */
  retryTimeoutMs?: number
  /** Largest answer in bytes; default 1 MiB. */
  maxBytes?: number
  /** Most JSON values in an answer; default 10,000. */
  maxValues?: number
  /** `refuse` (the default) makes a redirect an error; `follow` drops credentials at another origin. */
  redirects?: 'refuse' | 'follow'
  headers?: Readonly<Record<string, string>>
  /** Instead of Node's own. */
  fetch?: HttpFetch
  onResult?: (result: HttpResult) => void
  /**
   * Checks an endpoint (is it on our chain?) before its first answer counts, and again after any endpoint has failed: the one
   * that takes over has been idle, and the one that comes back may be another node. What this throws counts as a failed
   * attempt at this endpoint.
   */
  admit?: (ask: HttpAsk) => Promise<void>
  /**
   * Checks an admitted endpoint (is it in step?) before and after each request with `isVouched`. It remembers by itself for how
   * long its word is good. What this throws counts as a failed attempt at this endpoint.
   */
  vouch?: (ask: HttpAsk) => Promise<void>
  /** First and largest back-off; for tests. */
  backoffMs?: { first: number; most: number }
}

/** Requests to one or all endpoints. */
export interface HttpAsk {
  /** Host of the endpoint, or of the preferred one. */
  readonly host: string
  /**
   * A stranger's text as it may be logged: cut, without URLs, and hidden whole where it repeats what may be secret in the
   * endpoints' own (credentials, and what is as long as a key in path and query).
   */
  quote(text: string): string
  /** Sends a request and returns the raw answer. @throws {HttpError} */
  send(request: HttpRequest): Promise<HttpAnswer>
  /**
   * Sends a request and returns what `read` makes of the answer. What it throws fails this endpoint, and the request goes on
   * as after any such failure. @throws {HttpError}
   */
  read<T>(request: HttpRequest, read: (answer: HttpAnswer) => T | Promise<T>): Promise<T>
  /**
   * Sends a request and returns the answer's JSON, checked against the schema.
   *
   * @param check may throw for an answer that fits and yet is none: the request goes on as if the endpoint at `host` had failed
   * that way (with an {@link HttpError}, as that one says; with another error, at the next endpoint)
   * @throws {HttpError} HTTP_INVALID and the others
   */
  json<S extends TSchema>(
    request: HttpRequest,
    schema: S,
    check?: (value: Static<S>, host: string) => void,
  ): Promise<Static<S>>
}

export interface HttpClient extends HttpAsk {
  /** One client per endpoint, for what must be asked of each: one attempt unless the request says otherwise, and no `admit`. */
  readonly each: readonly HttpAsk[]
}
