/** The process: environment in, signals in, exit code out. */

import { runCommand } from './commands.ts'

process.exitCode = await runCommand(process.argv.slice(2), process.env, (stop) => {
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
})
// All is released by now; a request that still waits for a node that is away must not keep the process.
setTimeout(() => process.exit(), 1000).unref()
