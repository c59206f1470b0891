/** How much somebody may have within a time: a bucket for each key, full at first and filled again steadily. */

/**
 * Creates buckets that hold `burst` and gain `perSecond`. Of more than `most` the one asked of longest ago is forgotten, and full again.
 */
export function createRate(options: { burst: number; perSecond: number; most: number }) {
  const { burst, perSecond, most } = options
  const buckets = new Map<string, { left: number; at: number }>()

  const leftOf = (key: string, nowMs: number): number => {
    const bucket = buckets.get(key)
    return bucket === undefined
      ? burst
      : Math.min(burst, bucket.left + (Math.max(0, nowMs - bucket.at) / 1000) * perSecond)
  }
  /** The newest stand last, so that the first are those asked of longest ago. */
  const keep = (key: string, left: number, nowMs: number): void => {
    buckets.delete(key)
    buckets.set(key, { left, at: nowMs })
    const [oldest] = buckets.size > most ? buckets.keys() : []
    if (oldest !== undefined) buckets.delete(oldest)
  }

  return {
    /**
     * Takes `cost` from a key's bucket, or nothing where there is too little. What costs more than a whole bucket takes a full one.
     *
     * @param nowMs of one clock; one that is set back costs nothing but the time
     * @returns the seconds to wait; 0 where it was taken
     */
    take(key: string, cost: number, nowMs: number): number {
      const left = leftOf(key, nowMs)
      const wanted = Math.min(cost, burst)
      const isEnough = left >= wanted
      keep(key, isEnough ? left - wanted : left, nowMs)
      return isEnough ? 0 : (wanted - left) / perSecond
    },
    /**
     * Takes `cost` where it is not there as well, for those who wait instead of being refused: they go on once what was owed before them is
     * paid. Nothing is taken where that takes longer than `mostSeconds`.
     *
     * @returns the seconds to wait
     */
    owe(key: string, cost: number, nowMs: number, mostSeconds: number): number | undefined {
      const left = leftOf(key, nowMs)
      const seconds = Math.max(0, -left / perSecond)
      const isTaken = seconds <= mostSeconds
      keep(key, isTaken ? left - cost : left, nowMs)
      return isTaken ? seconds : undefined
    },
    /** Gives back what was taken and turned out not to be needed. */
    give(key: string, cost: number): void {
      const bucket = buckets.get(key)
      if (bucket !== undefined) bucket.left = Math.min(burst, bucket.left + cost)
    },
  }
}
export type Rate = ReturnType<typeof createRate>
