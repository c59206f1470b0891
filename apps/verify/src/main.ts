/** The process: arguments and standard input in, words and exit code out. */

import { runVerify } from './cli.ts'

process.exitCode = await runVerify(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
})
