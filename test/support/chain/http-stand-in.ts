/** The base of the HTTP stand-ins: a server on a free port that can be told to fail, and remembers what it was asked. */

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** How a stand-in fails: connections are cut; no answer ever comes; a 200 with HTML; this status, with nothing or with JSON. */
export type Failure = 'down' | 'slow' | 'garbage' | { status: number; headers?: Record<string, string>; body?: object }

export interface StandInRequest {
  method: string
  /** Path without the query. */
  path: string
  query: URLSearchParams
  headers: Readonly<Record<string, string | string[] | undefined>>
  /** Parsed JSON, undefined without a body. */
  body: unknown
}

/** An answer: JSON unless it is bytes. */
export interface StandInAnswer {
  status: number
  body: unknown
  headers?: Record<string, string>
}

export interface HttpStandIn extends AsyncDisposable {
  readonly url: string
  /** `METHOD /path` of every request so far, oldest first; empty it as you like. */
  readonly requests: string[]
  /** Fails every request from now on, or none (undefined). */
  fail(failure: Failure | undefined): void
}

/** Starts a server that answers with `answer`; a thrown error is a 500. */
export async function startHttpStandIn(
  answer: (request: StandInRequest) => StandInAnswer | Promise<StandInAnswer>,
): Promise<HttpStandIn> {
  let failure: Failure | undefined
  const requests: string[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', () => response.destroy())
    request.on('end', async () => {
      const url = new URL(request.url ?? '/', 'http://stand-in')
      requests.push(`${request.method} ${url.pathname}`)
      if (failure !== undefined) return failWith(failure, response)
      try {
        const text = Buffer.concat(chunks).toString()
        const { status, body, headers } = await answer({
          method: request.method ?? 'GET',
          path: url.pathname,
          query: url.searchParams,
          headers: request.headers,
          body: text === '' ? undefined : JSON.parse(text),
        })
        const bytes = body instanceof Uint8Array
        response.writeHead(status, { 'content-type': bytes ? 'text/plain' : 'application/json', ...headers })
        response.end(bytes ? body : JSON.stringify(body))
      } catch (error) {
        response.writeHead(500, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ code: 500, message: String(error) }))
      }
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    fail(next) {
      failure = next
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

function failWith(failure: Failure, response: ServerResponse): void {
  if (failure === 'down') response.destroy()
  else if (failure === 'garbage') response.writeHead(200, { 'content-type': 'text/html' }).end('<html>sorry</html>')
  else if (failure !== 'slow') response.writeHead(failure.status, failure.headers).end(JSON.stringify(failure.body))
}
