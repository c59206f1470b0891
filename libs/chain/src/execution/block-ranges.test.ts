import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRangeSize } from './block-ranges.ts'

/** Scans `blocks` at a node with a limit; returns how many calls it took. */
function scan(blocks: number, limit: number): { calls: number; refused: number } {
  const size = createRangeSize(50_000)
  let calls = 0
  let refused = 0
  for (let done = 0; done < blocks; calls++) {
    if (size.blocks > limit) {
      size.refused()
      refused++
    } else {
      done += size.blocks
      size.succeeded()
    }
  }
  return { calls, refused }
}

describe('the size of a range', () => {
  it('needs few calls at a generous node', () =>
    expect(scan(5_000_000, Number.POSITIVE_INFINITY).calls).toBeLessThan(10))

  it('loses little at a node that limits it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 100_000 }), (limit) => {
        const { calls, refused } = scan(1_000_000, limit)
        expect(calls).toBeLessThan((1_000_000 / limit) * 1.35 + 30)
        expect(refused).toBeLessThan(25 + calls / 10)
      }),
    )
  })

  it('is doubled until it is refused, and then goes half the way to what was refused', () => {
    const size = createRangeSize(50_000)
    const after = (...steps: ('succeeded' | 'refused')[]) => {
      for (const step of steps) size[step]()
      return size.blocks
    }
    expect([after('succeeded'), after('refused'), after('refused')]).toEqual([100_000, 50_000, 25_000])
    expect([after('succeeded'), after('succeeded')]).toEqual([37_500, 43_750])
    // Within an eighth it stays, until the hundredth success since the refusal.
    for (let successes = 2; successes < 99; successes++) expect(after('succeeded')).toBe(43_750)
    expect([after('succeeded'), after('succeeded')]).toEqual([87_500, 175_000])
  })

  it('does not grow by an eighth', () => {
    const size = createRangeSize(10)
    size.refused()
    const sizes = Array.from({ length: 4 }, () => {
      size.succeeded()
      return size.blocks
    })
    expect(sizes).toEqual([7, 8, 8, 8])
  })

  it('never falls below one block', () => {
    const size = createRangeSize(2)
    for (let i = 0; i < 5; i++) size.refused()
    expect(size.blocks).toBe(1)
    size.succeeded()
    expect(size.blocks).toBeGreaterThanOrEqual(1)
  })
})
