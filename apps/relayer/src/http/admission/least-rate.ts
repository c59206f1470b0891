/** Who sends or takes too slowly is cut off, so that what is held for him is not held for long. */

export interface LeastRate {
  everyMs: number
  /** In each such time. */
  leastBytes: number
}

/**
 * Looks, once it has lasted so long, again and again at whether somebody else wants what is held, until stopped. `onWanted` is called once.
 * Returns what stops it.
 */
export function holdUntilWanted(
  { afterMs, everyMs }: { afterMs: number; everyMs: number },
  isWanted: () => boolean,
  onWanted: () => void,
): () => void {
  const begun = performance.now()
  const timer = setInterval(() => {
    if (performance.now() - begun < afterMs || !isWanted()) return
    clearInterval(timer)
    onWanted()
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** Looks again and again at how many bytes have moved in all, until stopped. `onSlow` is called once. Returns what stops it. */
export function holdToRate({ everyMs, leastBytes }: LeastRate, moved: () => number, onSlow: () => void): () => void {
  let before = moved()
  const timer = setInterval(() => {
    const now = moved()
    const isSlow = now - before < leastBytes
    before = now
    if (!isSlow) return
    clearInterval(timer)
    onSlow()
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}
