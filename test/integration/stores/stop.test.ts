/**
 * A process that is asked to stop ends within `STOP_MS`, with exit code 0, whatever does not answer. The time is that of the process's own
 * clock, which it logs; what would keep it for longer is cut off by itself, so that no test waits for a length of time.
 */

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { STOP_MS } from '@dvt-relayer/common/process/lifetime.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { createTestDatabase } from '../../support/services/postgres.ts'
import { type AppProcess, startProcess } from '../../support/services/process.ts'
import { hasRedis, startRedis } from '../../support/services/redis.ts'
import { startPostgresProxy } from '../../support/stores/postgres-proxy.ts'
import { postValidators, publicKeysOf, sidecarRound, untilOracleSet } from '../../support/world/nodes.ts'
import { ask, eventually, startWorld, type World } from '../../support/world/world.ts'
import { startStandInRelayer } from '../sidecar/stand-in.ts'
import { first, keysOf } from '../sidecar/support.ts'
import { threshold, untilReady } from './support.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** Asks it to stop; it says itself how long its releases took. */
async function expectStop(app: AppProcess, message = 'stopped'): Promise<void> {
  expect([await app.end('SIGTERM'), app.output().includes(`"msg":"${message}"`)], app.output().slice(-2000)).toEqual([
    0,
    true,
  ])
  const { ms } = await app.logged(message)
  expect(ms).toBeLessThanOrEqual(STOP_MS)
}

/** A relayer of the world, on a database of its own by way of a proxy. */
async function startOnProxy(more: Environment = {}) {
  const database = await createTestDatabase()
  onTestFinished(() => database[Symbol.asyncDispose]())
  const proxy = await startPostgresProxy(database.url)
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  const relayer = startProcess('quick relayer', world.environment({ ...threshold, DATABASE_URL: proxy.url, ...more }))
  onTestFinished(() => relayer[Symbol.asyncDispose]())
  return { proxy, relayer }
}
const urlOf = async (relayer: AppProcess): Promise<string> => String((await relayer.logged('relayer started'))['url'])

/** Requests whose answers nobody waits for: what they come to does not matter. */
const ignored = (answer: Promise<unknown>) => void answer.catch(() => {})

/** A server that takes requests and never answers. */
async function startSilent(): Promise<{ url: string; asked: Promise<void> }> {
  const asked = Promise.withResolvers<void>()
  const server: Server = createServer(() => asked.resolve()).listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  await new Promise((done) => server.once('listening', done))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked: asked.promise }
}

