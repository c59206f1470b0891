/** A bound on what is under way at once; the others wait in line. */

/** Creates a gate for `places` at once. */
export function createGate(places: number) {
  let free = places
  const line: (() => void)[] = []
  return {
    /** Runs the work when a place is free. */
    async pass<T>(work: () => Promise<T>): Promise<T> {
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
