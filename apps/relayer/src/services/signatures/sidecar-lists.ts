/** The lists for sidecars: what is to be signed, and how far it is (`GET /exits`, `GET /validators`). */

import type { ExitItem, ValidatorItem } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createSpelling } from '@dvt-relayer/crypto/address.ts'
import type { ExitListRow, ValidatorListRow } from '@dvt-relayer/db/queries/messages/lists.ts'
import { findChangedExits, findChangedValidators, findNewestRevision } from '@dvt-relayer/db/queries/messages/lists.ts'
import type { Context } from '../../context.ts'
import { createFollowedList } from './followed-list.ts'

/** Both lists, told together. */
export function createSidecarLists({ db }: Pick<Context, 'db'>) {
  const exits = createFollowedList('exits', {
    find: (after, limit) => findChangedExits(db, after, limit),
    newest: () => findNewestRevision(db, ['exit']),
    itemOf: exitItem,
  })
  // Of validators with a live exit and a live deposit.
  const spell = createSpelling()
  const validators = createFollowedList('validators', {
    find: (after, limit) => findChangedValidators(db, after, limit),
    newest: () => findNewestRevision(db, ['exit', 'deposit']),
    itemOf: (row) => validatorItem(row, spell(row.vault)),
  })
  const each = (tell: (list: SidecarList) => void) => [exits, validators].forEach(tell)
  return {
    exits,
    validators,
    notified: (revision: number): void => each((list) => list.notified(revision)),
    changedHere: (): void => each((list) => list.changedHere()),
    reconnected: (): void => each((list) => list.reconnected()),
    close: (): void => each((list) => list.close()),
  }
}
export type SidecarList = ReturnType<typeof createFollowedList>
export type SidecarLists = ReturnType<typeof createSidecarLists>

const exitItem = (row: ExitListRow): ExitItem => ({
  public_key: toHex(row.publicKey),
  validator_index: row.validatorIndex,
  is_exit_signature_ready: row.isReady,
  ...times(row),
  ...shareIndexes(row),
})

const validatorItem = (row: ValidatorListRow, vault: string): ValidatorItem => ({
  vault,
  public_key: toHex(row.publicKey),
  amount: row.amountGwei,
  validator_index: row.validatorIndex,
  validator_type: row.validatorType,
  is_signatures_ready: row.isReady,
  ...times(row),
  ...shareIndexes(row),
})

const shareIndexes = (row: ExitListRow) => ({
  share_indexes_ready: indexes(row.verified),
  share_indexes_unverified: indexes(row.unverified),
  share_indexes_rejected: indexes(row.rejected),
})

/** Numbers in ascending order, from a text with commas between them. */
const indexes = (text: string | null): number[] =>
  text === null
    ? []
    : text
        .split(',')
        .map(Number)
        .sort((a, b) => a - b)

const times = ({ createdAtSeconds: seconds }: ExitListRow) => ({
  created_at_timestamp: seconds,
  created_at_string: timeText(seconds),
})

/** "2024-11-21 00:00:00+0000" */
const timeText = (seconds: number): string =>
  `${new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')}+0000`
