/** `GET /exits` and `GET /validators`: what sidecars have to sign. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { amountGwei, checksummedVault, safeInteger, strictHex, validatorIndex } from './fields.ts'
import { ValidatorType } from './registrations.ts'

const shareIndexList = (description: string) => Type.Array(safeInteger(1, 'share index'), { description })

/** Query of the lists: long polling, an extension of ours. */
export const ListQuery = Type.Object({
  wait: Type.Optional(
    Type.String({ pattern: '^([0-9]|[1-5][0-9]|60)$', description: 'seconds to wait for a change, 0 to 60' }),
  ),
  after: Type.Optional(
    Type.String({
      pattern: '^[0-9]{1,16}$',
      description: 'a revision from an earlier answer: only exits that changed after it are listed',
    }),
  ),
})
export type ListQuery = Static<typeof ListQuery>

/** One exit of `GET /exits`. The last two fields are ours; existing sidecars ignore them. */
export const ExitItem = Type.Object({
  public_key: strictHex(48, 'validator public key'),
  validator_index: validatorIndex,
  is_exit_signature_ready: Type.Boolean({ description: 'whether the exit signature is complete' }),
  created_at_timestamp: safeInteger(0, 'Unix seconds'),
  created_at_string: Type.String({ description: 'the same time as text, UTC' }),
  share_indexes_ready: shareIndexList('share indexes whose partial signature is in and verified'),
  share_indexes_unverified: Type.Optional(
    shareIndexList('share indexes with a partial signature that waits unverified'),
  ),
  share_indexes_rejected: Type.Optional(
    shareIndexList('share indexes that sent a wrong partial signature and no right one yet'),
  ),
})
export type ExitItem = Static<typeof ExitItem>

/** Answer to `GET /exits`. `revision` is ours, for long polling. */
export const ExitsResponse = Type.Object({
  exits: Type.Array(ExitItem),
  revision: Type.Optional(safeInteger(0, 'pass it as `after` to be told of later changes only')),
})
export type ExitsResponse = Static<typeof ExitsResponse>

/** One validator of `GET /validators`. The fields from `share_indexes_unverified` on are ours; existing sidecars ignore them. */
export const ValidatorItem = Type.Object({
  vault: checksummedVault,
  public_key: strictHex(48, 'validator public key'),
  amount: amountGwei(1, 'Gwei to deposit'),
  validator_index: validatorIndex,
  validator_type: ValidatorType,
  is_signatures_ready: Type.Boolean({ description: 'whether exit and deposit signature are complete' }),
  created_at_timestamp: safeInteger(0, 'Unix seconds'),
  created_at_string: Type.String({ description: 'the same time as text, UTC' }),
  share_indexes_ready: shareIndexList(
    'share indexes whose exit and deposit signature are both in and verified; the exit alone, where the cluster lock has the deposit',
  ),
  share_indexes_unverified: Type.Optional(
    shareIndexList('share indexes whose exit or deposit signature waits unverified'),
  ),
  share_indexes_rejected: Type.Optional(
    shareIndexList('share indexes that sent a wrong exit or deposit signature and no right one yet'),
  ),
})
export type ValidatorItem = Static<typeof ValidatorItem>

/** Answer to `GET /validators`. `revision` is ours, for long polling. */
export const ValidatorListResponse = Type.Object({
  validators: Type.Array(ValidatorItem),
  revision: Type.Optional(safeInteger(0, 'pass it as `after` to be told of later changes only')),
})
export type ValidatorListResponse = Static<typeof ValidatorListResponse>
