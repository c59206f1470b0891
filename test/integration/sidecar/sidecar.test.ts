/** The sidecar's main job against relayers of both kinds, on real clusters. */

import { describe, expect, it, vi } from 'vitest'
import { startSidecar } from '../../../apps/sidecar/src/sidecar.ts'
import { fromHex } from '../../../libs/common/src/hex.ts'
import { silentLogger } from '../../../libs/common/src/log/logger.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { startStandInRelayer } from './stand-in.ts'
import {
  configOf,
  engine,
  expectAllRight,
  first,
  hasten,
  isRight,
  keysOf,
  POLL_MS,
  REJECTED,
  recordingLogger,
  rootOf,
} from './support.ts'

const quiet = { logger: silentLogger }
const NAME = 'cluster-4'
const [KEY = '', OTHER = ''] = keysOf(NAME)

describe.each(['existing', 'ours'] as const)('against a relayer that is %s', (generation) => {
  it.each([
    ['cluster-4', 4, 3],
    ['cluster-3', 3, 2],
    ['cluster-7', 7, 5],
    ['cluster-dkg', 4, 3],
  ] as const)('%s: all %i nodes sign, any %i interpolate to the exit signature', async (name, nodes, threshold) => {
    const { expected } = loadFixtureCluster(name)
    await using relayer = await startStandInRelayer({ generation, network: expected.network })
    const keys = keysOf(name)
    for (const [position, key] of keys.entries()) relayer.addExit(key, 1000 + position)
    await using stack = new AsyncDisposableStack()
    for (let node = 0; node < nodes; node++)
      stack.use(await startSidecar(configOf(name, node, relayer.url), { logger: silentLogger }))
    await relayer.until(() => keys.every((key) => relayer.exits.get(key)?.share_indexes_ready.length === nodes))
    expectAllRight(name, relayer.posts)
    for (const [position, key] of keys.entries()) {
      const partials = new Map(
        relayer.posts.filter(({ publicKey }) => publicKey === key).map((post) => [post.shareIndex, post.signature]),
      )
      const some = [...partials].slice(-threshold)
      const full = engine.interpolateSignatures(
        some.map(([index, signature]) => ({ index: BigInt(index), point: fromHex(signature) })),
      )
      expect(engine.verify(fromHex(key), rootOf(expected.network, 1000 + position), full)).toBe(true)
    }
  })
})

