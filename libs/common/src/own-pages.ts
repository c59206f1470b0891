/** The three pages that a process has for those around it, without tokens: /health, /ready and /metrics. */

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { MetricDefinitions, Metrics } from './metrics.ts'
import { listenFailed } from './process/listening.ts'

/** What the pages say. */
export interface OwnPages {
  /** The body of /ready, and whether it is a 200 or a 503. */
  ready(): { isReady: boolean; state: unknown }
  metrics: Pick<Metrics<MetricDefinitions>, 'text' | 'contentType'>
}

/**
 * Starts the server.
 *
 * @param settings names of the settings that say where, for the text of an error
 * @throws {BootError} LISTEN_FAILED
 */
export async function startOwnPages(
  { host, port }: { host: string; port: number },
  settings: string,
  { ready, metrics }: OwnPages,
): Promise<AsyncDisposable & { readonly url: string }> {
  const pages: Readonly<Record<string, () => Promise<Page> | Page>> = {
    '/health': () => json(200, { status: 'ok' }),
    '/ready': () => {
      const { isReady, state } = ready()
      return json(isReady ? 200 : 503, state)
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
    throw listenFailed({ host, port, settings }, error)
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
