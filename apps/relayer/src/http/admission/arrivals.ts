/**
 * Arrivals: hundreds of connections may come at a moment, and what comes of reading each for the first time is some tenths of a millisecond. Each
 * is read in a round of the event loop of its own, addresses in rotation, so that in between others are read and answered.
 */

import type { Server, Socket } from 'node:net'
import type { Rounds } from '@dvt-relayer/common/flow/rounds.ts'

/** Has a server read each new connection when the turn of its address comes, and nothing of it before. */
export function readInTurn(server: Server, rounds: Rounds, addressOf: (socket: Socket) => string): void {
  const readers = server.listeners('connection')
  server.removeAllListeners('connection')
  Object.assign(server, { pauseOnConnect: true })
  server.on('connection', async (socket: Socket) => {
    // Until it has a reader nobody else hears of it.
    socket.on('error', () => {})
    await rounds.turn(addressOf(socket), () => socket.destroyed)
    if (socket.destroyed) return
    for (const reader of readers) reader.call(server, socket)
    socket.resume()
  })
}
