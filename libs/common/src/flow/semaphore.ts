/** A bound on what is under way at once; the others wait in line. */

/** Creates a semaphore of `places`: so much work is under way at once. */
export function createSemaphore(places: number) {
  let free = places
  const line: (() => void)[] = []
  return {
    /** Runs the work when a place is free. */
    async run<T>(work: () => Promise<T>): Promise<T> {
      if (free > 0) free--
      else await new Promise<void>((resolve) => line.push(resolve))
      try {
        return await work()
      } finally {
        const next = line.shift()
        if (next === undefined) free++
        else next()
      }
    },
  }
}
