/** What `doctor` finds of PostgreSQL: version, rights, tables and clock. It is opened so that the server itself refuses every write. */

import { accessSync, constants } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf, reasonOf } from '@dvt-relayer/common/errors.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { findEmbeddedPostgres } from '@dvt-relayer/db/embedded/embedded-postgres.ts'
import { compareMigrations } from '@dvt-relayer/db/migrate.ts'
import { countForbidden, lookAtServer } from '@dvt-relayer/db/queries/doctor/server.ts'
import type { RelayerConfig } from '../config.ts'
import { MIGRATIONS } from '../open.ts'
import type { Finding } from './findings.ts'

const OLDEST = 150_000
/** A clock may be off by this much. */
const CLOCK_SECONDS = 5
const MAX_CONNECTIONS = 4

/** A database that is open to read; or why it is not. */
export interface ReadDatabase extends AsyncDisposable {
  readonly db: Database | undefined
  /** Whether it is the relayer's own in DATA_DIR. */
  readonly isEmbedded: boolean
  readonly problem?: string
}

/** Opens the database of the settings. The embedded one is looked at while a relayer runs it: to start it would be to change it. */
export async function openToRead({
  databaseUrl,
  dataDir,
}: Pick<RelayerConfig['storage'], 'databaseUrl' | 'dataDir'>): Promise<ReadDatabase> {
  const isEmbedded = databaseUrl === undefined
  const url = databaseUrl ?? findEmbeddedPostgres(dataDir)
  const nothing = { db: undefined, isEmbedded, [Symbol.asyncDispose]: () => Promise.resolve() }
  if (url === undefined) return nothing
  try {
    const db = await connectToRead(url)
    return { db, isEmbedded, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() }
  } catch (error) {
    return { ...nothing, problem: messageOf(error) }
  }
}

/** Connects at once or not at all. @throws {DatabaseError} */
export const connectToRead = (url: string): Promise<Database> =>
  connectDatabase({
    url,
    logger: silentLogger,
    applicationName: 'dvt-relayer-doctor',
    maxConnections: MAX_CONNECTIONS,
    readOnly: true,
    waitMs: 0,
  })

/** PostgreSQL: is it there, new enough, one that can be written to, with the rights a relayer needs, and tables of this version? */
export async function examineDatabase(
  { db, isEmbedded, problem }: ReadDatabase,
  dataDir: string | undefined = undefined,
): Promise<Finding> {
  if (db === undefined) {
    const wrong = problem ?? (dataDir === undefined ? undefined : findFolderProblem(dataDir))
    return wrong === undefined
      ? finding(
          'database',
          'unused',
          'the embedded PostgreSQL of DATA_DIR does not run, so nothing of it is known: ask again beside its relayer (npm start), as the same user',
        )
      : finding('database', 'problem', `${wrong} (${isEmbedded ? 'DATA_DIR' : 'DATABASE_URL'})`)
  }
  const [server, { forbidden, foreign }, { done, missing, unknown }] = await Promise.all([
    lookAtServer(db),
    countForbidden(db),
    compareMigrations(db, MIGRATIONS),
  ])
  const { version, versionNumber, isReplica, mayCreateSchema, mayCreateTable } = server
  const isNew = done === 0
  const problems = [
    versionNumber < OLDEST && `PostgreSQL ${version} is too old: 15 or newer is needed`,
    isReplica && 'it is a replica and refuses every write: set DATABASE_URL to the primary',
    isNew &&
      !(mayCreateSchema && mayCreateTable) &&
      'the user may not make schemas and tables: make it the owner of the database',
    forbidden > 0 && `the user may not read and write ${count(forbidden, 'table')}: grant it, or make it their owner`,
    unknown > 0 &&
      `it has ${count(unknown, 'migration')} that this version does not know: run the version that made them, or a newer one`,
  ].filter((line) => line !== false)
  const doubts = [
    !isNew &&
      foreign > 0 &&
      `${count(foreign, 'table')} belong to another role, so that the next version cannot change them: make the user of DATABASE_URL their owner`,
    !isNew && missing > 0 && `${count(missing, 'migration')} to be made at the next start`,
  ].filter((line) => line !== false)
  const facts = { host: db.host, version, migrations: done, migrations_missing: missing, replica: isReplica }
  if (problems.length > 0)
    return finding('database', 'problem', problems.map((line) => `${db.host}: ${line}`).join('\n'), {
      details: doubts,
      facts,
    })
  const tables = isNew ? 'no tables yet: the first start makes them' : count(done, 'migration')
  return finding('database', doubts.length > 0 ? 'warning' : 'good', `${db.host}: PostgreSQL ${version}, ${tables}`, {
    details: doubts,
    facts,
  })
}

/** Whether a start could make its PostgreSQL here: it writes to the folder, or makes it in the nearest one that is there. */
function findFolderProblem(dataDir: string): string | undefined {
  for (let folder = dataDir; ; folder = dirname(folder)) {
    try {
      accessSync(folder, constants.W_OK | constants.X_OK)
      return undefined
    } catch (error) {
      const reason = reasonOf(error)
      if (reason === 'ENOENT' && folder !== dirname(folder)) continue
      return `no PostgreSQL can be made in ${dataDir}: this user cannot write to ${folder} (${reason})`
    }
  }
}

/** This machine's clock, held against the database's. Of nodes see `consensus` and `execution`. */
export async function examineClock(db: Database): Promise<Finding> {
  const before = Date.now()
  const { nowSeconds } = await lookAtServer(db)
  const difference = nowSeconds - (before + Date.now()) / 2000
  const facts = { difference_seconds: Math.round(difference * 10) / 10 }
  const seconds = Math.round(Math.abs(difference))
  return Math.abs(difference) > CLOCK_SECONDS
    ? finding(
        'clock',
        'warning',
        `the clock of ${db.host} is ${seconds} s ${difference > 0 ? 'ahead of' : 'behind'} this machine's: set both by NTP`,
        { facts },
      )
    : finding('clock', 'good', `this machine and ${db.host} have the same time`, { facts })
}
