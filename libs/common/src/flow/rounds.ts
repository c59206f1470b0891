/**
 * Rounds of the event loop: what comes at a moment is spread over them, a little in each, keys in rotation. Between two of them whatever
 * else has come is read and answered, so that nobody waits for more than a little of what others have brought.
 */

import { setImmediate as othersFirst } from 'node:timers/promises'
import { createFairLine } from './fair-line.ts'

/** Creates the rounds, in each of which `atOnce` go on; nobody waits. */
export function createRounds(
  atOnce: number,
  nextRound: (then: () => void) => void = (then) => void setImmediate(then),
) {
  const line = createFairLine<{ go(): void; isGone(): boolean }>()
  let isComing = false
  const go = () => {
    isComing = false
    for (let place = 0; place < atOnce; ) {
      const next = line.shift()
      if (next === undefined) break
      if (!next.isGone()) place++
      next.go()
    }
    if (line.size() > 0) come()
  }
  const come = () => {
    if (isComing) return
    isComing = true
    nextRound(go)
  }
  return {
    /** Resolves in a round to come, when the turn of the key has. Whoever is gone by then takes no place, and is to do nothing. */
    turn(key: string, isGone: () => boolean = () => false): Promise<void> {
      return new Promise((resolve) => {
        line.push(key, { go: resolve, isGone })
        come()
      })
    },
  }
}
export type Rounds = ReturnType<typeof createRounds>

/** Maps a long list, so many items at a time: between two pieces others have the event loop. */
export async function mapInPieces<T, R>(
  items: readonly T[],
  size: number,
  map: (item: T, position: number) => R,
  rest: () => Promise<unknown> = othersFirst,
): Promise<R[]> {
  const mapped: R[] = []
  for (const [position, item] of items.entries()) {
    if (position > 0 && position % size === 0) await rest()
    mapped.push(map(item, position))
  }
  return mapped
}
