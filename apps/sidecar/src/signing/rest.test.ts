import { afterEach, expect, it, vi } from 'vitest'
import { createRest } from './rest.ts'

afterEach(() => vi.restoreAllMocks())

/** A rest at a clock of the test's; every wait is as long as it may be. */
function setUp(pollIntervalMs: number) {
  vi.spyOn(Math, 'random').mockReturnValue(1)
  const clock = vi.spyOn(performance, 'now')
  const rest = createRest(pollIntervalMs)
  const failedAt = (now: number) => {
    clock.mockReturnValue(now)
    rest.failed()
    return rest.until()
  }
  return { rest, failedAt }
}

it('is over at first, and after a failure in a second, or in a poll interval where that is shorter', () => {
  for (const [pollIntervalMs, ms] of [
    [5000, 1000],
    [60, 60],
  ] as const) {
    const { rest, failedAt } = setUp(pollIntervalMs)
    expect(rest.until()).toBe(0)
    expect(failedAt(10_000)).toBe(10_000 + ms)
  }
})

it('counts failures while it lasts as one, and each later one doubles it up to ten seconds', () => {
  const { rest, failedAt } = setUp(5000)
  expect(failedAt(10_000)).toBe(11_000)
  expect(failedAt(10_999)).toBe(11_000)
  expect(failedAt(11_000)).toBe(13_000)
  expect([20_000, 30_000, 40_000].map(failedAt)).toEqual([24_000, 38_000, 50_000])
  rest.succeeded()
  expect(failedAt(60_000)).toBe(61_000)
})

it('ends when it is told to', () => {
  const { rest, failedAt } = setUp(5000)
  failedAt(10_000)
  rest.end()
  expect(rest.until()).toBe(0)
})
