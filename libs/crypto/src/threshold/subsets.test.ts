import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Picks, subsetsToTry } from './subsets.ts'

const keyOf = (picks: Picks) =>
  picks
    .map(({ position, candidate }) => `${position}:${candidate}`)
    .sort()
    .join(' ')

/** Every choice of k places with one of counts[p] candidates each, by recursion. */
function allChoices(counts: readonly number[], k: number): string[] {
  const choose = (position: number, left: number): Picks[] => {
    if (left === 0) return [[]]
    if (position === counts.length) return []
    const here = Array.from({ length: counts[position] ?? 0 }, (_, candidate) =>
      choose(position + 1, left - 1).map((rest) => [{ position, candidate }, ...rest]),
    )
    return [...here.flat(), ...choose(position + 1, left)]
  }
  return choose(0, k).map(keyOf)
}

describe('subsets', () => {
  it('come each once and all of them where there is room', () => {
    const counts = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 6 })
    fc.assert(
      fc.property(counts, fc.integer({ min: 1, max: 6 }), (listed, k) => {
        const expected = allChoices(listed, k)
        const tried = [...subsetsToTry(listed, k, expected.length)].map(keyOf)
        expect(tried.sort()).toEqual(expected.sort())
      }),
    )
  })

  it('take first candidates first, and early places first', () => {
    const tried = [...subsetsToTry([1, 2, 1, 1], 2, 100)]
    const firsts = tried.findIndex((picks) => picks.some(({ candidate }) => candidate > 0))
    expect(firsts).toBe(6)
    const furthest = tried.slice(0, firsts).map((picks) => Math.max(...picks.map(({ position }) => position)))
    expect(furthest).toEqual([...furthest].sort())
  })

  it('are not held up by thousands of invented places', () => {
    const tried = [...subsetsToTry(Array<number>(2000).fill(1), 9, 1000)].map(keyOf)
    const first13 = new Set(allChoices(Array<number>(13).fill(1), 9))
    expect(tried.slice(0, 715).filter((key) => first13.has(key))).toHaveLength(715)
    expect(tried).toHaveLength(1000)
  })

  it('never exceed the limit and are well formed, however many there are', () => {
    const counts = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(counts, fc.integer({ min: 1, max: 12 }), fc.nat(60), (listed, k, limit) => {
        const tried = [...subsetsToTry(listed, k, limit)]
        expect(tried.length).toBeLessThanOrEqual(limit)
        for (const picks of tried) {
          expect(new Set(picks.map(({ position }) => position)).size).toBe(k)
          for (const { position, candidate } of picks) expect(candidate).toBeLessThan(listed[position] ?? 0)
        }
      }),
    )
  })

  it.each([
    ['three quarters in order', 1, 75],
    ['half in order, a quarter of others', 2, 75],
  ])('that are too many to try are %s, and the rest drawn', (_, candidates, ordered) => {
    let drawn = 0
    const random = (length: number) => {
      drawn++
      return new Uint8Array(length).fill(drawn)
    }
    const tried = [...subsetsToTry(Array<number>(20).fill(candidates), 10, 100, random)]
    expect([tried.length, drawn]).toEqual([100, 100 - ordered])
    expect(new Set(tried.slice(0, ordered).map(keyOf)).size).toBe(ordered)
    const isFirsts = tried.slice(0, ordered).map((picks) => picks.every(({ candidate }) => candidate === 0))
    const firsts = candidates === 1 ? ordered : 50
    expect(isFirsts).toEqual(Array.from({ length: ordered }, (_, position) => position < firsts))
    // What is drawn is anywhere, and not in order.
    const drawnPlaces = new Set(tried.slice(ordered).flatMap((picks) => picks.map(({ position }) => position)))
    expect(drawnPlaces.size).toBe(20)
  })

  it('are none where there are too few places, or no attempts', () => {
    expect([...subsetsToTry([1, 1], 3, 10)]).toEqual([])
    expect([...subsetsToTry([], 1, 10)]).toEqual([])
    expect([...subsetsToTry([1, 1, 1], 2, 0)]).toEqual([])
    // Of nobody there is no choice, not one of nothing.
    expect([...subsetsToTry([1, 1], 0, 10)]).toEqual([])
  })
})
