/** The number of validators by the deposit logs, against what the consensus node says: two nodes that must agree. */

import type { Context } from '../../context.ts'

/** Looks in a row after which a disagreement of the two nodes counts. */
const LOOKS = 3

/**
 * Creates a comparison at the heads of both nodes. `at` gives the count by the logs.
 *
 * @returns a function that gives words once the two have disagreed several times in a row, and throws what the two nodes' clients throw
 */
export function createCrossCheck(
  { chain, events }: Pick<Context, 'chain' | 'events'>,
  at: () => Promise<{ count: number }>,
) {
  const areApart = createComparison()
  return async (): Promise<string | undefined> => {
    const [{ count }, nextIndex] = await Promise.all([at(), chain.registry.nextIndex()])
    events.registryCounted(count, nextIndex)
    if (!areApart(count, nextIndex)) return undefined
    return (
      `the deposit logs make ${count} validators and the consensus node expects ${nextIndex}: ` +
      'one of the two nodes is behind or on another chain, or the registry in the database is of one'
    )
  }
}

/**
 * Tells a disagreement from two heads that differ by moments. Both numbers only grow, so a node that is a little behind has reached
 * by now what the other said the last time; who has not, for several looks in a row, never will.
 */
function createComparison() {
  let before: { execution: number; consensus: number } | undefined
  let looks = 0
  return (execution: number, consensus: number): boolean => {
    const then = before ?? { execution, consensus }
    before = { execution, consensus }
    const isApart = execution < Math.min(consensus, then.consensus) || consensus < Math.min(execution, then.execution)
    looks = isApart ? looks + 1 : 0
    return looks >= LOOKS
  }
}
