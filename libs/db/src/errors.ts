/**
 * Errors of the database. Whatever pg and drizzle throw is rebuilt from SQLSTATE, constraint and host: drizzle's message prints
 * every parameter and pg's `detail` prints rows, so neither error is kept, not even as a cause.
 */

import { CodedError, type ErrorMeta } from '@dvt-relayer/common/errors.ts'
import { tlsFaultOf } from '@dvt-relayer/common/http/tls-fault.ts'

type DatabaseErrorCode =
  | 'DATABASE_UNIQUE_VIOLATION'
  | 'DATABASE_FOREIGN_KEY_VIOLATION'
  | 'DATABASE_NOT_NULL_VIOLATION'
  | 'DATABASE_CHECK_VIOLATION'
  | 'DATABASE_VALUE_INVALID'
  | 'DATABASE_NUMBER_UNSAFE'
  | 'DATABASE_CONFLICT'
  | 'DATABASE_TIMEOUT'
  | 'DATABASE_UNREACHABLE'
  | 'DATABASE_ACCESS_DENIED'
  | 'DATABASE_OVERLOADED'
  | 'DATABASE_READ_ONLY'
  | 'DATABASE_BUSY'
  | 'DATABASE_POOLED'
  | 'DATABASE_TLS'
  | 'DATABASE_QUERY_INVALID'
  | 'DATABASE_FROM_THE_FUTURE'
  | 'DATABASE_IN_USE'
  | 'DATABASE_FAILED'
  | 'DATA_DIR_IN_USE'
  | 'DATA_DIR_UNUSABLE'
  | 'DATA_DIR_VERSION'
  | 'EMBEDDED_POSTGRES_MISSING'
  | 'EMBEDDED_POSTGRES_AS_ROOT'
  | 'EMBEDDED_POSTGRES_FAILED'

/** An error of the database, the embedded PostgreSQL or its folder. */
export class DatabaseError extends CodedError<DatabaseErrorCode> {}

const MESSAGES = {
  DATABASE_UNIQUE_VIOLATION: 'the database has such a row already',
  DATABASE_FOREIGN_KEY_VIOLATION: 'the row refers to one that the database does not have',
  DATABASE_NOT_NULL_VIOLATION: 'a value is missing that the database needs',
  DATABASE_CHECK_VIOLATION: 'a value breaks a rule of the database',
  DATABASE_VALUE_INVALID: 'the database cannot represent a value',
  DATABASE_NUMBER_UNSAFE: 'the database holds a number above 2^53 − 1',
  DATABASE_CONFLICT: 'another transaction was in the way',
  DATABASE_TIMEOUT: 'the database took too long',
  DATABASE_UNREACHABLE: 'the database cannot be reached',
  DATABASE_ACCESS_DENIED: 'the database refuses the user, the password or a right, or there is no such database',
  DATABASE_OVERLOADED: 'the database lacks connections, memory or disk',
  DATABASE_READ_ONLY: 'the database takes no writes: it is a standby, or set read-only',
  DATABASE_POOLED:
    'a pooler stands before the database that takes from a connection what it needs: name PostgreSQL itself',
  DATABASE_TLS: 'no connection to the database by TLS',
  DATABASE_QUERY_INVALID: 'the database does not understand a query',
  DATABASE_FAILED: 'the database failed',
} as const
type QueryErrorCode = keyof typeof MESSAGES

/** What the SQLSTATE alone says where its code has several causes: each is mended elsewhere. */
const WORDS: Readonly<Record<string, string>> = {
  '28P01': 'the database refuses the password, or knows no such user',
  '28000':
    'the database lets this user in from here by no rule: pg_hba.conf lacks an entry for user, database, address and TLS or none (sslmode), or the role is missing or may not log in',
  '3D000': 'the server has no database of this name',
  '42501': 'the user lacks a right in the database: let it own the database',
  '53100': 'the disk of the database is full',
  '53200': 'the database is out of memory',
  '53300': 'the database has no connection left: raise max_connections, or the limit of the user or the database',
  '57P03': 'the database is starting, stopping or not open yet',
}

/** By whole SQLSTATE, then by its class (the first two characters). */
const BY_SQLSTATE: Readonly<Record<string, QueryErrorCode>> = {
  '23505': 'DATABASE_UNIQUE_VIOLATION',
  '23503': 'DATABASE_FOREIGN_KEY_VIOLATION',
  '23502': 'DATABASE_NOT_NULL_VIOLATION',
  '23514': 'DATABASE_CHECK_VIOLATION',
  '42501': 'DATABASE_ACCESS_DENIED',
  '55P03': 'DATABASE_TIMEOUT',
  '57014': 'DATABASE_TIMEOUT',
  '25006': 'DATABASE_READ_ONLY',
  '25P03': 'DATABASE_TIMEOUT',
  '25P04': 'DATABASE_TIMEOUT',
  '57P01': 'DATABASE_UNREACHABLE',
  '57P02': 'DATABASE_UNREACHABLE',
  '57P03': 'DATABASE_UNREACHABLE',
  '57P05': 'DATABASE_UNREACHABLE',
  '3D000': 'DATABASE_ACCESS_DENIED',
  '08': 'DATABASE_UNREACHABLE',
  '22': 'DATABASE_VALUE_INVALID',
  '28': 'DATABASE_ACCESS_DENIED',
  '40': 'DATABASE_CONFLICT',
  '42': 'DATABASE_QUERY_INVALID',
  '53': 'DATABASE_OVERLOADED',
}

