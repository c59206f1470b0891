import {
  createHttpClient,
  type HttpClientOptions,
  HttpError,
  type HttpResult,
} from '@dvt-relayer/common/http/client.ts'
import { Type } from 'typebox'
import { describe, expect, it, vi } from 'vitest'
import { findFreePorts } from '../../demo/ports.ts'
import { type HttpStandIn, type StandInRequest, startHttpStandIn } from '../../support/chain/http-stand-in.ts'

const quick = { timeoutMs: 60_000, backoffMs: { first: 1, most: 5 } }
const Answer = Type.Object({ value: Type.Integer() })

function client(endpoints: string[], options: Partial<HttpClientOptions> = {}) {
  return createHttpClient({ ...quick, endpoints, ...options })
}

async function failure(promise: Promise<unknown>): Promise<HttpError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof HttpError)) throw new Error(`not an HttpError: ${String(error)}`)
  return error
}

const startEcho = (seen: StandInRequest[] = []): Promise<HttpStandIn> =>
  startHttpStandIn((request) => {
    seen.push(request)
    return { status: 200, body: { value: seen.length } }
  })

describe('a request', () => {
  it('is signed as it goes out, anew for each attempt, by its path below the endpoint', async () => {
    const seen: StandInRequest[] = []
    await using server = await startHttpStandIn((request) => {
      seen.push(request)
      return { status: seen.length === 1 ? 503 : 200, body: { value: seen.length } }
    })
    const sent: unknown[] = []
    const sign = (request: unknown) => ({ 'x-signed': String(sent.push(request)) })
    const http = client([`${server.url}/base/?key=abc`], { retryTimeoutMs: 60_000 })
    const body = { x: ['ä'] }
    const options = { method: 'POST' as const, path: '/thing', query: { a: 'b c' }, idempotent: true, body, sign }
    await http.json(options, Answer)
    const whole = { method: 'POST', path: '/thing?key=abc&a=b+c', body: '{"x":["ä"]}' }
    expect(sent).toEqual([whole, whole])
    expect(seen.map(({ headers, path }) => [path, headers['x-signed']])).toEqual([
      ['/base/thing', '1'],
      ['/base/thing', '2'],
    ])
    await http.json({ path: '', sign }, Answer)
    expect(sent[2]).toEqual({ method: 'GET', path: '/?key=abc', body: undefined })
  })

  it('that shows credentials is not shown to be anybody else', async () => {
    const seen: StandInRequest[] = []
    await using server = await startEcho(seen)
    const http = client([server.url.replace('//', '//name:token@')])
    await http.json({ path: '/', sign: () => ({ authorization: 'Node 1:2:3' }) }, Answer)
    expect(seen[0]?.headers['authorization']).toMatch(/^Basic /)
  })

  it('carries path, query, body and the credentials of the URL as Basic', async () => {
    const seen: StandInRequest[] = []
    await using server = await startEcho(seen)
    const { host } = new URL(server.url)
    const http = client([`http://na%3Ame:to%2Fken@${host}/base/?key=abc`])
    const request = { method: 'POST' as const, path: '/thing', query: { a: 'b c' }, body: { x: [1] } }
    expect(await http.json(request, Answer)).toEqual({ value: 1 })
    expect(seen[0]).toMatchObject({ method: 'POST', path: '/base/thing', body: { x: [1] } })
    expect(Object.fromEntries(seen[0]?.query ?? [])).toEqual({ key: 'abc', a: 'b c' })
    expect(seen[0]?.headers['authorization']).toBe(`Basic ${Buffer.from('na:me:to/ken').toString('base64')}`)
    expect(seen[0]?.headers['content-type']).toBe('application/json')
    expect(http.host).toBe(host)
  })

  it('never names more of the URL than its host, whatever goes wrong', async () => {
    await using server = await startEcho()
    const { host } = new URL(server.url)
    const secretUrl = (of: string) => `http://name:s3cret@${of}/k3y/?token=t0ken`
    const [port] = await findFreePorts(1)
    const dead = `127.0.0.1:${port}`
    const errors = [await failure(client([secretUrl(dead)]).send({ path: '/x' }))]
    for (const how of [
      'down',
      'garbage',
      { status: 503 },
      { status: 302, headers: { location: 'http://x/k3y' } },
    ] as const) {
      server.fail(how)
      errors.push(await failure(client([secretUrl(host)]).json({ path: '/x' }, Answer)))
    }
    expect(errors.map(({ code }) => code)).toEqual([
      'HTTP_UNREACHABLE',
      'HTTP_UNREACHABLE',
      'HTTP_INVALID',
      'HTTP_STATUS',
      'HTTP_REDIRECT',
    ])
    for (const error of errors) {
      const everything = `${error.message} ${error.stack} ${JSON.stringify(error.meta)} ${String(error.cause)}`
      expect(everything).not.toMatch(/s3cret|k3y|t0ken|name:/)
      expect(error.message).toMatch(/127\.0\.0\.1:\d+/)
    }
    expect(() => client(['http://name:s3cret@ho st/'])).toThrow(/^endpoint 1 is not a URL$/)
    expect(() => client(['ftp://name:s3cret@host/'])).toThrow(/^endpoint 1 must start with/)
    expect(() => client([])).toThrow('at least one')
  })

  it.each([
    ['https://name:s3cret@host/', 's3cret'],
    ['https://name:s3c%2Fret@host/', 's3c/ret'],
    ['https://name:s3c%2Fret@host/', 's3c%2Fret'],
    ['https://name:s3cret@host/', 'bmFtZTpzM2NyZXQ='],
    ['https://long-name:s3cret@host/', 'long-name'],
    ['https://t0ken@host/', 't0ken'],
    ['https://host/v2/0123456789abcdef', '0123456789abcdef'],
    ['https://host/?key=01234%2067', '01234 67'],
    ['https://other/#s3cret', 'see https://node.invalid/any'],
  ])('hides what may be secret in %s from a stranger’s text: %s', (url, part) => {
    const http = client(['https://host', url])
    const quoted = http.quote(`refused: ${part} is wrong`)
    expect(quoted).toMatch(/^(<hidden>|refused: see <url> is wrong)$/)
    expect(http.each[0]?.quote('refused: the key is wrong')).toBe('refused: the key is wrong')
    expect(http.quote(`v2 ${'x'.repeat(500)}`)).toHaveLength(200)
  })

  it.each([
    [{ code: 'TOKEN_UNKNOWN', message: 's3cret' }, 'GET /x at HOST answers with status 401 TOKEN_UNKNOWN'],
    [{ code: 's3cret' }, 'GET /x at HOST answers with status 401'],
    [{ code: 'CODE', rest: 'x'.repeat(5000) }, 'GET /x at HOST answers with status 401'],
  ])('names the code of an error answer and no more of it (%#)', async (body, message) => {
    await using server = await startHttpStandIn(() => ({ status: 401, body }))
    const error = await failure(client([server.url]).send({ path: '/x' }))
    expect(error.message).toBe(message.replace('HOST', new URL(server.url).host))
  })

  it('ends at its timeout and at its signal, also while the body is read', async () => {
    await using server = await startEcho()
    server.fail('slow')
    expect((await failure(client([server.url], { timeoutMs: 30 }).send({ path: '/' }))).code).toBe('HTTP_TIMEOUT')
    const abort = new AbortController()
    const pending = failure(client([server.url], { retryTimeoutMs: 60_000 }).send({ path: '/', signal: abort.signal }))
    abort.abort()
    expect((await pending).code).toBe('HTTP_ABORTED')
    expect((await failure(client([server.url]).send({ path: '/', signal: AbortSignal.abort() }))).code).toBe(
      'HTTP_ABORTED',
    )
  })

  it('is told of as it ended', async () => {
    await using server = await startEcho()
    const results: HttpResult[] = []
    const onResult = (result: HttpResult) => void results.push(result)
    const http = client([server.url], { onResult })
    await http.json({ path: '/' }, Answer)
    await failure(http.json({ path: '/' }, Type.Object({ other: Type.String() })))
    server.fail({ status: 404 })
    await failure(http.json({ path: '/' }, Answer))
    server.fail('slow')
    await failure(client([server.url], { onResult, timeoutMs: 30 }).json({ path: '/' }, Answer))
    expect(results.map(({ outcome }) => outcome)).toEqual(['ok', 'invalid', 'status', 'timeout'])
    expect(results.every(({ host, seconds }) => host === new URL(server.url).host && seconds >= 0)).toBe(true)
  })
})

