import { once } from 'node:events'
import { type AddressInfo, createConnection } from 'node:net'
import { PassThrough } from 'node:stream'
import { setImmediate as setRound } from 'node:timers'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { routes } from '@dvt-relayer/api/routes.ts'
import { fastify } from 'fastify'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { RelayerConfig } from '../../config.ts'
import { ApiError, failure } from '../../errors.ts'
import type { Events } from '../../events.ts'
import type { Auth } from '../auth/auth.ts'
import { ANYBODY } from '../auth/caller.ts'
import { createBind } from '../bind.ts'
import { createBodyGate } from '../body-gate.ts'
import type { HttpContext } from '../context.ts'
import { answerError } from '../error-answer.ts'
import { Rendered } from '../rendered.ts'
import { strangerOf } from './account-of.ts'
import { createAdmission, UNREAD_BYTES } from './admission.ts'
import { limitsOf } from './limits.ts'
import { PIECE_BYTES } from './pieces.ts'

const config = { http: { maxBodyBytes: 1024 * 1024, maxLargeBodies: 1 } } as RelayerConfig
const events = { callerBounded: () => {}, bytesHeld: () => {} } as unknown as Events
const NODE = { group: 'sidecar', name: 'node' } as const

it('counts nothing on the account of who has hung up before it was known', async () => {
  await using app = fastify()
  const limits = { ...limitsOf(config), requestsOfOne: 1, refusalMs: 0 }
  const admission = createAdmission(app, { config, events, limits })
  const proven = Promise.withResolvers<void>()
  app.post<{ Params: { how: string } }>('/:how', {
    onRequest: (request, reply) => admission.begin(request, reply, strangerOf(request)),
    handler: async (request, reply) => {
      const isGone = request.params.how === 'gone'
      if (isGone) {
        const closed = once(reply.raw, 'close')
        request.raw.socket.destroy()
        await closed
      }
      request.countAs(NODE)
      if (isGone) proven.resolve()
      return {}
    },
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const post = (how: string) => fetch(`http://127.0.0.1:${port}/${how}`, { method: 'POST' })
  await expect(post('gone')).rejects.toThrow()
  await proven.promise
  for (const _ of [1, 2]) expect((await post('there')).status).toBe(200)
})

it('takes no more than one read of a body that waits for its turn', async () => {
  const READ_BYTES = 64 * 1024
  await using app = fastify({ http: { highWaterMark: UNREAD_BYTES } })
  const { bodies, ...others } = limitsOf(config)
  const admission = createAdmission(app, { config, events, limits: { ...others, bodies: { ...bodies, ofOne: 1 } } })
  const [held, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const read: number[] = []
  app.post('/', {
    onRequest: (request, reply) => admission.begin(request, reply, NODE),
    preParsing: async (request, _reply, payload) => {
      read.push(request.raw.socket.bytesRead)
      return payload
    },
    handler: async () => {
      held.resolve()
      await free.promise
      return {}
    },
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const post = (body: string) =>
    fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const first = post('{}')
  await held.promise
  // The second one's turn comes when the first is over; what it has sent until then is not taken.
  const waits = once(app.server, 'request')
  const second = post(JSON.stringify('0'.repeat(900_000)))
  const [{ socket }] = (await waits) as [{ socket: { bytesRead: number } }]
  await vi.waitUntil(() => socket.bytesRead > UNREAD_BYTES, { timeout: 60_000 })
  // What more it would read is read at once.
  for (let round = 0; round < 100; round++) await setImmediate()
  free.resolve()
  for (const { status } of await Promise.all([first, second])) expect(status).toBe(200)
  expect(read[1]).toBeLessThan(UNREAD_BYTES + READ_BYTES)
})

it('reads a short body that it refuses to its end, and closes the connection of a long one', async () => {
  await using app = fastify()
  const { bodies, ...others } = limitsOf(config)
  // Of each caller one body, and no other for a long time.
  const limits = { ...others, bodies: { ...bodies, rate: { bytesASecond: 0.001, atOnce: 0 }, waitMs: 0 } }
  const admission = createAdmission(app, { config, events, limits })
  app.post('/', {
    onRequest: (request, reply) => admission.begin(request, reply, NODE),
    bodyLimit: 300 * 1024,
    handler: async () => ({}),
  })
  app.setErrorHandler<ApiError>(async ({ code }, _request, reply) => reply.code(400).send(code))
  const post = async (kib: number) => {
    const { body, headers } = await app.inject({
      method: 'POST',
      url: '/',
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify('0'.repeat(kib * 1024 - 2)),
    })
    return [body, headers.connection]
  }
  expect(await post(1)).toEqual(['{}', 'keep-alive'])
  expect(await post(256)).toEqual(['TOO_BUSY', 'keep-alive'])
  expect(await post(257)).toEqual(['TOO_BUSY', 'close'])
  // Too long in any case.
  expect(await post(301)).toEqual(['BODY_TOO_LARGE', 'close'])
})

it('refuses bodies that have waited one after the other, so that they do not come back together', async () => {
  await using app = fastify()
  const { bodies, ...others } = limitsOf(config)
  const limits = {
    ...others,
    bodies: { ...bodies, rate: { bytesASecond: 0.001, atOnce: 0 }, waitMs: 0 },
    refusalsOfBodies: { gapMs: 3_600_000, mostMs: 3_600_000 },
  }
  const stopping = new AbortController()
  let hasWaited = () => {}
  const telling = { ...events, callerBounded: () => hasWaited() }
  const admission = createAdmission(app, { config, events: telling, limits, stopping: stopping.signal })
  app.post('/', { onRequest: (request, reply) => admission.begin(request, reply, NODE), handler: async () => ({}) })
  app.setErrorHandler<ApiError>(async ({ code }, _request, reply) => reply.code(400).send(code))
  const answers: string[] = []
  const post = async () =>
    void answers.push((await app.inject({ method: 'POST', url: '/', payload: { some: 'body' } })).body)
  await post()
  await post()
  expect(answers).toEqual(['{}', 'TOO_BUSY'])
  const bounded = new Promise<void>((resolve) => (hasWaited = resolve))
  const later = post()
  await bounded
  // What waits for no time at all is over before this.
  await setTimeout(1)
  for (let round = 0; round < 100; round++) await setImmediate()
  expect(answers).toHaveLength(2)
  stopping.abort()
  await later
  expect(answers[2]).toBe('TOO_BUSY')
})

it('holds the room of a body whose sender hangs up while its signature is looked up, until its route is done, and no longer', async () => {
  await using app = fastify()
  let held = 0
  const telling = {
    ...events,
    bytesHeld(of: 'bodies' | 'answers', bytes: number) {
      if (of === 'bodies') held = bytes
    },
  }
  const admission = createAdmission(app, { config, events: telling })
  createBodyGate(app, { maxValues: 200_000, rounds: admission.rounds })
  const [asked, found, over] = [
    Promise.withResolvers<void>(),
    Promise.withResolvers<void>(),
    Promise.withResolvers<{ hadEnded: boolean; held: number }>(),
  ]
  app.post('/', {
    onRequest: async (request, reply) => {
      await admission.begin(request, reply, strangerOf(request))
      request.bodyProof = {
        isDone: false,
        async check() {
          reply.raw.once('close', found.resolve)
          asked.resolve()
          await found.promise
        },
      }
    },
    handler: async (request) => {
      over.resolve({ hadEnded: request.visit.hasEnded(), held })
      return {}
    },
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const abort = new AbortController()
  // Of small values most is what is parsed of them.
  const body = `[${'0,'.repeat(20_000)}0]`
  const post = fetch(`http://127.0.0.1:${port}/`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    signal: abort.signal,
  })
  await asked.promise
  expect(held).toBe(3 * body.length)
  abort.abort()
  await expect(post).rejects.toThrow()
  const { hadEnded, held: whileWorked } = await over.promise
  expect(hadEnded).toBe(false)
  expect(whileWorked).toBeGreaterThan(0)
  await vi.waitUntil(() => held === 0, { timeout: 60_000 })
})

it('leaves alone who takes its answer slowly, and cuts off who takes nothing', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  await using app = fastify()
  const admission = createAdmission(app, { config, events })
  const answer = new PassThrough()
  const cut: string[] = []
  /** All was given to the connection at once, and leaves it bit by bit. */
  const socket = { bytesWritten: 1_000_000, writableLength: 1_000_000 }
  const answered = Promise.withResolvers<void>()
  app.get('/', {
    onRequest: async (request, reply) => {
      await admission.begin(request, reply, NODE)
      Object.assign(request.raw.socket, socket, { destroy: () => cut.push('cut') })
    },
    handler: async (request, reply) => {
      const { raw } = request
      reply.raw.once('pipe', () => answered.resolve())
      const pass = (bytes: number) => {
        socket.writableLength -= bytes
        Object.assign(raw.socket, socket)
        vi.advanceTimersByTime(10_000)
        return cut.length
      }
      void answered.promise.then(() => {
        seen.push(pass(64 * 1024), pass(64 * 1024), pass(64 * 1024 - 1))
        answer.end()
      })
      return reply.send(answer)
    },
  })
  const seen: number[] = []
  await app.inject({ url: '/' })
  expect(seen).toEqual([0, 0, 1])
})

it('does nothing for who hangs up before its round', async () => {
  await using app = fastify()
  const admission = createAdmission(app, { config, events })
  const over = Promise.withResolvers<unknown>()
  let handled = 0
  app.get('/', {
    onRequest: async (request, reply) => {
      const hungUp = once(request.raw.socket, 'close')
      const begun = admission.begin(request, reply, NODE)
      begun.catch(over.resolve)
      // In time: the round is of a later turn of the event loop.
      request.raw.socket.destroy()
      await hungUp
      return begun
    },
    handler: async () => {
      handled++
      return {}
    },
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow()
  expect(await over.promise).toMatchObject({ code: 'TOO_BUSY' })
  await setImmediate()
  expect(handled).toBe(0)
})

it('gives the room of a stranger’s body that does not come to another stranger who waits for it', async () => {
  const LARGEST = 5 * 1024 * 1024
  await using app = fastify({ bodyLimit: LARGEST })
  const wide = { http: { maxBodyBytes: LARGEST, maxLargeBodies: 4 } } as RelayerConfig
  // However patient everybody else would be.
  const patient = { everyMs: 3_600_000, leastBytes: 1 }
  const limits = { ...limitsOf(wide), upload: patient, uploadOfStrangers: { afterMs: 1, everyMs: 10 } }
  const admission = createAdmission(app, { config: wide, events, limits })
  const taken = Promise.withResolvers<void>()
  app.post('/', {
    onRequest: (request, reply) => admission.begin(request, reply, strangerOf(request)),
    preParsing: async (_request, _reply, payload) => {
      taken.resolve()
      return payload
    },
    handler: async () => ({}),
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const slow = createConnection(port, '127.0.0.1')
  // All the room that strangers have together.
  slow.write(`POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${LARGEST}\r\n\r\n{`)
  const cutOff = once(slow, 'data')
  await taken.promise
  const json = { 'content-type': 'application/json' }
  const quick = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: json, body: '{}' })
  expect(quick.status).toBe(200)
  expect(String((await cutOff)[0])).toContain('BODY_TOO_SLOW')
})

it('counts who waits for what is looked at before its body is read', async () => {
  await using app = fastify()
  const limits = { ...limitsOf(config), requestsOfOne: 1, refusalMs: 0 }
  const admission = createAdmission(app, { config, events, limits })
  const [asked, found] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const { path } = routes.getBeaconVersion
  createBind(app, {} as Auth, admission)(
    routes.getBeaconVersion,
    async () => ({ data: { version: '1' } }),
    () => ANYBODY,
    async () => {
      asked.resolve()
      await found.promise
    },
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const ask = async (): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`)).status
  const first = ask()
  expect(await Promise.race([first, asked.promise])).toBeUndefined()
  const second = await ask()
  found.resolve()
  // Without the application's own words for it a refusal is a 500.
  expect([second, await first]).toEqual([500, 200])
})

it('cuts off a connection that brings more while a refusal waits on it', async () => {
  await using app = fastify()
  const limits = { ...limitsOf(config), requestsOfOne: 1, refusalMs: 3_600_000 }
  const admission = createAdmission(app, { config, events, limits })
  let begun = 0
  app.get('/', {
    onRequest: (request, reply) => {
      begun++
      return admission.begin(request, reply, NODE)
    },
    handler: (_request, reply) => once(reply.raw, 'close'),
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const socket = createConnection(port, '127.0.0.1')
  const closed = once(socket, 'close')
  socket.on('error', () => {})
  // The first is worked on, the second waits for its refusal; nobody waits for answers.
  socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(3))
  await closed
  expect(begun).toBe(3)
})

it('lets one request go on in a round of the event loop, however many come at a moment, callers in rotation', async () => {
  await using app = fastify()
  const admission = createAdmission(app, { config, events })
  let round = 0
  let isOver = false
  const count = () => {
    round++
    if (!isOver) setRound(count)
  }
  const went: { who: string; round: number }[] = []
  app.get<{ Params: { who: string } }>('/:who', {
    onRequest: (request, reply) => admission.begin(request, reply, { group: 'sidecar', name: request.params.who }),
    handler: async (request) => {
      went.push({ who: request.params.who, round })
      return {}
    },
  })
  await app.ready()
  count()
  const get = (who: string) => app.inject({ method: 'GET', url: `/${who}` })
  await Promise.all([...Array.from({ length: 20 }, () => get('many')), get('one')])
  isOver = true
  expect(new Set(went.map(({ round: at }) => at)).size).toBe(21)
  expect(went.findIndex(({ who }) => who === 'one')).toBeLessThan(3)
})

it('refuses one request in a round too, also those whose callers are not known', async () => {
  await using app = fastify()
  const admission = createAdmission(app, { config, events })
  const answered: string[] = []
  app.setErrorHandler(async (_error, request, reply) => {
    await admission.beforeRefusal(request, reply)
    answered.push(request.url)
    return reply.code(401).send({})
  })
  app.get('/:n', {
    onRequest: async () => {
      throw new Error('nobody')
    },
    handler: async () => ({}),
  })
  await app.ready()
  const all = Array.from({ length: 5 }, (_, n) => app.inject({ method: 'GET', url: `/${n}` }))
  const seen: number[] = []
  while (answered.length < 5) {
    await setImmediate()
    if (seen.at(-1) !== answered.length) seen.push(answered.length)
  }
  await Promise.all(all)
  expect(seen.filter((count) => count > 0)).toEqual([1, 2, 3, 4, 5])
})

it('has a caller wait that asked for what is not its own too often, until it hangs up, and nobody else', async () => {
  // Who hangs up leaves a connection behind that would be waited for at the end.
  await using app = fastify({ forceCloseConnections: true })
  const limits = { ...limitsOf(config), forbiddenOfOne: { burst: 1, perSecond: 0.001, most: 10, waitSeconds: 600 } }
  const admission = createAdmission(app, { config, events, limits })
  const [asked, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  app.setErrorHandler(async (_error, request, reply) => {
    if (request.url === '/node/third') asked.resolve()
    const status = request.url === '/node/other-fault' ? 422 : 403
    await admission.beforeRefusal(request, reply, status)
    if (request.url === '/node/third') gone.resolve()
    return reply.code(403).send({})
  })
  app.get<{ Params: { who: string } }>('/:who/:time', {
    onRequest: (request, reply) => {
      const { who: name } = request.params
      return admission.begin(request, reply, name === 'stranger' ? strangerOf(request) : { group: 'sidecar', name })
    },
    handler: async () => {
      throw new Error('not yours')
    },
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const get = async (path: string, signal?: AbortSignal) =>
    (await fetch(`${url}/${path}`, signal === undefined ? {} : { signal })).status
  expect([await get('node/first'), await get('node/second')]).toEqual([403, 403])
  const hangUp = new AbortController()
  // Of what is refused for another reason there is no end.
  for (let time = 0; time < 5; time++) expect(await get('node/other-fault')).toBe(403)
  const third = get('node/third', hangUp.signal)
  third.catch(() => {})
  await asked.promise
  expect(await get('other/first')).toBe(403)
  for (let time = 0; time < 5; time++) expect(await get('stranger/again')).toBe(403)
  hangUp.abort()
  await expect(third).rejects.toThrow()
  await gone.promise
})

it('counts what waits of every large answer: of a value, of a text, of bytes, of an error', async () => {
  await using app = fastify()
  let held: number[] = []
  const telling = {
    ...events,
    bytesHeld(of: 'bodies' | 'answers', bytes: number) {
      if (of === 'answers') held.push(bytes)
    },
  }
  const admission = createAdmission(app, { config, events: telling })
  const context = { logger: { debug: () => {} }, events: { requestFailed: () => {} } } as unknown as HttpContext
  app.setErrorHandler(async (error, request, reply) => answerError(error, request, reply, context, admission.answer))
  const bind = createBind(app, {} as Auth, admission)
  const long = 'é'.repeat(PIECE_BYTES)
  const anybody = () => ANYBODY
  bind(routes.getBeaconVersion, async () => ({ data: { version: long } }), anybody)
  bind(routes.getMetrics, async () => long, anybody)
  bind(routes.getOpenapi, async () => new Rendered<object>(Buffer.from(JSON.stringify({ long }))), anybody)
  const failures = Array.from({ length: 1000 }, (_, position) => failure(position, 'SIGNATURE_WRONG'))
  bind(
    routes.getHealth,
    async () => {
      throw new ApiError('SHARES_WRONG', 'all', { failures })
    },
    anybody,
  )
  bind(routes.getRoot, async () => '', anybody)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  /** What is answered, as what, and how much of it was counted. */
  async function ask({ path }: { path: string }) {
    held = []
    const answer = await fetch(`${url}${path}`)
    const bytes = Buffer.from(await answer.arrayBuffer())
    await vi.waitUntil(() => held.length === 0 || held.at(-1) === 0, { timeout: 60_000 })
    expect(answer.headers.get('content-length')).toBe(String(bytes.length))
    return { answer: String(bytes), type: answer.headers.get('content-type'), counted: held[0], bytes: bytes.length }
  }
  const value = await ask(routes.getBeaconVersion)
  expect(value).toMatchObject({ type: 'application/json; charset=utf-8', counted: value.bytes })
  expect(JSON.parse(value.answer)).toEqual({ data: { version: long } })
  const text = await ask(routes.getMetrics)
  expect(text).toMatchObject({ type: 'text/plain; charset=utf-8', counted: text.bytes, answer: long })
  const bytes = await ask(routes.getOpenapi)
  expect(bytes).toMatchObject({ type: 'application/json', counted: bytes.bytes })
  const error = await ask(routes.getHealth)
  expect(error).toMatchObject({ type: 'application/json', counted: error.bytes })
  expect(JSON.parse(error.answer)).toMatchObject({ code: 'SHARES_WRONG', failures })
  expect(await ask(routes.getRoot)).toEqual({
    answer: '',
    type: 'text/plain; charset=utf-8',
    counted: undefined,
    bytes: 0,
  })
})

it('counts the requests of each account, one by one, and those of who has proven who it is on that account', async () => {
  await using app = fastify({ forceCloseConnections: true })
  const limits = { ...limitsOf(config), requestsOfOne: 2, refusalMs: 0 }
  const admission = createAdmission(app, { config, events, limits })
  const held: (() => void)[] = []
  let onHeld = () => {}
  app.setErrorHandler<ApiError>(async ({ code }, _request, reply) => reply.code(503).send(code))
  app.get<{ Params: { who: string } }>('/:who', {
    onRequest: (request, reply) => {
      const { who: name } = request.params
      return admission.begin(request, reply, name === 'node' ? NODE : strangerOf(request))
    },
    handler: (request) => {
      if (request.params.who === 'prover') request.countAs(NODE)
      return new Promise((resolve) => {
        held.push(() => resolve({}))
        onHeld()
      })
    },
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const answers: Promise<string>[] = []
  const get = async (who: string) => (await fetch(`${url}/${who}`)).text()
  /** Whether it is worked on, or what it is refused with. */
  async function begin(who: string): Promise<string> {
    const begun = new Promise<string>((resolve) => {
      onHeld = () => resolve('begun')
    })
    const answer = get(who)
    const outcome = await Promise.race([answer, begun])
    if (outcome === 'begun') answers.push(answer)
    return outcome
  }
  async function endAll() {
    for (const end of held.splice(0)) end()
    expect(new Set(await Promise.all(answers.splice(0)))).toEqual(new Set(['{}']))
  }
  for (const _ of [1, 2]) {
    expect([await begin('node'), await begin('node'), await begin('node')]).toEqual(['begun', 'begun', 'TOO_BUSY'])
    held.shift()?.()
    expect(await Promise.race(answers)).toBe('{}')
    expect([await begin('node'), await begin('node')]).toEqual(['begun', 'TOO_BUSY'])
    expect(await begin('stranger')).toBe('begun')
    await endAll()
    expect([await begin('prover'), await begin('prover'), await begin('prover')]).toEqual([
      'begun',
      'begun',
      'TOO_BUSY',
    ])
    expect(await begin('node')).toBe('TOO_BUSY')
    expect([await begin('stranger'), await begin('stranger'), await begin('stranger')]).toEqual([
      'begun',
      'begun',
      'TOO_BUSY',
    ])
    await endAll()
  }
})

it('has who asks for too much at once wait for its refusal, and at a stop no longer', async () => {
  await using app = fastify({ forceCloseConnections: true })
  const stopping = new AbortController()
  const limits = {
    ...limitsOf(config),
    requestsOfOne: 1,
    refusalMs: 3_600_000,
    refusals: { gapMs: 0, mostMs: 3_600_000 },
  }
  const bounded = Promise.withResolvers<string>()
  const telling = { ...events, callerBounded: bounded.resolve } as unknown as Events
  const admission = createAdmission(app, { config, events: telling, limits, stopping: stopping.signal })
  const [begun, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let refused = 0
  app.setErrorHandler<ApiError>(async ({ code }, _request, reply) => {
    refused++
    return reply.code(503).send(code)
  })
  app.get('/', {
    onRequest: (request, reply) => admission.begin(request, reply, NODE),
    handler: async () => {
      begun.resolve()
      await over.promise
      return {}
    },
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const first = fetch(url)
  await begun.promise
  const second = fetch(url)
  expect(await bounded.promise).toBe('requests')
  for (let round = 0; round < 10; round++) await setImmediate()
  expect(refused).toBe(0)
  stopping.abort()
  const answer = await second
  expect([answer.status, answer.headers.get('connection'), await answer.text()]).toEqual([503, 'close', 'TOO_BUSY'])
  over.resolve()
  expect((await first).status).toBe(200)
})

it('cuts off a connection that brings more requests at a moment than have room in its line, and no other', async () => {
  await using app = fastify({ forceCloseConnections: true })
  const admission = createAdmission(app, { config, events })
  app.get('/', {
    onRequest: (request, reply) => admission.begin(request, reply, NODE),
    handler: async () => ({}),
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const socket = createConnection(port, '127.0.0.1')
  const closed = once(socket, 'close').then(() => 'cut off')
  socket.on('error', () => {})
  let left = 0
  let onAnswered = () => {}
  socket.on('data', (data) => {
    left -= String(data).split('HTTP/1.1 200').length - 1
    if (left === 0) onAnswered()
  })
  function bring(count: number): Promise<string> {
    left = count
    const answered = new Promise<string>((resolve) => {
      onAnswered = () => resolve('answered')
    })
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(count))
    return Promise.race([closed, answered])
  }
  for (const _ of [1, 2, 3]) expect(await bring(8)).toBe('answered')
  expect(await bring(9)).toBe('cut off')
})

it('closes the connection of a body over the limit of its route only where it is long, and takes one at the limit', async () => {
  await using app = fastify()
  const admission = createAdmission(app, { config, events })
  app.setErrorHandler<ApiError>(async ({ code }, _request, reply) => reply.code(400).send(code))
  for (const kib of [1, 256, 300])
    app.post(`/${kib}`, {
      onRequest: (request, reply) => admission.begin(request, reply, NODE),
      bodyLimit: kib * 1024,
      handler: async () => ({}),
    })
  const post = async (url: string, bytes: number) => {
    const { body, headers } = await app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify('0'.repeat(bytes - 2)),
    })
    return [body, headers.connection]
  }
  const KIB = 1024
  expect(await post('/1', KIB)).toEqual(['{}', 'keep-alive'])
  expect(await post('/1', KIB + 1)).toEqual(['BODY_TOO_LARGE', 'keep-alive'])
  expect(await post('/1', 256 * KIB)).toEqual(['BODY_TOO_LARGE', 'keep-alive'])
  expect(await post('/1', 256 * KIB + 1)).toEqual(['BODY_TOO_LARGE', 'close'])
  expect(await post('/300', 300 * KIB)).toEqual(['{}', 'keep-alive'])
})

it('asks no room for what has no body', async () => {
  await using app = fastify()
  const { bodies, ...others } = limitsOf(config)
  const limits = { ...others, bodies: { ...bodies, rate: { bytesASecond: 0.001, atOnce: 0 }, waitMs: 0 } }
  const asked: string[] = []
  const telling = {
    ...events,
    callerBounded: (of: string) => void asked.push(of),
    bytesHeld: (of: string) => void asked.push(of),
  }
  const admission = createAdmission(app, { config, events: telling as unknown as Events, limits })
  app.route({
    method: ['GET', 'POST'],
    url: '/',
    onRequest: (request, reply) => admission.begin(request, reply, NODE),
    handler: async () => ({}),
  })
  for (const method of ['GET', 'POST'] as const)
    for (const headers of [{}, { 'content-length': '0' }])
      expect((await app.inject({ method, url: '/', headers })).body).toBe('{}')
  expect(asked).toEqual([])
})

it('reads of a large answer a piece or two ahead of who takes it, and not all of it', async () => {
  await using app = fastify()
  const admission = createAdmission(app, { config, events })
  const bytes = Buffer.alloc(20 * PIECE_BYTES, 'answer')
  const seen = { ahead: 0, all: Buffer.alloc(0) }
  app.get('/', {
    onRequest: (request, reply) => admission.begin(request, reply, NODE),
    handler: async (request, reply) => {
      const answer = admission.answer(request, reply, bytes)
      if (Buffer.isBuffer(answer)) return answer
      await once(answer, 'readable')
      for (let round = 0; round < 100; round++) await setImmediate()
      const parts: Buffer[] = []
      for (let part = answer.read(); part !== null; part = answer.read()) parts.push(part)
      seen.ahead = Buffer.concat(parts).length
      for await (const part of answer) parts.push(part)
      seen.all = Buffer.concat(parts)
      reply.removeHeader('content-length')
      return {}
    },
  })
  await app.inject({ url: '/' })
  expect(seen.ahead).toBeGreaterThan(0)
  expect(seen.ahead).toBeLessThanOrEqual(2 * PIECE_BYTES)
  expect(seen.all.equals(bytes)).toBe(true)
})
