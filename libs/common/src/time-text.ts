/** A time as people read it. */

/** "2024-11-21T00:00:00Z", of Unix seconds; what others name may be a time that no calendar has. */
export function timeText(seconds: number): string {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? `in ${seconds} Unix seconds` : `${date.toISOString().slice(0, 19)}Z`
}
