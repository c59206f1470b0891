import { expect, test } from 'vitest'
import { startLoop } from './loop.ts'

test('a stop does not wait for a round that waits for a node that is away', async () => {
  const errors: unknown[] = []
  const loop = startLoop(() => new Promise<void>(() => {}), { intervalMs: 10, onError: (error) => errors.push(error) })
  await loop[Symbol.asyncDispose]()
  expect(errors).toEqual([])
}, 60_000)

test('a stop lets a round that ends soon end', async () => {
  let ended = false
  const round = async (signal: AbortSignal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    ended = true
  }
  const loop = startLoop(round, { intervalMs: 10, onError: () => {} })
  await loop[Symbol.asyncDispose]()
  expect(ended).toBe(true)
})

test('a round says when the next one comes, else it is the usual time', async () => {
  const second = Promise.withResolvers<void>()
  let rounds = 0
  const round = async () => {
    if (++rounds < 3) return 1
    second.resolve()
    return undefined
  }
  const loop = startLoop(round, { intervalMs: 60_000, onError: () => {} })
  await second.promise
  await loop[Symbol.asyncDispose]()
  expect(rounds).toBe(3)
}, 60_000)
