/** Connections of an attacker, as plain sockets: they send what no client would, and read when they please. */

import { createConnection, type Socket } from 'node:net'
import { platform } from 'node:os'

/** Attackers come from another address than honest strangers do, where loopback has more than one. */
const ADDRESS = platform() === 'linux' ? { localAddress: '127.0.0.2' } : {}

/** How long an attacker waits before it comes again: what is measured is what it holds, not the CPU that it burns beside the relayer. */
const THINK_MS = 100
/** How often who takes no answer sends a line without meaning: it hears of nothing, and so learns that it was cut off. */
const KNOCK_MS = 1_000

interface Flood {
  connections: number
  /** What the connection says, the how many-th time it is opened. */
  say: (number: number) => string
  /** It takes no answer. */
  isDeaf?: boolean
  /** Goes on once it is connected. */
  then?: (socket: Socket) => void
  thinkMs?: number
}

/** Holds so many connections, each of which comes again when it was answered or cut off. Resolves when each was there once. */
export function flood(url: string, count: (answer: string) => void, options: Flood): Promise<void> {
  const { connections, say, isDeaf = false, then, thinkMs = THINK_MS } = options
  const { port, hostname: host } = new URL(url)
  let number = 0
  const open = (isThere: () => void) => {
    const socket = createConnection({ port: Number(port), host, ...ADDRESS })
    let text = ''
    socket.on('error', () => {})
    socket.on('connect', () => {
      const words = say(number++)
      if (words !== '') socket.write(words)
      if (isDeaf) {
        socket.pause()
        const knocking = setInterval(() => socket.write('\r\n'), KNOCK_MS)
        socket.on('close', () => clearInterval(knocking))
      }
      then?.(socket)
      isThere()
    })
    socket.on('data', (chunk) => {
      text += String(chunk)
      const [, status] = /^HTTP\/1\.1 (\d+)/.exec(text) ?? []
      if (status === undefined) return
      count(status)
      socket.destroy()
    })
    socket.on('close', () => {
      if (text === '') count('cut off')
      isThere()
      setTimeout(() => open(() => {}), thinkMs)
    })
  }
  const each = Array.from({ length: connections }, () => new Promise<void>(open))
  return Promise.all(each).then(() => {})
}

/** Headers of a request. `length` of its body, where it has one. */
export function head(path: string, options: { token?: string; length?: number } = {}): string {
  const { token, length } = options
  const lines = [
    `${length === undefined ? 'GET' : 'POST'} ${path} HTTP/1.1`,
    'host: relayer',
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
    ...(length === undefined ? [] : ['content-type: application/json', `content-length: ${length}`]),
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** A whole request with a body. */
export function post(path: string, body: unknown, token?: string): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return head(path, { length: Buffer.byteLength(text), ...(token === undefined ? {} : { token }) }) + text
}
