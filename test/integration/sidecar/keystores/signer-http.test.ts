/** Requests to one remote signer, over real connections: what is sent, how much is read, and what a failure is called. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { createSignerHttp } from '../../../../apps/sidecar/src/keystores/remote/signer-http.ts'
import { NO_TLS_FILES } from '../../../../apps/sidecar/src/keystores/remote/tls.ts'

const signal = new AbortController().signal
const KEY = `0x${'ab'.repeat(48)}`
const GET = { method: 'GET', path: '/upcheck', maxBytes: 10, signal } as const

/** A client of a signer that answers so. `where` is what stands in the URL around its host. */
async function stage(
  answer: (response: ServerResponse, request: IncomingMessage) => unknown,
  { timeoutMs = 60_000, user = '', path = '', headers = {}, most = 4 } = {},
) {
  const seen: { method?: string | undefined; url?: string | undefined; headers: IncomingMessage['headers'] }[] = []
  const server = createServer((request, response) => {
    const { method, url, headers } = request
    seen.push({ method, url, headers })
    request.resume().once('end', () => answer(response, request))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  let connections = 0
  server.on('connection', () => {
    connections++
  })
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const http = await createSignerHttp(new URL(`http://${user}${host}${path}`), {
    ...{ timeoutMs, connections: most, tls: NO_TLS_FILES, headers },
  })
  return {
    ...{ http, seen, host, connections: () => connections },
    async [Symbol.asyncDispose]() {
      await http[Symbol.asyncDispose]()
      server.closeAllConnections()
      server.close()
    },
  }
}

it('has the path of the URL before its own, and says what it sends where it sends something', async () => {
  await using staged = await stage((response) => response.end('fine'), {
    path: '/signer//',
    headers: { 'x-more': '1' },
  })
  expect(await staged.http.ask(GET)).toEqual({ status: 200, text: 'fine' })
  await staged.http.ask({ ...GET, method: 'POST', body: '{}' })
  expect(staged.seen).toMatchObject([
    { method: 'GET', url: '/signer/upcheck', headers: { accept: 'application/json', 'x-more': '1' } },
    { method: 'POST', url: '/signer/upcheck', headers: { 'content-type': 'application/json', 'content-length': '2' } },
  ])
  expect(staged.seen[0]?.headers).not.toHaveProperty('content-type')
  expect(staged.seen[0]?.headers).not.toHaveProperty('authorization')
})

it.each([
  ['user:pa%40ss@', 'user:pa@ss'],
  ['user@', 'user:'],
  [':pass@', ':pass'],
  ['user:50%25%zz@', 'user:50%25%zz'],
])('shows the credentials of the URL: %s', async (user, credentials) => {
  await using staged = await stage((response) => response.end(), { user })
  await staged.http.ask(GET)
  expect(staged.seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from(credentials).toString('base64')}`)
})

it('reads an answer as far as it may be, and no byte further', async () => {
  let text = 'x'.repeat(10)
  await using staged = await stage((response) => response.end(text))
  expect((await staged.http.ask(GET)).text).toBe(text)
  text += 'x'
  await expect(staged.http.ask(GET)).rejects.toMatchObject({
    ...{
      fault: 'too_large',
      message: `GET /upcheck at the remote signer ${staged.host} answers with more than 10 bytes`,
    },
  })
})

it('hands on whatever status there is', async () => {
  await using staged = await stage((response) => response.writeHead(503).end('sorry'))
  expect(await staged.http.ask(GET)).toEqual({ status: 503, text: 'sorry' })
})

it('waits so long and no longer, also for the end of an answer', async () => {
  for (const begin of [() => {}, (response: ServerResponse) => void response.write('x')]) {
    await using staged = await stage(begin, { timeoutMs: 100 })
    await expect(staged.http.ask({ ...GET, path: `/sign/${KEY}` })).rejects.toMatchObject({
      fault: 'timeout',
      message: `GET /sign/{key} at the remote signer ${staged.host} has not answered within 100 ms`,
    })
  }
})

it('gives up where it is told to, before and while it asks', async () => {
  const stop = new AbortController()
  await using staged = await stage(() => stop.abort())
  const asking = staged.http.ask({ ...GET, signal: stop.signal })
  await expect(asking).rejects.toMatchObject({ code: 'SIGNER_STOPPED', fault: undefined })
  await expect(staged.http.ask({ ...GET, signal: stop.signal })).rejects.toMatchObject({ code: 'SIGNER_STOPPED' })
  expect(staged.seen.length).toBe(1)
})

it('asks once more where the connection was closed, and not twice', async () => {
  let closings = 1
  await using staged = await stage((response) => (closings-- > 0 ? response.destroy() : response.end('fine')))
  expect((await staged.http.ask(GET)).text).toBe('fine')
  expect(staged.seen.length).toBe(2)
  closings = 3
  await expect(staged.http.ask(GET)).rejects.toMatchObject({
    ...{ fault: 'unreachable', message: expect.stringMatching(/failed \(ECONNRESET\)$/) },
  })
  expect(staged.seen.length).toBe(4)
})

it('asks nobody again who answers with something else than HTTP', async () => {
  await using staged = await stage((response) => response.socket?.end('sorry\r\n\r\n'))
  await expect(staged.http.ask(GET)).rejects.toMatchObject({ fault: 'unreachable' })
  expect(staged.seen.length).toBe(1)
})

it('says that nobody is there', async () => {
  const staged = await stage((response) => response.end())
  await staged[Symbol.asyncDispose]()
  const http = await createSignerHttp(new URL(`http://${staged.host}`), {
    ...{ timeoutMs: 60_000, connections: 1, tls: NO_TLS_FILES },
  })
  await using _http = http
  await expect(http.ask(GET)).rejects.toMatchObject({
    ...{ fault: 'unreachable', message: `GET /upcheck at the remote signer ${staged.host} failed (ECONNREFUSED)` },
  })
})

