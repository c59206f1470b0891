import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { holdToRate, holdUntilWanted } from './least-rate.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Who moves so many bytes in each of the times that follow; in which of them it was cut off. */
function cutOffIn(moves: readonly number[], { stopAfter = Number.POSITIVE_INFINITY } = {}): number[] {
  let moved = 1_000_000
  let time = 0
  const cut: number[] = []
  const stop = holdToRate(
    { everyMs: 5_000, leastBytes: 100 },
    () => moved,
    () => cut.push(time),
  )
  for (const bytes of moves) {
    if (time === stopAfter) stop()
    moved += bytes
    vi.advanceTimersByTime(4_999)
    time++
    vi.advanceTimersByTime(1)
  }
  expect(vi.getTimerCount()).toBe(cut.length > 0 || stopAfter < moves.length ? 0 : 1)
  stop()
  expect(vi.getTimerCount()).toBe(0)
  return cut
}

describe('who is held to a rate', () => {
  it('goes on at the rate itself and above it', () => {
    expect(cutOffIn([100, 101, 5_000, 100])).toEqual([])
  })

  it('is cut off once, at the end of the first time below it', () => {
    expect(cutOffIn([100, 99, 0, 0])).toEqual([2])
    expect(cutOffIn([0, 0])).toEqual([1])
  })

  it('lives on nothing that it moved before', () => {
    expect(cutOffIn([1_000_000, 99])).toEqual([2])
  })

  it('is left alone once it is over', () => {
    expect(cutOffIn([100, 0, 0], { stopAfter: 1 })).toEqual([])
  })
})

it('who holds what somebody else wants gives it up once it has had its time, and not before', () => {
  let isWanted = false
  let given = 0
  const begin = () =>
    holdUntilWanted(
      { afterMs: 4_000, everyMs: 500 },
      () => isWanted,
      () => given++,
    )
  begin()
  vi.advanceTimersByTime(60_000)
  expect(given).toBe(0)
  isWanted = true
  vi.advanceTimersByTime(500)
  expect([given, vi.getTimerCount()]).toEqual([1, 0])
  begin()
  vi.advanceTimersByTime(3_999)
  expect(given).toBe(1)
  vi.advanceTimersByTime(1)
  expect(given).toBe(2)
  const stop = begin()
  stop()
  expect(vi.getTimerCount()).toBe(0)
})
