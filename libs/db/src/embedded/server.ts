/** The server process: started, watched, started again when it dies, and stopped. */

import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, renameSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { pause, withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { Connection, Home } from './home.ts'
import { chownTo, failed, writeConnection } from './home.ts'
import { isPostmasterReady, stopPostmaster } from './postmaster.ts'

const START_TIMEOUT_MS = 60_000
const STARTS = 5

/** Nothing of a statement or a row may reach the log: no ERROR, no statement, no parameter, no detail. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  shared_buffers: '32MB',
  min_wal_size: '32MB',
  max_wal_size: '256MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_logical_replication_workers: '0',
  io_method: 'sync',
  huge_pages: 'off',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_statement: 'none',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
  log_checkpoints: 'off',
}

/** What the newest log says went wrong. Without statements and rows, see `SETTINGS`. */
function lastWords(home: Home): string {
  const lines = readFileSync(join(home.path, 'log'), 'utf8').trim().split('\n')
  return lines.findLast((line) => / (?:FATAL|PANIC): /.test(line)) ?? lines.at(-1) ?? 'no word'
}

/** A port of 127.0.0.1 that is free now: the wanted one if it is. */
async function findFreePort(wanted: number): Promise<number> {
  const tryPort = (port: number) =>
    new Promise<number | undefined>((done) => {
      const server = createServer()
      server.on('error', () => done(undefined))
      server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
        const address = server.address()
        server.close(() => done(typeof address === 'object' ? address?.port : undefined))
      })
    })
  const port = (await tryPort(wanted)) ?? (await tryPort(0))
  if (port === undefined) throw failed('no free port on 127.0.0.1')
  return port
}

/** How it is started. */
interface How {
  port: number
  mark: string
  maxConnections: number
}

interface Server {
  child: ChildProcess
  pid: number
  exited: Promise<void>
}

/** Spawns a postmaster away from our terminal and process group, and waits until it accepts connections. */
async function spawnServer(home: Home, { port, mark, maxConnections }: How): Promise<Server> {
  const log = join(home.path, 'log')
  if (existsSync(log)) renameSync(log, join(home.path, 'log.1'))
  const fd = openSync(log, 'a', 0o600)
  chownTo(home, log)
  const settings = Object.entries({
    ...SETTINGS,
    max_connections: String(maxConnections),
    port: String(port),
    cluster_name: mark,
  })
  const args = ['-D', home.data, ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const [command = '', ...rest] = [...home.runAs.prefix, home.binaries.postgres, ...args]
  const child = spawn(command, rest, {
    env: home.binaries.env,
    cwd: home.path,
    detached: true,
    stdio: ['ignore', fd, fd],
    ...home.runAs.ids,
  })
  closeSync(fd)
  child.unref()
  let gone = false
  const exited = new Promise<void>((done) => {
    for (const event of ['exit', 'error']) child.on(event, () => done())
  }).then(() => {
    gone = true
  })
  const pid = child.pid ?? 0
  const deadline = performance.now() + START_TIMEOUT_MS
  while (!gone && !isPostmasterReady(home.data, pid)) {
    if (performance.now() > deadline) {
      child.kill('SIGQUIT')
      throw failed(`not ready within ${START_TIMEOUT_MS / 1000} s, see ${log}`)
    }
    await Promise.race([exited, pause(10)])
  }
  if (gone) throw failed(`${lastWords(home)}, see ${log}`)
  return { child, pid, exited }
}

/** The first start: at the port that the server had, if it is free. Where somebody takes a port just before the server does, at another one. */
async function startAtFreePort(
  home: Home,
  connection: Connection,
  maxConnections: number,
): Promise<{ how: How; started: Server }> {
  const { mark } = connection
  let wanted = connection.port
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort(wanted)
    if (port !== connection.port) writeConnection(home, { ...connection, port })
    const how = { port, mark, maxConnections }
    try {
      return { how, started: await startServer(home, how) }
    } catch (error) {
      const isFree = (await findFreePort(port)) === port
      if (isFree || attempt === STARTS) throw error
      wanted = 0
    }
  }
}

/** Starts the server, and again when it dies while it should not. */
export async function superviseServer(
  home: Home,
  connection: Connection,
  maxConnections: number,
): Promise<{ port: number; stop(): Promise<void> }> {
  const { how, started } = await startAtFreePort(home, connection, maxConnections)
  let server = started
  const stopping = new AbortController()

  const watch = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await server.exited
      if (stopping.signal.aborted) return
      home.logger.error({ pid: server.pid }, 'embedded postgresql died')
      while (!stopping.signal.aborted) {
        await pause(500, stopping.signal)
        try {
          server = await startServer(home, how)
          home.logger.info({ pid: server.pid }, 'embedded postgresql started again')
          break
        } catch (error) {
          home.logger.error({ err: error }, 'embedded postgresql not started again')
        }
      }
    }
  }
  const watching = watch()
  return {
    port: how.port,
    stop: async () => {
      stopping.abort()
      await stopServer(server)
      await watching
      // One that was being started again meanwhile.
      await stopServer(server)
    },
  }
}

/** Fast, immediate, by force; within the time that a process has for all its releases. */
const STOPS = [
  ['SIGINT', 4_000],
  ['SIGQUIT', 1_000],
  ['SIGKILL', 1_000],
] as const

async function stopServer({ child, exited }: Server): Promise<void> {
  for (const [signal, timeoutMs] of STOPS) {
    if (!child.kill(signal)) return
    const gone = await withTimeout(exited, timeoutMs).then(
      () => true,
      () => false,
    )
    if (gone) return
  }
}

/** One start. A postmaster that a killed relayer had just spawned may come in between: it is stopped, and the start repeated. */
async function startServer(home: Home, how: How): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await spawnServer(home, how)
    } catch (error) {
      if (attempt === STARTS) throw error
      const wasInTheWay = await stopPostmaster(home.data, how.mark)
      if (!wasInTheWay && attempt > 1) throw error
      await pause(50 * attempt)
    }
  }
}
