/** The calls of the beacon API that charon makes when it signs exits, as the stand-in answers them (OBOL_API). */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { decimalText as decimal, strictHex } from '../fields.ts'

/** `GET /obol/eth/v1/node/syncing` */
export const BeaconSyncing = Type.Object({
  data: Type.Object({
    head_slot: decimal('the slot that it is now'),
    sync_distance: decimal('0'),
    is_syncing: Type.Boolean(),
    is_optimistic: Type.Boolean(),
    el_offline: Type.Boolean(),
  }),
})

/** `GET /obol/eth/v1/node/version` */
export const BeaconVersion = Type.Object({ data: Type.Object({ version: Type.String() }) })

/** `GET /obol/eth/v1/config/spec`: what an exit is signed by, and no more. */
export const BeaconSpec = Type.Object({
  data: Type.Object({
    CONFIG_NAME: Type.String(),
    GENESIS_FORK_VERSION: strictHex(4, 'fork version of genesis'),
    CAPELLA_FORK_VERSION: strictHex(4, 'fork version that exits are signed under'),
    CAPELLA_FORK_EPOCH: decimal('epoch of every exit'),
    SECONDS_PER_SLOT: decimal('seconds of a slot'),
    SLOTS_PER_EPOCH: decimal('slots of an epoch'),
    DOMAIN_VOLUNTARY_EXIT: strictHex(4, 'domain type of exits'),
    DOMAIN_DEPOSIT: strictHex(4, 'domain type of deposits'),
    FAR_FUTURE_EPOCH: decimal('2^64 − 1'),
  }),
})

/** `GET /obol/eth/v1/beacon/genesis` */
export const BeaconGenesis = Type.Object({
  data: Type.Object({
    genesis_time: decimal('Unix seconds'),
    genesis_validators_root: strictHex(32, 'root that exits are signed under'),
    genesis_fork_version: strictHex(4, 'fork version of genesis'),
  }),
})

const texts = (maxLength: number, description: string) =>
  Type.Optional(Type.Union([Type.Array(Type.String({ maxLength }), { maxItems: 65_536, description }), Type.Null()]))

/** `POST /obol/eth/v1/beacon/states/head/validators`: of which validators. */
export const BeaconValidatorsRequest = Type.Object({
  ids: texts(98, 'validator public keys; who names none is told of none'),
  statuses: texts(40, 'only validators of these'),
})
export type BeaconValidatorsRequest = Static<typeof BeaconValidatorsRequest>

/** Its answer: those with an open exit, each at the index that the exit is for. */
export const BeaconValidators = Type.Object({
  execution_optimistic: Type.Boolean(),
  finalized: Type.Boolean(),
  data: Type.Array(
    Type.Object({
      index: decimal('the index that the exit is for'),
      balance: decimal('0'),
      status: Type.Literal('pending_queued'),
      validator: Type.Object({
        pubkey: strictHex(48, 'validator public key'),
        withdrawal_credentials: strictHex(32, 'zeros: charon does not read them'),
        effective_balance: decimal('0'),
        slashed: Type.Boolean(),
        activation_eligibility_epoch: decimal('2^64 − 1'),
        activation_epoch: decimal('2^64 − 1'),
        exit_epoch: decimal('2^64 − 1'),
        withdrawable_epoch: decimal('2^64 − 1'),
      }),
    }),
  ),
})
export type BeaconValidators = Static<typeof BeaconValidators>
