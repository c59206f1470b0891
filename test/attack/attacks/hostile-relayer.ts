import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { sendBomb, sendEndless, sendHeaderFlood } from '../../support/services/hostile-bodies.ts'
import type { Attack } from '../attack.ts'

/** Begins to answer lists as no relayer would. */
let begin: (() => Promise<void>) | undefined

/** A relayer whose lists would fill a sidecar's memory, one after the other. */
export const hostileRelayer: Attack = {
  id: 'hostile-relayer',
  name: 'a relayer whose lists have no end, for a sidecar',
  async setUp() {
    const hostile: ((response: ServerResponse) => unknown)[] = [
      (response) => sendEndless(response, '['),
      (response) => response.setHeader('content-type', 'application/json').end('['.repeat(10 << 20)),
      (response) => sendBomb(response, 256, 'gzip'),
      (response) =>
        response.setHeader('content-type', 'application/json').end(`{"exits":[${'{},'.repeat(3 << 20)}{}]}`),
      (response) => sendHeaderFlood(response),
    ]
    let isHostile = false
    let lists = 0
    const answered = Promise.withResolvers<void>()
    const server = createServer(async (request, response) => {
      const json = (body: unknown) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
      request.resume()
      if (request.url === '/info') json({ network: 'hoodi' })
      else if (request.method !== 'GET') json({})
      else if (!request.url?.startsWith('/exits')) response.writeHead(404).end()
      else if (!isHostile) {
        await sleep(200)
        json({ exits: [] })
      } else {
        answered.resolve()
        hostile[lists++ % hostile.length]?.(response)
      }
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    begin = () => {
      isHostile = true
      return answered.promise
    }
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  async run() {
    await begin?.()
  },
  victim: (stage, attackerUrl) => stage.startSidecar(attackerUrl),
}
