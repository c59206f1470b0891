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

it.each([
  ['that was refused', 422, true],
  ['that was not', 200, false],
  ['for which there was no room', 503, false],
])('has the next body of a caller wait for a long one %s', async (_, status, waits) => {
  await using app = fastify({ bodyLimit: 8_000_000 })
  app.decorateRequest('hasRoomFor', () => true)
  app.decorateRequest('account', { getter: () => ({ group: 'sidecar', name: 'node' }) })
  const visit = { work: <T>(work: () => Promise<T>): Promise<T> => work(), hasEnded: () => false, atEnd: () => {} }
  app.decorateRequest('visit', { getter: () => visit })
  const rests: number[] = []
  createBodyGate(app, { maxValues: 10, rounds: createRounds(1) }, async (ms) => void rests.push(ms))
  app.post('/', (_request, reply) => reply.code(status).send({}))
  const { statusCode } = await app.inject({ method: 'POST', url: '/', payload: { text: '0'.repeat(4_000_000) } })
  expect(statusCode).toBe(status)
  await expect.poll(() => rests.length).toBe(waits ? 2 : 1)
  // Twenty milliseconds of the event loop, four times twenty.
  if (waits) expect(rests.at(-1)).toBeCloseTo(1600, -2)
})
