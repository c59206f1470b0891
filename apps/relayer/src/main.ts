/** The process: environment in, signals in, exit code out. */

import { runCommand } from './commands.ts'

process.exitCode = await runCommand(process.argv.slice(2), process.env, (stop) => {
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
})
