import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { CHECK_MS, inTime } from './lifetime.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

it('gives up waiting after 5 s, in words, and takes an answer that comes before', async () => {
  const late = inTime(new Promise(() => {}), 'the node').catch((error: Error) => error.message)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(await late).toBe('the node has not answered within 5 s')
  const answer = Promise.withResolvers<number>()
  const early = inTime(answer.promise, 'the node')
  await vi.advanceTimersByTimeAsync(CHECK_MS - 1)
  answer.resolve(7)
  expect(await early).toBe(7)
})
