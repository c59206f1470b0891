/** The database for a command that needs nothing else of a relayer. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { BootError } from '@dvt-relayer/common/errors.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { Lifetime } from '@dvt-relayer/common/process/lifetime.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import { type RelayerConfig, readConfig } from '../config.ts'
import { openDatabase } from '../open.ts'

/** Works with the database of the settings, and closes it. */
export async function withDatabase<T>(
  environment: Environment,
  work: (db: Database, settings: { config: RelayerConfig; logger: Logger }) => Promise<T>,
): Promise<T> {
  const { config } = readConfig(environment)
  const logger = createLogger(config.log)
  await using lifetime = new Lifetime(logger)
  const { db } = await openDatabase(config, logger, lifetime)
  return await work(db, { config, logger })
}

/**
 * Opens the database of a relayer, which must be there: a first start of the embedded PostgreSQL would make an empty one. Where a running
 * relayer has it, `instead` says what that one can do.
 *
 * @throws {BootError} DATABASE_MISSING, DATA_DIR_IN_USE
 */
export async function openExisting(
  config: RelayerConfig,
  logger: Logger,
  lifetime: Lifetime,
  access: 'read' | 'write',
  instead: string,
): Promise<Database> {
  const { databaseUrl, dataDir } = config.storage
  if (databaseUrl === undefined && !existsSync(join(dataDir, 'postgres')))
    throw new BootError(
      'DATABASE_MISSING',
      `there is no database of a relayer in DATA_DIR ${dataDir}: run this with the DATABASE_URL or DATA_DIR of the relayer`,
    )
  try {
    return (await openDatabase(config, logger, lifetime, access)).db
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== 'DATA_DIR_IN_USE') throw error
    throw new BootError('DATA_DIR_IN_USE', `${error.message}. ${instead}`, { cause: error })
  }
}
