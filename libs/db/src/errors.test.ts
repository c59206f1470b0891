import { expect, it } from 'vitest'
import { isOfDatabase, isPassing, translateDatabaseError } from './errors.ts'

/** As pg throws it: everything but code and severity may hold a secret or a row. */
const thrown = (code: string, message = 'said "secret"') =>
  Object.assign(new Error(message), { code, severity: 'FATAL', detail: 'secret' })

/** Code, words, whether waiting may help, whether it is the database that cannot work. */
it.each([
  ['28P01', 'DATABASE_ACCESS_DENIED', /password, or knows no such user/, false, true],
  ['28000', 'DATABASE_ACCESS_DENIED', /pg_hba\.conf/, false, true],
  ['3D000', 'DATABASE_ACCESS_DENIED', /no database of this name/, false, true],
  ['42501', 'DATABASE_ACCESS_DENIED', /lacks a right/, false, true],
  ['25006', 'DATABASE_READ_ONLY', /takes no writes/, true, true],
  ['53100', 'DATABASE_OVERLOADED', /disk .* is full/, true, true],
  ['53200', 'DATABASE_OVERLOADED', /out of memory/, true, true],
  ['53300', 'DATABASE_OVERLOADED', /no connection left/, true, true],
  ['53400', 'DATABASE_OVERLOADED', /lacks connections, memory or disk/, true, true],
  ['57P03', 'DATABASE_UNREACHABLE', /starting, stopping/, true, true],
  ['57P01', 'DATABASE_UNREACHABLE', /cannot be reached/, true, true],
  ['57014', 'DATABASE_TIMEOUT', /took too long/, false, false],
  ['23505', 'DATABASE_UNIQUE_VIOLATION', /such a row already/, false, false],
])('SQLSTATE %s', (sqlstate, code, words, passes, isOf) => {
  const error = translateDatabaseError(thrown(sqlstate), 'host/name')
  expect(error).toMatchObject({ code, message: expect.stringMatching(words), meta: { sqlstate, host: 'host/name' } })
  expect([isPassing(error), isOfDatabase(error)]).toEqual([passes, isOf])
  expect(JSON.stringify([error, error.message])).not.toContain('secret')
})

it.each([
  ['unsupported startup parameter: statement_timeout', 'DATABASE_POOLED', false],
  ['unsupported startup parameter in options: default_transaction_read_only', 'DATABASE_POOLED', false],
  ['transaction blocks not allowed in statement pooling mode', 'DATABASE_POOLED', false],
  ['no such database: secret', 'DATABASE_ACCESS_DENIED', false],
  ['no such user: secret', 'DATABASE_ACCESS_DENIED', false],
  ['query_wait_timeout', 'DATABASE_UNREACHABLE', true],
  ['no more connections allowed (max_client_conn)', 'DATABASE_UNREACHABLE', true],
])('a pooler that says "%s"', (message, code, passes) => {
  const error = translateDatabaseError(thrown('08P01', message))
  expect(error.code).toBe(code)
  expect(isPassing(error)).toBe(passes)
  expect(error.message).not.toContain('secret')
})

it('names what is wrong with TLS', () => {
  const words = (error: Error) => translateDatabaseError(error).message
  expect(words(new Error('The server does not support SSL connections'))).toMatch(/the server has none \(sslmode\)/)
  const strange = Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  expect(words(strange)).toMatch(/^no connection to the database by TLS: its certificate is not signed by a CA/)
})
