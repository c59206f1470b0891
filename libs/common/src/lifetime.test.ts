import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { anyAnswer, CHECK_MS, inTime } from './lifetime.ts'

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

it('takes the first answer of several, and of none the first reason', async () => {
  const away = () => Promise.reject(new Error('away'))
  expect(await anyAnswer([away(), Promise.resolve(7)])).toBe(7)
  await expect(anyAnswer([away(), Promise.reject(new Error('too'))])).rejects.toThrow('away')
})
