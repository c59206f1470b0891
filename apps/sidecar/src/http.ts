/** The sidecar's own three pages: /health, /ready and /metrics. */

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import type { Events } from './events.ts'
import type { Health } from './health.ts'

/** Starts the server. @throws {BootError} LISTEN_FAILED */
export async function startHttp(
  { host, port }: { host: string; port: number },
  { health, metrics }: { health: Health; metrics: Events['metrics'] },
): Promise<AsyncDisposable & { readonly url: string }> {
  const pages: Readonly<Record<string, () => Promise<Page> | Page>> = {
    '/health': () => json(200, { status: 'ok' }),
    '/ready': () => {
      const state = health.state()
      return json(state.status === 'ready' ? 200 : 503, state)
    },
    '/metrics': async () => ({ status: 200, type: metrics.contentType, body: await metrics.text() }),
  }
  const server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
    const page = pages[(request.url ?? '').split('?')[0] ?? '']
    request.resume()
    if (page === undefined) return send(response, json(404, { code: 'NOT_FOUND', message: 'no such page' }))
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return send(response, json(405, { code: 'METHOD_NOT_ALLOWED', message: 'only GET' }))
    Promise.resolve(page()).then(
      (found) => send(response, found),
      () => send(response, json(500, { code: 'INTERNAL', message: 'internal error' })),
    )
  })
  try {
    server.listen(port, host)
    await once(server, 'listening')
  } catch (error) {
    throw new BootError(
      'LISTEN_FAILED',
      `cannot listen on ${host}:${port} (SIDECAR_HOST, SIDECAR_PORT): ${messageOf(error)}`,
      { cause: error },
    )
  }
  const { address, family, port: bound } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

interface Page {
  status: number
  type: string
  body: string
}

const json = (status: number, body: unknown): Page => ({
  status,
  type: 'application/json; charset=utf-8',
  body: JSON.stringify(body),
})

function send(response: ServerResponse, { status, type, body }: Page): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
}
