/** How many blocks to ask logs of at once, where every node draws the line elsewhere and none says where. */

/** A size that is halved on refusal and grows on success, and soon stays just below what was refused. */
export interface RangeSize {
  readonly blocks: number
  succeeded(): void
  refused(): void
}

const LARGEST = 10_000_000
/** After so many successes the limit is tried again: it may have been the number of logs in one place. */
const PATIENCE = 100

/** Creates a size that starts at `first` blocks. */
export function createRangeSize(first: number): RangeSize {
  let blocks = first
  let limit = Number.POSITIVE_INFINITY
  let successes = 0
  return {
    get blocks() {
      return blocks
    },
    succeeded() {
      successes++
      if (successes % PATIENCE === 0) limit = Number.POSITIVE_INFINITY
      const next = limit === Number.POSITIVE_INFINITY ? blocks * 2 : Math.floor((blocks + limit) / 2)
      // Within an eighth of the limit another question costs more than it gains.
      if (next - blocks > blocks / 8) blocks = Math.min(next, LARGEST)
    },
    refused() {
      limit = Math.min(limit, blocks)
      successes = 0
      blocks = Math.max(1, Math.floor(blocks / 2))
    },
  }
}
