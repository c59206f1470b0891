/** Buckets that are filled again steadily. */

import { expect, it } from 'vitest'
import { createRate } from './rate.ts'

it('gives a burst, then as much as comes in, to each key by itself', () => {
  const rate = createRate({ burst: 10, perSecond: 2, most: 100 })
  for (let i = 0; i < 10; i++) expect(rate.take('a', 1, 0)).toBe(0)
  expect(rate.take('a', 1, 0)).toBe(0.5)
  expect(rate.take('b', 10, 0)).toBe(0)
  // What is refused takes nothing.
  expect(rate.take('a', 1, 499)).toBeGreaterThan(0)
  expect(rate.take('a', 1, 500)).toBe(0)
  expect(rate.take('a', 3, 1000)).toBe(1)
  expect(rate.take('a', 3, 2000)).toBe(0)
  // It is never more than full.
  expect(rate.take('a', 10, 1e9)).toBe(0)
  expect(rate.take('a', 1, 1e9)).toBe(0.5)
})

it('does not take from who asks after a clock was set back', () => {
  const rate = createRate({ burst: 10, perSecond: 1, most: 100 })
  rate.take('a', 5, 1e9)
  expect(rate.take('a', 5, 0)).toBe(0)
  expect(rate.take('a', 1, 1000)).toBe(0)
})

it('gives what costs more than a bucket for a full one', () => {
  const rate = createRate({ burst: 10, perSecond: 1, most: 100 })
  expect(rate.take('a', 1000, 0)).toBe(0)
  expect(rate.take('a', 1000, 9_000)).toBe(1)
  expect(rate.take('a', 1000, 10_000)).toBe(0)
})

it('takes back what was not needed, and never holds more than it may', () => {
  const rate = createRate({ burst: 2, perSecond: 1, most: 100 })
  rate.take('a', 2, 0)
  rate.give('a', 1)
  expect(rate.take('a', 1, 0)).toBe(0)
  for (let i = 0; i < 5; i++) rate.give('a', 1)
  rate.give('nobody', 1)
  expect(rate.take('a', 2, 0)).toBe(0)
  expect(rate.take('a', 1, 0)).toBe(1)
})

it('remembers so many keys and no more', () => {
  const rate = createRate({ burst: 1, perSecond: 1, most: 2 })
  for (const key of ['a', 'b', 'a']) rate.take(key, 1, 0)
  expect(rate.take('c', 1, 0)).toBe(0)
  expect(rate.take('a', 1, 0)).toBe(1)
  expect(rate.take('b', 1, 0)).toBe(0)
})

it('lets who would rather wait have more than there is, once what was owed before is paid', () => {
  const rate = createRate({ burst: 10, perSecond: 2, most: 100 })
  expect(rate.owe('a', 30, 0, 10)).toBe(0)
  expect(rate.owe('a', 4, 0, 10)).toBe(10)
  // What would take longer takes nothing.
  expect([rate.owe('a', 1, 0, 10), rate.owe('a', 1, 2_000, 10)]).toEqual([undefined, 10])
  expect(rate.owe('b', 1, 2_000, 10)).toBe(0)
  expect([rate.take('a', 1, 12_000), rate.owe('a', 1, 12_500, 0)]).toEqual([1, 0])
  expect(rate.owe('a', 10, 1e9, 0)).toBe(0)
  expect([rate.owe('a', 1, 1e9, 0), rate.owe('a', 1, 1e9, 0)]).toEqual([0, undefined])
})
