/** Once per test run: the PostgreSQL and the folder of compiled contracts that all test files share, gone after the last. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TEST_CONTRACTS_DIR } from './contracts/compile.ts'
import { startTestPostgres, TEST_DATABASE_URL } from './postgres.ts'

/** Vitest calls this before the first worker starts, and what it returns after the last one ended. */
export default async function setup(): Promise<() => Promise<void>> {
  const contracts = await mkdtemp(join(tmpdir(), 'dvt-contracts-'))
  process.env[TEST_CONTRACTS_DIR] = contracts
  const isGiven = process.env['DATABASE_URL'] !== undefined && process.env['DATABASE_URL'] !== ''
  const server = isGiven ? undefined : await startTestPostgres()
  if (server !== undefined) process.env[TEST_DATABASE_URL] = server.url
  return async () => {
    await server?.[Symbol.asyncDispose]()
    await rm(contracts, { recursive: true, force: true })
  }
}
