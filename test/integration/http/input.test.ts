/** Bad input to generation 3: a 4xx with code, message and request id, and nothing changed. Every field of every body is broken in every way. */

import { createConnection } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestKeys } from '../../support/keys/keys.ts'
import { expectRefusal, mutations } from '../../support/mutations.ts'
import { postShares } from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, hex, startWorld } from '../../support/world/world.ts'

const keys = createTestKeys(4, { nodes: 4, threshold: 3 }).map(({ publicKey }) => hex(publicKey))
const [known = ''] = keys
let world: World
let relayer: Awaited<ReturnType<World['startRelayer']>>
let url: string
let before: string

beforeAll(async () => {
  world = await startWorld()
  relayer = await world.startRelayer({
    SIGNATURE_THRESHOLD: '3',
    MAX_KEYS_PER_REQUEST: '3',
    MAX_SHARES_PER_REQUEST: '5',
    MAX_BODY_BYTES: '2000000',
    MAX_OPEN_EXITS: '3',
  })
  url = relayer.url
  expect((await ask(url, '/validators', { body: { public_keys: [known] } })).status).toBe(200)
  before = (await ask(url, '/exits')).text
})
afterAll(async () => {
  // Nothing of all this changed anything.
  expect((await ask(url, '/exits')).text).toBe(before)
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const signature = `0x${'11'.repeat(96)}`
describe('every mutation of a body', () => {
  it('POST /validators', async () => {
    const cases = mutations({ public_keys: [known] })
    expect(cases.length).toBeGreaterThan(40)
    for (const { name, body } of cases) {
      const answer = await ask(url, '/validators', {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      })
      expect(answer.status, name).toBe(422)
      expectRefusal(answer)
    }
  })

  it('POST /exit-signature', async () => {
    // An empty list of shares is a post of nothing, which is fine.
    const cases = mutations(
      { share_index: 1, shares: [{ public_key: known, exit_signature: signature }] },
      (path, value) => path === 'body.shares' && Array.isArray(value) && value.length === 0,
    )
    expect(cases.length).toBeGreaterThan(80)
    for (const { name, body } of cases) {
      const answer = await ask(url, '/exit-signature', {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      })
      expect(answer.status, name).toBe(422)
      expectRefusal(answer)
    }
  })
})

describe('share indexes', () => {
  it.each(['0', '-1', '1.5', '"1"', 'null', '18446744073709551616', '9007199254740992', '1e400'])(
    '%s is refused, never rounded',
    async (index) => {
      const body = `{"share_index": ${index}, "shares": [{"public_key": "${known}", "exit_signature": "${signature}"}]}`
      expectRefusal(await ask(url, '/exit-signature', { body, headers: { 'content-type': 'application/json' } }))
    },
  )
})

describe('public keys', () => {
  const post = (public_keys: unknown[]) => ask(url, '/validators', { body: { public_keys } })

  it.each([
    ['infinity', `0xc0${'00'.repeat(47)}`],
    ['off the curve', `0x80${'00'.repeat(46)}05`],
    [
      'outside the subgroup',
      `0x8123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef`,
    ],
    ['no compression bit', `0x${'00'.repeat(48)}`],
    ['96 bytes', `0x${'0a'.repeat(96)}`],
    ['odd digits', `${known}0`],
    ['a space', ` ${known}`],
  ])('%s', async (_, key) => {
    const answer = await post([key])
    expect(answer.status).toBe(422)
    expectRefusal(answer)
  })

  it.each([
    [known, known],
    [known, known.toUpperCase().replace('0X', '0x')],
    [known, known.slice(2)],
  ])('the same key twice, as %s and %s', async (a, b) => {
    expect(await post([a, b])).toMatchObject({
      status: 422,
      json: { code: 'PUBLIC_KEY_DUPLICATE', failures: [{ index: 1 }] },
    })
  })

  it('too many', async () => {
    expect(await post(keys)).toMatchObject({ status: 422, json: { code: 'TOO_MANY_KEYS' } })
    const times = (length: number) => Array.from({ length }, () => known)
    expect(await post(times(500))).toMatchObject({ status: 422, json: { code: 'TOO_MANY_KEYS' } })
    // Longer than any list may be: it is not read.
    expect(await post(times(15_000))).toMatchObject({ status: 413, json: { code: 'BODY_TOO_LARGE' } })
  })

  it('but not for their number where they are as many as a request may have', async () => {
    const [a = '', b = ''] = keys
    expect(await post([a, b, a])).toMatchObject({ status: 422, json: { code: 'PUBLIC_KEY_DUPLICATE' } })
  })

  it('more live exits than one requester may have', async () => {
    // Two processes' worth of keys: one live exit is there, the limit is three.
    const more = createTestKeys(3, { nodes: 4, threshold: 3 }).map(({ publicKey }) => hex(publicKey))
    expect(await post(more)).toMatchObject({ status: 429, json: { code: 'TOO_MANY_EXITS' } })
  })
})

describe('bodies', () => {
  const raw = (body: string | Uint8Array, type: string | undefined = 'application/json', path = '/validators') =>
    ask(url, path, { body, headers: type === undefined ? {} : { 'content-type': type } })
  /** Of nodes alone bodies are large. */
  const ofNode = (body: string) => raw(body, 'application/json', '/exit-signature')

  it.each(['', '{', 'null', '[]', '"x"', '{"public_keys": [', 'NaN', "{'a': 1}", '\ufeff{}', '{"public_keys": 1}'])(
    '%j',
    async (body) => {
      const answer = await raw(body)
      expect([400, 415, 422]).toContain(answer.status)
      expectRefusal(answer)
    },
  )

  it('bytes that are no UTF-8', async () => {
    expectRefusal(await raw(new Uint8Array([0x7b, 0xff, 0xfe, 0x7d])))
  })

  it('another media type', async () => {
    expect(await raw('a=b', 'application/x-www-form-urlencoded')).toMatchObject({
      status: 415,
      json: { code: 'MEDIA_TYPE' },
    })
  })

  it('over the limit', async () => {
    const tooLarge = { status: 413, json: { code: 'BODY_TOO_LARGE' } }
    expect(await ofNode(`{"share_index": "${'0'.repeat(2_100_000)}"}`)).toMatchObject(tooLarge)
    expect(await raw(`{"public_keys": ["${'0'.repeat(100_000)}"]}`)).toMatchObject(tooLarge)
  })

  it('a fifth large one at the same time, and the next one again when another is through', async () => {
    const { port, hostname } = new URL(url)
    const head =
      'POST /exit-signature HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1500000\r\n\r\n{'
    const sockets = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = createConnection(Number(port), hostname)
        socket.on('error', () => {})
        await new Promise((resolve) => socket.once('connect', resolve))
        await new Promise((resolve) => socket.write(head, resolve))
        return socket
      }),
    )
    const large = `{"share_index": "${'0'.repeat(1_500_000)}"}`
    try {
      await eventually('the fifth is refused', async () => ((await ofNode(large)).status === 503 ? true : undefined))
      expect(await ofNode(large)).toMatchObject({ status: 503, json: { code: 'TOO_BUSY' } })
      expect((await raw('{"public_keys": ["zz"]}')).status).toBe(422)
    } finally {
      for (const socket of sockets) socket.destroy()
    }
    await eventually('large bodies again', async () => ((await ofNode(large)).status === 422 ? true : undefined))
  })

  it('deeply nested', async () => {
    expectRefusal(await raw(`${'['.repeat(100_000)}${']'.repeat(100_000)}`))
  })

  it('too many shares, and as many as a request may have', async () => {
    const unknown = (length: number) =>
      Array.from({ length }, () => ({ public_key: `0x${'22'.repeat(48)}`, exit_signature: signature }))
    expect(await postShares(url, 1, unknown(6))).toMatchObject({ status: 422, json: { code: 'TOO_MANY_SHARES' } })
    expect(await postShares(url, 1, unknown(5))).toMatchObject({ status: 200 })
  })
})

describe('the line itself', () => {
  const send = (text: string) =>
    new Promise<string>((resolve, reject) => {
      const { port, hostname } = new URL(url)
      const socket = createConnection(Number(port), hostname, () => socket.write(text))
      let answer = ''
      socket.on('data', (chunk) => {
        answer += chunk
        socket.end()
      })
      socket.on('close', () => resolve(answer))
      socket.on('error', reject)
    })

  it.each([
    'GARBAGE\r\n\r\n',
    'GET /exits HTTP/9.9\r\n\r\n',
    'POST /validators HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    'GET /%zz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  ])('%j is a 4xx', async (text) => {
    const answer = await send(text)
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toMatchObject({
      code: expect.any(String),
      request_id: expect.any(String),
    })
  })

  it('still answers', async () => {
    expect(await ask(url, '/health')).toMatchObject({ status: 200, json: { status: 'ok' } })
  })
})
