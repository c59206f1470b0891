/**
 * Follows the events of the SSV contract for the owners of SSV_OWNERS (docs/protocol.md#12-ssv). Only what is final is read, so nothing
 * that is written is ever taken back.
 */

import { setImmediate } from 'node:timers/promises'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { ExecutionClient, ExecutionNode } from '@dvt-relayer/chain/execution/execution.ts'
import { getFinalBlock } from '@dvt-relayer/chain/execution/final-block.ts'
import { UnprovenError } from '@dvt-relayer/chain/execution/proof/block-logs.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { readSsvEvents, type SsvEventRange } from '@dvt-relayer/chain/ssv/events.ts'
import { createGapWatch, gapWords, SsvGapError } from '@dvt-relayer/chain/ssv/gaps.ts'
import { createHistoryLook } from '@dvt-relayer/chain/ssv/history-look.ts'
import { applySsvEvents, emptySsvState, type SsvScope, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { findDoubt, holdAgainstBlocks } from '@dvt-relayer/chain/ssv/second-look.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'
import { createOperatorKeyReader } from '../identity/operator-keys.ts'
import { createSsvCheckpoint } from './ssv-checkpoint.ts'

/** During a long scan the state is stored this often. */
const SAVE_MS = 10_000
/** Without a change of ours the state is stored this often: a restart then reads some hundred blocks again. */
const IDLE_SAVE_MS = 3_600_000
/** What nodes differ in is final within so many blocks: a day, in which one that was restarted has caught up. */
const MOST_BEHIND = 7_200
/** So often one range may be answered by nodes that do not agree, with each other or with themselves. */
const MAX_DISAGREEMENTS = 3

/** Whose registrations are followed, and where; undefined where none are. */
export function scopeOf({ ssv: { owners }, network }: Pick<RelayerConfig, 'ssv' | 'network'>): SsvScope | undefined {
  const { ssvNetwork: contract } = network
  return owners.length === 0 || contract === undefined ? undefined : { contract, owners, operators: undefined }
}

/** Where a follower keeps what it knows: in the database, or, for who only looks, nowhere. */
export interface SsvKeeping
  extends Pick<ReturnType<typeof createSsvCheckpoint>, 'find' | 'save' | 'forget' | 'settle'> {
  /** Reads the keys of operators that a settled state names. */
  readOperatorKeys(node: ExecutionNode, state: SsvState, signal: AbortSignal): Promise<void>
}

/** What a follower reads, and whom it tells. */
interface SsvSurroundings {
  readonly execution: ExecutionClient
  readonly network: Network
  readonly events: Pick<Context['events'], 'ssvEventsSkipped' | 'ssvScanned' | 'ssvLogsWrong'>
}

/** What `/ready` says of a round that fails, before its reason. */
export const SSV_UNREAD = 'registrations of the SSV contract cannot be read'

/** Creates the follower; undefined where SSV_OWNERS is not set or the network has no SSV contract. */
export function createSsvFollower(context: Pick<Context, 'config' | 'db' | 'chain' | 'events'>, engine: BlsEngine) {
  const { config, chain, events } = context
  const scope = scopeOf(config)
  if (scope === undefined) return undefined
  const readOperatorKeys = createOperatorKeyReader(context, scope)
  const keeping = { ...createSsvCheckpoint(context, scope), readOperatorKeys }
  return followSsv({ execution: chain.execution, network: config.network, events }, engine, scope, keeping)
}

/** The same, with what it knows kept elsewhere. */
export function followSsv(
  { execution, network, events }: SsvSurroundings,
  engine: BlsEngine,
  scope: SsvScope,
  checkpoint: SsvKeeping,
) {
  const gaps = createGapWatch(execution, scope)
  const history = createHistoryLook(execution, scope)
  let known: SsvState | undefined
  /** Where events are read: one node alone while a state is made anew that another one made incomplete. */
  let node: ExecutionNode = execution
  /** Whether the clusters in the database are what the state says. */
  let isSettled = false
  let savedAt = -Infinity
  /** That the nodes have less of the chain than was read, in words. */
  let behind: string | undefined

  /** The state after the events of a range. */
  async function apply(state: SsvState, range: SsvEventRange, signal: AbortSignal): Promise<SsvState> {
    const applied = await applySsvEvents(engine, scope, state, range)
    await gaps.look(applied.state, signal)
    signal.throwIfAborted()
    known = applied.state
    const skipped = applied.changes.flatMap((change) => (change.change === 'skipped' ? [change] : []))
    if (skipped.length > 0) events.ssvEventsSkipped(skipped)
    if (applied.changes.length > skipped.length) isSettled = false
    return applied.state
  }

  /** Reads what follows a state, up to a final block. */
  async function read(from: SsvState, toBlock: number, signal: AbortSignal): Promise<void> {
    let state = from
    let storedAt = performance.now()
    for (let disagreements = 0; state.nextBlock <= toBlock; ) {
      let { host } = node
      for await (const range of readSsvEvents(node, scope.contract, state.nextBlock, toBlock, signal)) {
        const doubt = await findDoubt(node, scope, range, host, signal)
        if (doubt !== undefined) {
          if (++disagreements > MAX_DISAGREEMENTS) throw new ChainError('EXECUTION_INVALID', doubt)
          break
        }
        const held = await holdAgainstBlocks(node, scope, state, range, toBlock, events.ssvLogsWrong, signal)
        state = await apply(state, held, signal)
        if (state.nextBlock <= toBlock && performance.now() - storedAt > SAVE_MS) {
          storedAt = performance.now()
          events.ssvScanned(state.nextBlock, toBlock, state.live.size)
          // What is live in the middle of a scan may have ended long ago: clusters are written at its end.
          await checkpoint.save(state)
        }
        host = node.host
        await setImmediate()
      }
    }
  }

  /** Reads what has become final, and makes the clusters what it says. */
  async function follow(signal: AbortSignal): Promise<void> {
    known ??= (await checkpoint.find()) ?? emptySsvState(scope)
    await gaps.look(known, signal)
    const final = await getFinalBlock(execution, network, 'no SSV registration can be taken', signal)
    behind =
      final !== undefined && final.number + MOST_BEHIND < known.nextBlock
        ? `SSV registrations are read up to block ${known.nextBlock - 1}, and the execution node at ${execution.host} has block ${final.number} as final: it is still catching up, or a node was wrong about what is final, and nothing new is taken`
        : undefined
    if (final !== undefined && final.number >= known.nextBlock) await read(known, final.number, signal)
    if (isSettled && performance.now() - savedAt < IDLE_SAVE_MS) return history.step(known, signal)
    // Nothing is known of the chain's end before a scan has come to it.
    if (final === undefined || known.nextBlock <= final.number) return
    known = await checkpoint.settle(known)
    await checkpoint.readOperatorKeys(node, known, signal)
    isSettled = true
    savedAt = performance.now()
    await history.step(known, signal)
  }

  return {
    /**
     * One round. Where registrations prove to be missing, all that was read is forgotten, and the next round reads from the first block
     * on; the clusters stay until then.
     *
     * @returns what may be missing although no node knows of it, in words
     * @throws {ChainError}, {HttpError}, {DatabaseError}
     */
    async round(signal: AbortSignal): Promise<string | undefined> {
      try {
        await follow(signal)
        node = execution
        return behind ?? (known === undefined ? undefined : gapWords(known.gaps)[0])
      } catch (error) {
        node = error instanceof SsvGapError ? error.node : execution
        if (error instanceof UnprovenError && known !== undefined && known.doubtful !== error.block)
          known = await checkpoint.save({ ...known, doubtful: error.block })
        if (error instanceof SsvGapError) {
          known = await checkpoint.forget(known?.doubtful)
          isSettled = false
          history.reset()
        }
        throw error
      }
    },
  }
}
export type SsvFollower = ReturnType<typeof createSsvFollower>
