/** Reads the events of the SSV network contract from one state to the next (docs/protocol.md#12-ssv). */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { ExecutionClient, ExecutionNode } from '@dvt-relayer/chain/execution/execution.ts'
import { readSsvEvents } from '@dvt-relayer/chain/ssv/events.ts'
import { createGapWatch } from '@dvt-relayer/chain/ssv/gaps.ts'
import { applySsvEvents, type SsvChange, type SsvScope, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { findDoubt, holdAgainstBlocks } from '@dvt-relayer/chain/ssv/second-look.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { Events } from '../../events.ts'
import { startProgress } from '../progress.ts'

export interface ChainReaderOptions {
  readonly execution: ExecutionNode & Pick<ExecutionClient, 'each'>
  readonly scope: SsvScope
  readonly engine: BlsEngine
  readonly events: Pick<Events, 'ssvScanning' | 'ssvEventsSkipped' | 'ssvLogsWrong'>
}

/** So often one range may be answered by nodes that do not agree, with each other or with themselves. */
const MAX_DISAGREEMENTS = 3

/** Creates a reader that has told of nothing yet. */
export function createChainReader({ execution, scope, engine, events }: ChainReaderOptions) {
  /** Blocks and log indexes of events that were told as skipped and are not final yet. */
  const told = new Set<string>()
  const gaps = createGapWatch(execution, scope)
  let node: ExecutionNode = execution

  /** Tells of events that were skipped, each once: first seen before it is final, as a rule. */
  function tell(changes: readonly SsvChange[]): void {
    const skipped = changes.flatMap((change) => (change.change === 'skipped' ? [change] : []))
    const placeOf = ({ event }: { event: { blockNumber: number; logIndex: number } }) =>
      `${event.blockNumber}:${event.logIndex}`
    const news = skipped.filter((change) => !told.has(placeOf(change)))
    for (const change of news) told.add(placeOf(change))
    if (news.length > 0) events.ssvEventsSkipped(news)
  }

  return {
    /**
     * Reads and applies what follows a state, up to a block. `onRange` takes each state that is whole.
     *
     * @throws {SsvGapError} where registrations before it prove to be missing
     */
    async read(
      from: SsvState,
      toBlock: number,
      signal: AbortSignal,
      onRange: (state: SsvState) => Promise<void> | void = () => undefined,
    ): Promise<SsvState> {
      let state = from
      const stop = startProgress((seconds) => events.ssvScanning(state.nextBlock, toBlock, state.live.size, seconds))
      try {
        for (let disagreements = 0; state.nextBlock <= toBlock; ) {
          let { host } = node
          for await (const range of readSsvEvents(node, scope.contract, state.nextBlock, toBlock, signal)) {
            const doubt = await findDoubt(node, scope, range, host, signal)
            if (doubt !== undefined) {
              if (++disagreements > MAX_DISAGREEMENTS) throw new ChainError('EXECUTION_INVALID', doubt)
              break
            }
            const held = await holdAgainstBlocks(node, scope, state, range, toBlock, events.ssvLogsWrong, signal)
            const applied = await applySsvEvents(engine, scope, state, held)
            await gaps.look(applied.state, signal)
            signal.throwIfAborted()
            state = applied.state
            tell(applied.changes)
            await onRange(state)
            host = node.host
          }
        }
        return state
      } finally {
        stop()
      }
    },
    /** Looks again into gaps that are known. @throws {SsvGapError} */
    lookIntoGaps: gaps.look,
    /** Reads at one node alone, or at all again. */
    readAt(next: ExecutionNode): void {
      node = next
    },
    /** The chain has changed: what stands in its place is told anew. */
    forgetTold: (): void => told.clear(),
  }
}

/** The node does not have a block that it must have. */
export const blockMissing = (block: number | string, host: string): ChainError =>
  new ChainError('EXECUTION_INVALID', `the execution node at ${host} has no block ${block}`)
