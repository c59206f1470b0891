/** Ports for programs that are told theirs before they start. */

import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type ListenOptions } from 'node:net'

const LOWEST = 10_000
const RANGE_FILE = '/proc/sys/net/ipv4/ip_local_port_range'

/** From here on the system takes ports for outgoing connections, and for whoever listens on port 0. */
function lowestOfSystem(): number {
  if (process.platform !== 'linux') return 49_152
  const [lowest] = readFileSync(RANGE_FILE, 'utf8').trim().split(/\s+/).map(Number)
  return lowest ?? 32_768
}

const HIGHEST = Math.max(lowestOfSystem(), LOWEST + 10_000)
/** What this process has given away; it is not taken back. */
const given = new Set<number>()

/** Whether something can listen there. It goes on listening only if it is asked to keep it. */
function tryListen(where: ListenOptions, keep = false): Promise<boolean> {
  return new Promise((done, reject) => {
    const server = createServer()
    server.once('error', ({ code }: NodeJS.ErrnoException) =>
      code === 'EADDRINUSE' || code === 'EACCES' ? done(false) : reject(new Error(`listen: ${code}`)),
    )
    server.listen(where, () => {
      if (!keep) return server.close(() => done(true))
      server.unref()
      return done(true)
    })
  })
}

/** On Linux an abstract socket by the port's name says to every process that asks here whose it is, until this one ends. */
const reserve = async (port: number): Promise<boolean> =>
  process.platform !== 'linux' || tryListen({ path: `\0dvt-relayer-port-${port}` }, true)

/**
 * Ports of 127.0.0.1 that are free, all different, for programs that listen there later, perhaps again after they were killed.
 * They are not the system's to give away, and no other process gets them here while this one lives.
 */
export async function findFreePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = randomInt(LOWEST, HIGHEST)
    if (given.has(port)) continue
    given.add(port)
    if ((await reserve(port)) && (await tryListen({ port, host: '127.0.0.1', exclusive: true }))) ports.push(port)
  }
  return ports
}