describe('a relayer stops', () => {
  it.each(['all', 'api', 'worker'])('as %s, while PostgreSQL says nothing and callers wait', async (role) => {
    const { proxy, relayer } = await startOnProxy({ ROLE: role })
    const url = await urlOf(relayer)
    await untilReady(url, 'database', 'ok')
    if (role !== 'worker') ignored(ask(url, '/exits?wait=25&after=0'))
    proxy.behave('hang')
    if (role !== 'worker') ignored(postValidators(url, publicKeysOf(createTestKeys(1, { nodes: 4, threshold: 3 }))))
    await untilReady(url, 'database', /has not answered/)
    await expectStop(relayer)
  })

  it('while it waits for a database that says nothing, before it has started', async () => {
    const { proxy, relayer } = await startOnProxy()
    proxy.behave('hang')
    await relayer.logged('waiting for the database')
    await expectStop(relayer)
    expect(relayer.output()).not.toContain('relayer started')
  })

  it('at once when it is asked again, whatever it still waits for', async () => {
    const { relayer } = await startOnProxy()
    // A body that never comes to its end: the request is waited for as long as any.
    const half = request(`${await urlOf(relayer)}/validators`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': '1000', expect: '100-continue' },
    })
    half.on('error', () => {})
    half.flushHeaders()
    await once(half, 'continue')
    relayer.child.kill('SIGINT')
    await relayer.logged('stopping')
    // The terminal and npm both send one: only one that comes later counts.
    const asking = setInterval(() => relayer.child.kill('SIGINT'), 100)
    onTestFinished(() => clearInterval(asking))
    expect(await relayer.ended).toBe(130)
    half.destroy()
  })

  it('while its own PostgreSQL is frozen', async () => {
    const dir = join(world.dir, 'frozen')
    const environment = world.environment({ ...threshold, DATABASE_URL: undefined, DATA_DIR: dir })
    await using relayer = startProcess('quick relayer', environment)
    await untilReady(await urlOf(relayer), 'database', 'ok')
    const [pid = 0] = (await readFile(join(dir, 'postgres/data/postmaster.pid'), 'utf8')).split('\n').map(Number)
    const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(/\s+/).map(Number)
    for (const one of [pid, ...children]) process.kill(one, 'SIGSTOP')
    onTestFinished(() => {
      for (const one of [pid, ...children])
        try {
          process.kill(one, 'SIGKILL')
        } catch {
          // It is gone.
        }
    })
    await untilReady(await urlOf(relayer), 'database', /has not answered/)
    await expectStop(relayer)
  })

  it.skipIf(!hasRedis())('while Redis is frozen', async () => {
    await using redis = await startRedis()
    const { relayer } = await startOnProxy({ REDIS_URL: redis.url })
    const url = await urlOf(relayer)
    await untilReady(url, 'queue', 'ok')
    redis.freeze()
    await untilReady(url, 'queue', /./)
    await expectStop(relayer)
  })

  it('while its nodes and gateways take questions and never answer', async () => {
    await using node = await startRpcProxy(world.anvil)
    const hanging = Promise.withResolvers<void>()
    const { relayer } = await startOnProxy({
      EXECUTION_ENDPOINT: node.url,
      EXECUTION_TIMEOUT: '3600',
      EXECUTION_RETRY_TIMEOUT: '3600',
      IPFS_FETCH_ENDPOINTS: (await startSilent()).url,
      SSV_OWNERS: `0x${'ab'.repeat(20)}`,
    })
    const url = await urlOf(relayer)
    await untilReady(url, 'execution', 'ok')
    node.answer(async (call) => {
      await hanging.promise
      return call.node()
    })
    await untilReady(url, 'execution', /has not answered/)
    await expectStop(relayer)
    hanging.resolve()
  })

  it('while it asks a node at its start that never answers', async () => {
    const silent = await startSilent()
    const { relayer } = await startOnProxy({ CONSENSUS_ENDPOINT: silent.url, CONSENSUS_TIMEOUT: '3600' })
    await silent.asked
    await expectStop(relayer)
  })

  it('while its threads look for a full signature among many wrong ones', async () => {
    const { relayer } = await startOnProxy({ SIGNATURE_THRESHOLD: '7' })
    const url = await urlOf(relayer)
    await untilOracleSet(url)
    const validators = createTestKeys(8, { nodes: 13, threshold: 7 })
    const strangers = createTestKeys(8, { nodes: 13, threshold: 7 }).map(({ shares }, position) => ({
      ...validators[position],
      publicKey: validators[position]?.publicKey ?? new Uint8Array(),
      secretKey: new Uint8Array(),
      shares,
    }))
    await postValidators(url, publicKeysOf(validators))
    for (let share = 1; share <= 13; share++)
      await sidecarRound(url, world.network, share <= 6 ? validators : strangers, share)
    await eventually('a search that has found nothing yet', async () =>
      /recoveries_failed_total [1-9]/.test((await ask(url, '/metrics')).text) ? true : undefined,
    )
    await expectStop(relayer)
  })
})

describe('a sidecar stops', () => {
  const { nodes } = loadFixtureCluster('cluster-4')
  const environment = { NETWORK: 'hoodi', OBOL_KEYSTORES_DIR: first(nodes).keystoresDir }

  it('while relayer and consensus node take questions and never answer', async () => {
    const silent = await startSilent()
    await using sidecar = startProcess('sidecar', {
      ...environment,
      RELAYER_ENDPOINT: silent.url,
      RELAYER_TIMEOUT: '3600',
      CONSENSUS_ENDPOINT: silent.url,
      CONSENSUS_TIMEOUT: '3600',
    })
    await silent.asked
    await expectStop(sidecar, 'sidecar stopped')
  })

  it('while its posts are never answered', async () => {
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    relayer.addExit(keysOf('cluster-4')[0] ?? '', 7)
    const posted = Promise.withResolvers<void>()
    relayer.hook = ({ method }) => {
      if (method !== 'POST') return undefined
      posted.resolve()
      return new Promise(() => {})
    }
    await using sidecar = startProcess('sidecar', {
      ...environment,
      RELAYER_ENDPOINT: relayer.url,
      RELAYER_TIMEOUT: '3600',
    })
    await posted.promise
    await expectStop(sidecar, 'sidecar stopped')
  })
})