describe('against our relayer', () => {
  it('learns of a new exit from the question that waits, without asking in between', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    const polls = () => relayer.seen.filter(({ path, query }) => path === '/exits' && query.has('wait'))
    await relayer.until(() => polls().length > 0)
    relayer.addExit(KEY, 7)
    await relayer.until(() => relayer.posts.length > 0)
    // One full list, at most two questions that wait.
    expect(relayer.seen.filter(({ path }) => path === '/exits').length).toBeLessThanOrEqual(3)
    expect(Number(first(polls()).query.get('wait'))).toBeGreaterThan(10)
    expectAllRight(NAME, relayer.posts)
  })

  it('signs the next exit while the relayer still works on the last post', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(KEY, 7)
    const busy = Promise.withResolvers<undefined>()
    let posts = 0
    relayer.hook = ({ path }) => (path === '/exit-signature' && posts++ === 0 ? busy.promise : undefined)
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    await relayer.until(() => relayer.requests.includes('POST /exit-signature'))
    relayer.addExit(OTHER, 8)
    await relayer.until(() => relayer.posts.length > 0)
    const posted = () => relayer.posts.map(({ publicKey }) => publicKey)
    expect(posted()).toContain(OTHER)
    busy.resolve(undefined)
    await relayer.until(() => posted().includes(KEY))
  })

  it('halves what a proxy refuses as too large, names the size, and hands everything in', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const keys = keysOf(NAME)
    for (const [position, key] of keys.entries()) relayer.addExit(key, 1000 + position)
    const limit = 400
    // As nginx answers: a page, and no JSON.
    relayer.hook = ({ path, body }) =>
      path === '/exit-signature' && JSON.stringify(body).length > limit
        ? { status: 413, body: '<html>413 Request Entity Too Large</html>' }
        : undefined
    const log = recordingLogger()
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger: log.logger })
    await relayer.until(() => keys.every((key) => relayer.exits.get(key)?.share_indexes_ready.length === 1))
    expectAllRight(NAME, relayer.posts)
    expect(keys.length).toBeGreaterThan(1)
    expect(new Set(relayer.batches)).toEqual(new Set([1]))
    const told = log.text.filter((line) => line.includes('post too large'))
    expect(told.length).toBeGreaterThan(0)
    expect(told[0]).toContain('"body_bytes":')
    expect(told[0]).toContain('raise its limit, client_max_body_size in nginx')
    expect(log.find('post failed, it is tried again')).toEqual([])
  })

  it('names the limit of a proxy that takes not even one signature, and hands it in once that is raised', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(KEY, 7)
    let isRaised = false
    relayer.hook = ({ path }) =>
      path === '/exit-signature' && !isRaised ? { status: 413, body: '<html>413</html>' } : undefined
    const log = recordingLogger()
    await using _sidecar = await startSidecar(hasten(configOf(NAME, 0, relayer.url), 200), { logger: log.logger })
    await vi.waitUntil(() => log.text.some((line) => line.includes('too large')), { timeout: 60_000 })
    const [told] = log.text.filter((line) => line.includes('too large'))
    expect(told).toContain('one signature alone')
    expect(told).toContain('raise its limit, client_max_body_size in nginx')
    isRaised = true
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
  })

  it('asks for a full list now and then, and finds what no change had told', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.takes = false
    relayer.addExit(KEY, 7)
    await using _sidecar = await startSidecar(hasten(configOf(NAME, 0, relayer.url), 200), quiet)
    await relayer.until(() => relayer.posts.length > 0)
    relayer.removeExit(KEY)
    const lists = () => relayer.seen.filter(({ path, query }) => path === '/exits' && !query.has('after')).length
    const before = lists()
    await relayer.until(() => lists() > before + 1)
    const posted = relayer.posts.length
    await relayer.until(() => lists() > before + 3)
    expect(relayer.posts.length).toBe(posted)
  })

  it('takes a lower revision for another database and starts over', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(KEY, 7, [1])
    let revision = 100
    relayer.hook = ({ path, query }) => {
      if (path !== '/exits') return undefined
      const after = query.get('after')
      if (after === null) return { status: 200, body: { exits: [...relayer.exits.values()], revision } }
      revision = 3
      return { status: 200, body: { exits: [...relayer.exits.values()], revision } }
    }
    relayer.exits.get(KEY)?.share_indexes_ready.splice(0)
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    await relayer.until(() => relayer.posts.length > 0)
    expectAllRight(NAME, relayer.posts)
  })

  it('does not ask in a tight loop a relayer that answers every long poll at once', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    let revision = 1
    relayer.hook = ({ path }) => {
      if (path !== '/exits') return undefined
      revision++
      return { status: 200, body: { exits: [], revision } }
    }
    const start = performance.now()
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    const lists = () => relayer.seen.filter(({ path }) => path === '/exits').length
    await relayer.until(() => lists() >= 25)
    expect(lists()).toBeLessThanOrEqual(22 + ((performance.now() - start) / 1000) * 5)
  })

  it('warns once of what the relayer rejects, whatever the status, and does not log what it says', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(KEY, 7)
    relayer.addExit(OTHER, 8)
    const said = `0x${'ab'.repeat(40)} said the relayer`
    relayer.hook = ({ path, body }) => {
      if (path !== '/exit-signature') return undefined
      const { shares } = body as { shares: unknown[] }
      const failures = shares.map((_, index) => ({ index, code: 'SIGNATURE_WRONG', message: said }))
      return { status: 422, body: { code: 'ALL_BAD', message: said, request_id: '1', failures } }
    }
    const { logger, text, find } = recordingLogger()
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger })
    const posts = () => relayer.seen.filter(({ path }) => path === '/exit-signature').length
    await relayer.until(() => posts() >= 3)
    const warned = find(REJECTED)
    expect(warned).toMatchObject([{ code: 'SIGNATURE_WRONG', count: 2, share_index: 1, validator_indexes: [7, 8] }])
    expect(text.join('')).not.toContain('said the relayer')
    const metrics = await sidecar.metrics()
    expect(metrics).toMatch(/dvt_sidecar_signatures_rejected_total{kind="exit"} [4-9]/)
    // It has signed none.
    expect(metrics).toContain('dvt_sidecar_signatures_rejected_total{kind="deposit"} 0\n')
  })
})

