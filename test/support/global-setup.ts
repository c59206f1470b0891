/** Once per test run: the PostgreSQL that all test files share. Started for the first of them, stopped after the last. */

import { startTestPostgres, TEST_DATABASE_URL } from './postgres.ts'

/** Vitest calls this before the first worker starts, and what it returns after the last one ended. */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env['DATABASE_URL'] !== undefined && process.env['DATABASE_URL'] !== '') return undefined
  const server = await startTestPostgres()
  process.env[TEST_DATABASE_URL] = server.url
  return async () => {
    await server[Symbol.asyncDispose]()
  }
}
