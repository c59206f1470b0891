import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { OperatorFailure, postAsOperator } from './operator-http.ts'

interface Seen {
  method: string | undefined
  path: string | undefined
  authorization: string | undefined
  body: string
}

/** A server that remembers what it was asked, and over how many connections. */
async function startServer(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const seen: Seen[] = []
  let connections = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, url, headers } = request
      seen.push({ method, path: url, authorization: headers.authorization, body: Buffer.concat(chunks).toString() })
      answer(request, response)
    })
  })
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    seen,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const json = (response: ServerResponse, value: unknown, type = 'application/json; charset=utf-8') =>
  response.writeHead(200, { 'content-type': type }).end(JSON.stringify(value))
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

describe('a call of the operator', () => {
  it('has a connection of its own', async () => {
    await using server = await startServer((_, response) => json(response, { fine: true }))
    for (let call = 1; call <= 3; call++) {
      expect(await postAsOperator(server.url, '/register', { call })).toEqual({ fine: true })
      expect(server.connections()).toBe(call)
    }
    expect(server.seen[2]).toMatchObject({ method: 'POST', path: '/register', body: '{"call":3}' })
  })

  it('sends the credentials of the URL at once, decoded', async () => {
    await using server = await startServer((_, response) => json(response, {}))
    await postAsOperator(`http://na%40me:to%3Aken@127.0.0.1:${server.port}`, '/register', {})
    expect(server.seen).toMatchObject([{ authorization: basic('na@me:to:ken') }])
  })

  it('follows redirects, with body and credentials where they belong', async () => {
    await using other = await startServer((_, response) => json(response, { there: true }))
    await using server = await startServer(({ url }, response) => {
      const [, status, target] = /^\/(\d+)\/(.*)$/.exec(url ?? '') ?? []
      if (status === undefined) json(response, { here: true })
      else response.writeHead(Number(status), { location: target === 'other' ? `${other.url}/x` : '/x' }).end()
    })
    const url = `http://name:token@127.0.0.1:${server.port}`
    expect(await postAsOperator(url, '/307/here', { a: 1 })).toEqual({ here: true })
    const same = { method: 'POST', authorization: basic('name:token'), body: '{"a":1}' }
    expect(server.seen.at(-1)).toEqual({ ...same, path: '/x' })
    expect(await postAsOperator(url, '/302/here', { a: 1 })).toEqual({ here: true })
    expect(server.seen.at(-1)).toEqual({ ...same, path: '/x', method: 'GET', body: '' })
    expect(await postAsOperator(url, '/308/other', { a: 1 })).toEqual({ there: true })
    expect(other.seen).toEqual([{ ...same, path: '/x', authorization: undefined }])
  })

  it('ends a redirect that leads to itself', async () => {
    await using server = await startServer((_, response) => response.writeHead(307, { location: '/again' }).end())
    await expect(postAsOperator(server.url, '/again', {})).rejects.toThrow('too many redirects')
  })

  it('takes a JSON object under a JSON content type and nothing else', async () => {
    const answers: [unknown, string?][] = [[[1]], [null], ['text'], [{}, 'text/plain'], [{}, 'text/html']]
    for (const [value, type] of answers) {
      await using server = await startServer((_, response) => json(response, value, type))
      await expect(postAsOperator(server.url, '/register', {})).rejects.toBeInstanceOf(OperatorFailure)
    }
    await using empty = await startServer((_, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(),
    )
    await expect(postAsOperator(empty.url, '/register', {})).rejects.toThrow('not JSON')
  })

  it('fails on an error status, and says which, and when nobody answers', async () => {
    await using server = await startServer((_, response) => response.writeHead(503).end('{"code":"X"}'))
    const failure = await postAsOperator(server.url, '/register', {}).catch((error: unknown) => error)
    expect(failure).toMatchObject({ status: 503, text: '{"code":"X"}' })
    await using silent = await startServer(({ socket }) => socket.destroy())
    await expect(postAsOperator(silent.url, '/register', {})).rejects.toBeInstanceOf(OperatorFailure)
  })
})
