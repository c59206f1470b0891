/** `POST /validators`: what an operator asks, and polls (generation 3). */

import { routes } from '@dvt-relayer/api/routes.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { refuseLong } from '../../errors.ts'
import type { RenderedShares } from '../../services/oracles/shares.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { Rendered, renderList } from '../rendered.ts'

/** Adds the route. */
export function validatorRoutes(bind: Bind, { config, services }: ApiContext): void {
  bind(routes.postValidators, async ({ body, caller }) => {
    const spellings = body.public_keys
    refuseLong('TOO_MANY_KEYS', config.limits.keys, 'public keys', spellings)
    const exits = await services.exits.request(
      spellings.map((text) => fromHex(text, 48)),
      caller,
    )
    const shares = await services.oracleShares.render(exits.map(({ messageId }) => messageId))
    const isReady = shares.size === exits.length
    const textOf = ({ messageId }: (typeof exits)[number], position: number) =>
      render(spellings[position] ?? '', shares.get(messageId))
    return new Rendered(await renderList(`{"ready":${isReady},"validators":[`, exits, textOf, ']}'))
  })
}

/** One validator. Shares are JSON text already; the spelling was checked to be hex, so it needs no escaping. */
function render(spelling: string, shares: RenderedShares | undefined): string {
  const receipt = shares === undefined ? 'null' : `"${shares.receipt}"`
  return `{"public_key":"${spelling}","oracles_exit_signature_shares":${shares?.json ?? 'null'},"receipt":${receipt}}`
}
