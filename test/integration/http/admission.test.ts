/** One caller who takes what it can, beside others who go on: large bodies, many bodies, unread answers, many connections. */

import { writeFile } from 'node:fs/promises'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { type Limits, limitsOf } from '../../../apps/relayer/src/http/admission/limits.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'
import { engine, postShares, postValidators, publicKeysOf } from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, hex, startWorld } from '../../support/world/world.ts'

let world: World
let tokensFile: string
const tokens = {
  attacker: createToken('attacker', 'sidecar', '1'),
  node: createToken('node', 'sidecar', '2'),
  operator: createToken('operator', 'operator', '*'),
  admin: createToken('admin', 'admin', '*'),
}
type Name = keyof typeof tokens
const authorization = (name: Name) => `Bearer ${tokens[name].token}`
const headersOf = (name: Name) => ({ 'content-type': 'application/json', authorization: authorization(name) })

beforeAll(async () => {
  world = await startWorld()
  tokensFile = join(world.dir, 'admission-tokens')
  await writeFile(
    tokensFile,
    Object.values(tokens)
      .map(({ line }) => line)
      .join('\n'),
  )
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

const settings = () => ({ SIGNATURE_THRESHOLD: '3', AUTH_TOKENS_FILE: tokensFile })
/** The figures of a relayer of this world, with some changed. */
function limits(change: Partial<Limits> = {}): Limits {
  return { ...limitsOf(readConfig(world.environment(settings())).config), ...change }
}
/** Nobody is cut off for being slow unless a test is about that. */
const PATIENT = { everyMs: 3_600_000, leastBytes: 1 }
const NEVER = { afterMs: 3_600_000, everyMs: 3_600_000 }
const start = (change: Partial<Limits> = {}) =>
  world.startRelayer(settings(), {
    limits: limits({ upload: PATIENT, answer: PATIENT, uploadOfStrangers: NEVER, ...change }),
  })

/** Connections that end with the test. */
function sockets(url: string) {
  const { port, hostname } = new URL(url)
  const open: Socket[] = []
  return {
    async connect(text = ''): Promise<Socket> {
      const socket = createConnection(Number(port), hostname)
      open.push(socket)
      socket.on('error', () => {})
      await new Promise((resolve) => socket.once('connect', resolve))
      if (text !== '') await new Promise((resolve) => socket.write(text, resolve))
      return socket
    },
    [Symbol.dispose]() {
      for (const socket of open) socket.destroy()
    },
  }
}
const postHead = (name: Name, length: number) =>
  `POST /exit-signature HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization(name)}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n{`
const firstLine = (socket: Socket) =>
  new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(String(chunk).split('\r\n')[0] ?? '')))
const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))

/** A good post of no share of ours, padded to some more than its size by what nobody reads, in pieces that a long body may have. */
const padded = (shareIndex: number, bytes: number) =>
  JSON.stringify({
    share_index: shareIndex,
    shares: [],
    padding: Array(Math.ceil(bytes / 1000)).fill('0'.repeat(1000)),
  })
const post = (url: string, name: Name, body: string) => ask(url, '/exit-signature', { body, headers: headersOf(name) })
const poll = (url: string) => ask(url, '/validators', { body: { public_keys: [] }, headers: headersOf('operator') })

/** A number of `/metrics`. */
async function metric(url: string, line: string): Promise<number> {
  const { text } = await ask(url, '/metrics', { headers: headersOf('admin') })
  return Number(
    text
      .split('\n')
      .find((one) => one.startsWith(`${line} `))
      ?.split(' ')[1],
  )
}
const heldOf = (url: string, of: 'bodies' | 'answers') => metric(url, `dvt_relayer_held_bytes{of="${of}"}`)

describe('large bodies that come to nothing', () => {
  it('hold the places of their sender alone, who is told when to come again', async () => {
    await using relayer = await start({ bodies: { ...limits().bodies, largeWaitMs: 50 } })
    using attacker = sockets(relayer.url)
    const held = 3 * 2_000_000
    for (let count = 0; count < 4; count++) await attacker.connect(postHead('attacker', 2_000_000))
    await eventually('they are held', async () =>
      (await heldOf(relayer.url, 'bodies')) === 4 * held ? true : undefined,
    )
    const refused = await post(relayer.url, 'attacker', padded(1, 1_200_000))
    expect(refused).toMatchObject({ status: 503, json: { code: 'TOO_BUSY' } })
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
    // Others are not refused, nor do they wait: all four places of the attacker are still held.
    for (let round = 0; round < 3; round++)
      expect((await post(relayer.url, 'node', padded(2, 1_200_000))).status).toBe(200)
    expect((await poll(relayer.url)).status).not.toBe(503)
    expect((await ask(relayer.url, '/health')).status).toBe(200)
    expect(await heldOf(relayer.url, 'bodies')).toBe(4 * held)
  })

  it('are cut off below the least rate, and give back what they held', async () => {
    await using relayer = await start({ upload: { everyMs: 100, leastBytes: 50_000 } })
    using attacker = sockets(relayer.url)
    const slow = await attacker.connect(postHead('attacker', 2_000_000))
    const [line] = await Promise.all([firstLine(slow), closed(slow)])
    expect(line).toContain(' 408 ')
    await eventually('nothing is held', async () => ((await heldOf(relayer.url, 'bodies')) === 0 ? true : undefined))
    expect(await metric(relayer.url, 'dvt_relayer_callers_bounded_total{of="upload"}')).toBe(1)
  })
})

