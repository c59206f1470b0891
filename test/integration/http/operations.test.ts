/** What people and machines around a relayer ask: health, readiness, metrics, the OpenAPI document; and how a process starts and stops. */

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { routes } from '@dvt-relayer/api/routes.ts'
import { Ready } from '@dvt-relayer/api/schemas.ts'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DEPENDENCIES, RELAYER_METRICS } from '../../../apps/relayer/src/metrics.ts'
import { startProcess } from '../../support/services/process.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, startWorld } from '../../support/world/world.ts'

interface Operation {
  summary: string
  parameters?: { in: string; name: string }[]
  requestBody?: { content: { 'application/json': { schema: { required: string[]; properties: object } } } }
  responses: Record<string, unknown>
}

/** A path as OpenAPI writes it. */
const templateOf = (path: string) => path.replace(/:(\w+)/g, '{$1}')

let world: World
let relayer: Awaited<ReturnType<World['startRelayer']>>
beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3' })
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

describe('operations', () => {
  it('/info, /health', async () => {
    // Generation 4 looks for the second field, and takes null for: it signs by itself.
    expect((await ask(relayer.url, '/info')).json).toEqual({ network: 'hoodi', validators_manager_address: null })
    expect((await ask(relayer.url, '/health')).json).toEqual({ status: 'ok' })
  })

  it('loads none of the compilers of fastify, which would never be used', () => {
    const loaded = Object.keys(createRequire(import.meta.url).cache)
    expect(loaded.some((file) => file.endsWith('fastify/fastify.js'))).toBe(true)
    expect(loaded.filter((file) => /(ajv|fast-json-stringify)-compiler/.test(file))).toEqual([])
  })

  it.each(['all', 'api', 'worker'])(
    '/ready says of every dependency whether it works, in the role %s',
    async (role) => {
      await using own = role === 'all' ? undefined : await world.startRelayer({ SIGNATURE_THRESHOLD: '3', ROLE: role })
      const { url } = own ?? relayer
      const answer = await eventually('ready', async () => {
        const got = await ask(url, '/ready')
        return got.text.includes('"status":"ready"') ? got : undefined
      })
      expect(answer.status).toBe(200)
      expect(Compile(Ready).Check(answer.json)).toBe(true)
      const { checks } = answer.json as Ready
      expect(checks).toEqual(Object.fromEntries(DEPENDENCIES.map((name) => [name, { ok: true }])))
    },
  )

  it('/metrics has every metric from the start', async () => {
    const { text, headers } = await ask(relayer.url, '/metrics')
    expect(headers.get('content-type')).toMatch(/^text\/plain/)
    for (const name of Object.keys(RELAYER_METRICS)) expect(text).toContain(`# TYPE ${name} `)
    expect(text).toMatch(/dvt_relayer_partial_signatures_total\{outcome="rejected"\} 0/)
  })

  it('/openapi.json is made from the contract', async () => {
    const { json } = await ask(relayer.url, '/openapi.json')
    const { paths } = json as { paths: Record<string, Record<string, Operation>> }
    for (const route of Object.values(routes)) {
      const operation = paths[templateOf(route.path)]?.[route.method.toLowerCase()]
      expect(operation?.summary).toBe(route.summary)
      expect(Object.keys(operation?.responses ?? {}).toSorted()).toEqual(['2XX', '4XX', '5XX'])
      const body = 'body' in route ? route.body : undefined
      const described = operation?.requestBody?.content['application/json'].schema
      expect(described?.required).toEqual(body?.required)
      expect(Object.keys(described?.properties ?? {})).toEqual(Object.keys(body?.properties ?? {}))
    }
    expect(Object.keys(paths).toSorted()).toEqual(
      [...new Set(Object.values(routes).map(({ path }) => templateOf(path)))].toSorted(),
    )
    const asked = paths['/oracles/{oracle}/exit-shares']?.['get']?.parameters?.map(
      ({ in: position, name }) => `${position} ${name}`,
    )
    expect(asked?.toSorted()).toEqual([
      'path oracle',
      'query after',
      'query limit',
      'query public_key',
      'query vault',
      'query wait',
    ])
    expect(JSON.stringify(paths)).toContain('encrypted_exit_signatures')
    expect(JSON.stringify(paths['/fund'])).toContain('"validators_manager_signature"')
  })

  it('every answer carries its request id', async () => {
    expect((await ask(relayer.url, '/health')).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('a process', () => {
  it('with wrong settings says all of it at once and exits with 1', async () => {
    await using child = startProcess('relayer', { NETWORK: 'moon', RELAYER_PORT: 'x' })
    expect(await child.ended).toBe(1)
    for (const name of ['NETWORK', 'RELAYER_PORT', 'EXECUTION_ENDPOINT', 'CONSENSUS_ENDPOINT'])
      expect(child.output()).toContain(name)
    expect(child.output()).toContain('\nsee docs/operating/runbook.md#settings_invalid\n')
  })

  it('on a port that is taken, or with a lock that is not there, exits with 1 and says why', async () => {
    const port = new URL(relayer.url).port
    await using taken = startProcess('relayer', world.environment({ SIGNATURE_THRESHOLD: '3', RELAYER_PORT: port }))
    expect(await taken.ended).toBe(1)
    expect(taken.output()).toContain(`cannot listen on 127.0.0.1:${port} (RELAYER_HOST, RELAYER_PORT): `)
    expect(taken.output()).toContain('something listens there already; ss -ltnp says what (EADDRINUSE)')
    // Before anything is made.
    const dataDir = join(world.dir, 'port-taken')
    const embedded = { SIGNATURE_THRESHOLD: '3', RELAYER_PORT: port, DATABASE_URL: '', DATA_DIR: dataDir }
    await using early = startProcess('relayer', world.environment(embedded))
    expect(await early.ended).toBe(1)
    expect(early.output()).toContain(`cannot listen on 127.0.0.1:${port}`)
    expect(existsSync(dataDir)).toBe(false)
    await using missing = startProcess(
      'relayer',
      world.environment({ CLUSTER_LOCK_FILES: '/nowhere/cluster-lock.json' }),
    )
    expect(await missing.ended).toBe(1)
    expect(missing.output()).toContain('/nowhere/cluster-lock.json: cannot be read')
    expect(missing.output()).toContain('\nsee docs/operating/runbook.md#cluster_lock_unreadable\n')
  })

  it('whose database refuses the password says so without the password', async () => {
    const url = new URL(world.databaseUrl)
    url.password = 'canary-password'
    await using child = startProcess(
      'relayer',
      world.environment({ SIGNATURE_THRESHOLD: '3', DATABASE_URL: url.href, LOG_LEVEL: 'debug' }),
    )
    expect(await child.ended).toBe(1)
    expect(child.output()).not.toContain('canary-password')
  })

  it('without its nodes starts, says so, and stops on SIGTERM with 0', async () => {
    const away = {
      EXECUTION_ENDPOINT: 'http://127.0.0.1:9',
      CONSENSUS_ENDPOINT: 'http://127.0.0.1:9',
      IPFS_FETCH_ENDPOINTS: 'http://127.0.0.1:9',
    }
    await using child = startProcess(
      'relayer',
      world.environment({
        SIGNATURE_THRESHOLD: '3',
        ...away,
        EXECUTION_RETRY_TIMEOUT: '1',
        CONSENSUS_RETRY_TIMEOUT: '1',
      }),
    )
    const { url } = await child.logged('relayer started')
    const ready = await ask(String(url), '/ready')
    expect(ready.status).toBe(503)
    expect(ready.json).toMatchObject({ status: 'not_ready', checks: { consensus: { ok: false } } })
    expect((await ask(String(url), '/exits')).json).toMatchObject({ exits: [] })
    expect(await child.end('SIGTERM')).toBe(0)
  })

  it('prints a token and its line for the file', async () => {
    await using child = startProcess('relayer', {}, ['token', '--name', 'node-1', '--role', 'sidecar', '--for', '1,2'])
    expect(await child.ended).toBe(0)
    expect(child.output()).toMatch(/\n[A-Za-z0-9_-]{43}\n[\s\S]*node-1 sidecar 1,2 sha256:[0-9a-f]{64}/)
    await using wrong = startProcess('relayer', {}, ['token', '--name', 'node-1', '--role', 'king'])
    expect(await wrong.ended).toBe(1)
    expect(wrong.output()).toContain('usage')
  })
})
