/**
 * The one outbound HTTP client: every request has a timeout, what is idempotent is repeated with jittered back-off and handed to
 * the next endpoint, answers are limited in size and checked against a schema, and an endpoint is only ever named by its host
 * (a URL may hold credentials or an API key).
 */

import type { Static, TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { CodedError } from './errors.ts'
import { pause } from './lifetime.ts'

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

  constructor(
    code: HttpErrorCode,
    host: string,
    message: string,
    more: { status?: number; reason?: string; retryAfterMs?: number } = {},
  ) {
    const { status, reason } = more
    super(code, message, {
      meta: { host, ...(status === undefined ? {} : { status }), ...(reason === undefined ? {} : { reason }) },
    })
    this.host = host
    this.status = status
    this.retryAfterMs = more.retryAfterMs ?? 0
  }
}

export interface HttpRequest {
  /** GET unless said otherwise. */
  method?: 'GET' | 'POST'
  /** Path below the endpoint, starting with a slash, or empty for the endpoint itself. It may appear in error messages. */
  path: string
  query?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  body?: unknown
  headers?: Readonly<Record<string, string>>
  /** Whether the request may be sent more than once. Default: GET yes, POST no. */
  idempotent?: boolean
  /** How long this one answer may take beyond the client's timeout (long polling). */
  extraMs?: number
  /** For how long attempts may start, instead of the client's `retryTimeoutMs`; 0 is one round over the endpoints. */
  retryTimeoutMs?: number
  /** Largest answer in bytes, instead of the client's. */
  maxBytes?: number
  /** Which statuses are an answer and not an error. Default: 200 to 299. */
  accepts?: (status: number) => boolean
  signal?: AbortSignal
}

export interface HttpAnswer {
  status: number
  headers: Headers
  bytes: Uint8Array
  /** Host of the endpoint that answered. */
  host: string
}

/** What is told of each attempt, for metrics. */
export interface HttpResult {
  host: string
  outcome: HttpOutcome
  seconds: number
}

export interface HttpClientOptions {
  /** Base URLs in order of preference; `https://name:token@host/path?key=…` is fine. The one that answered last is asked first. */
  endpoints: readonly (string | URL)[]
  /** Time for one attempt, its body included. */
  timeoutMs: number
  /** For how long new attempts may start; 0 (the default) is one round over the endpoints. */
  retryTimeoutMs?: number
  /** Largest answer in bytes; default 16 MiB. */
  maxBytes?: number
  /** `refuse` (the default) makes a redirect an error; `follow` drops credentials at another origin. */
  redirects?: 'refuse' | 'follow'
  headers?: Readonly<Record<string, string>>
  onResult?: (result: HttpResult) => void
  /**
   * Checks an endpoint (is it on our chain?) before its first answer counts, and again after any endpoint has failed: the one
   * that takes over has been idle, and the one that comes back may be another node. What this throws counts as a failed
   * attempt at this endpoint.
   */
  admit?: (ask: HttpAsk) => Promise<void>
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
   * Sends a request and returns the answer's JSON, checked against the schema.
   *
   * @param check may throw an {@link HttpError} for an answer that fits and yet is none: the request goes on as if the
   * endpoint at `host` had failed that way
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

const MAX_BYTES = 16 * 1024 * 1024
/** Error answers are read no further than this. */
const MAX_ERROR_BYTES = 4096
const MAX_QUOTE = 200
/** What is as long as this in a URL may be an API key. */
const KEY_LENGTH = 8
const BACKOFF_MS = { first: 200, most: 5_000 }
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

/** Creates a client. @throws {TypeError} an endpoint is not an http or https URL (the text is not repeated) */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const endpoints = options.endpoints.map((endpoint, position) => parseEndpoint(endpoint, position))
  if (endpoints.length === 0) throw new TypeError('an HTTP client needs at least one endpoint')
  const each = endpoints.map((endpoint) => askOf([endpoint], { ...options, retryTimeoutMs: 0 }, undefined))
  return Object.assign(askOf(endpoints, options, each), { each })
}

interface Endpoint {
  url: URL
  host: string
  headers: Record<string, string>
  /** What of its URL must not be repeated. */
  secrets: readonly string[]
  /** How many failures there had been when it was last admitted; undefined: never. */
  admittedAt: number | undefined
}

function parseEndpoint(endpoint: string | URL, position: number): Endpoint {
  if (!URL.canParse(String(endpoint))) throw new TypeError(`endpoint ${position + 1} is not a URL`)
  const url = new URL(endpoint)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError(`endpoint ${position + 1} must start with http:// or https://`)
  const headers: Record<string, string> = {}
  const longParts = [...url.pathname.split('/'), ...url.searchParams.values()].filter(
    (part) => part.length >= KEY_LENGTH,
  )
  const secrets = longParts.flatMap((part) => [part, decode(part)])
  if (url.username !== '' || url.password !== '') {
    const [name, password] = [decode(url.username), decode(url.password)]
    const basic = Buffer.from(`${name}:${password}`).toString('base64')
    headers['authorization'] = `Basic ${basic}`
    secrets.push(basic, ...[url.password, password].filter((secret) => secret !== ''))
    // A token may stand in the place of the name.
    if (password === '' || name.length >= KEY_LENGTH) secrets.push(url.username, name)
    url.username = ''
    url.password = ''
  }
  url.hash = ''
  return { url, host: url.host, headers, secrets, admittedAt: undefined }
}

