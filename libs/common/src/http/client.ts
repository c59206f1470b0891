/**
 * The one outbound HTTP client: every request has a timeout, what is idempotent is repeated with jittered back-off and handed to
 * the next endpoint, answers are limited in size and checked against a schema, and an endpoint is only ever named by its host
 * (a URL may hold credentials or an API key).
 */

import { createBackoff } from '../flow/backoff.ts'
import { pause } from '../process/lifetime.ts'
import { readJson } from './answer.ts'
import { createAttempts } from './attempts.ts'
import { type Endpoint, parseEndpoint, quote } from './endpoint.ts'
import { HttpError, mayAskAnother, mayAskLater } from './error.ts'
import type { HttpAnswer, HttpAsk, HttpClient, HttpClientOptions, HttpRequest } from './types.ts'

export { parseAnswer, readJson } from './answer.ts'
export { HTTP_OUTCOMES, HttpError, type HttpOutcome, outcomeOf } from './error.ts'
export type {
  HttpAnswer,
  HttpAsk,
  HttpClient,
  HttpClientOptions,
  HttpFetch,
  HttpRequest,
  HttpResult,
  SentRequest,
} from './types.ts'

const BACKOFF_MS = { first: 200, most: 5_000 }

/** Creates a client. @throws {TypeError} an endpoint is not an http or https URL (the text is not repeated) */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const endpoints = options.endpoints.map((endpoint, position) => parseEndpoint(endpoint, position))
  if (endpoints.length === 0) throw new TypeError('an HTTP client needs at least one endpoint')
  const each = endpoints.map((endpoint) => askOf([endpoint], { ...options, retryTimeoutMs: 0 }, undefined))
  return Object.assign(askOf(endpoints, options, each), { each })
}

/** Requests over these endpoints; `each` is what the check of an endpoint asks with, undefined when there is no check. */
function askOf(endpoints: Endpoint[], options: HttpClientOptions, each: readonly HttpAsk[] | undefined): HttpAsk {
  const attempt = createAttempts(options, each)
  let preferred = 0
  /** All of them, the preferred one first. */
  const inOrder = () => [...endpoints.slice(preferred), ...endpoints.slice(0, preferred)]

  async function run<T>(request: HttpRequest, read: (answer: HttpAnswer) => T | Promise<T>): Promise<T> {
    const idempotent = request.idempotent ?? (request.method ?? 'GET') === 'GET'
    const deadline = performance.now() + (request.retryTimeoutMs ?? options.retryTimeoutMs ?? 0)
    const { first, most } = options.backoffMs ?? BACKOFF_MS
    const backoff = createBackoff({ firstMs: first, mostMs: most })
    for (;;) {
      let worst: unknown
      let again = false
      let retryAfterMs = 0
      for (const endpoint of inOrder()) {
        try {
          const value = await attempt(endpoint, request, read)
          preferred = endpoints.indexOf(endpoint)
          return value
        } catch (error) {
          worst = error
          const passes = idempotent && isPassing(error, request)
          if (!passes && !mayAskAnother(error, idempotent)) throw error
          again ||= passes || (idempotent && mayAskLater(error))
          if (error instanceof HttpError) retryAfterMs = Math.max(retryAfterMs, error.retryAfterMs)
        }
      }
      // A server may ask for more than the largest back-off.
      const wait = Math.max(retryAfterMs, backoff.fail())
      if (!again || performance.now() + wait > deadline) throw worst
      await pause(wait, request.signal)
    }
  }

  return {
    get host() {
      return inOrder()[0]?.host ?? ''
    },
    quote: (text) => quote(text, endpoints),
    send: (request) => run(request, (answer) => answer),
    read: run,
    json: (request, schema, check) =>
      run(request, async (answer) => {
        const value = await readJson(answer, schema)
        check?.(value, answer.host)
        return value
      }),
  }
}

/** Whether the request says of this status that it is the endpoint's own trouble. */
function isPassing(error: unknown, request: HttpRequest): boolean {
  if (!(error instanceof HttpError) || error.code !== 'HTTP_STATUS' || (error.status ?? 0) >= 500) return false
  return request.isPassing?.(error.status ?? 0) === true
}
