/**
 * What is known of the SSV contract, in the database, and the clusters that follow from it. Both are written in one transaction; of two
 * processes the one that has come further counts.
 */

import { parseSsvState, ssvStateToJson } from '@dvt-relayer/chain/ssv/checkpoint.ts'
import { emptySsvState, liveRegistrations, type SsvScope, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { lockClusterImport } from '@dvt-relayer/db/queries/clusters.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import type { Context } from '../../context.ts'
import { storeSsvCounts } from '../census/ssv-counts.ts'
import { findGone, storeSsvValidators } from './ssv-clusters.ts'

const CHECKPOINT = 'ssv'

/** What is stored of a scope; undefined without one, and where nothing is. */
export async function findSsvState(tx: Sql, scope: SsvScope | undefined): Promise<SsvState | undefined> {
  const value = scope === undefined ? undefined : await findCheckpoint(tx, CHECKPOINT)
  if (scope === undefined || typeof value !== 'string') return undefined
  const stored = parseSsvState(scope, value)
  return typeof stored === 'string' ? undefined : stored
}

/** Creates the part of the follower that reads and writes the database. */
export function createSsvCheckpoint(
  { config, db, events }: Pick<Context, 'config' | 'db' | 'events'>,
  scope: SsvScope,
) {
  /** Validators that were told as covered by a lock. */
  const toldLocked = new Set<string>()

  const find = (tx: Sql) => findSsvState(tx, scope)

  async function store(tx: Sql, state: SsvState): Promise<SsvState> {
    await lockClusterImport(tx)
    const stored = await find(tx)
    if (stored !== undefined && stored.nextBlock > state.nextBlock) return stored
    await storeCheckpoint(tx, CHECKPOINT, ssvStateToJson(scope, state))
    return state
  }

  return {
    /** What the database has of this scope. */
    find: (): Promise<SsvState | undefined> => find(db),

    /** Stores a state unless another process has come further. The clusters stay as they are. */
    save: (state: SsvState): Promise<SsvState> => db.transaction((tx) => store(tx, state)),

    /** Stores that nothing has been read; returns that state. The clusters stay as they are until all is read again. */
    forget: (doubtful: number | undefined): Promise<SsvState> =>
      db.transaction(async (tx) => {
        await lockClusterImport(tx)
        const empty = { ...emptySsvState(scope), doubtful }
        await storeCheckpoint(tx, CHECKPOINT, ssvStateToJson(scope, empty))
        return empty
      }),

    /** Makes the clusters in the database what the state says, with the state; returns the one that counts. */
    async settle(mine: SsvState): Promise<SsvState> {
      const { state, done } = await db.transaction(async (tx) => {
        const counted = await store(tx, mine)
        await storeSsvCounts(tx, counted)
        const gone = await findGone(tx, counted, config.ssv.owners)
        return { state: counted, done: await storeSsvValidators(tx, liveRegistrations(counted), gone) }
      })
      const news = done.locked.filter(({ validator }) => !toldLocked.has(toHex(validator.publicKey)))
      for (const { validator } of news) toldLocked.add(toHex(validator.publicKey))
      events.ssvImported('chain', done)
      if (news.length > 0) events.ssvLocked(news.map(({ validator, lock }) => `${toHex(validator.publicKey)}: ${lock}`))
      return state
    },
  }
}
