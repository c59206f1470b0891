/** What keeps a process from listening, in words, and a look whether anything does before much else is begun. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import { BootError, messageOf } from '../errors.ts'

/** Where to listen; `settings` are the names of the settings that say so. */
export interface Place {
  host: string
  port: number
  settings: string
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something listens there already; ss -ltnp says what',
  EADDRNOTAVAIL: 'no address of this machine',
  EACCES: 'this user may not: ports below 1024 are for root as a rule',
  ENOTFOUND: 'no such host',
}

/** The error of a start that cannot listen. */
export function listenFailed({ host, port, settings }: Place, error: unknown): BootError {
  const code = (error as { code?: string }).code ?? ''
  const reason = REASONS[code] === undefined ? messageOf(error) : `${REASONS[code]} (${code})`
  return new BootError('LISTEN_FAILED', `cannot listen on ${host}:${port} (${settings}): ${reason}`, { cause: error })
}

/**
 * Listens and lets go again: a port that is taken is known before a database is made, migrated or filled.
 *
 * @throws {BootError} LISTEN_FAILED
 */
export async function assertCanListen(place: Place): Promise<void> {
  const server = createServer((socket) => socket.destroy())
  try {
    server.listen({ host: place.host, port: place.port, exclusive: true })
    await once(server, 'listening')
  } catch (error) {
    throw listenFailed(place, error)
  }
  server.close()
  await once(server, 'close')
}
