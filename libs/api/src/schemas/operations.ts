/** What people and machines around the relayer ask: network, health, readiness. */

import type { Static } from 'typebox'
import { Type } from 'typebox'

/** `GET /info`. Relayers of generation 3 do not know the second field. */
export const Info = Type.Object({
  network: Type.String({ description: 'name of the network' }),
  validators_manager_address: Type.Optional(
    Type.Union([
      Type.String({
        pattern: '^0x[0-9a-fA-F]{40}$',
        description: 'wallet that signs for vaults (generation 4), checksummed',
      }),
      Type.Null(),
    ]),
  ),
})
export type Info = Static<typeof Info>

/** `GET /health`: the process answers. */
export const Health = Type.Object({ status: Type.Literal('ok') })

/** `GET /ready`: 200 when everything the main job needs has been seen working, else 503. */
export const Ready = Type.Object({
  status: Type.Union([Type.Literal('ready'), Type.Literal('degraded'), Type.Literal('not_ready')]),
  checks: Type.Record(
    Type.String(),
    Type.Object({ ok: Type.Boolean(), message: Type.Optional(Type.String({ description: 'what is wrong' })) }),
  ),
})
export type Ready = Static<typeof Ready>