describe('an answer', () => {
  it('is limited in size, with and without a stated length', async () => {
    const body = new Uint8Array(5_000).fill(0x20)
    await using server = await startHttpStandIn(({ path }) => ({
      status: 200,
      body,
      ...(path === '/stated' ? { headers: { 'content-length': '5000' } } : {}),
    }))
    for (const path of ['/stated', '/chunked']) {
      expect((await failure(client([server.url], { maxBytes: 4_999 }).send({ path }))).code).toBe('HTTP_TOO_LARGE')
      expect((await client([server.url], { maxBytes: 5_000 }).send({ path })).bytes).toHaveLength(5_000)
      expect((await client([server.url], { maxBytes: 10 }).send({ path, maxBytes: 5_000 })).bytes).toHaveLength(5_000)
    }
  })

  it('must be JSON in UTF-8 of the right shape', async () => {
    let body: unknown
    await using server = await startHttpStandIn(() => ({ status: 200, body }))
    const http = client([server.url])
    for (body of [Uint8Array.of(0xff, 0xfe), new Uint8Array(), { value: 1.5 }, { value: '1' }, null, [1]])
      expect((await failure(http.json({ path: '/' }, Answer))).code).toBe('HTTP_INVALID')
    body = { value: 7, more: true }
    expect(await http.json({ path: '/' }, Answer)).toEqual(body)
  })

  it('that is long is parsed with turns of others in between, whatever it holds', async () => {
    const Long = Type.Object({ list: Type.Array(Type.Object({ value: Type.Integer() })), text: Type.String() })
    const value = { list: Array.from({ length: 50_000 }, (_, value) => ({ value })), text: 'é'.repeat(200_000) }
    await using server = await startHttpStandIn(() => ({ status: 200, body: value }))
    const http = client([server.url], { maxBytes: 4 << 20, maxValues: 200_000 })
    const [parser, rounds] = [vi.spyOn(JSON, 'parse'), { between: 0 }]
    let isAsking = true
    const count = () => {
      if (parser.mock.calls.length > 0) rounds.between++
      if (isAsking) setImmediate(count)
    }
    setImmediate(count)
    expect(await http.json({ path: '/' }, Long)).toEqual(value)
    isAsking = false
    const longest = Math.max(...parser.mock.calls.slice(0, -1).map(([text]) => String(text).length))
    parser.mockRestore()
    // Half a megabyte of list, 32 KiB at a time.
    expect(longest).toBeLessThan(64 * 1024)
    expect(rounds.between).toBeGreaterThanOrEqual(16)
  })

  it.each([10, 100_000])('may begin with a byte order mark (%i bytes)', async (length) => {
    const body = Buffer.from(`\ufeff{"value":7,"text":"${'a'.repeat(length)}"}`)
    await using server = await startHttpStandIn(() => ({ status: 200, body }))
    expect(await client([server.url]).json({ path: '/' }, Answer)).toMatchObject({ value: 7 })
  })

  it('that is long must be UTF-8, an object, and within its bounds as well', async () => {
    let body: unknown
    await using server = await startHttpStandIn(() => ({ status: 200, body }))
    const http = client([server.url], { maxValues: 100_000 })
    const words = async () => (await failure(http.json({ path: '/' }, Type.Object({})))).message
    body = Buffer.concat([Buffer.from('{"text":"'), Buffer.alloc(100_000, 0xff), Buffer.from('"}')])
    expect(await words()).toMatch(/is not UTF-8 text$/)
    body = Array(100_000).fill(1)
    expect(await words()).toMatch(/is no JSON object$/)
    body = { list: Array(100_001).fill(1) }
    expect(await words()).toMatch(/holds more than 100000 values$/)
    body = Buffer.from(`{"text":"${'a'.repeat(100_000)}"`)
    expect(await words()).toMatch(/is not JSON$/)
  })

  it('may have another status where the caller says so', async () => {
    await using server = await startHttpStandIn(() => ({ status: 422, body: { value: 1 } }))
    const accepts = (status: number) => status === 422
    expect((await client([server.url]).send({ path: '/', accepts })).status).toBe(422)
    expect((await failure(client([server.url]).send({ path: '/' }))).status).toBe(422)
  })

  it('may be a redirect only where redirects are followed', async () => {
    const seen: StandInRequest[] = []
    await using target = await startEcho(seen)
    const answer = { status: 302, body: {}, headers: { location: `${target.url}/there` } }
    await using server = await startHttpStandIn(() => answer)
    expect((await failure(client([server.url]).send({ path: '/' }))).code).toBe('HTTP_REDIRECT')
    expect(target.requests).toEqual([])
    const url = server.url.replace('http://', 'http://name:s3cret@')
    expect((await client([url], { redirects: 'follow' }).send({ path: '/' })).status).toBe(200)
    expect(target.requests).toEqual(['GET /there'])
    // The other origin is not told the credentials of the first.
    expect(seen.map(({ headers }) => headers['authorization'])).toEqual([undefined])
  })
})

