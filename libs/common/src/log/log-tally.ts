/**
 * Log lines that strangers can cause: the first of a kind is written at once, and what follows is counted and summed up in one line a
 * kind and minute, so that nobody fills a disk by asking.
 */

import type { Logger } from './logger.ts'

/** How long lines of one kind are counted before they are summed up. */
const SUM_UP_MS = 60_000
/**
 * Kinds told apart at the same time; whatever comes beyond them is one kind more. A first line and a summary of each, some 300 bytes
 * long: at most 60 MB a day, whoever asks.
 */
const MOST_KINDS = 64
/** The kind of what is one too many. */
const OTHERS = 'others'

/**
 * A line: what its kind is, and what is written. `fields` of all lines of one kind are alike, `sums` are added up, and `once` stands in
 * the lines that are written at once alone.
 */
interface TalliedLine {
  kind: string
  level: 'info' | 'warn' | 'error'
  message: string
  fields: Readonly<Record<string, unknown>>
  sums?: Readonly<Record<string, number>>
  once?: Readonly<Record<string, unknown>>
  /** How many of a kind are written at once within a minute, where a person must see more than one to know what to do; else one. */
  atOnce?: number
}

/** What has come of a kind since its last line, and how many lines it had in this minute. */
interface Counted {
  line: TalliedLine
  told: number
  count: number
  sums: Record<string, number>
}

/** Creates the counter of a process. */
export function createLogTally(logger: Logger) {
  const kinds = new Map<string, Counted>()
  let timer: NodeJS.Timeout | undefined

  /** A kind of which nothing came is told at once again. */
  function sumUp(): void {
    timer = undefined
    for (const [kind, { line, count, sums }] of [...kinds]) {
      kinds.delete(kind)
      if (count === 0) continue
      logger[line.level](
        { ...line.fields, ...sums, times: count, within_seconds: SUM_UP_MS / 1000 },
        `${line.message}, summed up`,
      )
      // What goes on is counted on: its next line is a summary too.
      kinds.set(kind, { line, told: line.atOnce ?? 1, count: 0, sums: {} })
    }
    if (kinds.size > 0) watch()
  }

  const write = ({ level, fields, sums, once, message }: TalliedLine) =>
    logger[level]({ ...fields, ...sums, ...once }, message)

  function watch(): void {
    timer ??= setTimeout(sumUp, SUM_UP_MS)
    timer.unref()
  }

  return {
    /** Writes a line, or counts it where one of its kind was written within the minute. */
    log(line: TalliedLine): void {
      const kind = kinds.has(line.kind) || kinds.size < MOST_KINDS ? line.kind : OTHERS
      const counted = kinds.get(kind)
      if (counted !== undefined && counted.told < (counted.line.atOnce ?? 1)) {
        counted.told++
        write(line)
        return
      }
      if (counted !== undefined) {
        counted.count++
        for (const [name, value] of Object.entries(line.sums ?? {}))
          counted.sums[name] = (counted.sums[name] ?? 0) + value
        return
      }
      const { level } = line
      const told: TalliedLine =
        kind === line.kind ? line : { kind, level, message: 'too many kinds of lines at once', fields: {} }
      kinds.set(kind, { line: told, told: 1, count: 0, sums: {} })
      write(told)
      watch()
    },

    /** Sums up what was counted, before the process ends. */
    flush(): void {
      clearTimeout(timer)
      sumUp()
      clearTimeout(timer)
      timer = undefined
      kinds.clear()
    },
  }
}
