/** The settings of logs, the same in every app. */

import { LOG_FORMATS, LOG_LEVELS } from './logger.ts'
import { oneOf, withDefault } from './settings.ts'

export const LOG_SETTINGS = {
  LOG_LEVEL: withDefault(
    oneOf(LOG_LEVELS, { description: 'debug, info, warn, error or silent', example: 'info' }),
    'info' as const,
  ),
  LOG_FORMAT: withDefault(oneOf(LOG_FORMATS, { description: 'plain or json', example: 'json' }), 'plain' as const),
}
