/** The settings of logs, the same in every app, and what every app ignores. */

import { custom, oneOf, withDefault } from '../settings.ts'
import { LOG_FORMATS, LOG_LEVELS, type LogLevel } from './logger.ts'

/** The words of the existing relayer and sidecar for levels that have another name here. */
const EXISTING_LEVELS: Readonly<Record<string, LogLevel>> = { warning: 'warn', critical: 'error', fatal: 'error' }

const WORDS = { description: 'debug, info, warn, error or silent', example: 'info' }
const LEVEL = oneOf(LOG_LEVELS, WORDS)

export const LOG_SETTINGS = {
  LOG_LEVEL: withDefault(
    custom((text): LogLevel => EXISTING_LEVELS[text.toLowerCase()] ?? LEVEL.parse(text), WORDS),
    'info' as const,
  ),
  LOG_FORMAT: withDefault(oneOf(LOG_FORMATS, { description: 'plain or json', example: 'json' }), 'plain' as const),
}

/** What the existing relayer and sidecar know, and means nothing here: a file of theirs, tracebacks, and what Sentry's library reads by itself. */
export const EXISTING_IGNORED = ['DATABASE', 'VERBOSE', 'SENTRY_DSN', 'SENTRY_ENVIRONMENT', 'SENTRY_*'] as const
