import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createHealth } from '../health.ts'
import { checkConsensus } from './consensus.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('a consensus node that takes connections and says nothing is told after 5 s', async () => {
  const health = createHealth(['consensus'], { checkChanged: () => undefined })
  const silent = { checkChain: async () => undefined, head: () => new Promise<never>(() => {}) }
  const looked = checkConsensus(silent, health, new AbortController().signal)
  await vi.advanceTimersByTimeAsync(5_000)
  await looked
  expect(health.state()).toEqual({
    status: 'not_ready',
    checks: { consensus: { ok: false, message: 'the consensus node has not answered within 5 s' } },
  })
})