it('to a signer that speaks no TLS say so', async () => {
  await using staged = await stage((response) => response.end())
  const http = await createSignerHttp(new URL(`https://${staged.host}`), {
    ...{ timeoutMs: 60_000, connections: 1, tls: NO_TLS_FILES },
  })
  await using _http = http
  await expect(http.ask(GET)).rejects.toMatchObject({
    ...{ fault: 'tls', message: `no connection to the remote signer ${staged.host}: it does not speak TLS` },
  })
})

it('goes on with other certificates, and finishes what was on its way with those before', async () => {
  const waiting: ServerResponse[] = []
  await using staged = await stage((response) => void waiting.push(response))
  const first = staged.http.ask(GET)
  await expect.poll(() => waiting.length).toBe(1)
  staged.http.renew({ ...NO_TLS_FILES, ca: 'another' })
  const second = staged.http.ask(GET)
  await expect.poll(() => waiting.length).toBe(2)
  for (const response of waiting) response.end('fine')
  expect([await first, await second].map(({ text }) => text)).toEqual(['fine', 'fine'])
})

it('goes on with its connections where no certificate is another one', async () => {
  await using staged = await stage((response) => response.end('fine'), { most: 1 })
  const connectionsWith = async (fresh: Partial<typeof NO_TLS_FILES>) => {
    staged.http.renew({ ...NO_TLS_FILES, ...fresh })
    await staged.http.ask(GET)
    return staged.connections()
  }
  expect(await connectionsWith({})).toBe(1)
  expect(await connectionsWith({ certEndsAt: 1 })).toBe(1)
  expect(await connectionsWith({ ca: 'a' })).toBe(2)
  expect(await connectionsWith({ ca: 'a', cert: 'b' })).toBe(3)
  expect(await connectionsWith({ ca: 'a', cert: 'b', key: 'c' })).toBe(4)
  expect(await connectionsWith({ ca: 'a', cert: 'b', key: 'c' })).toBe(4)
})
