/** What people and machines around the relayer ask: network, health, readiness, metrics, the OpenAPI document. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { Bind } from '../bind.ts'
import type { HttpContext } from '../context.ts'

/** Adds the routes. `openApi` gives the document of all routes there are. */
export function operationsRoutes(
  bind: Bind,
  { config, events, health, manager, stopping }: HttpContext,
  openApi: () => unknown,
): void {
  bind(routes.getInfo, async () => ({
    network: config.network.name,
    validators_manager_address: manager.address,
  }))

  bind(routes.getHealth, async () => ({ status: 'ok' as const }))

  bind(routes.getReady, async ({ reply }) => {
    const state = health.state()
    reply.code(state.status === 'not_ready' || stopping.aborted ? 503 : 200)
    return state
  })

  bind(routes.getMetrics, async ({ reply }) => {
    reply.type(events.metrics.contentType)
    return await events.metrics.text()
  })

  bind(routes.getOpenapi, async () => openApi())
}