it('many bodies just under a mebibyte are held up to their sender’s limit, the others wait unread', async () => {
  await using relayer = await start()
  using attacker = sockets(relayer.url)
  const { ofOne } = limits().bodies
  for (let count = 0; count < 60; count++) await attacker.connect(postHead('attacker', 1_000_000))
  await eventually('its limit is reached', async () =>
    (await heldOf(relayer.url, 'bodies')) > ofOne - 3_000_000 ? true : undefined,
  )
  expect((await post(relayer.url, 'node', padded(2, 900_000))).status).toBe(200)
  expect((await poll(relayer.url)).status).not.toBe(503)
  expect(await heldOf(relayer.url, 'bodies')).toBeLessThanOrEqual(ofOne)
})

it('bodies of empty values pay for what is parsed of them', async () => {
  const bodies = { ...limits().bodies, ofOne: 4_000_000 }
  await using relayer = await start({ bodies })
  const empty = `{"share_index":1,"shares":[],"more":[${'{},'.repeat(150_000)}{}]}`
  expect(await post(relayer.url, 'attacker', empty)).toMatchObject({ status: 503, json: { code: 'TOO_BUSY' } })
  expect((await post(relayer.url, 'node', padded(2, empty.length))).status).toBe(200)
})

it('fifty posts of one node hold two connections to the database, and nobody else waits behind them', async () => {
  await using relayer = await start()
  const [attacked = '', other = ''] = publicKeysOf(createTestKeys(2, { nodes: 4, threshold: 3 }))
  const ofOperator = headersOf('operator')
  expect((await postValidators(relayer.url, [attacked, other], ofOperator)).status).toBe(200)
  const client = new pg.Client({ connectionString: world.databaseUrl })
  await client.connect()
  try {
    // Every post of a share of it waits here, with a connection in hand.
    await client.query('begin')
    await client.query(
      'select m.id from messages m join validators v on v.id = m.validator_id where v.public_key = $1 for update of m',
      [Buffer.from(fromHex(attacked))],
    )
    const ended: number[] = []
    const flood = Array.from({ length: 50 }, async (_, number) => {
      const exit_signature = hex(
        engine.sign(new Uint8Array(32).fill(1).with(31, number + 1), new Uint8Array(32).fill(7)),
      )
      await postShares(relayer.url, 1, [{ public_key: attacked, exit_signature }], headersOf('attacker'))
      ended.push(number)
    })
    const blocked = async () =>
      Number(
        (
          await world.query(
            `select count(*) from pg_stat_activity where ${WAITS_FOR_ROW} and application_name = 'dvt-relayer'`,
          )
        )[0]?.['count'],
      )
    await eventually('two of them wait in the database', async () => ((await blocked()) === 2 ? true : undefined))
    for (let round = 0; round < 3; round++) {
      expect((await postValidators(relayer.url, [attacked, other], ofOperator)).status).toBe(200)
      const share = {
        public_key: other,
        exit_signature: hex(engine.sign(new Uint8Array(32).fill(9), new Uint8Array(32).fill(round))),
      }
      expect((await postShares(relayer.url, 2, [share], headersOf('node'))).status).toBe(200)
      expect((await ask(relayer.url, '/health')).status).toBe(200)
    }
    expect([await blocked(), ended]).toEqual([2, []])
    await client.query('rollback')
    await Promise.all(flood)
  } finally {
    await client.end()
  }
})

