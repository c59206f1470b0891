/** How long nothing is sent after something has failed. */

import { createBackoff } from '@dvt-relayer/common/flow/backoff.ts'

const MOST_MS = 10_000

/** Creates a rest that is over. */
export function createRest(pollIntervalMs: number) {
  const backoff = createBackoff({ firstMs: Math.min(1000, pollIntervalMs), mostMs: MOST_MS })
  let until = 0
  return {
    /** When it is over, by `performance.now()`. */
    until: (): number => until,
    /** Failures at about the same time are one: each that comes after the rest makes the next one longer. */
    failed(): void {
      if (performance.now() >= until) until = performance.now() + backoff.fail()
    },
    /** The next rest is a short one. */
    succeeded: (): void => backoff.reset(),
    /** It is over now. */
    end(): void {
      until = 0
    },
  }
}
export type Rest = ReturnType<typeof createRest>
