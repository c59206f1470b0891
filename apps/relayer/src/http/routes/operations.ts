/** What people and machines around the relayer ask: network, health, readiness, metrics, the OpenAPI document, also as a page. */

import { routes } from '@dvt-relayer/api/routes.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { identityOf } from '../auth/caller.ts'
import type { Bind } from '../bind.ts'
import type { HttpContext } from '../context.ts'
import { DOCS_CSP, renderDocs } from '../docs/docs-page.ts'
import { Rendered } from '../rendered.ts'

/** Adds the routes. `openApi` gives the document of all routes there are. */
export function operationsRoutes(
  bind: Bind,
  { config, coverage, events, health, manager, stopping }: HttpContext,
  openApi: () => object,
): void {
  let docs: Buffer | undefined
  let document: Buffer | undefined

  bind(routes.getInfo, async () => ({
    network: config.network.name,
    validators_manager_address: manager.address,
  }))

  bind(routes.getWhoami, async ({ caller }) => {
    const { name, role, vaults, oracles, shareIndexes } = caller
    const addresses = (list: typeof vaults) => list?.map(checksumAddress) ?? null
    return {
      name,
      role,
      identity: identityOf(caller),
      binding: {
        vaults: addresses(vaults),
        oracles: addresses(oracles),
        share_indexes: shareIndexes === undefined ? null : [...shareIndexes],
      },
      // Oracles have to do with shares, whosever.
      clusters: role === 'oracle' ? [] : await coverage.of(caller),
      takes_any_key: config.clusters.signatureThreshold !== undefined,
      ...(config.http.hasObolApi && { takes_charon: true }),
      network: config.network.name,
      version: VERSION,
      time: Math.floor(Date.now() / 1000),
    }
  })

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

  // Anybody may ask, again and again: it is made once.
  bind(routes.getOpenapi, async () => {
    document ??= Buffer.from(JSON.stringify(openApi()))
    return new Rendered<object>(document)
  })

  bind(routes.getDocs, async ({ reply }) => {
    docs ??= Buffer.from(renderDocs(openApi()))
    reply.type('text/html; charset=utf-8')
    reply.header('content-security-policy', DOCS_CSP)
    reply.header('x-content-type-options', 'nosniff')
    reply.header('referrer-policy', 'no-referrer')
    return new Rendered<string>(docs)
  })
}