/** Without its per cent signs, where they are an encoding. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Requests over these endpoints; `each` is what the check of an endpoint asks with, undefined when there is no check. */
function askOf(endpoints: Endpoint[], options: HttpClientOptions, each: readonly HttpAsk[] | undefined): HttpAsk {
  let preferred = 0
  let failures = 0
  const at = (position: number) => {
    const endpoint = endpoints[position % endpoints.length]
    if (endpoint === undefined) throw new TypeError('no endpoint')
    return endpoint
  }

  async function assertAdmitted(position: number): Promise<void> {
    const endpoint = at(position)
    const checker = each?.[position % endpoints.length]
    if (options.admit === undefined || checker === undefined || endpoint.admittedAt === failures) return
    const before = failures
    await options.admit(checker)
    endpoint.admittedAt = before
  }

  async function attempt<T>(position: number, request: HttpRequest, read: (answer: HttpAnswer) => T): Promise<T> {
    const endpoint = at(position)
    await assertAdmitted(position)
    const start = performance.now()
    let outcome: HttpOutcome = 'ok'
    let value: T
    try {
      value = read(await sendOnce(endpoint, request, options))
    } catch (error) {
      outcome = error instanceof HttpError ? outcomeOf(error.code) : 'invalid'
      if (mayBeReplaced(error)) failures++
      throw error
    } finally {
      options.onResult?.({ host: endpoint.host, outcome, seconds: (performance.now() - start) / 1000 })
    }
    // Where another request has failed meanwhile, this answer may be from what came back.
    await assertAdmitted(position)
    return value
  }

  async function run<T>(request: HttpRequest, read: (answer: HttpAnswer) => T): Promise<T> {
    const idempotent = request.idempotent ?? (request.method ?? 'GET') === 'GET'
    const deadline = performance.now() + (request.retryTimeoutMs ?? options.retryTimeoutMs ?? 0)
    const { first, most } = options.backoffMs ?? BACKOFF_MS
    let worst: unknown
    for (let round = 0; ; round++) {
      let again = false
      let retryAfterMs = 0
      const start = preferred
      for (let position = start; position < start + endpoints.length; position++) {
        try {
          const value = await attempt(position, request, read)
          preferred = position % endpoints.length
          return value
        } catch (error) {
          worst = error
          if (!mayAskAnother(error, idempotent)) throw error
          again ||= idempotent && mayAskLater(error)
          if (error instanceof HttpError) retryAfterMs = Math.max(retryAfterMs, error.retryAfterMs)
        }
      }
      // Full jitter: many clients that lost one server do not come back at the same moment.
      const wait = Math.max(retryAfterMs, Math.random() * Math.min(most, first * 2 ** round))
      if (!again || performance.now() + wait > deadline) throw worst
      await pause(wait, request.signal)
    }
  }

  return {
    get host() {
      return at(preferred).host
    },
    quote(text) {
      const bare = text.replace(/\b[a-z]+:\/\/\S+/gi, '<url>')
      const isSecret = endpoints.some(({ secrets }) => secrets.some((secret) => bare.includes(secret)))
      return isSecret ? '<hidden>' : bare.slice(0, MAX_QUOTE)
    },
    send: (request) => run(request, (answer) => answer),
    json: (request, schema, check) =>
      run(request, (answer) => {
        const value = readJson(answer, schema)
        check?.(value, answer.host)
        return value
      }),
  }
}

function mayAskAnother(error: unknown, idempotent: boolean): boolean {
  if (!(error instanceof HttpError)) return true
  if (error.code === 'HTTP_ABORTED') return false
  if (!idempotent) return NOT_SENT.has(String(error.meta['reason']))
  return error.code !== 'HTTP_STATUS' || (error.status ?? 0) >= 500 || OTHER_ENDPOINT.has(error.status ?? 0)
}

function mayAskLater(error: unknown): boolean {
  if (!(error instanceof HttpError)) return false
  if (error.code === 'HTTP_STATUS') return (error.status ?? 0) >= 500 || LATER.has(error.status ?? 0)
  return error.code === 'HTTP_TIMEOUT' || error.code === 'HTTP_UNREACHABLE' || error.code === 'HTTP_INVALID'
}

/** Whether an endpoint that failed so may be another node when it answers again, or hand over to one that was idle. */
function mayBeReplaced(error: unknown): boolean {
  if (!(error instanceof HttpError)) return true
  if (error.code === 'HTTP_STATUS') return (error.status ?? 0) >= 500 || OTHER_ENDPOINT.has(error.status ?? 0)
  return error.code !== 'HTTP_ABORTED' && error.code !== 'HTTP_TOO_LARGE'
}

