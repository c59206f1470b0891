/** METRICS_PORT: what machines around a relayer ask, without tokens, on a port of its own. */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { startProcess } from '../../support/services/process.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, startWorld } from '../../support/world/world.ts'

let world: World
let settings: Record<string, string>
beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  const file = join(world.dir, 'tokens')
  await writeFile(file, createToken('admin', 'admin', '*').line)
  settings = { SIGNATURE_THRESHOLD: '3', AUTH_TOKENS_FILE: file }
})
afterAll(() => world?.[Symbol.asyncDispose]())

it.each(['all', 'api', 'worker'])(
  'is open without tokens in the role %s, while the other port is not',
  async (role) => {
    await using all = role === 'api' ? await world.startRelayer(settings) : undefined
    await using relayer = await world.startRelayer({ ...settings, ROLE: role, METRICS_PORT: '0' })
    const url = relayer.metricsUrl ?? ''
    expect(all?.metricsUrl).toBeUndefined()
    expect(new URL(url).hostname).toBe('127.0.0.1')
    expect((await ask(relayer.url, '/metrics')).status).toBe(401)
    expect((await ask(relayer.url, '/ready')).status).toBe(401)
    expect((await ask(url, '/health')).json).toEqual({ status: 'ok' })
    const ready = await eventually('ready', async () => {
      const answer = await ask(url, '/ready')
      return answer.status === 200 && answer.text.includes('"status":"ready"') ? answer : undefined
    })
    expect(ready.json).toMatchObject({ status: 'ready', checks: { database: { ok: true } } })
    const metrics = await ask(url, '/metrics')
    expect(metrics.headers.get('content-type')).toMatch(/^text\/plain/)
    expect(metrics.text).toMatch(new RegExp(`dvt_relayer_build_info\\{version="[\\d.]+",role="${role}"\\} 1`))
  },
)

it('has these three pages and no other, and takes nothing', async () => {
  await using relayer = await world.startRelayer({ ...settings, METRICS_PORT: '0' })
  const url = relayer.metricsUrl ?? ''
  for (const path of ['/', '/exits', '/info', '/whoami', '/openapi.json', '/docs'])
    expect((await ask(url, path)).status).toBe(404)
  expect((await ask(url, '/metrics', { method: 'POST', body: {} })).status).toBe(405)
})

it('is 503 where the relayer is not ready', async () => {
  const away = { CONSENSUS_ENDPOINT: 'http://127.0.0.1:9', CONSENSUS_RETRY_TIMEOUT: '1' }
  await using relayer = await world.startRelayer({ ...settings, ...away, METRICS_PORT: '0' })
  const answer = await ask(relayer.metricsUrl ?? '', '/ready')
  expect(answer.status).toBe(503)
  expect(answer.json).toMatchObject({ status: 'not_ready', checks: { consensus: { ok: false } } })
})

it('is 503 from the moment the relayer is asked to stop, and open as long as requests are under way', async () => {
  await using relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3', METRICS_PORT: '0' })
  const url = relayer.metricsUrl ?? ''
  await eventually('ready', async () => ((await ask(url, '/ready')).status === 200 ? true : undefined))
  // A request whose body does not come keeps the stop waiting.
  const socket = connect(Number(new URL(relayer.url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.on('error', () => undefined)
  socket.write(
    'POST /exit-signature HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{',
  )
  await eventually('the request', async () =>
    (await ask(url, '/metrics')).text.includes('dvt_relayer_held_bytes{of="bodies"} 0\n') ? undefined : true,
  )
  const stopped = relayer[Symbol.asyncDispose]()
  await eventually('no longer ready', async () => ((await ask(url, '/ready')).status === 503 ? true : undefined))
  expect((await ask(url, '/health')).status).toBe(200)
  socket.destroy()
  await stopped
  await expect(ask(url, '/health')).rejects.toThrow()
})

it('is off unless it is set, and then loopback alone unless told otherwise', () => {
  const { config } = readConfig(world.environment(settings))
  expect(config.metrics).toBeUndefined()
  expect(readConfig(world.environment({ ...settings, METRICS_PORT: '8002' })).config.metrics).toEqual({
    host: '127.0.0.1',
    port: 8002,
  })
})

it('that is taken ends the start with a sentence that names the settings', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    await using child = startProcess('relayer', world.environment({ ...settings, METRICS_PORT: String(port) }))
    expect(await child.ended).toBe(1)
    expect(child.output()).toContain(`cannot listen on 127.0.0.1:${port} (METRICS_HOST, METRICS_PORT)`)
  } finally {
    server.close()
  }
})
