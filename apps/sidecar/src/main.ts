/** The process: environment in, signals in, exit code out. */

import { BootError } from '@dvt-relayer/common/errors.ts'
import { scrub } from '@dvt-relayer/common/logger.ts'
import { readConfig } from './config.ts'
import { startSidecar } from './sidecar.ts'

/** A stop that takes longer is cut off. */
const STOP_MS = 10_000
const stop = new AbortController()
const stopped = new Promise((resolve) => stop.signal.addEventListener('abort', resolve))
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort())

try {
  const { config, warnings } = readConfig(process.env)
  await using _sidecar = await startSidecar(config, { warnings, signal: stop.signal })
  await stopped
  setTimeout(() => process.exit(), STOP_MS).unref()
} catch (error) {
  if (!stop.signal.aborted) {
    const text = error instanceof BootError ? error.message : error instanceof Error ? error.stack : String(error)
    process.stderr.write(`${scrub(text ?? '')}\n`)
    process.exitCode = 1
  }
}
