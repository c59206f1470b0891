import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fastify } from 'fastify'
import { expect, it } from 'vitest'
import type { RelayerConfig } from '../../config.ts'
import type { Events } from '../../events.ts'
import { strangerOf } from './account-of.ts'
import { createAdmission } from './admission.ts'
import { limitsOf } from './limits.ts'

const config = { http: { maxBodyBytes: 1024 * 1024, maxLargeBodies: 1 } } as RelayerConfig
const events = { callerBounded: () => {}, bytesHeld: () => {} } as unknown as Events
const NODE = { group: 'sidecar', name: 'node' } as const

it('counts nothing on the account of who has hung up before it was known', async () => {
  await using app = fastify()
  const limits = { ...limitsOf(config), requestsOfOne: 1, refusalMs: 0 }
  const admission = createAdmission(app, { config, events, limits })
  const proven = Promise.withResolvers<void>()
  app.post<{ Params: { how: string } }>('/:how', {
    onRequest: (request, reply) => admission.begin(request, reply, strangerOf(request)),
    handler: async (request, reply) => {
      const isGone = request.params.how === 'gone'
      if (isGone) {
        const closed = once(reply.raw, 'close')
        request.raw.socket.destroy()
        await closed
      }
      request.countAs(NODE)
      if (isGone) proven.resolve()
      return {}
    },
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const post = (how: string) => fetch(`http://127.0.0.1:${port}/${how}`, { method: 'POST' })
  await expect(post('gone')).rejects.toThrow()
  await proven.promise
  for (const _ of [1, 2]) expect((await post('there')).status).toBe(200)
})
