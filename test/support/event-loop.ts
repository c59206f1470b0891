/** What is done in which round of the event loop. */

import { setImmediate as settle } from 'node:timers/promises'

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
    /** How many rounds there were so far. */
    rounds: (): number => round,
    /** How many there were in each round that had any. */
    inRounds: (): number[] => [...counts.values()],
    end(): void {
      isOver = true
    },
  }
}

/** Rounds that are the test's: what is put off until the next one waits until the test goes it. */
export function ownRounds() {
  let due: (() => void)[] = []
  return {
    nextRound: (then: () => void): void => void due.push(then),
    /** Goes one round, with what follows from it by itself; returns how many were wanted. */
    async goRound(): Promise<number> {
      const wanted = due
      due = []
      for (const then of wanted) then()
      await settle()
      return wanted.length
    },
  }
}
