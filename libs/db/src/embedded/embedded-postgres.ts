/**
 * A real PostgreSQL in `DATA_DIR`, for a first look and small vaults: made once, started, watched and stopped here.
 *
 *     postgres.lock, postgres.owner   who uses the folder
 *     postgres/data                   PostgreSQL's own folder
 *     postgres/connection.json        password, port and the mark by which its processes are recognised
 *     postgres/log                    what PostgreSQL says, of this start; log.1 of the one before
 *     postgres-….tmp                  one in the making; a leftover is removed
 *
 * A relayer that was killed leaves PostgreSQL running. Whatever state that one is in, the next start ends it cleanly and starts
 * its own: one path instead of one per moment of death.
 */

import type { ChildProcess } from 'node:child_process'
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { pause, withTimeout } from '@dvt-relayer/common/lifetime.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import { DatabaseError } from '../errors.ts'
import { lockDataDir } from './data-dir-lock.ts'
import type { PostgresBinaries, RunAs } from './postgres-binaries.ts'
import { chooseRunAs, findPostgresBinaries, majorVersion } from './postgres-binaries.ts'
import { isPostmasterReady, stopPostmaster } from './postmaster.ts'

/** A running PostgreSQL of our own. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /** Its address with the password: never to be logged. */
  readonly url: string
  /** How long the start took. */
  readonly startMs: number
}

interface Connection {
  password: string
  port: number
  mark: string
}

/** What a start needs to know. */
interface Home {
  path: string
  data: string
  binaries: PostgresBinaries
  runAs: RunAs
  logger: Logger
}

const START_TIMEOUT_MS = 60_000
const STARTS = 5

/** Nothing of a statement or a row may reach the log: no ERROR, no statement, no parameter, no detail. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
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

/**
 * Starts PostgreSQL on `<dataDir>/postgres`, making it first where there is none.
 *
 * @throws {DatabaseError} DATA_DIR_IN_USE, DATA_DIR_UNUSABLE, DATA_DIR_VERSION, EMBEDDED_POSTGRES_MISSING,
 *   EMBEDDED_POSTGRES_AS_ROOT, EMBEDDED_POSTGRES_FAILED
 */
export async function startEmbeddedPostgres(options: { dataDir: string; logger: Logger }): Promise<EmbeddedPostgres> {
  const startedAt = performance.now()
  const dataDir = resolve(options.dataDir)
  makeDataDir(dataDir)
  const lock = lockDataDir(dataDir)
  try {
    const home = await prepare(dataDir, options.logger)
    const connection = readConnection(home)
    await stopPostmaster(home.data, connection.mark)
    const server = await superviseServer(home, connection)
    const startMs = Math.round(performance.now() - startedAt)
    options.logger.info({ data_dir: dataDir, port: server.port, duration_ms: startMs }, 'embedded postgresql started')
    let stopped: Promise<void> | undefined
    return {
      url: `postgres://postgres:${connection.password}@127.0.0.1:${server.port}/postgres`,
      startMs,
      [Symbol.asyncDispose]: () => {
        stopped ??= server.stop().finally(() => lock[Symbol.dispose]())
        return stopped
      },
    }
  } catch (error) {
    lock[Symbol.dispose]()
    throw error
  }
}

function makeDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o711 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new DatabaseError('DATA_DIR_UNUSABLE', `DATA_DIR ${dataDir} cannot be made: ${code}`, {
      meta: { data_dir: dataDir },
    })
  }
}

/** Makes `<dataDir>/postgres` where there is none; the rename is the last step, so it is whole or not there. */
async function prepare(dataDir: string, logger: Logger): Promise<Home> {
  const binaries = findPostgresBinaries(dataDir)
  for (const name of readdirSync(dataDir).filter((entry) => /^postgres-.*\.tmp$/.test(entry))) {
    // One in the making may still be written to by an initdb that outlived its relayer; the next start removes the rest.
    try {
      rmSync(join(dataDir, name), { recursive: true, force: true, maxRetries: 3 })
    } catch (error) {
      logger.debug({ err: error }, 'leftover not removed')
    }
  }
  const path = join(dataDir, 'postgres')
  if (existsSync(path)) {
    assertVersionFile(path, binaries)
    const runAs = chooseRunAs(binaries, path)
    return { path, data: join(path, 'data'), binaries, runAs, logger }
  }
  const making = join(dataDir, `postgres-${randomBytes(4).toString('hex')}.tmp`)
  mkdirSync(making, { mode: 0o700 })
  try {
    const runAs = chooseRunAs(binaries, making)
    await initialise({ path: making, data: join(making, 'data'), binaries, runAs, logger })
    renameSync(making, path)
    return { path, data: join(path, 'data'), binaries, runAs, logger }
  } catch (error) {
    rmSync(making, { recursive: true, force: true, maxRetries: 3 })
    throw error
  }
}

