/** Logs: pino, one JSON object a line, or `key=value` text. No keys, shares, passwords or bodies ever. */

import type { DestinationStream, Logger } from 'pino'
import { pino, stdTimeFunctions } from 'pino'
import { CodedError } from '../errors.ts'

export type { Logger } from 'pino'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export const LOG_FORMATS = ['plain', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

/** Long hex (a key, a signature, a ciphertext) has no business in a log, whoever wrote the message. */
const LONG_HEX = /(?:0x)?[0-9a-fA-F]{64,}/g
/** Credentials in a URL. */
const URL_CREDENTIALS = /\/\/[^/\s@]+@/g

/** The text without long hex and without URL credentials: the last fence for messages of other people's code. */
export function scrub(text: string): string {
  return text.replace(LONG_HEX, '<hex>').replace(URL_CREDENTIALS, '//***@')
}

/** An error as it may be logged: name, code, scrubbed message, our own facts, the causes likewise. Never its other fields. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: scrub(String(error)) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    type: error.name,
    ...(code === undefined ? {} : { code }),
    message: scrub(error.message),
    ...(error instanceof CodedError && Object.keys(error.meta).length > 0 ? { meta: error.meta } : {}),
    ...(depth === 0 && !(error instanceof CodedError) && error.stack !== undefined
      ? { stack: scrub(error.stack.split('\n').slice(1, 6).join('\n')) }
      : {}),
    ...(error.cause !== undefined && depth < 4 ? { cause: describeError(error.cause, depth + 1) } : {}),
  }
}

/** A text with line breaks or other control characters is quoted: nobody's text may look like a line of ours. */
function plainLine(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>
  const text = Object.entries({ ...fields, ...(err === undefined ? {} : { err }) })
    .map(
      ([key, value]) => `${key}=${typeof value === 'string' && !/\p{Cc}/u.test(value) ? value : JSON.stringify(value)}`,
    )
    .join(' ')
  return `${time} ${String(level).toUpperCase().padEnd(5)} ${msg}${text === '' ? '' : `  ${text}`}\n`
}

/** A logger for a process. `destination` is standard output unless a test wants the lines. */
export function createLogger(options: {
  level: LogLevel
  format: LogFormat
  destination?: { write(line: string): unknown }
}): Logger {
  const target = options.destination ?? process.stdout
  const stream: DestinationStream = {
    write: (line) => void target.write(options.format === 'json' ? line : plainLine(line)),
  }
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: (error) => describeError(error) },
    },
    stream,
  )
}

/** A logger that says nothing. */
export const silentLogger: Logger = pino({ level: 'silent' })
