/** What is done in which round of the event loop. */

/** Counts by round until it is ended. */
export function countByRound() {
  const counts = new Map<number, number>()
  let round = 0
  let isOver = false
  const go = () => {
    round++
    if (!isOver) setImmediate(go)
  }
  setImmediate(go)
  return {
    /** One more in this round. */
    count(): void {
      counts.set(round, (counts.get(round) ?? 0) + 1)
    },
    /** How many there were in each round that had any. */
    inRounds: (): number[] => [...counts.values()],
    end(): void {
      isOver = true
    },
  }
}
