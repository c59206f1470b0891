/** A token bucket: news are asked for at once, but whoever answers every question at once is not asked in a tight loop. */

/** Creates a bucket of `burst` tokens that gains `perSecond`. Times are milliseconds of one monotonic clock. */
export function createPace(options: { burst: number; perSecond: number }) {
  let tokens = options.burst
  let last: number | undefined
  return {
    /** Takes a token. Returns the milliseconds to wait before using it. */
    take(now: number): number {
      tokens = Math.min(options.burst, tokens + ((now - (last ?? now)) / 1000) * options.perSecond)
      last = now
      tokens -= 1
      return tokens >= 0 ? 0 : (-tokens / options.perSecond) * 1000
    },
  }
}
