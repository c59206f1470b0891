import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, createConnection, type Socket } from 'node:net'
import { createRounds } from '@dvt-relayer/common/flow/rounds.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { readInTurn } from './arrivals.ts'

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** A server whose rounds come when they are called for, and whose callers say in their order of coming where they come from. */
async function serverOf(addresses: readonly string[]) {
  const [heard, waiting]: [string[], (() => void)[]] = [[], []]
  const server = createServer((request, answer) => {
    heard.push(request.url ?? '')
    answer.end()
  })
  const taken: Socket[] = []
  readInTurn(
    server,
    createRounds(1, (then) => void waiting.push(then)),
    (socket) => addresses[taken.push(socket) - 1] ?? '',
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(() => server.close())
  return {
    heard,
    taken,
    /** Connects and asks at once; resolves when the server has the connection. */
    async ask(path: string): Promise<Socket> {
      const taken = once(server, 'connection')
      const socket = createConnection((server.address() as AddressInfo).port, '127.0.0.1')
      ends.push(() => socket.destroy())
      socket.on('error', () => {})
      socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`)
      await taken
      return socket
    },
    /** Lets a round come. */
    round: (): void => waiting.shift()?.(),
    waits: (): number => waiting.length,
  }
}

const answerTo = async (socket: Socket) => {
  const [chunk] = await once(socket, 'data')
  return String(chunk)
}

describe('readInTurn', () => {
  it('reads one connection a round, addresses in rotation', async () => {
    const server = await serverOf(['crowd', 'crowd', 'crowd', 'monitor'])
    const sockets: Socket[] = []
    for (const path of ['/1', '/2', '/3', '/health']) sockets.push(await server.ask(path))
    for (const socket of server.taken) expect([socket.isPaused(), socket.listenerCount('data')]).toEqual([true, 0])
    const order = ['/1', '/health', '/2', '/3']
    for (const [round, path] of order.entries()) {
      const answered = answerTo(sockets[['/1', '/2', '/3', '/health'].indexOf(path)] as Socket)
      server.round()
      expect(await answered).toContain('200 OK')
      expect(server.heard).toEqual(order.slice(0, round + 1))
    }
    expect(server.waits()).toBe(0)
  })

  it('reads a connection to its end once it is read', async () => {
    const server = await serverOf(['a'])
    const socket = await server.ask('/1')
    const first = answerTo(socket)
    server.round()
    await first
    socket.write('GET /2 HTTP/1.1\r\nhost: a\r\n\r\n')
    await answerTo(socket)
    expect(server.heard).toEqual(['/1', '/2'])
  })

  it('goes on past one that was reset before its turn', async () => {
    const server = await serverOf(['a', 'b'])
    const reset = await server.ask('/1')
    const other = await server.ask('/2')
    reset.resetAndDestroy()
    await once(reset, 'close')
    const answered = answerTo(other)
    server.round()
    server.round()
    await answered
    expect(server.heard).toContain('/2')
  })

  it('gives no round to one that has failed meanwhile', async () => {
    const server = await serverOf(['a', 'b'])
    await server.ask('/1')
    const other = await server.ask('/2')
    server.taken[0]?.destroy(new Error('it has failed'))
    const answered = answerTo(other)
    server.round()
    await answered
    expect([server.heard, server.taken[0]?.listenerCount('data')]).toEqual([['/2'], 0])
  })
})
