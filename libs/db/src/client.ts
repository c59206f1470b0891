/**
 * The connection to PostgreSQL as everything here uses it: `pg`'s own client, whose errors are `DatabaseError` and whose `bigint` is
 * a number, or an error where a number cannot hold it.
 */

import type { Socket } from 'node:net'
import { isMisread } from '@dvt-relayer/common/settings.ts'
import pg from 'pg'
import { DatabaseError, translateDatabaseError } from './errors.ts'

type GetTypeParser = (oid: number, format?: string) => (text: string) => unknown
type Callback = (error: unknown, result?: unknown) => void

const INT8 = pg.types.builtins.INT8
const INT8_ARRAY = 1016

/** Host, port and database of a URL, without credentials. */
export function hostOf(url: string): string {
  try {
    // A part of a password would stand in the place of the host.
    if (isMisread(url)) return 'unreadable URL'
    const { host, pathname } = new URL(url)
    // Without slashes after the scheme all the rest is the path, a password too.
    if (!pathname.startsWith('/')) return host
    return `${host}${pathname}`
  } catch {
    return 'unreadable URL'
  }
}

function parseSafeInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) {
    throw new DatabaseError('DATABASE_NUMBER_UNSAFE', 'the database holds a number above 2^53 − 1')
  }
  return value
}

const orNull = (text: string | null) => (text === null ? null : parseSafeInteger(text))

/** The same parsers, but for `bigint` and its arrays. */
const withSafeIntegers =
  (inner: GetTypeParser): GetTypeParser =>
  (oid, format) => {
    if (format === 'binary') return inner(oid, format)
    if (oid === INT8) return parseSafeInteger
    if (oid === INT8_ARRAY) return (text) => (inner(oid, format)(text) as (string | null)[]).map(orNull)
    return inner(oid, format)
  }

/** The parsers for queries that bring none of their own. */
const safeTypes = { getTypeParser: withSafeIntegers(pg.types.getTypeParser as GetTypeParser) }

/** The query with safe integers. Drizzle's queries bring parsers of their own, which go before those of the connection. */
function withSafeTypes(query: unknown): unknown {
  if (typeof query === 'string') return { text: query, types: safeTypes }
  const { types } = query as { types?: { getTypeParser: GetTypeParser } }
  if (types === undefined) return { ...(query as object), types: safeTypes }
  return { ...(query as object), types: { getTypeParser: withSafeIntegers(types.getTypeParser) } }
}

/** How long a database is waited for to say goodbye. */
const GOODBYE_MS = 500

/** After so much silence the system asks whether the other end is there: by itself it would take two hours. */
const SILENCE_MS = 10_000

/** A client whose queries fail with `DatabaseError` only, and whose end does not wait for a database that is away. */
export class DatabaseClient extends pg.Client {
  readonly #host: string

  constructor(config: pg.ClientConfig = {}) {
    super({ keepAlive: true, keepAliveInitialDelayMillis: SILENCE_MS, ...config })
    this.#host = hostOf(config.connectionString ?? '')
    // A connection may be lost at any moment. What runs on it fails; unheard, the error itself would end the process.
    this.on('error', () => undefined)
  }

  /** Both forms of `pg` again. */
  override end(): Promise<void>
  override end(callback: (error: Error) => void): void
  override end(callback?: (error: Error) => void): Promise<void> | undefined {
    const { stream } = (this as unknown as { connection: { stream: Socket } }).connection
    const timer = setTimeout(() => stream.destroy(), GOODBYE_MS).unref()
    stream.once('close', () => clearTimeout(timer))
    if (callback === undefined) return super.end()
    super.end(callback)
    return undefined
  }

  /** Both forms of `pg`: the pool passes a callback, everybody else awaits. The return type fits every overload of `pg`. */
  override query(query: unknown, ...rest: unknown[]): never {
    const run = super.query as (...all: unknown[]) => unknown
    const callback = rest.at(-1)
    if (typeof callback === 'function') {
      const translated: Callback = (error, result) =>
        callback(error ? translateDatabaseError(error, this.#host) : error, result)
      return run.call(this, withSafeTypes(query), ...rest.slice(0, -1), translated) as never
    }
    const answer = run.call(this, withSafeTypes(query), ...rest) as Promise<unknown>
    return answer.catch((error: unknown) => {
      throw translateDatabaseError(error, this.#host)
    }) as never
  }
}