describe('repetition', () => {
  it('goes on until the server is back, within its time', async () => {
    let answers = 0
    await using server = await startHttpStandIn(() => ({ status: ++answers < 4 ? 503 : 200, body: { value: answers } }))
    expect(await client([server.url], { retryTimeoutMs: 60_000 }).json({ path: '/' }, Answer)).toEqual({ value: 4 })
    answers = -1_000_000
    const error = await failure(client([server.url], { retryTimeoutMs: 20 }).send({ path: '/' }))
    expect([error.code, error.status]).toEqual(['HTTP_STATUS', 503])
  })

  it('is not tried for what will not change', async () => {
    await using server = await startHttpStandIn(({ path }) => ({ status: Number(path.slice(1)), body: {} }))
    const http = client([server.url], { retryTimeoutMs: 60_000 })
    for (const status of [400, 401, 404, 405, 422]) {
      expect((await failure(http.send({ path: `/${status}` }))).status).toBe(status)
      expect(server.requests.splice(0)).toHaveLength(1)
    }
  })

  it('never repeats a POST that may have arrived, and repeats one that says it may be', async () => {
    await using server = await startEcho()
    await using other = await startEcho()
    server.fail('down')
    const http = client([server.url, other.url], { retryTimeoutMs: 60_000 })
    expect((await failure(http.send({ method: 'POST', path: '/', body: {} }))).code).toBe('HTTP_UNREACHABLE')
    expect([server.requests.length, other.requests.length]).toEqual([1, 0])
    await http.send({ method: 'POST', path: '/', body: {}, idempotent: true })
    expect(other.requests).toHaveLength(1)
  })

  it('hands a POST that was never sent to the next endpoint', async () => {
    await using server = await startEcho()
    const [port] = await findFreePorts(1)
    const http = client([`http://127.0.0.1:${port}`, server.url])
    expect((await http.send({ method: 'POST', path: '/', body: {} })).host).toBe(new URL(server.url).host)
  })

  it.each(['down', 'garbage', { status: 500 }, { status: 401 }, { status: 429 }] as const)(
    'asks the next endpoint when the first is %j, and stays with it',
    async (how) => {
      await using first = await startEcho()
      await using second = await startEcho()
      first.fail(how)
      const http = client([first.url, second.url])
      await http.json({ path: '/' }, Answer)
      await http.json({ path: '/' }, Answer)
      expect([first.requests.length, second.requests.length]).toEqual([1, 2])
      expect(http.host).toBe(new URL(second.url).host)
    },
  )

  it('takes a 404 for an answer, not for a reason to ask elsewhere', async () => {
    await using first = await startEcho()
    await using second = await startEcho()
    first.fail({ status: 404 })
    await failure(client([first.url, second.url]).send({ path: '/' }))
    expect(second.requests).toEqual([])
  })

  it('waits as long as Retry-After says, or gives up when that is too long', async () => {
    await using server = await startEcho()
    server.fail({ status: 429, headers: { 'retry-after': '600' } })
    const error = await failure(client([server.url], { retryTimeoutMs: 5_000 }).send({ path: '/' }))
    expect([error.status, error.retryAfterMs]).toEqual([429, 600_000])
    expect(server.requests).toHaveLength(1)
  })
})

