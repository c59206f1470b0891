import { fastify } from 'fastify'
import { expect, it } from 'vitest'
import { createBodyGate } from './body-gate.ts'

it('parses large bodies that come together one by one: the event loop goes round between two of them', async () => {
  await using app = fastify()
  app.decorateRequest('hasRoomFor', () => true)
  app.decorateRequest('account', { getter: () => ({ group: 'sidecar', name: 'node' }) })
  createBodyGate(app, { maxValues: 10 })
  let rounds = 0
  let isOver = false
  const count = () => {
    rounds++
    if (!isOver) setImmediate(count)
  }
  count()
  const parsedIn: number[] = []
  app.post('/', async (request) => {
    parsedIn.push(rounds)
    return (request.body as { text: string }).text.length
  })
  const post = (length: number) => app.inject({ method: 'POST', url: '/', payload: { text: 'é'.repeat(length) } })
  await post(1)
  parsedIn.length = 0
  const answers = await Promise.all(Array.from({ length: 8 }, () => post(100_000)))
  isOver = true
  expect(answers.map(({ body }) => body)).toEqual(Array(8).fill('100000'))
  expect(new Set(parsedIn).size).toBe(8)
})
