/**
 * Once per test run, gone after the last file: the PostgreSQL that all test files share, the programs that they start, and a folder for
 * what one process compiles of our code and the next ones take. Contracts are compiled where no run before has done so.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { prepareTestPostgres, TEST_DATABASE_URL } from '../services/postgres.ts'
import { makePrograms } from './make-programs.ts'
import { TEST_FOLDER, TEST_PROGRAMS } from './programs.ts'

const COMPILER = fileURLToPath(new URL('../contracts/compile.ts', import.meta.url))

/** Vitest calls this once for each project that has files to run, and what it returns after the last file of all. */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  // Another project of the run was first.
  if (process.env[TEST_DATABASE_URL] !== undefined) return undefined
  const compiled = await mkdtemp(join(tmpdir(), 'dvt-compiled-'))
  process.env[TEST_FOLDER] = compiled
  process.env['NODE_COMPILE_CACHE'] ??= join(compiled, 'node')
  const programs = join(compiled, 'programs')
  const [postgres] = await Promise.all([
    prepareTestPostgres(),
    process.env[TEST_PROGRAMS] === undefined && makePrograms(programs),
    // In a process of its own: the compiler would keep its memory.
    promisify(execFile)(process.execPath, [COMPILER]),
  ])
  process.env[TEST_PROGRAMS] ??= programs
  return async () => {
    await postgres[Symbol.asyncDispose]()
    // A process that is about to end may still write into it.
    await rm(compiled, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
}