describe('admission', () => {
  /** A node on a chain, that can go away, hold back an answer, and come back on another chain. */
  async function startNode(chain: string) {
    const held = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const server = await startHttpStandIn(async ({ path }) => {
      if (path === '/check') return { status: 200, body: { chain: node.chain } }
      if (path === '/missing') return { status: 404, body: {} }
      if (path === '/broken') return { status: 500, body: {} }
      if (path !== '/held') return { status: 200, body: { value: 1 } }
      asked.resolve()
      await held.promise
      return { status: 200, body: { value: 2 } }
    })
    const node = { ...server, chain, asked: asked.promise, release: () => held.resolve() }
    return node
  }

  /** A client that takes answers from nodes on `ours` only. */
  const clientOf = (nodes: readonly HttpStandIn[], options: Partial<HttpClientOptions> = {}) =>
    client(
      nodes.map(({ url }) => url),
      {
        admit: async (ask) => {
          const { chain } = await ask.json({ path: '/check' }, Type.Object({ chain: Type.String() }))
          if (chain !== 'ours') throw new Error('wrong chain')
        },
        ...options,
      },
    )

  it('is checked once per endpoint, before its first request, and not for answers that are no failures', async () => {
    await using node = await startNode('ours')
    const http = clientOf([node])
    await http.send({ path: '/a' })
    await failure(http.send({ path: '/missing' }))
    await failure(http.send({ path: '/a', maxBytes: 1 }))
    await failure(http.send({ path: '/a', signal: AbortSignal.abort() }))
    await http.send({ path: '/b' })
    expect(node.requests).toEqual(['GET /check', 'GET /a', 'GET /missing', 'GET /a', 'GET /b'])
  })

  it('keeps an endpoint that fails it from ever being asked', async () => {
    await using wrong = await startNode('theirs')
    await using right = await startNode('ours')
    await clientOf([wrong, right]).send({ path: '/' })
    expect([wrong.requests, right.requests]).toEqual([['GET /check'], ['GET /check', 'GET /']])
    await expect(clientOf([wrong]).send({ path: '/' })).rejects.toThrow('wrong chain')
  })

  it.each(['down', 'slow', 'garbage', { status: 500 }, { status: 429 }] as const)(
    'keeps an endpoint that was %j and comes back on another chain from being believed',
    async (how) => {
      await using node = await startNode('ours')
      // What is slow is waited for; what is not has time.
      const http = clientOf([node], how === 'slow' ? { timeoutMs: 1_500 } : {})
      await http.json({ path: '/a' }, Answer)
      node.fail(how)
      await failure(http.json({ path: '/b' }, Answer))
      node.fail(undefined)
      node.chain = 'theirs'
      node.requests.length = 0
      for (let i = 0; i < 2; i++) await expect(http.json({ path: '/c' }, Answer)).rejects.toThrow('wrong chain')
      expect(node.requests).toEqual(['GET /check', 'GET /check'])
      node.chain = 'ours'
      expect(await http.json({ path: '/d' }, Answer)).toEqual({ value: 1 })
    },
  )

  it('is checked again of an endpoint that takes over, though it has never failed itself', async () => {
    await using first = await startNode('ours')
    await using second = await startNode('ours')
    const http = clientOf([first, second])
    const send = () => http.send({ path: '/' })
    const held = http.send({ path: '/held' })
    await first.asked
    first.fail('down')
    await send()
    first.fail(undefined)
    first.release()
    // The first is preferred again; the second has only ever answered well.
    await held
    second.chain = 'theirs'
    first.fail('down')
    second.requests.length = 0
    await expect(send()).rejects.toThrow('wrong chain')
    expect(second.requests).toEqual(['GET /check'])
  })

  it('is checked again before an answer counts that was given while another request failed', async () => {
    await using node = await startNode('ours')
    const http = clientOf([node])
    const held = http.send({ path: '/held' })
    await node.asked
    await failure(http.send({ path: '/broken' }))
    node.chain = 'theirs'
    node.release()
    await expect(held).rejects.toThrow('wrong chain')
  })

  it('does not hold for what has failed since it began', async () => {
    await using node = await startNode('ours')
    const begun = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    let checks = 0
    const http = clientOf([node], {
      admit: async () => {
        const { chain } = node
        if (++checks === 1) {
          begun.resolve()
          await gate.promise
        }
        if (chain !== 'ours') throw new Error('wrong chain')
      },
    })
    const slow = http.send({ path: '/a' })
    await begun.promise
    await failure(http.send({ path: '/broken' }))
    node.chain = 'theirs'
    gate.resolve()
    await expect(slow).rejects.toThrow('wrong chain')
  })
})
