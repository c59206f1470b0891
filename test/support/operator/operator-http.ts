/** How Operator 4.2 talks HTTP: aiohttp with a session for each call. */

import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'

export type Headers = Readonly<Record<string, string>>

/** Any failure of a call; it does nothing more about one before the next block. */
export class OperatorFailure extends Error {
  /** Of the answer, where there was one. */
  readonly status: number | undefined
  /** The answer's body, likewise. */
  readonly text: string | undefined

  constructor(message: string, options: { status?: number; text?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.name = 'OperatorFailure'
    this.status = options.status
    this.text = options.text
  }
}

interface RawAnswer {
  status: number
  contentType: string
  location: string | undefined
  text: string
}

/** For the whole call, redirects included. */
const TOTAL_MS = 10_000
const REDIRECTS = 10

/**
 * Posts JSON over a new connection: credentials of the URL go as Basic at once, redirects are followed (301, 302 and 303 with GET,
 * 307 and 308 with the same body), and the answer must be a JSON object under a JSON content type.
 *
 * @throws {OperatorFailure} for everything else
 */
export async function postAsOperator(
  url: string,
  path: string,
  body: object,
  headers: Headers = {},
): Promise<Record<string, unknown>> {
  const signal = AbortSignal.timeout(TOTAL_MS)
  const first = new URL(path, url)
  let credentials = credentialsOf(first)
  let target = first
  let payload: string | undefined = JSON.stringify(body)
  for (let redirects = 0; redirects <= REDIRECTS; redirects++) {
    const answer = await send(target, payload, { ...headers, ...credentials }, signal)
    if (answer.location === undefined || !(answer.status in KEEPS_BODY)) return readObject(answer)
    const next = new URL(answer.location, target)
    // Credentials are not carried to another origin.
    credentials = next.username !== '' ? credentialsOf(next) : next.origin === target.origin ? credentials : {}
    if (!KEEPS_BODY[answer.status]) payload = undefined
    target = next
  }
  throw new OperatorFailure('too many redirects')
}

const KEEPS_BODY: Readonly<Record<number, boolean>> = { 301: false, 302: false, 303: false, 307: true, 308: true }

function credentialsOf({ username, password }: URL): Headers {
  if (username === '') return {}
  const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { authorization: `Basic ${Buffer.from(text).toString('base64')}` }
}

function send(url: URL, payload: string | undefined, headers: Headers, signal: AbortSignal): Promise<RawAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>()
  const fail = (cause: Error) => reject(new OperatorFailure('no answer', { cause }))
  const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(
    {
      protocol: url.protocol,
      hostname: url.hostname,
      port: url.port,
      path: `${url.pathname}${url.search}`,
      method: payload === undefined ? 'GET' : 'POST',
      headers: { ...(payload === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      // No pool: the connection is this call's own.
      agent: false,
      signal,
    },
    (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', fail)
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          location: response.headers.location,
          text: Buffer.concat(chunks).toString(),
        }),
      )
    },
  )
  request.on('error', fail)
  request.end(payload)
  return promise
}

function readObject({ status, contentType, text }: RawAnswer): Record<string, unknown> {
  const refuse = (message: string) => new OperatorFailure(`${message}: ${status} ${text}`, { status, text })
  if (status < 200 || status > 299) throw refuse('refused')
  if (!/^application\/([\w.+-]+\+)?json(;|$)/i.test(contentType)) throw refuse('not a JSON content type')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refuse('not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse('not an object')
  return value as Record<string, unknown>
}
