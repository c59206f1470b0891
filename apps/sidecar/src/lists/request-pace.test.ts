import { expect, it } from 'vitest'
import { createPace } from './request-pace.ts'

it('lets a burst through at once, and what follows one by one', () => {
  const { take } = createPace({ burst: 3, perSecond: 5 })
  expect([1000, 1000, 1000].map(take)).toEqual([0, 0, 0])
  expect([1000, 1000].map(take)).toEqual([200, 400])
  // Two seconds are ten: those two, and as many more as a burst has.
  expect([3000, 3000, 3000, 3000].map(take)).toEqual([0, 0, 0, 200])
  expect(take(3200)).toBe(200)
  expect(take(3600)).toBe(0)
})
