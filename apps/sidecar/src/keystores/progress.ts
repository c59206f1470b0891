/** A line every few seconds while something long is done. */

const PROGRESS_MS = 3000

/** Starts calling `tell` with the seconds that have passed. @returns stops it */
export function startProgress(tell: (seconds: number) => void): () => void {
  const start = performance.now()
  const timer = setInterval(() => tell((performance.now() - start) / 1000), PROGRESS_MS)
  return () => clearInterval(timer)
}
