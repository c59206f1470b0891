/** `npm run relayer`: serves until the process is asked to stop. */

import { once } from 'node:events'
import { ENV_FILE_READ, type EnvFile, shownEnvFile } from '@dvt-relayer/common/files/env-file.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { logOthersLines } from '@dvt-relayer/common/log/others-lines.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { readConfig } from '../config.ts'
import { type Overrides, type Relayer, startRelayer } from '../relayer.ts'

/** Serves. Returns an exit code. */
export async function serve(
  environment: Environment,
  onSignal: (stop: () => void, reload: () => void) => void,
  overrides: Overrides = {},
  envFile?: EnvFile,
): Promise<number> {
  const { config, warnings } = readConfig(environment)
  const logger = overrides.logger ?? createLogger(config.log)
  using _lines = logOthersLines(logger)
  if (envFile !== undefined) logger.info(shownEnvFile(envFile), ENV_FILE_READ)
  for (const warning of warnings) logger.warn(warning)
  const stop = new AbortController()
  const { signal } = stop
  let askedAt = 0
  let relayer: Relayer | undefined
  const onStop = () => {
    if (signal.aborted) return
    askedAt = performance.now()
    logger.info('stopping')
    stop.abort()
  }
  onSignal(onStop, () => relayer?.reload())
  try {
    await using started = await startRelayer(config, { logger, signal, ...overrides })
    relayer = started
    if (!signal.aborted) await once(signal, 'abort')
  } catch (error) {
    // A boot that is given up fails in one way or another.
    if (!signal.aborted) throw error
  }
  logger.info({ ms: Math.round(performance.now() - askedAt) }, 'stopped')
  return 0
}
