/**
 * Follows the events of the SSV contract for the owners of SSV_OWNERS (docs/protocol.md#12-ssv). Only what is final is read, so nothing
 * that is written is ever taken back. State and clusters are written in one transaction; of two processes the one that has come further
 * counts.
 */

import { setImmediate } from 'node:timers/promises'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { BlockRef } from '@dvt-relayer/chain/execution/execution.ts'
import { parseSsvState, ssvStateToJson } from '@dvt-relayer/chain/ssv/checkpoint.ts'
import { readSsvEvents } from '@dvt-relayer/chain/ssv/events.ts'
import {
  applySsvEvents,
  emptySsvState,
  liveRegistrations,
  type SsvScope,
  type SsvState,
} from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { lockClusterImport } from '@dvt-relayer/db/queries/clusters.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import type { Context } from '../../context.ts'
import { findGone, storeSsvValidators } from './ssv-clusters.ts'

const CHECKPOINT = 'ssv'
/** During a long scan the state is stored this often. */
const SAVE_MS = 10_000
/** Without a change of ours the state is stored this often: a restart then reads some hundred blocks again. */
const IDLE_SAVE_MS = 3_600_000
/** So often one range may be answered by nodes that do not agree. */
const MAX_DISAGREEMENTS = 3

/** Creates the follower; undefined where SSV_OWNERS is not set or the network has no SSV contract. */
export function createSsvFollower(
  { config, db, chain, events }: Pick<Context, 'config' | 'db' | 'chain' | 'events'>,
  engine: BlsEngine,
) {
  const { owners } = config.ssv
  const { ssvNetwork: contract } = config.network
  if (owners.length === 0 || contract === undefined) return undefined
  const { execution } = chain
  const scope: SsvScope = { contract, owners, operators: undefined }
  let known: SsvState | undefined
  /** Whether the clusters in the database are what the state says. */
  let isSettled = false
  let savedAt = -Infinity
  /** Validators that were told as covered by a lock. */
  const toldLocked = new Set<string>()

  /** What the database has of this scope. */
  async function findStored(tx: Sql): Promise<SsvState | undefined> {
    const value = await findCheckpoint(tx, CHECKPOINT)
    if (typeof value !== 'string') return undefined
    const stored = parseSsvState(scope, value)
    return typeof stored === 'string' ? undefined : stored
  }

  /** Stores a state unless another process has come further; returns the one that counts. */
  async function save(tx: Sql, state: SsvState): Promise<SsvState> {
    await lockClusterImport(tx)
    const stored = await findStored(tx)
    if (stored !== undefined && stored.nextBlock > state.nextBlock) return stored
    await storeCheckpoint(tx, CHECKPOINT, ssvStateToJson(scope, state))
    return state
  }

  /** Makes the clusters in the database what the state says, with the state. */
  async function settle(mine: SsvState): Promise<SsvState> {
    const { state, done } = await db.transaction(async (tx) => {
      const counted = await save(tx, mine)
      const gone = await findGone(tx, counted, owners)
      return { state: counted, done: await storeSsvValidators(tx, liveRegistrations(counted), gone) }
    })
    const news = done.locked.filter(({ validator }) => !toldLocked.has(toHex(validator.publicKey)))
    for (const { validator } of news) toldLocked.add(toHex(validator.publicKey))
    events.ssvImported('chain', done)
    if (news.length > 0) events.ssvLocked(news.map(({ validator, lock }) => `${toHex(validator.publicKey)}: ${lock}`))
    return state
  }

  /** Reads what follows a state, up to a final block. */
  async function read(from: SsvState, toBlock: number, signal: AbortSignal): Promise<void> {
    let state = from
    let storedAt = performance.now()
    for (let disagreements = 0; state.nextBlock <= toBlock; ) {
      let { host } = execution
      for await (const range of readSsvEvents(execution, scope.contract, state.nextBlock, toBlock, signal)) {
        // A node that lacks a block gives no logs of it, and a registration that is missed shifts nonces for good: the node that has
        // given the logs of a range must know its last block.
        const last = await execution.getBlock(range.toBlock, signal)
        if (last === undefined || execution.host !== host) {
          if (++disagreements > MAX_DISAGREEMENTS)
            throw new ChainError(
              'EXECUTION_INVALID',
              `the execution node at ${execution.host} has no block ${range.toBlock}, or nodes take turns in answering`,
            )
          break
        }
        const applied = await applySsvEvents(engine, scope, state, range)
        signal.throwIfAborted()
        state = applied.state
        known = state
        const skipped = applied.changes.flatMap((change) => (change.change === 'skipped' ? [change] : []))
        if (skipped.length > 0) events.ssvEventsSkipped(skipped)
        if (applied.changes.length > skipped.length) isSettled = false
        if (state.nextBlock <= toBlock && performance.now() - storedAt > SAVE_MS) {
          storedAt = performance.now()
          events.ssvScanned(state.nextBlock, toBlock, state.live.size)
          // What is live in the middle of a scan may have ended long ago: clusters are written at its end.
          await db.transaction((tx) => save(tx, state))
        }
        host = execution.host
        await setImmediate()
      }
    }
  }

  async function findFinal(signal: AbortSignal): Promise<BlockRef | undefined> {
    try {
      return await execution.getBlock('finalized', signal)
    } catch (error) {
      if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED')
        throw new ChainError(
          'EXECUTION_REFUSED',
          `the execution node at ${execution.host} does not say which block is final, so no SSV registration can be taken: it needs a version that knows the block "finalized" (EXECUTION_ENDPOINT)`,
          { cause: error },
        )
      throw error
    }
  }

  return {
    /** What the database has, for the import of files. */
    findStored: () => findStored(db),

    /** Reads what has become final, and makes the clusters what it says. @throws {ChainError}, {HttpError}, {DatabaseError} */
    async round(signal: AbortSignal): Promise<void> {
      known ??= (await findStored(db)) ?? emptySsvState(scope)
      const final = await findFinal(signal)
      if (final !== undefined && final.number >= known.nextBlock) await read(known, final.number, signal)
      if (isSettled && performance.now() - savedAt < IDLE_SAVE_MS) return
      // Nothing is known of the chain's end before a scan has come to it.
      if (final === undefined || known.nextBlock <= final.number) return
      known = await settle(known)
      isSettled = true
      savedAt = performance.now()
      events.ssvSettled(known)
    },
  }
}
export type SsvFollower = ReturnType<typeof createSsvFollower>