/** What pg says without a SQLSTATE when a connection cannot be had or is lost. */
const CONNECTION_LOST =
  /connection terminated|connection ended|not queryable|client was closed|connection timeout|timeout exceeded when trying to connect|read timeout|cannot use a pool after/i

const field = (error: object, name: string): string | undefined => {
  const value = (error as Record<string, unknown>)[name]
  return typeof value === 'string' ? value : undefined
}

/** The error and its causes, nearest first. */
function chain(error: unknown): object[] {
  const found: object[] = []
  for (let next = error; typeof next === 'object' && next !== null && found.length < 8; ) {
    found.push(next)
    next = (next as { cause?: unknown }).cause
  }
  return found
}

/** The `DatabaseError` for whatever a query, a connection or drizzle threw. `host` is where the database is, without credentials. */
export function translateDatabaseError(error: unknown, host?: string): DatabaseError {
  const causes = chain(error)
  for (const cause of causes) if (cause instanceof DatabaseError) return cause
  const at = host === undefined ? {} : { host }
  for (const cause of causes) {
    const code = field(cause, 'code')
    if (code === undefined) continue
    if (/^[0-9A-Z]{5}$/.test(code) && field(cause, 'severity') !== undefined) {
      const known = BY_SQLSTATE[code] ?? BY_SQLSTATE[code.slice(0, 2)] ?? 'DATABASE_FAILED'
      const constraint = field(cause, 'constraint')
      const meta = { sqlstate: code, ...(constraint === undefined ? {} : { constraint }), ...at }
      if (code === '08P01') return fromPooler(field(cause, 'message') ?? '', meta)
      return new DatabaseError(known, `${WORDS[code] ?? MESSAGES[known]} (SQLSTATE ${code})`, { meta })
    }
    const tls = tlsFaultOf(code)
    if (tls !== undefined) return tlsFailed(tls, { reason: code, ...at })
    if (/^E[A-Z_]{3,}$/.test(code) && field(cause, 'syscall') !== undefined) return unreachable(code, at)
    if (code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === 'EPIPE') return unreachable(code, at)
  }
  for (const cause of causes) {
    if (NO_TLS.test(field(cause, 'message') ?? ''))
      return tlsFailed(
        'the server has none (sslmode): switch it on there, or set sslmode=disable where the way to it is safe',
        at,
      )
    if (CONNECTION_LOST.test(field(cause, 'message') ?? '')) return unreachable('connection lost', at)
  }
  const type = causes.at(-1)?.constructor.name ?? typeof error
  return new DatabaseError('DATABASE_FAILED', MESSAGES.DATABASE_FAILED, { meta: { type, ...at } })
}

/** What pg says where a server answers that it knows no TLS, or something else than yes and no. */
const NO_TLS =
  /does not support SSL connections|unexpected response to SSLRequest|error establishing an SSL connection/i

const tlsFailed = (words: string, meta: ErrorMeta) =>
  new DatabaseError('DATABASE_TLS', `${MESSAGES.DATABASE_TLS}: ${words}`, { meta })

/**
 * A violation of the protocol, which is how poolers say everything: that they refuse a parameter of the connection, that they know no such
 * database, that they have no connection to give. Their words are read and not repeated.
 */
function fromPooler(said: string, meta: ErrorMeta): DatabaseError {
  if (/startup parameter|parameter.* in options|pooling mode/i.test(said))
    return pooled('it refuses what a connection needs', meta)
  if (/no such (database|user)/i.test(said))
    return new DatabaseError(
      'DATABASE_ACCESS_DENIED',
      'the pooler before the database knows no such database or user',
      {
        meta,
      },
    )
  return new DatabaseError(
    'DATABASE_UNREACHABLE',
    `${MESSAGES.DATABASE_UNREACHABLE}: the pooler before it gives no connection (SQLSTATE 08P01)`,
    { meta },
  )
}

/** The error for a pooler between us and the database. `words` say what it does. */
export const pooled = (words: string, meta: ErrorMeta): DatabaseError =>
  new DatabaseError(
    'DATABASE_POOLED',
    `there is a pooler before the database, and ${words}: name PostgreSQL itself, or have it pool by session (pgbouncer: pool_mode=session, ignore_startup_parameters=statement_timeout,idle_in_transaction_session_timeout)`,
    { meta },
  )

function unreachable(reason: string, at: { host?: string }): DatabaseError {
  const meta = { reason, ...at }
  return new DatabaseError('DATABASE_UNREACHABLE', `${MESSAGES.DATABASE_UNREACHABLE} (${reason})`, { meta })
}

/** What passes by itself: the database is away, short of something, a standby that may become the primary, or used by others. */
const PASSING: ReadonlySet<string> = new Set<DatabaseErrorCode>([
  'DATABASE_UNREACHABLE',
  'DATABASE_OVERLOADED',
  'DATABASE_READ_ONLY',
  'DATABASE_IN_USE',
])

/** Whether waiting may help. */
export const isPassing = (error: unknown): error is DatabaseError =>
  error instanceof DatabaseError && PASSING.has(error.code)

/** Whether it is the database that cannot work, and not one statement: it is away, short of something, or lets nobody in. */
export const isOfDatabase = (error: unknown): error is DatabaseError =>
  isPassing(error) || (error instanceof DatabaseError && OF_DATABASE.has(error.code))

const OF_DATABASE: ReadonlySet<string> = new Set<DatabaseErrorCode>([
  'DATABASE_ACCESS_DENIED',
  'DATABASE_POOLED',
  'DATABASE_TLS',
])
