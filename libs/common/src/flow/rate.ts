/** How much somebody may have within a time: a bucket for each key, full at first and filled again steadily. */

/**
 * Creates buckets that hold `burst` and gain `perSecond`. Of more than `most` the one asked of longest ago is forgotten, and full again.
 */
export function createRate(options: { burst: number; perSecond: number; most: number }) {
  const { burst, perSecond, most } = options
  const buckets = new Map<string, { left: number; at: number }>()

  return {
    /**
     * Takes `cost` from a key's bucket, or nothing where there is too little. What costs more than a whole bucket takes a full one.
     *
     * @param nowMs of one clock; one that is set back costs nothing but the time
     * @returns the seconds to wait; 0 where it was taken
     */
    take(key: string, cost: number, nowMs: number): number {
      const bucket = buckets.get(key)
      const left =
        bucket === undefined
          ? burst
          : Math.min(burst, bucket.left + (Math.max(0, nowMs - bucket.at) / 1000) * perSecond)
      const wanted = Math.min(cost, burst)
      // The newest stand last, so that the first are those asked of longest ago.
      buckets.delete(key)
      const isEnough = left >= wanted
      buckets.set(key, { left: isEnough ? left - wanted : left, at: nowMs })
      const [oldest] = buckets.size > most ? buckets.keys() : []
      if (oldest !== undefined) buckets.delete(oldest)
      return isEnough ? 0 : (wanted - left) / perSecond
    },
    /** Gives back what was taken and turned out not to be needed. */
    give(key: string, cost: number): void {
      const bucket = buckets.get(key)
      if (bucket !== undefined) bucket.left = Math.min(burst, bucket.left + cost)
    },
  }
}
