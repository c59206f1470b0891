/** Work in lanes: each runs a few pieces at once, in order, so that a long queue in one lane delays the others by a few pieces only. */

interface Lane {
  running: number
  waiting: (() => void)[]
}

/** Creates lanes of `depth` pieces at once and at most `waiting` more. */
export function createKeyedQueue(limits: { depth: number; waiting: number }) {
  const lanes = new Map<number | string, Lane>()

  function next(key: number | string, lane: Lane): void {
    lane.running--
    const first = lane.waiting.shift()
    if (first !== undefined) first()
    else if (lane.running === 0) lanes.delete(key)
  }

  return {
    /** Runs a piece when its turn comes; `full`, and nothing is run, when too many wait in its lane. */
    async run(key: number | string, piece: () => Promise<void>): Promise<'done' | 'full'> {
      const lane = lanes.get(key) ?? { running: 0, waiting: [] }
      if (lane.waiting.length >= limits.waiting) return 'full'
      lanes.set(key, lane)
      if (lane.running >= limits.depth) await new Promise<void>((resolve) => lane.waiting.push(resolve))
      lane.running++
      try {
        await piece()
        return 'done'
      } finally {
        next(key, lane)
      }
    },
  }
}
