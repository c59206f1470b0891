/** How long to wait after failures in a row: doubling, with jitter, up to a limit. */

/** Creates a counter of failures; `random` is for tests. */
export function createBackoff(options: { firstMs: number; mostMs: number; random?: () => number }) {
  const random = options.random ?? Math.random
  let failures = 0
  return {
    /** Milliseconds to wait after one more failure: between half and all of firstMs · 2^failures, at most `mostMs`. */
    fail(atLeastMs = 0): number {
      const full = Math.min(options.mostMs, options.firstMs * 2 ** Math.min(failures, 30))
      failures++
      return Math.min(options.mostMs, Math.max(atLeastMs, full * (0.5 + random() / 2)))
    },
    /** It works again. */
    reset(): void {
      failures = 0
    },
  }
}
