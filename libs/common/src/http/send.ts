/** Sends one request to one endpoint, once, within a time. */

import { readBody, refusalOf } from './answer.ts'
import { type Endpoint, targetOf } from './endpoint.ts'
import { HttpError } from './error.ts'
import { tlsFaultOf } from './tls-fault.ts'
import type { HttpAnswer, HttpClientOptions, HttpRequest } from './types.ts'

/** What answers one question has some hundred values; whoever asks for lists says so. */
const MAX_BYTES = 1024 * 1024
const MAX_VALUES = 10_000

/** Sends the request and reads the answer's body. @throws {HttpError} whatever went wrong */
export async function sendOnce(
  endpoint: Endpoint,
  request: HttpRequest,
  options: HttpClientOptions,
): Promise<HttpAnswer> {
  const { host } = endpoint
  const what = `${request.method ?? 'GET'} ${request.path || '/'} at ${host}`
  const timeoutMs = options.timeoutMs + (request.extraMs ?? 0)
  const abort = new AbortController()
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    abort.abort()
  }, timeoutMs)
  const onAbort = () => abort.abort()
  if (request.signal?.aborted) abort.abort()
  request.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const target = targetOf(endpoint.url, request)
    const response = await (options.fetch ?? fetch)(target, {
      ...initOf(endpoint, request, options, target),
      signal: abort.signal,
    })
    const accepts = request.accepts ?? ((code) => code >= 200 && code < 300)
    if (!accepts(response.status)) throw await refusalOf(response, host, what)
    const bytes = await readBody(response, request.maxBytes ?? options.maxBytes ?? MAX_BYTES, host, what)
    const maxValues = request.maxValues ?? options.maxValues ?? MAX_VALUES
    return { status: response.status, headers: response.headers, bytes, maxValues, host }
  } catch (error) {
    if (error instanceof HttpError) throw error
    if (timedOut) throw new HttpError('HTTP_TIMEOUT', host, `${what} has not answered within ${timeoutMs} ms`)
    if (abort.signal.aborted) throw new HttpError('HTTP_ABORTED', host, `${what} was given up`)
    const reason = reasonOf(error)
    // The cause is left out on purpose: errors of fetch can hold the URL.
    const fault = tlsFaultOf(reason)
    const words = fault === undefined ? reason : `${fault} (${reason})`
    throw new HttpError('HTTP_UNREACHABLE', host, `${what} failed: ${words}`, { reason })
  } finally {
    clearTimeout(timer)
    request.signal?.removeEventListener('abort', onAbort)
  }
}

function initOf(endpoint: Endpoint, request: HttpRequest, options: HttpClientOptions, target: URL): RequestInit {
  const isJson = request.body !== undefined
  const { method = 'GET' } = request
  const body = isJson ? JSON.stringify(request.body) : undefined
  const path = `${target.pathname.slice(endpoint.url.pathname.replace(/\/+$/, '').length)}${target.search}`
  return {
    method,
    headers: {
      accept: 'application/json',
      ...(isJson ? { 'content-type': 'application/json' } : {}),
      ...options.headers,
      ...request.headers,
      ...request.sign?.({ method, path, body }),
      ...endpoint.headers,
    },
    redirect: options.redirects === 'follow' ? 'follow' : 'manual',
    ...(body === undefined ? {} : { body }),
  }
}

/** The system's code (such as ECONNREFUSED) in the chain of causes. */
function reasonOf(error: unknown): string {
  let cause = error
  for (let depth = 0; cause instanceof Error && depth < 5; depth++) {
    if ('code' in cause && typeof cause.code === 'string' && /^[A-Z0-9_]+$/.test(cause.code)) return cause.code
    cause = cause.cause
  }
  return 'connection failed'
}
