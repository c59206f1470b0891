/** `GET /exits` and `GET /validators`: what sidecars have to sign. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import {
  amountGwei,
  checksummedVault,
  queryCursor,
  queryNumber,
  safeInteger,
  strictHex,
  validatorIndex,
} from './fields.ts'
import { ValidatorType } from './registrations.ts'

const shareIndexList = (description: string) => Type.Array(safeInteger(1, 'share index'), { description })

/** Query of the lists: long polling and pages, extensions of ours. */
export const ListQuery = Type.Object({
  wait: Type.Optional(queryNumber('^([0-9]|[1-5][0-9]|60)$', 0, 60, 'seconds to wait for a change, 0 to 60')),
  after: Type.Optional(
    queryCursor(16, 'revision', 'a revision from an earlier answer: only exits that changed after it are listed'),
  ),
  limit: Type.Optional(
    queryNumber('^([1-9][0-9]{0,3}|10000)$', 1, 10_000, 'items of one page, 1 to 10000: asks for pages'),
  ),
  from: Type.Optional(queryCursor(16, 'next', '`next` of the page before this one')),
})
export type ListQuery = Static<typeof ListQuery>

/** What an answer has beside its items: ours, for long polling, and where it is a page. */
const listEnd = {
  revision: Type.Optional(safeInteger(0, 'pass it as `after` to be told of later changes only')),
  whole: Type.Optional(
    Type.Boolean({
      description: 'of a page: whether it is one of the whole list, whatever `after` says, and not one of what changed',
    }),
  ),
  next: Type.Optional(safeInteger(0, 'of a page that is not the last: pass it as `from`, and the same `after`')),
  gone: Type.Optional(
    Type.Array(strictHex(48, 'validator public key'), {
      description: 'of the first page of what changed: what is not listed any more',
    }),
  ),
}

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

/** Answer to `GET /exits`. All but `exits` is ours. */
export const ExitsResponse = Type.Object({
  exits: Type.Array(ExitItem),
  ...listEnd,
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

/** Answer to `GET /validators`. All but `validators` is ours. */
export const ValidatorListResponse = Type.Object({
  validators: Type.Array(ValidatorItem),
  ...listEnd,
})
export type ValidatorListResponse = Static<typeof ValidatorListResponse>
