import fc from 'fast-check'
import { expect, it } from 'vitest'
import { namedBad } from './verify-batch.ts'

it('names exactly the bad ones, in at most 2·k·log2 n + 1 and 2·n calls', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.array(fc.nat(299)), (n, positions) => {
      const bad = new Set(positions.filter((position) => position < n))
      let calls = 0
      const named = namedBad(
        Array.from({ length: n }, (_, i) => i),
        (part) => {
          calls++
          return !part.some((item) => bad.has(item))
        },
      )
      expect(named).toEqual([...bad].sort((a, b) => a - b))
      expect(calls).toBeLessThanOrEqual(1 + 2 * bad.size * Math.ceil(Math.log2(n)))
      expect(calls).toBeLessThanOrEqual(2 * n)
    }),
  )
})

it('asks nothing about nothing', () => {
  const never = () => {
    throw new Error('asked')
  }
  expect(namedBad([], never)).toEqual([])
})
