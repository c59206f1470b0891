/**
 * PostgreSQL for tests: one embedded server per test run, one fresh database per call.
 *
 * The global set-up of a run starts the server, or takes the one of `DATABASE_URL` where that is set (as CI may), and prepares it: a
 * template with all tables, which is copied in a fraction of the time in which migrations run. Without a set-up, as in a bench, each
 * process has a server of its own and no template.
 */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { connectDatabase } from '../../../libs/db/src/connect.ts'
import { startEmbeddedPostgres } from '../../../libs/db/src/embedded/embedded-postgres.ts'
import { migrateDatabase } from '../../../libs/db/src/migrate.ts'
import { connectQueue } from '../../../libs/queue/src/queue.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'

/** Somebody is connected to it. */
const OBJECT_IN_USE = '55006'
const MIGRATIONS = new URL('../../../migrations', import.meta.url).pathname

/** For the relayers of several test files at once. */
const MAX_CONNECTIONS = 400

/** A PostgreSQL of this process, stopped and erased when disposed. */
export interface TestPostgres extends AsyncDisposable {
  url: string
}

/** Starts an embedded server in a temporary folder. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const dataDir = await mkdtemp(join(tmpdir(), 'dvt-postgres-'))
  const server = await startEmbeddedPostgres({ dataDir, logger: silentLogger, maxConnections: MAX_CONNECTIONS })
  return {
    url: server.url,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** The variables by which a run's server, and the database in it that has all tables, are handed to its workers. */
export const TEST_DATABASE_URL = 'DVT_TEST_DATABASE_URL'
const TEST_TEMPLATE = 'DVT_TEST_TEMPLATE'

/** The server and the template of a run; gone when disposed. */
export async function prepareTestPostgres(): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack()
  const given = process.env['DATABASE_URL'] ?? ''
  const url = given === '' ? stack.use(await startTestPostgres()).url : given
  if (given === '') await makeQuick(url)
  const template = stack.use(await createDatabase(url))
  await makeTables(template.url)
  process.env[TEST_DATABASE_URL] = url
  process.env[TEST_TEMPLATE] = nameOf(template.url)
  return stack.move()
}

/** Nothing of it outlives the run: nothing need reach the disk, and connections, of which tests make thousands, need no slow password. */
async function makeQuick(url: string): Promise<void> {
  const { username, password } = new URL(url)
  await onServer(
    url,
    'alter system set fsync = off',
    'alter system set full_page_writes = off',
    'alter system set synchronous_commit = off',
    'select pg_reload_conf()',
    'set scram_iterations = 1',
    `alter user ${username} password '${password}'`,
  )
}

/** What a relayer makes at its first start. */
async function makeTables(url: string): Promise<void> {
  await using db = await connectDatabase({ url, logger: silentLogger })
  await migrateDatabase(db, MIGRATIONS)
  await using _queue = await connectQueue({ databaseUrl: url, logger: silentLogger })
}

/** A fresh database, dropped when disposed. */
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

/** Creates an empty database of its own for a test file or a test. */
export async function createTestDatabase(): Promise<TestDatabase> {
  return createDatabase(await serverUrl())
}

/** The same with all tables, as a relayer that ran before leaves it; empty where the run has no template. */
export async function createRelayerDatabase(): Promise<TestDatabase> {
  return createDatabase(await serverUrl(), process.env[TEST_TEMPLATE])
}

async function createDatabase(server: string, template?: string): Promise<TestDatabase> {
  const url = new URL(server)
  url.pathname = `/test_${randomBytes(8).toString('hex')}`
  const name = nameOf(url.href)
  // By its files: written to the log page by page it would take ten times as much of the processor.
  const like = template === undefined ? '' : ` template ${template} strategy file_copy`
  await onServer(server, `create database ${name}${like}`)
  return {
    url: url.href,
    [Symbol.asyncDispose]: () => onServer(server, `drop database if exists ${name} with (force)`),
  }
}

/** Copies a database of the test's server as a restored dump is one; whoever is connected to it is thrown out for that. */
export async function copyDatabase(from: string): Promise<TestDatabase> {
  const server = await serverUrl()
  const [source, copy] = [nameOf(from), new URL(from)]
  copy.pathname = `/copy_${randomBytes(6).toString('hex')}`
  const deadline = performance.now() + PATIENCE_MS
  for (let isCopied = false; !isCopied; )
    isCopied = await onServer(
      server,
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${source}'`,
      `create database ${nameOf(copy.href)} template ${source}`,
    ).then(
      () => true,
      (error: { code?: string }) => {
        // Who was thrown out may be back before the copy begins, which waits for some seconds then.
        if (error.code !== OBJECT_IN_USE || performance.now() > deadline) throw error
        return false
      },
    )
  return {
    url: copy.href,
    [Symbol.asyncDispose]: () => onServer(server, `drop database if exists ${nameOf(copy.href)} with (force)`),
  }
}

const nameOf = (url: string) => new URL(url).pathname.slice(1)

async function onServer(url: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}