describe('answers that are not read', () => {
  beforeAll(async () => {
    // A database with exits that no relayer has been at is no one's.
    await (await start())[Symbol.asyncDispose]()
    // Some 19 MB of list: more than the kernel takes for a reader who takes nothing.
    await world.query(`
      with made as (
        insert into validators (public_key)
        select sha256(n::text::bytea) || substr(sha256((n + 1000000)::text::bytea), 1, 16) from generate_series(1, 50000) n
        returning id)
      insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, revision)
      select id, 'exit', 0, 0, sha256(id::text::bytea), 3, 'collecting', (select nextval('message_revision')) from made`)
  })

  it('are the same bytes for everybody, and cost their readers the connection', async () => {
    await using relayer = await start({ answer: { everyMs: 2_000, leastBytes: 65_536 } })
    const whole = await ask(relayer.url, '/exits', { headers: headersOf('node') })
    expect(whole.text.length).toBeGreaterThan(12_000_000)
    using attacker = sockets(relayer.url)
    const readers = await Promise.all(
      Array.from({ length: 40 }, async (_, number) => {
        // Each of another revision that all has changed since.
        const path = number % 2 === 0 ? '/exits' : '/exits?after=0'
        const socket = await attacker.connect()
        socket.pause()
        const gone = closed(socket)
        socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization('attacker')}\r\n\r\n`)
        return { socket, gone }
      }),
    )
    let most = 0
    await eventually('readers who take nothing are cut off', async () => {
      most = Math.max(most, await heldOf(relayer.url, 'answers'))
      return (await metric(relayer.url, 'dvt_relayer_callers_bounded_total{of="answer"}')) >= 40 ? true : undefined
    })
    expect(most).toBe(whole.text.length)
    for (const { socket } of readers) socket.resume()
    await Promise.all(readers.map(({ gone }) => gone))
    expect((await ask(relayer.url, '/exits', { headers: headersOf('node') })).text).toBe(whole.text)
    await eventually('nothing is held', async () => ((await heldOf(relayer.url, 'answers')) === 0 ? true : undefined))
  })
})

/** Connects so many times at once, from a thread of its own, and counts in `there` those that are connected. */
const CROWD = `
const { createConnection } = require('node:net')
const { port, count, there } = require('node:worker_threads').workerData
for (let n = 0; n < count; n++)
  createConnection(port, '127.0.0.1', () => {
    Atomics.add(there, 0, 1)
    Atomics.notify(there, 0)
  }).on('error', () => {})
`

describe('connections', () => {
  it.skipIf(process.platform !== 'linux')(
    'that come together while the event loop is busy all find a place',
    async () => {
      await using relayer = await start()
      const [count, there] = [900, new Int32Array(new SharedArrayBuffer(4))]
      const worker = new Worker(CROWD, {
        eval: true,
        workerData: { port: Number(new URL(relayer.url).port), count, there },
      })
      const deadline = performance.now() + PATIENCE_MS
      // Nothing is accepted meanwhile. One that found no place would come again while the others wait.
      for (let now = 0; now < count && performance.now() < deadline; now = Atomics.load(there, 0))
        Atomics.wait(there, 0, now, 1000)
      const connected = Atomics.load(there, 0)
      await worker.terminate()
      expect(connected).toBe(count)
    },
  )

  it('of strangers cost neither /health nor who waits for news', async () => {
    await using relayer = await start({ connections: { total: 30, strangers: 10 } })
    const { json } = await ask(relayer.url, '/validators', { headers: headersOf('node') })
    const { revision } = json as { revision: number }
    using node = sockets(relayer.url)
    const waiting = await node.connect(
      `GET /validators?wait=3&after=${revision} HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization('node')}\r\n\r\n`,
    )
    const answered = firstLine(waiting)
    using strangers = sockets(relayer.url)
    const opened: Promise<void>[] = []
    for (let count = 0; count < 100; count++) opened.push(closed(await strangers.connect()))
    expect((await ask(relayer.url, '/health')).status).toBe(200)
    expect(await answered).toContain(' 200 ')
    await Promise.all(opened.slice(0, 80))
    expect((await post(relayer.url, 'node', padded(2, 10))).status).toBe(200)
  })

  it('of one token are closed for others where there are too many', async () => {
    await using relayer = await start({ connections: { total: 10, strangers: 5 } })
    using attacker = sockets(relayer.url)
    const gone: Promise<void>[] = []
    for (let count = 0; count < 20; count++) {
      const socket = await attacker.connect(
        `GET /info HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization('attacker')}\r\n\r\n`,
      )
      await firstLine(socket)
      gone.push(closed(socket))
    }
    await Promise.all(gone.slice(0, 8))
    expect((await ask(relayer.url, '/health')).status).toBe(200)
  })
})

it('requests under way are bounded for each caller', async () => {
  await using relayer = await start({ requestsOfOne: 3 })
  const { json } = await ask(relayer.url, '/validators', { headers: headersOf('node') })
  const { revision } = json as { revision: number }
  using attacker = sockets(relayer.url)
  let come = 0
  relayer.app.server.on('request', () => come++)
  for (let count = 0; count < 3; count++)
    await attacker.connect(
      `GET /validators?wait=60&after=${revision} HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization('attacker')}\r\n\r\n`,
    )
  // What is asked beside them counts as well while it is under way: a poll that came after it would be the one that is refused.
  await eventually('the polls have come', async () => (come === 3 ? true : undefined))
  await eventually('the fourth is refused', async () =>
    (await ask(relayer.url, '/info', { headers: headersOf('attacker') })).status === 503 ? true : undefined,
  )
  expect((await ask(relayer.url, '/info', { headers: headersOf('node') })).status).toBe(200)
})
