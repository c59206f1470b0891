/** `npm run relayer`: serves until the process is asked to stop. */

import { createLogger } from '@dvt-relayer/common/logger.ts'
import { logOthersLines } from '@dvt-relayer/common/others-lines.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { readConfig } from '../config.ts'
import { type Overrides, startRelayer } from '../relayer.ts'

/** Serves. Returns an exit code. */
export async function serve(
  environment: Environment,
  onSignal: (stop: () => void) => void,
  overrides: Overrides = {},
): Promise<number> {
  const { config, warnings } = readConfig(environment)
  const logger = overrides.logger ?? createLogger(config.log)
  using _lines = logOthersLines(logger)
  for (const warning of warnings) logger.warn(warning)
  const stopped = Promise.withResolvers<void>()
  // A signal during boot is honoured as soon as boot is through.
  onSignal(stopped.resolve)
  const relayer = await startRelayer(config, { logger, ...overrides })
  await stopped.promise
  logger.info('stopping')
  await relayer[Symbol.asyncDispose]()
  logger.info('stopped')
  return 0
}
