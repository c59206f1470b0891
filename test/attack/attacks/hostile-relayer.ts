import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { sendBomb, sendEndless, sendHeaderFlood } from '../../support/services/hostile-bodies.ts'
import type { Attack } from '../attack.ts'

/** How lists are answered, one after the other, as no relayer would. */
const HOSTILE: Readonly<Record<string, (response: ServerResponse) => unknown>> = {
  endless: (response) => sendEndless(response, '['),
  deep: (response) => response.setHeader('content-type', 'application/json').end(`{"exits":${'['.repeat(10 << 20)}`),
  bomb: (response) => sendBomb(response, 256, 'gzip'),
  many: (response) =>
    response.setHeader('content-type', 'application/json').end(`{"exits":[${'{},'.repeat(3 << 20)}{}]}`),
  headers: (response) => sendHeaderFlood(response),
}
const KINDS = Object.keys(HOSTILE)

/** Begins to answer lists so, and says of each how. */
let begin: ((count: (answer: string) => void) => Promise<void>) | undefined

/** A relayer whose lists would fill a sidecar's memory, one after the other. */
export const hostileRelayer: Attack = {
  id: 'hostile-relayer',
  name: 'a relayer whose lists have no end, for a sidecar',
  reaches: KINDS,
  async setUp() {
    let told: ((answer: string) => void) | undefined
    let lists = 0
    const answered = Promise.withResolvers<void>()
    const server = createServer(async (request, response) => {
      const json = (body: unknown) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
      request.resume()
      if (request.url === '/info') json({ network: 'hoodi' })
      else if (request.method !== 'GET') json({})
      else if (!request.url?.startsWith('/exits')) response.writeHead(404).end()
      else if (told === undefined) {
        await sleep(200)
        json({ exits: [] })
      } else {
        answered.resolve()
        const kind = KINDS[lists++ % KINDS.length] ?? ''
        told(kind)
        HOSTILE[kind]?.(response)
      }
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    begin = (count) => {
      told = count
      return answered.promise
    }
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  async run(_, count) {
    await begin?.(count)
  },
  victim: (stage, attackerUrl) => stage.startSidecar(attackerUrl),
}
