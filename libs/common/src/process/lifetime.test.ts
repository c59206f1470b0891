import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { silentLogger } from '../log/logger.ts'
import { anyAnswer, CHECK_MS, inTime, Lifetime, RELEASE_MS, STOP_MS } from './lifetime.ts'

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

it('releases all within one time, in reverse order, whatever hangs: what is left when it is over is called, and not waited for', async () => {
  const lifetime = new Lifetime(silentLogger)
  const called: [string, number][] = []
  const start = performance.now()
  const hangs = (name: string) => () => {
    called.push([name, Math.round(performance.now() - start)])
    return new Promise(() => {})
  }
  for (const name of ['first', 'second', 'third']) lifetime.push(name, hangs(name))
  lifetime.push('requests', hangs('requests'), 5_000)
  lifetime.push('quick', () => void called.push(['quick', 0]))
  let isOver = false
  const released = lifetime[Symbol.asyncDispose]().then(() => {
    isOver = true
  })
  await vi.advanceTimersByTimeAsync(RELEASE_MS - 10)
  expect(isOver).toBe(false)
  await vi.advanceTimersByTimeAsync(STOP_MS - RELEASE_MS)
  await released
  expect(called).toEqual([
    ['quick', 0],
    ['requests', 0],
    ['third', 5_000],
    ['second', RELEASE_MS],
    ['first', expect.closeTo(RELEASE_MS, -1)],
  ])
})

it('releases at once what a boot that was given up still brings', async () => {
  const lifetime = new Lifetime(silentLogger)
  await lifetime[Symbol.asyncDispose]()
  const release = vi.fn()
  lifetime.push('late', release)
  expect(release).toHaveBeenCalledOnce()
})
