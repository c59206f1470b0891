/** A least rate: who sends or takes less is cut off, so that what is held for him is not held for long. */

export interface LeastRate {
  everyMs: number
  /** In each such time. */
  leastBytes: number
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
