import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { CHECK_MS, inTime } from './lifetime.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('gives up waiting after 5 s, asks nobody twice meanwhile, and takes the late answer', async () => {
  let asked = 0
  const answer = Promise.withResolvers<void>()
  const look = inTime(() => {
    asked++
    return answer.promise
  }, 'the node')
  for (let i = 0; i < 2; i++) {
    const outcome = look().catch((error: Error) => error.message)
    await vi.advanceTimersByTimeAsync(CHECK_MS)
    expect(await outcome).toBe('the node has not answered within 5 s')
  }
  expect(asked).toBe(1)
  answer.resolve()
  await look()
  await look()
  expect(asked).toBe(2)
  expect(CHECK_MS).toBeLessThanOrEqual(5_000)
})