describe('against an existing relayer', () => {
  it('acts for several nodes of a cluster in one process', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 7)
    relayer.addExit(OTHER, 8)
    const config = configOf(NAME, 0, relayer.url, {
      OBOL_KEYSTORES_DIR: loadFixtureCluster(NAME).dir,
      OBOL_KEYSTORES_DIR_TEMPLATE: 'node{node_index}/validator_keys',
      OBOL_NODE_INDEXES: '0,1,3',
    })
    await using _sidecar = await startSidecar(config, quiet)
    await relayer.until(() => relayer.posts.length === 6)
    expectAllRight(NAME, relayer.posts)
    expect(relayer.exits.get(OTHER)?.share_indexes_ready.toSorted()).toEqual([1, 2, 4])
  })

  it('posts the same bytes again, once a poll interval, while they are not listed', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.takes = false
    relayer.addExit(KEY, 7)
    const start = performance.now()
    const times: number[] = []
    relayer.hook = ({ path }) => {
      if (path === '/exit-signature') times.push(performance.now() - start)
      return undefined
    }
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    await relayer.until(() => relayer.posts.length >= 12)
    expect(new Set(relayer.posts.map(({ signature }) => signature)).size).toBe(1)
    // One that is seen late may be followed at once, so that the intervals since the start are counted.
    for (const [position, time] of times.entries()) expect(time).toBeGreaterThan(position * POLL_MS * 0.8)
    expect(await sidecar.metrics()).toContain('dvt_sidecar_signatures_total{kind="exit"} 1\n')
  })

  it('signs anew when the index changes', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 7)
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    await relayer.until(() => relayer.posts.length === 1)
    relayer.addExit(KEY, 9)
    // A post of the old index may be on its way still; the stand-in takes it for one of the new.
    await relayer.until(() => relayer.posts.some((post) => isRight(NAME, post, 9)))
    const latest = first(relayer.posts.slice(-1))
    expect(isRight(NAME, latest, 9)).toBe(true)
    expect(isRight(NAME, first(relayer.posts), 7)).toBe(true)
  })

  it('leaves alone what has its share index, and what is ready', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 7, [1])
    relayer.addExit(OTHER, 8)
    const third = keysOf(NAME)[2] ?? ''
    relayer.addExit(third, 9)
    Object.assign(relayer.exits.get(OTHER) ?? {}, { is_exit_signature_ready: true })
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), quiet)
    await relayer.until(() => relayer.posts.length > 0)
    expect(relayer.posts.map(({ publicKey }) => publicKey)).toEqual([third])
  })

  it('takes any body of a 2xx', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    relayer.addExit(KEY, 7)
    const bodies = [new Uint8Array(), new TextEncoder().encode('<html>'), [], { failures: 'none' }, null]
    let position = 0
    relayer.hook = ({ path }) => {
      if (path !== '/exit-signature') return undefined
      return { status: 201, body: bodies[position++ % bodies.length] }
    }
    const { logger, find } = recordingLogger()
    await using _sidecar = await startSidecar(configOf(NAME, 0, relayer.url), { logger })
    await relayer.until(() => position > bodies.length)
    expect(find('post failed, it is tried again')).toEqual([])
  })
})

describe('its own pages', () => {
  it('answers /health, /ready and /metrics', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    await using sidecar = await startSidecar(configOf(NAME, 0, relayer.url, { SIDECAR_PORT: '0' }), quiet)
    await relayer.until(() => relayer.seen.some(({ path }) => path === '/exits'))
    await relayer.until(() => sidecar.ready().status === 'ready')
    const get = async (path: string) => {
      const answer = await fetch(`${sidecar.url}${path}`)
      return { status: answer.status, text: await answer.text() }
    }
    expect(await get('/health')).toEqual({ status: 200, text: '{"status":"ok"}' })
    const ready = await get('/ready')
    expect(ready.status).toBe(200)
    expect(JSON.parse(ready.text)).toEqual({
      status: 'ready',
      checks: { keys: { ok: true }, relayer: { ok: true }, network: { ok: true }, journal: { ok: true } },
    })
    const { text } = await get('/metrics?x=1')
    expect(text).toContain('dvt_sidecar_keys 12\n')
    expect(text).toContain('dvt_sidecar_refusals_total{reason="index_taken"} 0\n')
    expect((await get('/secret')).status).toBe(404)
    const post = await fetch(`${sidecar.url}/ready`, { method: 'POST', body: '{}' })
    expect(post.status).toBe(405)
  })

  it('refuses to boot where the port is taken', async () => {
    await using relayer = await startStandInRelayer({ generation: 'existing' })
    const port = new URL(relayer.url).port
    await expect(startSidecar(configOf(NAME, 0, relayer.url, { SIDECAR_PORT: port }), quiet)).rejects.toThrow(
      /SIDECAR_PORT/,
    )
  })
})

describe('secrets', () => {
  it('sends the credentials of the URL as Basic authentication, and logs no key, signature, password or credential', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const url = relayer.url.replace('//', '//node-1:hush%2Fhush@')
    for (const [position, key] of keysOf(NAME).entries()) relayer.addExit(key, 100 + position)
    const { logger, text } = recordingLogger()
    {
      await using _sidecar = await startSidecar(configOf(NAME, 2, url), { logger })
      await relayer.until(() => relayer.posts.length === 12)
      relayer.hook = () => ({ status: 500, body: { detail: 'no' } })
      relayer.addExit(KEY, 999)
      await relayer.until(() => text.some((line) => line.includes('check fails')))
    }
    for (const { headers } of relayer.seen)
      expect(headers['authorization']).toBe(`Basic ${Buffer.from('node-1:hush/hush').toString('base64')}`)
    const all = text.join('')
    expect(all).not.toMatch(/[0-9a-f]{64}/i)
    expect(all).not.toMatch(/hush|node-1/)
    for (const post of relayer.posts) expect(all).not.toContain(post.signature.slice(2, 40))
    for (const { public_key } of loadFixtureCluster(NAME).expected.validators)
      expect(all).not.toContain(public_key.slice(2, 40))
  })
})
