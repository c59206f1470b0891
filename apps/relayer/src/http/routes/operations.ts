/** What people and machines around the relayer ask: network, health, readiness, metrics, the OpenAPI document. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { FastifyInstance } from 'fastify'
import type { HttpContext } from '../route.ts'
import { routeOptions } from '../route.ts'

/** Adds the routes. */
export function operationsRoutes(
  app: FastifyInstance,
  { auth, config, events, services, stopping }: HttpContext,
): void {
  app.route({
    ...routeOptions(routes.getInfo, auth),
    handler: async () => ({ network: config.network.name, validators_manager_address: services.manager.address }),
  })
  app.route({ ...routeOptions(routes.getHealth, auth), handler: async () => ({ status: 'ok' }) })
  app.route({
    ...routeOptions(routes.getReady, auth),
    handler: async (_request, reply) => {
      const state = services.health.state()
      return reply.code(state.status === 'not_ready' || stopping.aborted ? 503 : 200).send(state)
    },
  })
  app.route({
    ...routeOptions(routes.getMetrics, auth),
    serializerCompiler: () => (answer: unknown) => String(answer),
    handler: async (_request, reply) => reply.type(events.metrics.contentType).send(await events.metrics.text()),
  })
  app.route({ ...routeOptions(routes.getOpenapi, auth), handler: async () => app.swagger() })
}
