/**
 * PostgreSQL for tests: one embedded server per test run, one fresh database per call.
 *
 * The first worker of a run makes the server and the others use it; it is stopped when the run ends. With `DATABASE_URL` set
 * (as CI may) the server there is used instead.
 */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { silentLogger } from '../../../libs/common/src/logger.ts'
import { startEmbeddedPostgres } from '../../../libs/db/src/embedded/embedded-postgres.ts'

/** A PostgreSQL of this process, stopped and erased when disposed. */
export interface TestPostgres extends AsyncDisposable {
  url: string
}

/** Starts an embedded server in a temporary folder. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const dataDir = await mkdtemp(join(tmpdir(), 'dvt-postgres-'))
  const server = await startEmbeddedPostgres({ dataDir, logger: silentLogger })
  return {
    url: server.url,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** The variable by which the run's server is handed to its workers. */
export const TEST_DATABASE_URL = 'DVT_TEST_DATABASE_URL'

/** A fresh, empty database, dropped when disposed. */
export interface TestDatabase extends AsyncDisposable {
  url: string
}

let own: Promise<TestPostgres> | undefined

/** The server of this run: from the global setup, or one of this process where there is none. */
async function serverUrl(): Promise<string> {
  const given = process.env[TEST_DATABASE_URL] ?? process.env['DATABASE_URL']
  if (given !== undefined && given !== '') return given
  own ??= startTestPostgres()
  return (await own).url
}

/** Creates a database of its own for a test file or a test. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = await serverUrl()
  const name = `test_${randomBytes(8).toString('hex')}`
  await onServer(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    [Symbol.asyncDispose]: () => onServer(server, `drop database if exists ${name} with (force)`),
  }
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
