/** Brings a database to the schema this program knows; refuses one that is ahead of it. */

import { sql } from 'drizzle-orm'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import type { Database } from './connect.ts'
import { DatabaseError, translateDatabaseError } from './errors.ts'

/** The key of the advisory lock that one migrating process holds. */
const LOCK_KEY = 0x6476_7472

/** How long a lock is waited for. */
const WAIT_SECONDS = 60
/** How often they are run where other transactions are in the way: each time costs those a second at least. */
const TRIES = 10

/**
 * Runs the migrations of `folder` that the database lacks. Processes that start together take turns.
 *
 * @throws {DatabaseError} DATABASE_FROM_THE_FUTURE when the database has a migration that is not in `folder`, DATABASE_IN_USE when others
 * hold for `waitSeconds` what is to be changed; nothing was changed
 */
export async function migrateDatabase(db: Database, folder: string, waitSeconds = WAIT_SECONDS): Promise<void> {
  const known = new Set(readMigrationFiles({ migrationsFolder: folder }).map(({ hash }) => hash))
  await db.onOneConnection(async (connection) => {
    await connection.execute(sql.raw(`set lock_timeout = '${waitSeconds}s'`))
    try {
      await connection.execute(sql`select pg_advisory_lock(${LOCK_KEY})`)
    } catch (error) {
      throw inUseWhere(translateDatabaseError(error, db.host))
    }
    const done = await appliedMigrations(connection)
    const unknown = done.filter((hash) => !known.has(hash))
    if (unknown.length > 0) {
      throw new DatabaseError(
        'DATABASE_FROM_THE_FUTURE',
        `the database at ${db.host} has ${unknown.length} migrations that this version does not know: a newer version has worked with it. Run that version or a newer one; the way back to this one is a backup of before the update (docs/operating/upgrade.md)`,
        { meta: { host: db.host, unknown: unknown.length } },
      )
    }
    for (let tries = 1; ; tries++) {
      try {
        return await migrate(connection, { migrationsFolder: folder })
      } catch (error) {
        const translated = translateDatabaseError(error, db.host)
        // Processes of the version before lock the same tables in another order, and all was taken back.
        if (translated.code !== 'DATABASE_CONFLICT' || tries === TRIES) throw inUseWhere(translated)
      }
    }
  })
}

/** That others were in the way for too long is no fault of the migration: it may be tried again. */
function inUseWhere(error: DatabaseError): DatabaseError {
  if (error.code !== 'DATABASE_TIMEOUT' && error.code !== 'DATABASE_CONFLICT') return error
  return new DatabaseError(
    'DATABASE_IN_USE',
    'other sessions hold the tables that an upgrade changes: nothing was changed; end what has been open for long (pg_stat_activity), and start again',
    { meta: error.meta },
  )
}

/** How far the database is from the migrations of `folder`: how many it lacks, and how many it has that are not there. Nothing is written. */
export async function compareMigrations(
  db: Pick<Database, 'execute'>,
  folder: string,
): Promise<{ done: number; missing: number; unknown: number }> {
  const known = readMigrationFiles({ migrationsFolder: folder }).map(({ hash }) => hash)
  const done = new Set(await appliedMigrations(db))
  const missing = known.filter((hash) => !done.has(hash)).length
  return { done: done.size, missing, unknown: done.size - (known.length - missing) }
}

async function appliedMigrations(db: Pick<Database, 'execute'>): Promise<string[]> {
  const table = await db.execute<{ exists: boolean }>(
    sql`select to_regclass('drizzle.__drizzle_migrations') is not null as exists`,
  )
  if (table.rows[0]?.exists !== true) return []
  const { rows } = await db.execute<{ hash: string }>(sql`select hash from drizzle.__drizzle_migrations`)
  return rows.map(({ hash }) => hash)
}
