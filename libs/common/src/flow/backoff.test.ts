import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPace } from '../../../../apps/sidecar/src/lists/request-pace.ts'
import { createBackoff } from './backoff.ts'

describe('backoff', () => {
  it('doubles with jitter up to a limit, and starts again when it works', () => {
    const backoff = createBackoff({ firstMs: 100, mostMs: 1000, random: () => 1 })
    expect([backoff.fail(), backoff.fail(), backoff.fail(), backoff.fail(), backoff.fail()]).toEqual([
      100, 200, 400, 800, 1000,
    ])
    backoff.reset()
    expect(backoff.fail()).toBe(100)
    expect(createBackoff({ firstMs: 100, mostMs: 1000, random: () => 0 }).fail()).toBe(50)
  })

  it('waits as long as it is asked to, within the limit', () => {
    const backoff = createBackoff({ firstMs: 100, mostMs: 1000 })
    expect(backoff.fail(700)).toBe(700)
    expect(backoff.fail(1e9)).toBe(1000)
  })
})

describe('pace', () => {
  it('allows a burst, then so many a second, whatever the rhythm', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 300 }), (gaps) => {
        const pace = createPace({ burst: 20, perSecond: 5 })
        let now = 0
        let asked = 0
        for (const gap of gaps) {
          now += gap + pace.take(now)
          asked++
        }
        expect(asked).toBeLessThanOrEqual(21 + (now / 1000) * 5 + 1)
      }),
    )
  })
})
