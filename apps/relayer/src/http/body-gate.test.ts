import { createRounds } from '@dvt-relayer/common/flow/rounds.ts'
import { fastify } from 'fastify'
import { expect, it } from 'vitest'
import { createBodyGate } from './body-gate.ts'

it('parses large bodies that come together one by one: the event loop goes round between two of them', async () => {
  await using app = fastify()
  let working = 0
  const workingAt: number[] = []
  app.decorateRequest('hasRoomFor', () => workingAt.push(working) > 0)
  app.decorateRequest('account', { getter: () => ({ group: 'sidecar', name: 'node' }) })
  const visit = {
    async work<T>(work: () => Promise<T>): Promise<T> {
      working++
      return work().finally(() => working--)
    },
    hasEnded: () => false,
    atEnd: () => {},
  }
  app.decorateRequest('visit', { getter: () => visit })
  createBodyGate(app, { maxValues: 10, rounds: createRounds(1) })
  let rounds = 0
  let isOver = false
  const count = () => {
    rounds++
    if (!isOver) setImmediate(count)
  }
  count()
  const parsedIn: number[] = []
  const checkedIn: number[] = []
  app.addHook('preValidation', async () => void checkedIn.push(rounds))
  app.post('/', async (request) => {
    parsedIn.push(rounds)
    return (request.body as { text: string }).text.length
  })
  const post = (length: number) => app.inject({ method: 'POST', url: '/', payload: { text: 'é'.repeat(length) } })
  await post(1)
  expect(workingAt).toEqual([0])
  for (const all of [parsedIn, checkedIn]) all.length = 0
  const answers = await Promise.all(Array.from({ length: 8 }, () => post(100_000)))
  isOver = true
  expect(answers.map(({ body }) => body)).toEqual(Array(8).fill('100000'))
  expect(new Set(parsedIn).size).toBe(8)
  // Nor is one checked and read in the same: no round has two of all these.
  expect(new Set([...checkedIn, ...parsedIn]).size).toBe(16)
  // Each that waits counts as worked on, so that its room is held, also where its caller has hung up.
  expect(workingAt).toHaveLength(9)
  expect(Math.min(...workingAt.slice(1))).toBeGreaterThan(0)
})
