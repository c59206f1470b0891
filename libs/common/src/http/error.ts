/** How requests fail, and what a failure means for the next attempt. */

import { CodedError } from '../errors.ts'

/** How a request can end; a closed set, fit for a metric's label. */
export const HTTP_OUTCOMES = [
  'ok',
  'timeout',
  'unreachable',
  'status',
  'too_large',
  'invalid',
  'redirect',
  'aborted',
] as const
export type HttpOutcome = (typeof HTTP_OUTCOMES)[number]
export type HttpErrorCode = `HTTP_${Uppercase<Exclude<HttpOutcome, 'ok'>>}`

/** A request failed. `status` is there with HTTP_STATUS and HTTP_REDIRECT, `reason` (such as ECONNREFUSED) with HTTP_UNREACHABLE. */
export class HttpError extends CodedError<HttpErrorCode> {
  readonly host: string
  readonly status: number | undefined
  /** What the server asked to wait, of its `Retry-After`. */
  readonly retryAfterMs: number
  /** The `code` of a refusal, where the server says one. */
  readonly said: string | undefined

  constructor(
    code: HttpErrorCode,
    host: string,
    message: string,
    more: { status?: number; reason?: string; retryAfterMs?: number; said?: string | undefined } = {},
  ) {
    const { status, reason } = more
    super(code, message, {
      meta: { host, ...(status === undefined ? {} : { status }), ...(reason === undefined ? {} : { reason }) },
    })
    this.host = host
    this.status = status
    this.retryAfterMs = more.retryAfterMs ?? 0
    this.said = more.said
  }
}

/** The outcome that a metric counts for an attempt that threw. */
export function outcomeOf(error: unknown): HttpOutcome {
  const word = error instanceof HttpError ? error.code.slice('HTTP_'.length).toLowerCase() : 'invalid'
  return HTTP_OUTCOMES.find((outcome) => outcome === word) ?? 'invalid'
}

/** The connection was never made, so that the request cannot have arrived. */
const NOT_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])
/** Statuses after which another endpoint may do better. */
const OTHER_ENDPOINT = new Set([401, 402, 403, 408, 425, 429])
/** Statuses after which the same endpoint may do better. */
const LATER = new Set([408, 425, 429])

/** Whether the request may be sent to the next endpoint. */
export function mayAskAnother(error: unknown, idempotent: boolean): boolean {
  if (!(error instanceof HttpError)) return true
  if (error.code === 'HTTP_ABORTED') return false
  if (!idempotent) return NOT_SENT.has(String(error.meta['reason']))
  return error.code !== 'HTTP_STATUS' || (error.status ?? 0) >= 500 || OTHER_ENDPOINT.has(error.status ?? 0)
}

/** Whether the same endpoints may be asked again in the next round. */
export function mayAskLater(error: unknown): boolean {
  if (!(error instanceof HttpError)) return false
  if (error.code === 'HTTP_STATUS') return (error.status ?? 0) >= 500 || LATER.has(error.status ?? 0)
  return error.code === 'HTTP_TIMEOUT' || error.code === 'HTTP_UNREACHABLE' || error.code === 'HTTP_INVALID'
}

/** Whether an endpoint that failed so may be another node when it answers again, or hand over to one that was idle. */
export function mayBeReplaced(error: unknown): boolean {
  if (!(error instanceof HttpError)) return true
  if (error.code === 'HTTP_STATUS') return (error.status ?? 0) >= 500 || OTHER_ENDPOINT.has(error.status ?? 0)
  return error.code !== 'HTTP_ABORTED' && error.code !== 'HTTP_TOO_LARGE'
}
