/** Work that repeats: one round after the other, never two at once, ended by dispose. */

import { pause, withTimeout } from '../process/lifetime.ts'

/** How long a stop waits for the round under way. */
const LAST_ROUND_MS = 1500

/**
 * Runs `round` now and then every `intervalMs` (some jitter), or as many milliseconds later as the round says, until disposed. A round
 * that throws is told and the next one comes.
 */
export function startLoop(
  round: (signal: AbortSignal) => Promise<void> | Promise<number | undefined>,
  options: { intervalMs: number; onError: (error: unknown) => void },
): AsyncDisposable & { soon(): void } {
  const stop = new AbortController()
  let wake = new AbortController()
  const run = async () => {
    while (!stop.signal.aborted) {
      wake = new AbortController()
      let waitMs = options.intervalMs
      try {
        waitMs = (await round(stop.signal)) ?? options.intervalMs
      } catch (error) {
        if (!stop.signal.aborted) options.onError(error)
      }
      await pause(waitMs * (0.9 + Math.random() / 5), AbortSignal.any([stop.signal, wake.signal]))
    }
  }
  const running = run()
  return {
    soon: () => wake.abort(),
    async [Symbol.asyncDispose]() {
      stop.abort()
      // A round that waits for a node that is away may take a minute; what is released next needs its part of the time.
      await withTimeout(running, LAST_ROUND_MS).catch(() => {})
    },
  }
}
