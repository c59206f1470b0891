/** Lines that libraries and the runtime print by themselves, as log lines: whoever reads standard output and error finds JSON, or our form, alone. */

import { format } from 'node:util'
import { describeError, type Logger, scrub } from './logger.ts'

/** Where a library's line goes. Errors of libraries are degraded at most: what is an error here, we say ourselves. */
const LEVELS = { debug: 'debug', log: 'debug', info: 'debug', trace: 'debug', warn: 'warn', error: 'warn' } as const
type Method = keyof typeof LEVELS
/** A library that says the same for ever is heard once; of so many texts. */
const MOST_TEXTS = 200

/**
 * Makes log lines of what is printed by `console` and of the process's warnings, until disposed. `console` is one for the whole process,
 * so this is for what runs alone in one: nothing else of the house replaces anything global.
 */
export function logOthersLines(logger: Logger): Disposable {
  const told = new Set<string>()
  const tell = (level: 'debug' | 'warn', source: string, text: string, fields: object = { text }): void => {
    if (told.has(text)) return
    if (told.size < MOST_TEXTS) told.add(text)
    logger[level]({ source, ...fields }, 'a library says')
  }
  const methods = Object.entries(LEVELS) as [Method, 'debug' | 'warn'][]
  const before = methods.map(([method]) => [method, console[method]] as const)
  for (const [method, level] of methods)
    console[method] = (...values: unknown[]) => tell(level, `console.${method}`, textOf(values))
  const printers = process.listeners('warning')
  const onWarning = (warning: Error) => tell('warn', 'node', warning.message, { err: warning })
  process.removeAllListeners('warning')
  process.on('warning', onWarning)
  return {
    [Symbol.dispose]() {
      for (const [method, original] of before) console[method] = original
      process.off('warning', onWarning)
      for (const printer of printers) process.on('warning', printer)
    },
  }
}

/** One line without what must not be in a log. Of an error its message alone: its other fields may be a command with its password. */
function textOf(values: readonly unknown[]): string {
  const plain = values.map((value) => (value instanceof Error ? String(describeError(value)['message']) : value))
  return scrub(format(...plain))
    .slice(0, 1_000)
    .trim()
}
