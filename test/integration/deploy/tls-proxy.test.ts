/** The examples of deploy/proxy in a real nginx and a real Caddy, in front of a real relayer: what docs/operating/tls-proxy.md holds proxies to. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ProxyAnswer, type ProxyName, startTlsProxy, type TlsProxy } from '../../support/deploy/tls-proxy.ts'
import { hasProgram } from '../../support/deploy/tools.ts'
import { startWorld, type World } from '../../support/world/world.ts'

const NAMES = (['nginx', 'caddy'] as const).map((name) => ({ name, isHere: hasProgram(name) }))
/** The longest that a list may be waited for. */
const LONGEST_POLL_S = 60

let world: World
let relayer: Awaited<ReturnType<World['startRelayer']>>
const proxies = new Map<ProxyName, TlsProxy>()
/** The longest poll through each, which takes its minute while the other tests run: nothing changes meanwhile. */
const polls = new Map<ProxyName, Promise<ProxyAnswer>>()

beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3' })
  for (const { name } of NAMES.filter(({ isHere }) => isHere)) {
    const proxy = await startTlsProxy(name, Number(new URL(relayer.url).port))
    proxies.set(name, proxy)
    const { revision } = JSON.parse((await proxy.ask('/exits')).text) as { revision: number }
    const poll = proxy.ask(`/exits?wait=${LONGEST_POLL_S}&after=${revision}`)
    poll.catch(() => undefined)
    polls.set(name, poll)
  }
})
afterAll(async () => {
  for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]()
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

function proxyOf(name: ProxyName): TlsProxy {
  const proxy = proxies.get(name)
  if (proxy === undefined) throw new Error(`${name} was not started`)
  return proxy
}

/** A service that keeps what reaches it. */
async function startEcho(stack: AsyncDisposableStack) {
  const seen: { url?: string | undefined; authorization?: string | undefined; forwarded?: unknown }[] = []
  const server = createServer(({ url, headers }, response) => {
    seen.push({ url, authorization: headers.authorization, forwarded: headers['x-forwarded-for'] })
    response.end('{}')
  }).listen(0, '127.0.0.1')
  stack.defer(() => {
    server.close()
    server.closeAllConnections()
  })
  await once(server, 'listening')
  return { seen, port: (server.address() as AddressInfo).port }
}

describe.each(NAMES)('$name', ({ name, isHere }) => {
  describe.skipIf(!isHere)('in front of a relayer', () => {
    it('hands answers on', async () => {
      expect(await proxyOf(name).ask('/health')).toEqual({ status: 200, text: '{"status":"ok"}' })
    })

    it('keeps what the house asks to the house', async () => {
      expect((await proxyOf(name).ask('/metrics')).status).toBe(404)
      expect((await proxyOf(name).ask('/ready')).status).toBe(404)
    })

    it('takes bodies of almost 16 MiB, which the relayer itself answers', async () => {
      const share = JSON.stringify({ public_key: 'ab'.repeat(48), exit_signature: 'cd'.repeat(96) })
      const shares = Array.from({ length: Math.floor((16 * 1024 * 1024 - 100) / (share.length + 1)) }, () => share)
      const body = `{"share_index":1,"shares":[${shares.join(',')}]}`
      const headers = { 'content-type': 'application/json', 'content-length': body.length }
      const { status, text } = await proxyOf(name).ask('/exit-signature', { method: 'POST', body, headers })
      expect(status).toBeLessThan(500)
      expect(status).not.toBe(413)
      expect(JSON.parse(text)).toMatchObject({ code: expect.any(String), request_id: expect.any(String) })
    })

    it('leaves path, query and credentials as they are, and says for whom it asks', async () => {
      await using stack = new AsyncDisposableStack()
      const { seen, port } = await startEcho(stack)
      const proxy = stack.use(await startTlsProxy(name, port))
      const path = '/oracles/0xAb/exit-shares?after=1&x=%2f%2F&y=a+b%20c&vault=0xAb&&z'
      const authorization = 'Oracle 0xabcdef'
      await proxy.ask(path, { headers: { authorization } })
      expect(seen.at(-1)).toEqual({ url: path, authorization, forwarded: '127.0.0.1' })
    })

    it('waits for the longest poll', async () => {
      expect(await polls.get(name)).toMatchObject({ status: 200, text: expect.stringContaining('"revision"') })
    })
  })
})
