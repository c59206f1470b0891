/**
 * Requests to one remote signer, over kept connections.
 *
 * A client of its own beside `libs/common/src/http/client.ts`: Node's `fetch` takes client certificates only by way of undici. That is
 * loaded with the first signer, so that a sidecar whose keys are elsewhere runs without it. A signer is named by its host only: its
 * URL may hold credentials.
 */

import { messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import type * as Undici from 'undici'
import type { Dispatcher, Pool } from 'undici'
import { SignerError } from './error.ts'
import { type Holder, REMOTE_SIGNER } from './holder.ts'
import { type TlsMaterial, tlsProblemOf } from './tls.ts'

interface SignerRequest {
  readonly method: 'GET' | 'POST'
  /** Below the URL's own path. It may appear in error messages. */
  readonly path: string
  /** JSON. */
  readonly body?: string
  readonly maxBytes: number
  readonly signal: AbortSignal
}

export interface SignerAnswer {
  readonly status: number
  readonly text: string
}

export interface SignerHttp extends AsyncDisposable {
  readonly host: string
  /** What it is, and its host. */
  readonly title: string
  /** Sends a request, once more where the connection turns out to be closed. Redirects are not followed. @throws {SignerError} */
  ask(request: SignerRequest): Promise<SignerAnswer>
  /** Uses other certificates from now on. What is on its way ends with those it began with. */
  renew(tls: TlsMaterial): void
}

/** `connections` is how many requests may be on their way at once. */
interface SignerHttpOptions {
  readonly timeoutMs: number
  readonly connections: number
  readonly tls: TlsMaterial
  /** A remote signer unless said otherwise. */
  readonly holder?: Holder
  /** Of every request, beside those of the URL. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Creates the client of one signer. */
export async function createSignerHttp(url: URL, options: SignerHttpOptions): Promise<SignerHttp> {
  const undici = await import('undici')
  const { host } = url
  const { timeoutMs, holder = REMOTE_SIGNER } = options
  const title = `${holder.name} ${host}`
  const base = url.pathname.replace(/\/+$/, '')
  const headers = { ...headersOf(url), ...options.headers }
  let { tls } = options
  let pool = openPool(undici, url, options)

  async function send({ method, path, body }: SignerRequest, ended: AbortSignal): Promise<Dispatcher.ResponseData> {
    const request = {
      method,
      path: `${base}${path}`,
      headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      body: body ?? null,
      signal: ended,
    }
    try {
      return await pool.request(request)
    } catch (error) {
      // The signer had closed a kept connection, as a rule, and has not looked at the request; if it has, to sign twice does no harm.
      if (!isClosed(error) || ended.aborted) throw error
      return pool.request(request)
    }
  }

  return {
    host,
    title,
    async ask(request) {
      const { method, path, maxBytes, signal } = request
      const what = `${method} ${path.replace(/0x[0-9a-f]{96}/, '{key}')} at the ${title}`
      const ended = new AbortController()
      const end = () => ended.abort()
      const timer = setTimeout(end, timeoutMs)
      signal.addEventListener('abort', end, { once: true })
      if (signal.aborted) end()
      try {
        const { statusCode, body } = await send(request, ended.signal)
        const bytes = await readBody(body, maxBytes)
        if (bytes === undefined) throw new SignerError('too_large', `${what} answers with more than ${maxBytes} bytes`)
        return { status: statusCode, text: bytes.toString('utf8') }
      } catch (error) {
        if (signal.aborted) throw new SignerError('stopped', `${what} was given up`)
        const isLate = ended.signal.aborted || TIMEOUTS.has(reasonOf(error))
        if (isLate) throw new SignerError('timeout', `${what} has not answered within ${timeoutMs} ms`)
        throw faultOf(error, what, { protocol: url.protocol, title, tls, holder })
      } finally {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
      }
    },
    renew(fresh) {
      if (fresh.ca === tls.ca && fresh.cert === tls.cert && fresh.key === tls.key) return
      const old = pool
      tls = fresh
      pool = openPool(undici, url, { ...options, tls })
      void old.close()
    },
    [Symbol.asyncDispose]: () => pool.destroy(),
  }
}

/** Codes of undici for what has not come in time. */
const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])

/** The connections to a signer. None is made before the first request. */
function openPool(undici: typeof Undici, url: URL, { timeoutMs, connections, tls }: SignerHttpOptions): Pool {
  const { ca, cert, key } = tls
  const connect = undici.buildConnector({
    minVersion: 'TLSv1.2',
    allowH2: false,
    timeout: timeoutMs,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  })
  return new undici.Pool(url.origin, {
    connections,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connect: (target, callback) =>
      connect(target, (...[error, socket]) => {
        if (error !== null) return callback(error, null)
        // A TLS alert comes with the end of the connection, and undici would tell of the end alone.
        socket.on('error', (alert) => socket.destroy(alert))
        callback(null, socket)
      }),
  })
}

/** What it means that a request has failed, in words that name the signer by its host. */
function faultOf(
  error: unknown,
  what: string,
  { protocol, title, tls, holder }: { protocol: string; title: string; tls: TlsMaterial; holder: Holder },
): SignerError {
  if (error instanceof SignerError) return error
  const reason = isClosed(error) ? 'ECONNRESET' : reasonOf(error)
  // OpenSSL's own word stands in the message only, as "wrong version number".
  const words = reason === 'EPROTO' ? `EPROTO ${messageOf(error)}`.toUpperCase().replaceAll(' ', '_') : reason
  const problem = protocol === 'https:' ? tlsProblemOf(words, tls, holder) : undefined
  if (problem === undefined) return new SignerError('unreachable', `${what} failed (${reason})`, reason)
  return new SignerError('tls', `no connection to the ${title}: ${problem}`, reason)
}

/** Whether the other side closed the connection before there was an answer. */
const isClosed = (error: unknown): boolean => ['UND_ERR_SOCKET', 'ECONNRESET'].includes(reasonOf(error))

/** The body; undefined, and the connection is not used again, where it is longer than `maxBytes`. */
async function readBody(body: Dispatcher.ResponseData['body'], maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function headersOf({ username, password }: URL): Readonly<Record<string, string>> {
  const accept = { accept: 'application/json' }
  if (username === '' && password === '') return accept
  const credentials = Buffer.from(`${decode(username)}:${decode(password)}`).toString('base64')
  return { ...accept, authorization: `Basic ${credentials}` }
}

/** Without its per cent signs, where they are an encoding. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
