/**
 * Requests to one remote signer, over kept connections.
 *
 * A client of its own beside `libs/common/http-client.ts`, because Node's `fetch` takes a client certificate only from a package that
 * Node does not ship: `node:https` does. A signer is named by its host only; its URL may hold credentials.
 */

import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { SignerError } from './error.ts'
import { type TlsMaterial, tlsProblemOf } from './tls.ts'

export interface SignerRequest {
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

export interface SignerHttp extends Disposable {
  readonly host: string
  /** Sends a request, once more where a kept connection turns out to be closed. @throws {SignerError} */
  ask(request: SignerRequest): Promise<SignerAnswer>
  /** Uses other certificates from now on. */
  renew(tls: TlsMaterial): void
}

/** Creates the client of one signer. `connections` is how many requests may be on their way at once. */
export function createSignerHttp(
  url: URL,
  options: { timeoutMs: number; connections: number; tls: TlsMaterial },
): SignerHttp {
  const isTls = url.protocol === 'https:'
  const host = url.host
  const headers: Record<string, string> = { accept: 'application/json' }
  if (url.username !== '' || url.password !== '')
    headers['authorization'] =
      `Basic ${Buffer.from(`${decode(url.username)}:${decode(url.password)}`).toString('base64')}`
  const base = url.pathname.replace(/\/+$/, '')
  let { tls } = options
  let agent = makeAgent()

  function makeAgent(): HttpAgent {
    const common = { keepAlive: true, maxSockets: options.connections, maxFreeSockets: options.connections }
    if (!isTls) return new HttpAgent(common)
    const { ca, cert, key } = tls
    return new HttpsAgent({
      ...common,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    })
  }

  function faultOf(error: unknown, what: string): SignerError {
    if (error instanceof SignerError) return error
    const reason = reasonOf(error)
    // OpenSSL's own word stands in the message only, as "wrong version number".
    const words = reason === 'EPROTO' ? `EPROTO ${messageOf(error)}`.toUpperCase().replaceAll(' ', '_') : reason
    const problem = isTls ? tlsProblemOf(words, tls) : undefined
    if (problem !== undefined)
      return new SignerError('tls', `no connection to the remote signer ${host}: ${problem}`, reason)
    return new SignerError('unreachable', `${what} failed (${reason})`, reason)
  }

  function once({ method, path, body, maxBytes, signal }: SignerRequest): Promise<SignerAnswer> {
    const what = `${method} ${path.replace(/0x[0-9a-f]{96}$/, '{key}')} at the remote signer ${host}`
    return new Promise((resolve, reject) => {
      const stopped = () => new SignerError('stopped', `${what} was given up`)
      if (signal.aborted) return reject(stopped())
      const target: RequestOptions = {
        agent,
        method,
        hostname: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port === '' ? (isTls ? 443 : 80) : url.port,
        path: `${base}${path}`,
        headers:
          body === undefined
            ? headers
            : { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      }
      const request = (isTls ? httpsRequest : httpRequest)(target)
      const timer = setTimeout(
        () => end(new SignerError('timeout', `${what} has not answered within ${options.timeoutMs} ms`)),
        options.timeoutMs,
      )
      const onAbort = () => end(stopped())
      signal.addEventListener('abort', onAbort, { once: true })
      /** The first outcome counts; a connection in an unknown state is not used again. */
      function end(outcome: SignerAnswer | Error): void {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        if (outcome instanceof Error) {
          request.destroy()
          reject(outcome)
        } else resolve(outcome)
      }
      request.on('error', (error) =>
        end(request.reusedSocket && reasonOf(error) === 'ECONNRESET' ? new StaleConnection() : faultOf(error, what)),
      )
      request.on('response', (response) => {
        const chunks: Buffer[] = []
        let length = 0
        response.on('data', (chunk: Buffer) => {
          length += chunk.length
          if (length > maxBytes) end(new SignerError('too_large', `${what} answers with more than ${maxBytes} bytes`))
          else chunks.push(chunk)
        })
        response.on('error', (error) => end(faultOf(error, what)))
        response.on('end', () =>
          end({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        )
      })
      request.end(body)
    })
  }

  return {
    host,
    async ask(request) {
      try {
        return await once(request)
      } catch (error) {
        if (!(error instanceof StaleConnection)) throw error
      }
      return once(request).catch((error: unknown) => {
        throw error instanceof StaleConnection
          ? new SignerError(
              'unreachable',
              `the remote signer ${host} closes its connections (ECONNRESET)`,
              'ECONNRESET',
            )
          : error
      })
    },
    renew(fresh) {
      if (fresh.ca === tls.ca && fresh.cert === tls.cert && fresh.key === tls.key) return
      const old = agent
      tls = fresh
      agent = makeAgent()
      old.destroy()
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

/** The server had closed the kept connection before the request came: it was not looked at. */
class StaleConnection extends Error {}

/** Without its per cent signs, where they are an encoding. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
