/**
 * Follows the events of the SSV network contract (docs/protocol.md#12-ssv): what is final is read once and kept in a file, what is not
 * final yet stands on top in memory, and goes when the chain changes.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { BlockRef } from '@dvt-relayer/chain/execution/execution.ts'
import { findFinalBlock } from '@dvt-relayer/chain/execution/final-block.ts'
import { UnprovenError } from '@dvt-relayer/chain/execution/proof/block-logs.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { gapWords, SsvGapError } from '@dvt-relayer/chain/ssv/gaps.ts'
import { createHistoryLook } from '@dvt-relayer/chain/ssv/history-look.ts'
import { emptySsvState, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import type { Events } from '../../events.ts'
import { blockMissing, type ChainReaderOptions, createChainReader } from './chain-reader.ts'
import type { SsvStateFile } from './state-file.ts'

interface SsvChainOptions extends ChainReaderOptions {
  network: Pick<Network, 'secondsPerSlot'>
  file: SsvStateFile
  events: ChainReaderOptions['events'] & Pick<Events, 'ssvMalformed' | 'ssvReorganized' | 'ssvGaps'>
}

/** During a long scan the file is written this often. */
const SAVE_MS = 10_000

/** Registrations up to a block that was the head. */
interface Tail {
  state: SsvState
  end: BlockRef
}

/** Creates a follower. Nothing is read before `follow`. */
export function createSsvChain(options: SsvChainOptions) {
  const { execution, file, events } = options
  const reader = createChainReader(options)
  const history = createHistoryLook(execution, options.scope)
  /** Up to the newest final block. */
  let final: SsvState | undefined
  let tail: Tail | undefined
  /** What is known while all is read again. */
  let incomplete: SsvState | undefined

  /** What is final now, read and kept in the file. */
  async function advanceFinal(known: SsvState, signal: AbortSignal): Promise<SsvState> {
    const block = await findFinal(options, signal)
    if (block === undefined) return known
    if (block.number + 1 < known.nextBlock)
      throw new ChainError(
        'EXECUTION_INVALID',
        `the execution node at ${execution.host} has block ${block.number} as final, ${file.path} goes up to block ${known.nextBlock - 1}: either the node is still catching up, or the chain is another one and that file must be removed`,
      )
    let savedAt = performance.now()
    try {
      return await reader.read(known, block.number, signal, async (state) => {
        final = state
        if (performance.now() - savedAt < SAVE_MS) return
        savedAt = performance.now()
        await file.save(state)
      })
    } catch (error) {
      const state = final ?? known
      if (error instanceof UnprovenError && state.doubtful !== error.block) final = { ...state, doubtful: error.block }
      throw error
    } finally {
      if (final !== undefined) await file.save(final)
    }
  }

  /** What the tail can be built on: itself where its last block is still on the chain. */
  async function baseOf(current: Tail | undefined, known: SsvState, signal: AbortSignal): Promise<SsvState> {
    if (current === undefined || current.state.nextBlock <= known.nextBlock) return known
    const same = await execution.getBlock(current.end.number, signal)
    if (same?.hash === current.end.hash) return current.state
    reader.forgetTold()
    return known
  }

  async function advance(signal: AbortSignal): Promise<void> {
    final ??= await file.load()
    await reader.lookIntoGaps(final, signal)
    final = await advanceFinal(final, signal)
    const head = await execution.getBlock('latest', signal)
    if (head === undefined) throw blockMissing('latest', execution.host)
    // A node that is some blocks behind the one that answered before has nothing new.
    if (tail !== undefined && head.number < tail.end.number) return
    const base = await baseOf(tail, final, signal)
    const state = await reader.read(base, head.number, signal)
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
    // Any stranger can make one of an owner of its own.
    if (options.scope.owners !== undefined) events.ssvGaps(gapWords(state.gaps))
    await history.step(final, signal)
  }

  return {
    /** What is known now; undefined before anything is. */
    get state(): SsvState | undefined {
      return incomplete ?? tail?.state ?? final
    },
    /**
     * Reads what is new. Where it fails, what was known stays. Where registrations prove to be missing, the file is emptied, and the next
     * time all is read from the first block on.
     *
     * @throws {ChainError} EXECUTION_INVALID, EXECUTION_REFUSED, CHAIN_MISMATCH; {HttpError}
     */
    async follow(signal: AbortSignal): Promise<void> {
      try {
        await advance(signal)
        incomplete = undefined
        reader.readAt(execution)
      } catch (error) {
        reader.readAt(error instanceof SsvGapError ? error.node : execution)
        if (error instanceof SsvGapError) {
          incomplete ??= tail?.state ?? final
          tail = undefined
          history.reset()
          final = { ...emptySsvState(options.scope), doubtful: final?.doubtful }
          await file.save(final)
        }
        throw error
      }
    },
  }
}
export type SsvChain = ReturnType<typeof createSsvChain>

async function findFinal(
  { execution, network }: Pick<SsvChainOptions, 'execution' | 'network'>,
  signal: AbortSignal,
): Promise<BlockRef | undefined> {
  try {
    return await findFinalBlock(execution, network, signal)
  } catch (error) {
    // A node that does not know the word: all of the chain stands in memory, and is read again after a restart.
    if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED') return undefined
    throw error
  }
}
