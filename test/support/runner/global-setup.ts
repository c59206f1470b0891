/**
 * Once per test run, gone after the last file: the PostgreSQL that all test files share, and a folder for what one process compiles and
 * the next ones take, contracts and our own sources (a third of a process's start).
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TEST_CONTRACTS_DIR } from '../contracts/compile.ts'
import { prepareTestPostgres } from '../services/postgres.ts'

/** Vitest calls this once for each project that has files to run, and what it returns after the last file of all. */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  // Another project of the run was first.
  if (process.env[TEST_CONTRACTS_DIR] !== undefined) return undefined
  const compiled = await mkdtemp(join(tmpdir(), 'dvt-compiled-'))
  process.env[TEST_CONTRACTS_DIR] = compiled
  process.env['NODE_COMPILE_CACHE'] ??= join(compiled, 'node')
  const postgres = await prepareTestPostgres()
  return async () => {
    await postgres[Symbol.asyncDispose]()
    // A process that is about to end may still write into it.
    await rm(compiled, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
}