function outcomeOf(code: HttpErrorCode): HttpOutcome {
  const word = code.slice('HTTP_'.length).toLowerCase()
  return HTTP_OUTCOMES.find((outcome) => outcome === word) ?? 'invalid'
}

async function sendOnce(endpoint: Endpoint, request: HttpRequest, options: HttpClientOptions): Promise<HttpAnswer> {
  const { host } = endpoint
  const method = request.method ?? 'GET'
  const what = `${method} ${request.path || '/'} at ${host}`
  const abort = new AbortController()
  const timeoutMs = options.timeoutMs + (request.extraMs ?? 0)
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    abort.abort()
  }, timeoutMs)
  const onAbort = () => abort.abort()
  if (request.signal?.aborted) abort.abort()
  request.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const response = await fetch(targetOf(endpoint.url, request), {
      method,
      headers: {
        accept: 'application/json',
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
        ...request.headers,
        ...endpoint.headers,
      },
      redirect: options.redirects === 'follow' ? 'follow' : 'manual',
      signal: abort.signal,
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    })
    const { status } = response
    const accepts = request.accepts ?? ((code) => code >= 200 && code < 300)
    if (!accepts(status)) {
      if (status >= 300 && status < 400) {
        await response.body?.cancel()
        throw new HttpError('HTTP_REDIRECT', host, `${what} answers with a redirect, which is not followed`, { status })
      }
      const retryAfterMs = retryAfterOf(response.headers)
      const said = await errorCodeOf(response, host, what)
      const message = `${what} answers with status ${status}${said === undefined ? '' : ` ${said}`}`
      throw new HttpError('HTTP_STATUS', host, message, { status, retryAfterMs })
    }
    const bytes = await readBody(response, request.maxBytes ?? options.maxBytes ?? MAX_BYTES, host, what)
    return { status, headers: response.headers, bytes, host }
  } catch (error) {
    if (error instanceof HttpError) throw error
    if (timedOut) throw new HttpError('HTTP_TIMEOUT', host, `${what} has not answered within ${timeoutMs} ms`)
    if (abort.signal.aborted) throw new HttpError('HTTP_ABORTED', host, `${what} was given up`)
    const reason = reasonOf(error)
    // The cause is left out on purpose: errors of fetch can hold the URL.
    throw new HttpError('HTTP_UNREACHABLE', host, `${what} failed: ${reason}`, { reason })
  } finally {
    clearTimeout(timer)
    request.signal?.removeEventListener('abort', onAbort)
  }
}

/** The endpoint's own path and query come first: providers put API keys there. */
function targetOf(base: URL, request: HttpRequest): URL {
  const url = new URL(base)
  if (request.path !== '') url.pathname = `${base.pathname.replace(/\/+$/, '')}${request.path}`
  for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value)
  return url
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

function retryAfterOf(headers: Headers): number {
  const seconds = headers.get('retry-after') ?? ''
  return /^\d{1,4}$/.test(seconds) ? Number(seconds) * 1000 : 0
}

/** The `code` of an error answer (such as TOKEN_UNKNOWN); nothing else of a stranger's body goes into a message. */
async function errorCodeOf(response: Response, host: string, what: string): Promise<string | undefined> {
  try {
    const text = new TextDecoder().decode(await readBody(response, MAX_ERROR_BYTES, host, what))
    const { code } = JSON.parse(text) as { code?: unknown }
    return typeof code === 'string' && /^[A-Z][A-Z_]{1,39}$/.test(code) ? code : undefined
  } catch {
    return undefined
  }
}

async function readBody(response: Response, maxBytes: number, host: string, what: string): Promise<Uint8Array> {
  const tooLarge = () => new HttpError('HTTP_TOO_LARGE', host, `${what} answers with more than ${maxBytes} bytes`)
  if (Number(response.headers.get('content-length') ?? 0) > maxBytes) {
    await response.body?.cancel()
    throw tooLarge()
  }
  const chunks: Uint8Array[] = []
  let length = 0
  // Counted as it arrives, after decompression: a header can lie, and a small gzip can be a large body.
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength
    if (length > maxBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

const validators = new WeakMap<TSchema, Validator>()

function readJson<S extends TSchema>({ bytes, host }: HttpAnswer, schema: S): Static<S> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new HttpError('HTTP_INVALID', host, `the answer of ${host} is not JSON`)
  }
  let validator = validators.get(schema)
  if (validator === undefined) {
    validator = Compile(schema)
    validators.set(schema, validator)
  }
  if (validator.Check(value)) return value as Static<S>
  const [problem] = validator.Errors(value)
  const where = (problem?.instancePath ?? '').slice(0, 100)
  throw new HttpError(
    'HTTP_INVALID',
    host,
    `the answer of ${host} is not what was expected: ${where} ${problem?.message ?? ''}`.trim(),
  )
}
