/** A process for tests that kill it: starts the embedded PostgreSQL of a folder, says so, and stays. */

import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { startEmbeddedPostgres } from '../../../libs/db/src/embedded/embedded-postgres.ts'

try {
  const server = await startEmbeddedPostgres({ dataDir: process.argv[2] ?? '', logger: silentLogger })
  process.stdout.write(`ready ${server.url}\n`)
  process.stdin.resume()
} catch (error) {
  process.stdout.write(`failed ${(error as { code?: string }).code} ${(error as Error).message}\n`)
}
