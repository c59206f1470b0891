/**
 * Follows the events of the SSV network contract (docs/protocol.md#12-ssv): what is final is read once and kept in a file, what is not
 * final yet stands on top in memory, and goes when the chain changes.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { BlockRef, ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { readSsvEvents } from '@dvt-relayer/chain/ssv/events.ts'
import { applySsvEvents, type SsvChange, type SsvScope, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { Events } from '../../events.ts'
import { startProgress } from '../progress.ts'
import type { SsvStateFile } from './state-file.ts'

export interface SsvChainOptions {
  execution: Pick<ExecutionClient, 'getBlock' | 'scanLogs' | 'host'>
  scope: SsvScope
  file: SsvStateFile
  engine: BlsEngine
  events: Pick<Events, 'ssvScanning' | 'ssvEventsSkipped' | 'ssvMalformed' | 'ssvReorganized'>
}

/** During a long scan the file is written this often. */
const SAVE_MS = 10_000
/** So often one range may be answered by nodes that do not agree. */
const MAX_DISAGREEMENTS = 3

/** Registrations up to a block that was the head. */
interface Tail {
  state: SsvState
  end: BlockRef
}

/** Creates a follower. Nothing is read before `follow`. */
export function createSsvChain({ execution, scope, file, engine, events }: SsvChainOptions) {
  /** Up to the newest final block. */
  let final: SsvState | undefined
  let tail: Tail | undefined
  /** Places of events that were told as skipped and are not final yet. */
  const told = new Set<string>()

  /** Reads and applies what follows a state, up to a block. `onRange` takes each state that is whole. */
  async function read(
    from: SsvState,
    toBlock: number,
    signal: AbortSignal,
    onRange: (state: SsvState) => Promise<void> | void = () => undefined,
  ): Promise<SsvState> {
    let state = from
    const stop = startProgress((seconds) => events.ssvScanning(state.nextBlock, toBlock, state.live.size, seconds))
    try {
      for (let disagreements = 0; state.nextBlock <= toBlock; ) {
        let { host } = execution
        for await (const range of readSsvEvents(execution, scope.contract, state.nextBlock, toBlock, signal)) {
          // A node that lacks a block gives no logs of it, and a registration that is missed shifts nonces for good: the node that
          // has given the logs of a range must know its last block.
          const last = await execution.getBlock(range.toBlock, signal)
          if (last === undefined || execution.host !== host) {
            if (++disagreements > MAX_DISAGREEMENTS) throw notThere(range.toBlock, execution.host)
            break
          }
          const applied = await applySsvEvents(engine, scope, state, range)
          signal.throwIfAborted()
          state = applied.state
          tell(applied.changes)
          await onRange(state)
          host = execution.host
        }
      }
      return state
    } finally {
      stop()
    }
  }

  /** Tells of events that were skipped, each once: first seen before it is final, as a rule. */
  function tell(changes: readonly SsvChange[]): void {
    const skipped = changes.flatMap((change) => (change.change === 'skipped' ? [change] : []))
    const placeOf = ({ event }: { event: { blockNumber: number; logIndex: number } }) =>
      `${event.blockNumber}:${event.logIndex}`
    const news = skipped.filter((change) => !told.has(placeOf(change)))
    for (const change of news) told.add(placeOf(change))
    if (news.length > 0) events.ssvEventsSkipped(news)
  }

  async function advanceFinal(known: SsvState, signal: AbortSignal): Promise<SsvState> {
    const block = await findFinal(signal)
    if (block === undefined) return known
    if (block.number + 1 < known.nextBlock)
      throw new ChainError(
        'EXECUTION_INVALID',
        `the execution node at ${execution.host} has block ${block.number} as final, ${file.path} goes up to block ${known.nextBlock - 1}: either the node is still catching up, or the chain is another one and that file must be removed`,
      )
    let savedAt = performance.now()
    try {
      return await read(known, block.number, signal, async (state) => {
        final = state
        if (performance.now() - savedAt < SAVE_MS) return
        savedAt = performance.now()
        await file.save(state)
      })
    } finally {
      if (final !== undefined) await file.save(final)
    }
  }

  async function findFinal(signal: AbortSignal): Promise<BlockRef | undefined> {
    try {
      return await execution.getBlock('finalized', signal)
    } catch (error) {
      // A node that does not know the word: all of the chain stands in memory, and is read again after a restart.
      if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED') return undefined
      throw error
    }
  }

  /** What the tail can be built on: itself where its last block is still on the chain. */
  async function baseOf(current: Tail | undefined, known: SsvState, signal: AbortSignal): Promise<SsvState> {
    if (current === undefined || current.state.nextBlock <= known.nextBlock) return known
    const same = await execution.getBlock(current.end.number, signal)
    if (same?.hash === current.end.hash) return current.state
    told.clear()
    return known
  }

  return {
    /** What is known now; undefined before anything is. */
    get state(): SsvState | undefined {
      return tail?.state ?? final
    },
    /**
     * Reads what is new. Where it fails, what was known stays.
     *
     * @throws {ChainError} EXECUTION_INVALID, EXECUTION_REFUSED, CHAIN_MISMATCH; {HttpError}
     */
    async follow(signal: AbortSignal): Promise<void> {
      final ??= await file.load()
      final = await advanceFinal(final, signal)
      const head = await execution.getBlock('latest', signal)
      if (head === undefined) throw notThere('latest', execution.host)
      // A node that is some blocks behind the one that answered before has nothing new.
      if (tail !== undefined && head.number < tail.end.number) return
      const base = await baseOf(tail, final, signal)
      const state = await read(base, head.number, signal)
      const same = await execution.getBlock(head.number, signal)
      if (same?.hash !== head.hash)
        throw new ChainError(
          'EXECUTION_INVALID',
          `the chain of the execution node at ${execution.host} changed while its events were read`,
        )
      if (tail !== undefined && base !== tail.state && tail.end.number >= final.nextBlock)
        events.ssvReorganized(tail.end.number)
      tail = { state, end: head }
      events.ssvMalformed(state.malformed)
    },
  }
}
export type SsvChain = ReturnType<typeof createSsvChain>

const notThere = (block: number | string, host: string) =>
  new ChainError('EXECUTION_INVALID', `the execution node at ${host} has no block ${block}`)
