/**
 * Stands between a client and a real PostgreSQL: passes everything on, or answers as poolers and dying servers do; with TLS where it has a
 * certificate. Without one it stands before any server to which the client speaks first.
 */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { TestCertificate } from '../services/certificates.ts'

/** What becomes of connections: passed on, left without an answer, or refused with an error of PostgreSQL's protocol. */
export type Behaviour = 'pass' | 'hang' | { sqlstate: string; message: string }

export interface PostgresProxy extends AsyncDisposable {
  /** The database's URL by way of the proxy. */
  readonly url: string
  /** From now on. Connections that are there are cut, or with `hang` left as they are, without another byte. */
  behave(how: Behaviour): void
  /** Every connection that is there stays as it is, and nothing passes on it any more; new ones are passed on. */
  cutSilently(): void
}

const SSL_REQUEST = 80_877_103

/** `FATAL` with a code and words. */
function errorResponse({ sqlstate, message }: Exclude<Behaviour, string>): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${sqlstate}\0M${message}\0\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}

/** Starts a proxy before the PostgreSQL of a URL. */
export async function startPostgresProxy(target: string, certificate?: TestCertificate): Promise<PostgresProxy> {
  const { hostname, port } = new URL(target)
  const open = new Set<Socket>()
  let behaviour: Behaviour = 'pass'

  function hold(socket: Socket): void {
    open.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => open.delete(socket))
  }

  /** The first bytes are there: a request for TLS is answered first, where it can be. */
  function begin(client: Socket, first: Buffer): void {
    if (certificate !== undefined && first.length === 8 && first.readInt32BE(4) === SSL_REQUEST) {
      client.write('S')
      const secure = new TLSSocket(client, { isServer: true, ...certificate })
      hold(secure)
      secure.once('data', (chunk: Buffer) => serve(secure, chunk))
    } else serve(client, first)
  }

  function serve(client: Socket, first: Buffer): void {
    client.pause()
    if (behaviour === 'hang') return
    if (behaviour !== 'pass') return void client.end(errorResponse(behaviour))
    const server = connect(Number(port), hostname)
    hold(server)
    server.write(first)
    client.pipe(server)
    server.pipe(client)
    server.on('close', () => client.destroy())
    client.on('close', () => server.destroy())
  }

  const listener = createServer((client) => {
    hold(client)
    client.once('data', (chunk: Buffer) => begin(client, chunk))
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const url = new URL(target)
  url.port = String(address.port)
  return {
    url: url.href,
    behave(how) {
      behaviour = how
      for (const socket of open) {
        if (how === 'hang') socket.unpipe().pause()
        else socket.destroy()
      }
    },
    cutSilently() {
      for (const socket of open) socket.unpipe().pause()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      listener.close()
      await once(listener, 'close')
    },
  }
}
