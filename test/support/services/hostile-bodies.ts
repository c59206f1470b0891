/** Bodies that nobody should read to their end, as a plain server sends them, and how much of each was taken. */

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'

const CHUNK = 1 << 20

/** When the other side has hung up, however that shows. */
function closeOf(to: Writable): Promise<void> {
  to.on('error', () => {})
  return new Promise((resolve) => void to.once('close', resolve))
}

/** Sends this again and again, as fast as it is taken, until the other side hangs up. Returns how many bytes went out. */
async function pour(to: Writable, chunk: Uint8Array): Promise<number> {
  let bytes = 0
  const closed = closeOf(to)
  while (!to.destroyed && !to.closed) {
    bytes += chunk.length
    if (to.write(chunk)) continue
    const waiting = new AbortController()
    await Promise.race([closed, once(to, 'drain', { signal: waiting.signal }).catch(() => {})])
    waiting.abort()
  }
  return bytes
}

const begin = (response: ServerResponse, status: number) =>
  response.writeHead(status, { 'content-type': 'application/json' })

/** Answers `text` again and again. Resolves with the bytes that were sent when the other side has hung up. */
export function sendEndless(response: ServerResponse, text: string, status = 200): Promise<number> {
  return pour(begin(response, status), Buffer.from(text.repeat(Math.ceil(CHUNK / text.length))))
}

const PACKERS = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync }

/** So many mebibytes of blanks, as a few kilobytes that unpack to them. */
export function sendBomb(response: ServerResponse, mebibytes: number, encoding: keyof typeof PACKERS): void {
  const packed = PACKERS[encoding](Buffer.alloc(mebibytes << 20, ' '))
  response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding }).end(packed)
}

/** One byte every few milliseconds, for ever. Resolves when the other side has hung up. */
export async function sendDrip(response: ServerResponse, status = 200): Promise<void> {
  begin(response, status).write('[')
  const timer = setInterval(() => response.write(' '), 5)
  await closeOf(response)
  clearInterval(timer)
}

/** Headers without an end. Resolves with the bytes that were sent when the other side has hung up. */
export function sendHeaderFlood({ socket }: ServerResponse): Promise<number> {
  if (socket === null) throw new Error('no connection')
  socket.write('HTTP/1.1 200 OK\r\n')
  return pour(socket, Buffer.from(`x-flood: ${'x'.repeat(1_000)}\r\n`.repeat(64)))
}
