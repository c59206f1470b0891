/** Work in lanes: each runs a few pieces at once, in order, so that a long queue in one lane delays the others by a few pieces only. */

import { createSemaphore } from './semaphore.ts'

/** Creates lanes of `depth` pieces at once and at most `waiting` more. */
export function createKeyedQueue(limits: { depth: number; waiting: number }) {
  const lanes = new Map<number | string, { semaphore: ReturnType<typeof createSemaphore>; pieces: number }>()

  return {
    /** Runs a piece when its turn comes; `full`, and nothing is run, when too many wait in its lane. */
    async run(key: number | string, piece: () => Promise<void>): Promise<'done' | 'full'> {
      const lane = lanes.get(key) ?? { semaphore: createSemaphore(limits.depth), pieces: 0 }
      if (lane.pieces >= limits.depth + limits.waiting) return 'full'
      lanes.set(key, lane)
      lane.pieces++
      try {
        await lane.semaphore.run(piece)
        return 'done'
      } finally {
        lane.pieces--
        if (lane.pieces === 0) lanes.delete(key)
      }
    },
  }
}
