/** The database for a command that needs nothing else of a relayer. */

import { Lifetime } from '@dvt-relayer/common/lifetime.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import { createLogger } from '@dvt-relayer/common/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
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
