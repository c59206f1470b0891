/** What signals ask of a process: to end, which is over within `STOP_MS`, or to read its files again. For the `main.ts` of an app. */

import { RELEASE_MS, STOP_MS } from './lifetime.ts'

/** Ctrl-C below npm arrives twice, from the terminal and from npm: only one that comes later than this means "at once". */
const SAME_SIGNAL_MS = 1000

/**
 * Calls `stop` with the first SIGTERM or SIGINT, and `reload`, where there is one, with each SIGHUP. A stop that takes too long is cut off, and
 * so is one that a later signal asks for again.
 */
export function onSignals(stop: () => void, reload?: () => void): void {
  if (reload !== undefined) process.on('SIGHUP', reload)
  let asked: number | undefined
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (asked === undefined) {
        asked = performance.now()
        setTimeout(() => process.exit(), STOP_MS).unref()
        stop()
      } else if (performance.now() - asked > SAME_SIGNAL_MS) process.exit(130)
    })
}

/** All is released: a request that still waits for a node that is away must not keep the process. */
export function endProcess(): void {
  setTimeout(() => process.exit(), STOP_MS - RELEASE_MS - 100).unref()
}
