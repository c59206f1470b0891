/**
 * Settling deposits: those of final blocks, range by range, each in one transaction that moves the checkpoint on.
 *
 * Any number of processes may do it at once. Who finds that the checkpoint has moved goes on from there. The checkpoint only ever stands
 * at a proven position: behind a deposit whose index follows the one before, or behind a block up to which the contract counts just the
 * settled deposits. So a node that leaves logs out stops the scan and spoils nothing.
 */

import type { ChainDeposit, DepositRange } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import { assertNoGap, readDepositCount, readDeposits } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import type { BlockRef, ExecutionNode } from '@dvt-relayer/chain/execution/execution.ts'
import { getFinalBlock } from '@dvt-relayer/chain/execution/final-block.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { findValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import { findRegistered, MOST_REGISTERED } from '@dvt-relayer/db/queries/registry.ts'
import type { Context } from '../../context.ts'
import { createDepositCheckpoint } from './checkpoint.ts'
import { createDepositJudge } from './deposits.ts'
import { type Position, progressOf } from './position.ts'

/** Between two lines of the log about a long scan. */
const TELL_MS = 10_000

type Needs = Pick<Context, 'config' | 'db' | 'crypto' | 'chain' | 'events'>

/** Creates the part of the service that settles. */
export function createDepositScan(context: Needs) {
  const { config, db, events } = context
  const { execution } = context.chain
  const { network } = config
  const checkpoint = createDepositCheckpoint(context)
  const judge = createDepositJudge(context)
  /** Which node is asked for deposits by itself, by its position; −1: whoever answers. */
  let turn = -1

  /** Which of the keys of these deposits are settled already, by lower-case hex. */
  async function findKnown(deposits: readonly ChainDeposit[]): Promise<Set<string>> {
    const keys = [...new Map(deposits.map(({ publicKey }) => [toHex(publicKey), publicKey])).values()]
    const known = new Set<string>()
    for (let first = 0; first < keys.length; first += MOST_REGISTERED)
      for (const key of await findRegistered(db, keys.slice(first, first + MOST_REGISTERED))) known.add(toHex(key))
    return known
  }

  /** Settles the deposits of a range; the checkpoint then stands at the block of the last one. */
  async function settle(
    position: Position,
    range: DepositRange,
    logs: Pick<ExecutionNode, 'host'>,
    signal: AbortSignal,
  ): Promise<Position> {
    const deposits = range.deposits.filter(({ depositIndex }) => depositIndex >= position.nextDepositIndex)
    const last = deposits.at(-1)
    if (last === undefined) return position
    assertNoGap(deposits, { previousIndex: position.nextDepositIndex - 1, host: logs.host })
    const { made, wrong } = await judge(deposits, await findKnown(deposits), signal)
    const ours = await findValidators(
      db,
      wrong.map(({ publicKey }) => publicKey),
    )
    signal.throwIfAborted()
    const to = { nextBlock: last.blockNumber, nextDepositIndex: last.depositIndex + 1 }
    const moved = await checkpoint.advance(position, to, [...made.values()])
    if (moved === 'moved') {
      // Another process was here: some of the range may still be to do.
      const found = await checkpoint.find()
      if (found === undefined) throw new Error('the registry was erased while it was read')
      return settle(found, range, logs, signal)
    }
    const ourKeys = new Set(ours.map(({ publicKey }) => toHex(publicKey)))
    for (const { publicKey, blockNumber, depositIndex } of wrong)
      if (ourKeys.has(toHex(publicKey))) events.depositWrong(blockNumber, depositIndex)
    return moved
  }

  return {
    /**
     * Settles what the newest final block has, from a position on.
     *
     * @param onProgress is told, in words, how far a longer scan has come
     */
    async settleFinal(from: Position, signal: AbortSignal, onProgress: (words: string) => void): Promise<void> {
      // What is settled is never looked at again.
      const final = await getFinalBlock(execution, network, 'no deposit can be settled', signal)
      if (final === undefined || final.number < from.nextBlock) return
      const logs = execution.each[turn] ?? execution
      try {
        await settleUpTo(final, from, logs, signal, onProgress)
      } catch (error) {
        // What one node leaves out another one has, as a rule: the next round asks the next one alone, and all of them at last.
        turn = execution.each.length > 1 && turn + 1 < execution.each.length ? turn + 1 : -1
        throw error
      }
    },
  }

  async function settleUpTo(
    final: BlockRef,
    from: Position,
    logs: ExecutionNode,
    signal: AbortSignal,
    onProgress: (words: string) => void,
  ): Promise<void> {
    let position = from
    let told = performance.now()
    for await (const range of readDeposits(logs, network, from.nextBlock, final.number, signal)) {
      position = await settle(position, range, logs, signal)
      // Another process has come further than this node.
      if (position.nextBlock > final.number) return
      if (range.toBlock === final.number) break
      onProgress(progressOf(range.toBlock, final.number))
      if (performance.now() - told < TELL_MS) continue
      told = performance.now()
      events.registryRead(range.toBlock, final.number, position.count)
    }
    // No log is proof that there is none: nodes answer so for blocks that they do not have, or no longer have.
    const count = await readDepositCount(execution, network, final.hash, signal)
    assertNoGap([], { previousIndex: position.nextDepositIndex - 1, count, host: logs.host })
    const end = { nextBlock: final.number + 1, nextDepositIndex: position.nextDepositIndex }
    if ((await checkpoint.advance(position, end, [])) !== 'moved')
      events.registrySettled(final.number, position.count, position.count - from.count)
  }
}
