import { expect, it } from 'vitest'
import type { RelayerConfig } from '../../config.ts'
import { limitsOf } from './limits.ts'

const MIB = 1024 * 1024
const limitsWith = (maxBodyBytes: number) =>
  limitsOf({ http: { maxBodyBytes, maxLargeBodies: 2 } } as Pick<RelayerConfig, 'http'>)

it('what callers may hold follows from the largest body, and is not less than for one of 16 MiB', () => {
  const { bodies } = limitsWith(32 * MIB)
  expect(bodies).toEqual({
    ofOne: 96 * MIB,
    total: 512 * MIB,
    ofSidecars: 384 * MIB,
    rate: { bytesASecond: 16 * MIB, atOnce: 8 * MIB },
    rateOfStrangers: { bytesASecond: 2 * MIB, atOnce: 16 * MIB },
    largeOfOne: 2,
    largeWaitMs: 1_000,
    waiting: 256,
    waitMs: 5_000,
  })
  // Five at their limits, and one largest body more; an operator has room beside all sidecars.
  expect(bodies.total).toBe(5 * bodies.ofOne + 32 * MIB)
  expect(bodies.total - bodies.ofSidecars).toBeGreaterThan(bodies.ofOne)
  expect(limitsWith(1).bodies).toEqual(limitsWith(16 * MIB).bodies)
  expect(limitsWith(16 * MIB + 1).bodies.ofOne).toBe(bodies.ofOne / 2 + 3)
})

it('who is cut off, and when, is what the documentation says', () => {
  const { bodies, upload, uploadOfStrangers, answer, answers, arrivals, connections, requestsOfOne, refusalMs } =
    limitsWith(32 * MIB)
  // 32 KiB a second, looked at every 5 s; 64 KiB within 10 s.
  expect(upload).toEqual({ everyMs: 5_000, leastBytes: 160 * 1024 })
  expect(uploadOfStrangers).toEqual({ afterMs: 4_000, everyMs: 500 })
  // Whoever waits for their room is served before he gives up.
  expect(uploadOfStrangers.afterMs + uploadOfStrangers.everyMs).toBeLessThan(bodies.waitMs)
  expect(answer).toEqual({ everyMs: 10_000, leastBytes: 64 * 1024 })
  expect(answers).toEqual({ ofOne: 128 * MIB, total: 256 * MIB })
  expect(arrivals).toMatchObject({ burst: 10, perSecond: 50, waiting: 1_000 })
  expect(connections).toEqual({ total: 1_000, strangers: 500 })
  expect([requestsOfOne, refusalMs]).toEqual([256, 3_000])
})
