/** The process: environment in, signals in, exit code out. */

import { keepCompiled } from '@dvt-relayer/common/compile-cache.ts'

keepCompiled(process.env)
const { runCommand } = await import('./doctor/commands.ts')

/** A stop that takes longer is cut off. */
const STOP_MS = 10_000
/** Nothing is held any more; a connection that idles must not keep the process. */
const IDLE_MS = 1000
const stop = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => {
    stop.abort()
    setTimeout(() => process.exit(), STOP_MS).unref()
  })

process.exitCode = await runCommand(process.argv.slice(2), process.env, stop.signal)
setTimeout(() => process.exit(), IDLE_MS).unref()
