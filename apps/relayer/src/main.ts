/** The process: environment in, signals in, exit code out. */

import { keepCompiled } from '@dvt-relayer/common/compile-cache.ts'

keepCompiled(process.env)
const { runCommand } = await import('./cli/commands.ts')

/** Ctrl-C below npm arrives twice, from the terminal and from npm: only one that comes later than this means "at once". */
const SAME_SIGNAL_MS = 1000

process.exitCode = await runCommand(process.argv.slice(2), process.env, (stop) => {
  let asked: number | undefined
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      asked ??= performance.now()
      if (performance.now() - asked > SAME_SIGNAL_MS) process.exit(130)
      stop()
    })
})
// All is released by now; a request that still waits for a node that is away must not keep the process.
setTimeout(() => process.exit(), 1000).unref()
