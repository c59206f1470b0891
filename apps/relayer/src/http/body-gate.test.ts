import { ExitSignatureRequest } from '@dvt-relayer/api/schemas.ts'
import { createRounds } from '@dvt-relayer/common/flow/rounds.ts'
import { type FastifyError, fastify } from 'fastify'
import { describe, expect, it } from 'vitest'
import { createBodyGate } from './body-gate.ts'
import { compileBody } from './body-validator.ts'

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
    return (request.body as { texts: string[] }).texts.join('').length
  })
  const post = (length: number) =>
    app.inject({ method: 'POST', url: '/', payload: { texts: ['é'.repeat(length / 2), 'é'.repeat(length / 2)] } })
  await post(2)
  expect(workingAt).toEqual([0])
  for (const all of [parsedIn, checkedIn]) all.length = 0
  const answers = await Promise.all(Array.from({ length: 8 }, () => post(80_000)))
  isOver = true
  expect(answers.map(({ body }) => body)).toEqual(Array(8).fill('80000'))
  expect(new Set(parsedIn).size).toBe(8)
  // Nor is one checked and read in the same: no round has two of all these.
  expect(new Set([...checkedIn, ...parsedIn]).size).toBe(16)
  // Each that waits counts as worked on, so that its room is held, also where its caller has hung up.
  expect(workingAt).toHaveLength(9)
  expect(Math.min(...workingAt.slice(1))).toBeGreaterThan(0)
})

describe('a long body', () => {
  const item = { public_key: '0'.repeat(98), exit_signature: '0'.repeat(194) }
  const shares = Array.from({ length: 500 }, () => item)
  async function made() {
    const app = fastify({ bodyLimit: 8_000_000 })
    app.decorateRequest('hasRoomFor', () => true)
    app.decorateRequest('account', { getter: () => ({ group: 'sidecar', name: 'node' }) })
    const visit = { work: <T>(work: () => Promise<T>): Promise<T> => work(), hasEnded: () => false, atEnd: () => {} }
    app.decorateRequest('visit', { getter: () => visit })
    createBodyGate(app, { maxValues: 10_000, rounds: createRounds(1) }, async () => {})
    app.setErrorHandler((error, _request, reply) => {
      const { validation, message } = error as Partial<FastifyError>
      const [fault] = validation ?? []
      return reply.code(422).send(fault === undefined ? message : `body${fault.instancePath} ${fault.message}`)
    })
    const checked: unknown[] = []
    const check = compileBody(ExitSignatureRequest)
    const validatorCompiler = () => (body: unknown) => {
      checked.push(body)
      return check(body)
    }
    app.post('/', { schema: { body: ExitSignatureRequest }, validatorCompiler }, async ({ body }) => body)
    const post = async (body: object, extra = '') => {
      const payload = `${JSON.stringify(body)}${extra}`
      const headers = { 'content-type': 'application/json' }
      return (await app.inject({ method: 'POST', url: '/', headers, payload })).body
    }
    return { post, checked, [Symbol.asyncDispose]: () => app.close() }
  }

  it('arrives whole, and is checked as any other: the same fault has the same words', async () => {
    await using app = await made()
    expect(JSON.parse(await app.post({ share_index: 1, shares }))).toEqual({ share_index: 1, shares })
    for (const shares_ of [[item], shares]) {
      const faulty = [...shares_.slice(0, -1), { ...item, public_key: 1 }]
      const place = `body/shares/${faulty.length - 1}`
      expect(await app.post({ share_index: 1, shares: faulty })).toBe(`${place}/public_key must be string`)
      expect(await app.post({ share_index: 0, shares: shares_ })).toBe('body/share_index must be >= 1')
      expect(await app.post({ share_index: 1, shares: shares_ }, '}')).toBe('the body is not JSON')
    }
  })

  it('is parsed no further than its first fault', async () => {
    await using app = await made()
    await app.post({ share_index: 1, shares: [0, ...shares] })
    expect(app.checked).toEqual([])
    await app.post({ share_index: 1, shares: [0] })
    expect(app.checked).toHaveLength(1)
  })

  it('says what is too much of it', async () => {
    await using app = await made()
    const most = '; one may hold at most 10000 values'
    expect(await app.post({ shares: Array(40_000).fill(0) })).toBe(`the body holds more than 10000 values${most}`)
    expect(await app.post({ shares: ['0'.repeat(100_000)] })).toBe(
      'the body holds a value of more than 98304 bytes that is no list in its object',
    )
  })
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
  createBodyGate(app, { maxValues: 200, rounds: createRounds(1) }, async (ms) => void rests.push(ms))
  app.post('/', (_request, reply) => reply.code(status).send({}))
  const { statusCode } = await app.inject({
    method: 'POST',
    url: '/',
    payload: { texts: Array(100).fill('0'.repeat(40_000)) },
  })
  expect(statusCode).toBe(status)
  await expect.poll(() => rests.length).toBe(waits ? 2 : 1)
  // Twenty milliseconds of the event loop, twenty times twenty.
  if (waits) expect(rests.at(-1)).toBeCloseTo(8000, -2)
})
