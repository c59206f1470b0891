/** PostgreSQL's home in `DATA_DIR`: the folder `postgres` with its data, its log, and how to connect. */

import { execFile } from 'node:child_process'
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
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { DatabaseError } from '../errors.ts'
import type { PostgresBinaries, RunAs } from './postgres-binaries.ts'
import { chooseRunAs, findPostgresBinaries, majorVersion } from './postgres-binaries.ts'

/** How to connect, and the mark by which the processes are recognised. */
export interface Connection {
  password: string
  port: number
  mark: string
}

/** What a start needs to know. */
export interface Home {
  path: string
  data: string
  binaries: PostgresBinaries
  runAs: RunAs
  logger: Logger
}

const INITDB_TIMEOUT_MS = 60_000

/** The embedded PostgreSQL does not start. */
export const failed = (reason: string): DatabaseError =>
  new DatabaseError('EMBEDDED_POSTGRES_FAILED', `embedded PostgreSQL does not start: ${reason}`)

/** Makes `<dataDir>/postgres` where there is none; the rename is the last step, so it is whole or not there. */
export async function openHome(dataDir: string, logger: Logger): Promise<Home> {
  const binaries = findPostgresBinaries(dataDir)
  removeLeftovers(dataDir, logger)
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

/** Removes homes that were in the making. An initdb that outlived its relayer may still write to one: the next start removes the rest. */
function removeLeftovers(dataDir: string, logger: Logger): void {
  for (const name of readdirSync(dataDir).filter((entry) => /^postgres-.*\.tmp$/.test(entry))) {
    try {
      rmSync(join(dataDir, name), { recursive: true, force: true, maxRetries: 3 })
    } catch (error) {
      logger.debug({ err: error }, 'leftover not removed')
    }
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
    const settings = { env: home.binaries.env, cwd: home.path, timeout: INITDB_TIMEOUT_MS, ...home.runAs.ids }
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

/** @throws {DatabaseError} EMBEDDED_POSTGRES_FAILED where the file cannot be read */
export function readConnection(home: Home): Connection {
  try {
    return JSON.parse(readFileSync(connectionFile(home), 'utf8')) as Connection
  } catch {
    throw failed(`${connectionFile(home)} cannot be read`)
  }
}

/** Replaces the file in one step. */
export function writeConnection(home: Home, connection: Connection): void {
  const next = `${connectionFile(home)}.next`
  writeOwned(home, next, `${JSON.stringify(connection)}\n`)
  renameSync(next, connectionFile(home))
}

/** Gives a file to the user that PostgreSQL runs as. */
export function chownTo(home: Home, path: string): void {
  if (home.runAs.ids !== undefined) chownSync(path, home.runAs.ids.uid, home.runAs.ids.gid)
}
