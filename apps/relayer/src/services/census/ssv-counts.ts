/** How much the SSV contract has of the owners that are followed: who follows it leaves the numbers in the database for all processes. */

import { SSV_FAULT_KINDS, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'

const NAME = 'ssv_counts'
const count = Type.Integer({ minimum: 0 })
const stored = Compile(
  Type.Object({
    validators: count,
    malformed: Type.Object(Object.fromEntries(SSV_FAULT_KINDS.map((kind) => [kind, count]))),
  }),
)

/** What metrics tell of the contract's events. */
export interface SsvCounts {
  validators: number
  malformed: SsvState['malformed']
}

/** Leaves them there, with the state they are of. */
export const storeSsvCounts = (tx: Sql, { live, malformed }: Pick<SsvState, 'live' | 'malformed'>): Promise<void> =>
  storeCheckpoint(tx, NAME, { validators: live.size, malformed } satisfies SsvCounts)

/** As they were left there last; undefined before. */
export async function findSsvCounts(db: Sql): Promise<SsvCounts | undefined> {
  const value = await findCheckpoint(db, NAME)
  return stored.Check(value) ? (value as SsvCounts) : undefined
}
