/**
 * Once per test run, gone after the last file: the PostgreSQL that all test files share, and a folder for what one process compiles and
 * the next ones take, contracts and our own sources (a third of a process's start).
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TEST_CONTRACTS_DIR } from '../contracts/compile.ts'
import { startTestPostgres, TEST_DATABASE_URL } from '../services/postgres.ts'

/** Vitest calls this before the first worker starts, and what it returns after the last one ended. */
export default async function setup(): Promise<() => Promise<void>> {
  const compiled = await mkdtemp(join(tmpdir(), 'dvt-compiled-'))
  process.env[TEST_CONTRACTS_DIR] = compiled
  process.env['NODE_COMPILE_CACHE'] ??= join(compiled, 'node')
  const isGiven = process.env['DATABASE_URL'] !== undefined && process.env['DATABASE_URL'] !== ''
  const server = isGiven ? undefined : await startTestPostgres()
  if (server !== undefined) process.env[TEST_DATABASE_URL] = server.url
  return async () => {
    await server?.[Symbol.asyncDispose]()
    await rm(compiled, { recursive: true, force: true })
  }
}
