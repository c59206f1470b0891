/** What callers can make grow: the log, and rows. And what people and their browsers are shown. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { routes } from '@dvt-relayer/api/routes.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { publicKeysOf } from '../../support/world/nodes.ts'
import { type Answer, ask, startWorld, type World } from '../../support/world/world.ts'

const tokens = {
  first: createToken('first', 'operator', '*'),
  second: createToken('second', 'operator', '*'),
  sidecar: createToken('node-1', 'sidecar', '1'),
}
const as = ({ token }: { token: string }) => ({ authorization: `Bearer ${token}` })

let world: World
let settings: Record<string, string>
beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  const file = join(world.dir, 'tokens')
  await writeFile(
    file,
    Object.values(tokens)
      .map(({ line }) => line)
      .join('\n'),
  )
  settings = { SIGNATURE_THRESHOLD: '3', AUTH_TOKENS_FILE: file }
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** A logger, and the lines that say something like `message`. */
function recording() {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) }
  return {
    logger: createLogger({ level: 'info', format: 'json', destination }),
    saying: (message: string) => lines.filter(({ msg }) => String(msg).startsWith(message)),
    text: () => JSON.stringify(lines),
  }
}

describe('the log', () => {
  it('has one line of a refusal at once and one that counts the others, and nothing of what was sent', async () => {
    const { logger, saying, text } = recording()
    const relayer = await world.startRelayer(settings, { logger })
    const canary = `canary-${'x'.repeat(40)}`
    for (let i = 0; i < 50; i++) {
      await ask(relayer.url, '/exits', { headers: { authorization: `Bearer ${canary}${i}` } })
      await ask(relayer.url, `/exits?${canary}`)
    }
    for (let i = 0; i < 20; i++) await ask(relayer.url, '/exits', { headers: as(tokens.first) })
    expect(saying('request refused')).toHaveLength(3)
    await relayer[Symbol.asyncDispose]()
    expect(
      saying('request refused, summed up').map(({ reason, token_name: name, times }) => [reason, name, times]),
    ).toEqual([
      ['unknown', undefined, 49],
      ['missing', undefined, 49],
      ['role', 'first', 19],
    ])
    expect(text()).not.toContain('canary')
  })

  it('sums up malformed signatures and new exits as well', async () => {
    const { logger, saying } = recording()
    const relayer = await world.startRelayer(settings, { logger })
    const body = { share_index: 1, shares: [{ public_key: 'x', exit_signature: 'y' }] }
    for (let i = 0; i < 10; i++) await ask(relayer.url, '/exit-signature', { body, headers: as(tokens.sidecar) })
    const [a = '', b = ''] = publicKeysOf(createTestKeys(2, { nodes: 4, threshold: 3 }))
    for (let i = 0; i < 5; i++)
      for (const keys of [
        [a, b],
        [b, a],
      ])
        expect(
          (await ask(relayer.url, '/validators', { body: { public_keys: keys }, headers: as(tokens.first) })).status,
        ).toBe(200)
    await relayer[Symbol.asyncDispose]()
    expect(saying('malformed partial signatures')).toMatchObject([
      { share_index: 1, count: 1 },
      { share_index: 1, count: 9, times: 9 },
    ])
    expect(saying('exits requested')).toMatchObject([
      { requester: 'first', created: 2, superseded: 0 },
      { requester: 'first', created: 18, superseded: 18, times: 9 },
    ])
  })
})

describe('new exits of one requester', () => {
  it('come at a rate, and others are not kept waiting', async () => {
    await using relayer = await world.startRelayer({ ...settings, MAX_KEYS_PER_REQUEST: '10', MAX_OPEN_EXITS: '20' })
    const keys = publicKeysOf(createTestKeys(10, { nodes: 4, threshold: 3 }))
    const post = (publicKeys: readonly string[], token = tokens.second): Promise<Answer> =>
      ask(relayer.url, '/validators', { body: { public_keys: publicKeys }, headers: as(token) })
    const count = async () => Number((await world.query('select count(*) as count from messages'))[0]?.['count'])
    const before = await count()
    let answer = await post(keys)
    let asked = 1
    // Each turn gives every key another index. The bucket holds four requests of all keys, and gains one in some slots.
    for (; answer.status === 200 && asked < 100; asked++)
      answer = await post([...keys.slice(asked % 10), ...keys.slice(0, asked % 10)])
    expect(answer).toMatchObject({ status: 429, json: { code: 'RATE_LIMIT' } })
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    // What was refused has written nothing.
    expect(await count()).toBe(before + 10 * (asked - 1))
    const others = publicKeysOf(createTestKeys(2, { nodes: 4, threshold: 3 }))
    expect((await post(others, tokens.first)).status).toBe(200)
  })
})

describe('a web page', () => {
  const page = { origin: 'https://page.example', 'access-control-request-method': 'POST' }
  const granted = ({ headers }: Answer) =>
    [...headers.keys()].filter((name) => name.startsWith('access-control-')).sort()

  it('is told what it may do with a token, and nothing of what a browser keeps', async () => {
    await using relayer = await world.startRelayer(settings)
    const preflight = await ask(relayer.url, '/validators', { method: 'OPTIONS', headers: page })
    expect(preflight).toMatchObject({ status: 200, text: 'OK' })
    expect(Object.fromEntries(preflight.headers)).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'POST, GET',
      'access-control-allow-headers': 'authorization, content-type, if-none-match',
    })
    expect(granted(preflight)).not.toContain('access-control-allow-credentials')
    for (const headers of [{}, as(tokens.sidecar)]) {
      const answer = await ask(relayer.url, '/exits', { headers: { ...headers, origin: page.origin } })
      expect(granted(answer)).toEqual(['access-control-allow-origin', 'access-control-expose-headers'])
    }
    // No preflight: as the existing relayer has it.
    const bare = await ask(relayer.url, '/validators', { method: 'OPTIONS' })
    expect(bare).toMatchObject({ status: 405, json: { code: 'METHOD_NOT_ALLOWED' } })
    expect((await ask(relayer.url, '/nowhere', { method: 'OPTIONS', headers: page })).status).toBe(404)
  })

  it('is granted nothing where there are no tokens', async () => {
    await using relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3' })
    const preflight = await ask(relayer.url, '/validators', { method: 'OPTIONS', headers: page })
    expect([preflight.status, granted(preflight)]).toEqual([200, []])
    expect(granted(await ask(relayer.url, '/exits', { headers: { origin: page.origin } }))).toEqual([])
  })
})

describe('GET /docs', () => {
  it('is a page with every route, for who has a token, that loads and runs nothing', async () => {
    await using relayer = await world.startRelayer(settings)
    const stranger = await ask(relayer.url, '/docs')
    expect([stranger.status, stranger.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining('Basic')])
    // As a browser asks once somebody has typed the token.
    const typed = `Basic ${Buffer.from(`anybody:${tokens.first.token}`).toString('base64')}`
    const { status, headers, text } = await ask(relayer.url, '/docs', { headers: { authorization: typed } })
    expect([status, headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-[^']+'; /)
    for (const { method, path, summary } of Object.values(routes)) {
      expect(text).toContain(`${method} ${path.replace(/:(\w+)/g, '{$1}')}<`)
      expect(text).toContain(summary.replaceAll("'", '&#39;'))
    }
    expect(text).not.toMatch(/https?:|<script|<link|<img|\ssrc=/)
  })
})
