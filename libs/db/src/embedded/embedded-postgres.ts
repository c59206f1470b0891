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

import { mkdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { DatabaseError } from '../errors.ts'
import { lockDataDir } from './data-dir-lock.ts'
import { type Connection, openHome, readConnection } from './home.ts'
import { stopPostmaster } from './postmaster.ts'
import { superviseServer } from './server.ts'

/** A running PostgreSQL of our own. */
/** A relayer has a dozen, and a restart finds those of the process before. */
const MAX_CONNECTIONS = 100

interface EmbeddedPostgres extends AsyncDisposable {
  /** Its address with the password: never to be logged. */
  readonly url: string
  /** How long the start took. */
  readonly startMs: number
}

/**
 * Starts PostgreSQL on `<dataDir>/postgres`, making it first where there is none.
 *
 * @throws {DatabaseError} DATA_DIR_IN_USE, DATA_DIR_UNUSABLE, DATA_DIR_VERSION, EMBEDDED_POSTGRES_MISSING,
 *   EMBEDDED_POSTGRES_AS_ROOT, EMBEDDED_POSTGRES_FAILED
 */
export async function startEmbeddedPostgres(options: {
  dataDir: string
  logger: Logger
  maxConnections?: number
}): Promise<EmbeddedPostgres> {
  const startedAt = performance.now()
  const dataDir = resolve(options.dataDir)
  makeDataDir(dataDir)
  const lock = lockDataDir(dataDir)
  try {
    const home = await openHome(dataDir, options.logger)
    const connection = readConnection(home)
    await stopPostmaster(home.data, connection.mark)
    const server = await superviseServer(home, connection, options.maxConnections ?? MAX_CONNECTIONS)
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

/**
 * The address, with the password, of the PostgreSQL that a relayer runs in this folder; undefined where none does, or this user may not
 * read it. Nothing is started or written.
 */
export function findEmbeddedPostgres(dataDir: string): string | undefined {
  const home = join(resolve(dataDir), 'postgres')
  try {
    const { password, port } = JSON.parse(readFileSync(join(home, 'connection.json'), 'utf8')) as Connection
    const [pid, , , , , , , state] = readFileSync(join(home, 'data', 'postmaster.pid'), 'utf8').split('\n')
    return Number(pid) > 1 && state?.trim() === 'ready'
      ? `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
      : undefined
  } catch {
    return undefined
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