/** Another major version's folder is left as it is. */
function assertVersionFile(path: string, binaries: PostgresBinaries): void {
  const file = join(path, 'data', 'PG_VERSION')
  const found = existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined
  const ours = majorVersion({ prefix: [], ids: undefined }, binaries)
  if (found === ours) return
  throw new DatabaseError(
    'DATA_DIR_VERSION',
    found === undefined
      ? `${path} holds no PostgreSQL data folder: move it away`
      : `${path} was made by PostgreSQL ${found}, this is ${ours}: dump it with version ${found}, move it away and restore, or set DATABASE_URL`,
    { meta: { data_dir: path, found: found ?? 0, expected: ours } },
  )
}

async function initialise(home: Home): Promise<void> {
  const connection: Connection = {
    password: randomBytes(24).toString('base64url'),
    port: 0,
    mark: `dvt-${randomBytes(8).toString('hex')}`,
  }
  const passwordFile = join(home.path, 'password')
  writeOwned(home, passwordFile, connection.password)
  const args = ['-D', home.data, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`]
  const [command = '', ...rest] = [...home.runAs.prefix, home.binaries.initdb, ...args]
  rest.push('--locale=C', '--encoding=UTF8', '--no-instructions')
  try {
    const settings = { env: home.binaries.env, cwd: home.path, timeout: START_TIMEOUT_MS, ...home.runAs.ids }
    await promisify(execFile)(command, rest, settings)
  } catch (error) {
    const said = String((error as { stderr?: unknown }).stderr ?? '')
      .trim()
      .split('\n')
      .at(-1)
    throw failed(`initdb failed: ${said}`)
  }
  rmSync(passwordFile)
  writeConnection(home, connection)
}

function writeOwned(home: Home, path: string, text: string): void {
  const fd = openSync(path, 'w', 0o600)
  writeFileSync(fd, text)
  closeSync(fd)
  chownTo(home, path)
}

const connectionFile = (home: Home) => join(home.path, 'connection.json')

function readConnection(home: Home): Connection {
  try {
    return JSON.parse(readFileSync(connectionFile(home), 'utf8')) as Connection
  } catch {
    throw failed(`${connectionFile(home)} cannot be read`)
  }
}

function writeConnection(home: Home, connection: Connection): void {
  const next = `${connectionFile(home)}.next`
  writeOwned(home, next, `${JSON.stringify(connection)}\n`)
  renameSync(next, connectionFile(home))
}

function chownTo(home: Home, path: string): void {
  if (home.runAs.ids !== undefined) chownSync(path, home.runAs.ids.uid, home.runAs.ids.gid)
}

const failed = (reason: string): DatabaseError =>
  new DatabaseError('EMBEDDED_POSTGRES_FAILED', `embedded PostgreSQL does not start: ${reason}`)

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

interface Server {
  child: ChildProcess
  pid: number
  exited: Promise<void>
}

/** Spawns a postmaster away from our terminal and process group, and waits until it accepts connections. */
async function spawnServer(home: Home, port: number, mark: string): Promise<Server> {
  const log = join(home.path, 'log')
  if (existsSync(log)) renameSync(log, join(home.path, 'log.1'))
  const fd = openSync(log, 'a', 0o600)
  chownTo(home, log)
  const settings = Object.entries({ ...SETTINGS, port: String(port), cluster_name: mark })
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

/** Starts the server, and again when it dies while it should not. */
async function superviseServer(home: Home, connection: Connection): Promise<{ port: number; stop(): Promise<void> }> {
  const { mark } = connection
  const port = await findFreePort(connection.port)
  if (port !== connection.port) writeConnection(home, { ...connection, port })
  let server = await startServer(home, port, mark)
  const stopping = new AbortController()

  const watch = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await server.exited
      if (stopping.signal.aborted) return
      home.logger.error({ pid: server.pid }, 'embedded postgresql died')
      while (!stopping.signal.aborted) {
        await pause(500, stopping.signal)
        try {
          server = await startServer(home, port, mark)
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
    port,
    stop: async () => {
      stopping.abort()
      await stopServer(server)
      await watching
      // One that was being started again meanwhile.
      await stopServer(server)
    },
  }
}

/** Fast, immediate, by force; within the 10 s that a process has for all its releases. */
const STOPS = [
  ['SIGINT', 5_000],
  ['SIGQUIT', 2_000],
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
async function startServer(home: Home, port: number, mark: string): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await spawnServer(home, port, mark)
    } catch (error) {
      if (attempt === STARTS) throw error
      const wasInTheWay = await stopPostmaster(home.data, mark)
      if (!wasInTheWay && attempt > 1) throw error
      await pause(50 * attempt)
    }
  }
}
