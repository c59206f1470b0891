/** What people and machines around the relayer ask: network, health, readiness. */

import { textLike } from '@dvt-relayer/common/expected.ts'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import { checksummedAddress, safeInteger, strictHex } from './fields.ts'

/** `GET /info`. Relayers of generation 3 do not know the second field. */
export const Info = Type.Object({
  network: Type.String({ description: 'name of the network' }),
  validators_manager_address: Type.Optional(
    Type.Union([checksummedAddress('wallet that signs for vaults (generation 4), checksummed'), Type.Null()]),
  ),
})
export type Info = Static<typeof Info>

const boundTo = (of: 'vaults' | 'oracles') =>
  Type.Union([Type.Array(checksummedAddress()), Type.Null()], {
    description: `addresses of the ${of}, checksummed; null is not bound to any`,
  })

/** One cluster that the caller's token covers. */
const CoveredCluster = Type.Object({
  name: Type.String(),
  source: Type.Union([Type.Literal('lock'), Type.Literal('ssv'), Type.Literal('list')]),
  lock_hash: Type.Union([strictHex(32, 'of its cluster lock'), Type.Null()]),
  threshold: safeInteger(1, 'partial signatures that make a full one'),
  validators: safeInteger(1, 'those that the token covers'),
  share_indexes: Type.Array(safeInteger(1, 'share index'), {
    description: 'its nodes; empty where their public key shares are not known',
  }),
})

/** Clusters that an answer names at most. */
export const MOST_COVERED = 1000

/** `GET /whoami`: what the relayer takes the caller for, and what of its clusters that covers. */
export const Whoami = Type.Object({
  name: Type.Union(
    [
      textLike(
        '^[A-Za-z0-9._:-]{1,64}$',
        '1 to 64 letters, digits, dots, colons, dashes or underscores',
        'of the token, or of the key that signed',
      ),
      Type.Null(),
    ],
    {
      description: 'null where no tokens are set',
    },
  ),
  role: Type.Enum(['operator', 'sidecar', 'oracle', 'admin']),
  identity: Type.Optional(
    Type.Union([Type.Enum(['token', 'node_key', 'operator_key', 'oracle_key']), Type.Null()], {
      description: 'what the caller was known by; null where no tokens are set',
    }),
  ),
  binding: Type.Object({
    vaults: boundTo('vaults'),
    oracles: boundTo('oracles'),
    share_indexes: Type.Union([Type.Array(safeInteger(1, 'share index')), Type.Null()], {
      description: 'null is not bound to any',
    }),
  }),
  clusters: Type.Array(CoveredCluster, { maxItems: MOST_COVERED }),
  takes_any_key: Type.Boolean({ description: 'whether validators of no cluster are taken too (SIGNATURE_THRESHOLD)' }),
  takes_charon: Type.Optional(
    Type.Boolean({
      description:
        'true where nodes of cluster locks may hand in with charon, without a sidecar (OBOL_API); else left out',
    }),
  ),
  network: Type.String({ description: 'name of the network' }),
  version: textLike('^[\\w.+-]{1,32}$', 'a version of at most 32 characters', 'of the relayer'),
  time: safeInteger(0, 'Unix seconds by the clock of the relayer'),
})
export type Whoami = Static<typeof Whoami>

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
