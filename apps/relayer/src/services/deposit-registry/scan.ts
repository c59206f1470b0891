/**
 * Settling the registry: the deposits of final blocks, range by range, each in one transaction that moves the checkpoint on.
 *
 * Any number of processes may do it at once. Who finds that the checkpoint no longer stands where it began writes nothing and goes on
 * from there. The checkpoint only ever stands at a proven place: behind a deposit whose index follows the one before, or behind a
 * block up to which the contract counts just the settled deposits. So a node that leaves logs out stops the scan and spoils nothing.
 */

import { isDeepStrictEqual } from 'node:util'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { DepositRange } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import { assertNoGap, readDepositCount, readDeposits } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import type { BlockRef } from '@dvt-relayer/chain/execution/execution.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { findValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { RegisteredKey } from '@dvt-relayer/db/queries/registry.ts'
import { findRegistered, insertRegistered, lockCheckpoint, MOST_REGISTERED } from '@dvt-relayer/db/queries/registry.ts'
import { findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import type { Context } from '../../context.ts'
import { createDepositJudge } from './deposits.ts'
import { checkpointOf, type Position, positionOf, REGISTRY_CHECKPOINT } from './position.ts'

/** Between two lines of the log about a long scan. */
const TELL_MS = 10_000

type Needs = Pick<Context, 'config' | 'db' | 'crypto' | 'chain' | 'events'>

/** Creates the part of the service that writes. */
export function createRegistryScan({ config, db, crypto, chain: { execution }, events }: Needs) {
  const { network } = config
  const judge = createDepositJudge({ config, crypto })

  /** Where the registry stands, undefined before it has begun. */
  const findPosition = async () => positionOf(network, await findCheckpoint(db, REGISTRY_CHECKPOINT))

  /** Moves the checkpoint on with these keys; `moved` and nothing written where it stands elsewhere by now. */
  function advance(from: Position, to: Omit<Position, 'count'>, keys: readonly RegisteredKey[]) {
    return db.transaction(async (tx): Promise<Position | 'moved'> => {
      const stands = positionOf(network, await lockCheckpoint(tx, REGISTRY_CHECKPOINT))
      if (!isDeepStrictEqual(stands, from)) return 'moved'
      let { count } = from
      for (let first = 0; first < keys.length; first += MOST_REGISTERED)
        count += await insertRegistered(tx, keys.slice(first, first + MOST_REGISTERED))
      const position = { ...to, count }
      await storeCheckpoint(tx, REGISTRY_CHECKPOINT, checkpointOf(network, position))
      return position
    })
  }

  /** The position after `moved`. */
  async function follower(position: Position | 'moved'): Promise<Position> {
    const found = position === 'moved' ? await findPosition() : position
    if (found === undefined) throw new Error('the registry was erased while it was read')
    return found
  }

  /** Settles the deposits of a range; the checkpoint then stands at the block of the last one. */
  async function settle(position: Position, range: DepositRange, signal: AbortSignal): Promise<Position> {
    const deposits = range.deposits.filter(({ depositIndex }) => depositIndex >= position.nextDepositIndex)
    const last = deposits.at(-1)
    if (last === undefined) return position
    assertNoGap(deposits, { previousIndex: position.nextDepositIndex - 1, host: execution.host })
    const keys = new Map(deposits.map(({ publicKey }) => [toHex(publicKey), publicKey]))
    const known = new Set<string>()
    for (let first = 0, all = [...keys.values()]; first < all.length; first += MOST_REGISTERED)
      for (const key of await findRegistered(db, all.slice(first, first + MOST_REGISTERED))) known.add(toHex(key))
    const { made, wrong } = await judge(deposits, known, signal)
    const ours = await findValidators(
      db,
      wrong.map(({ publicKey }) => publicKey),
    )
    signal.throwIfAborted()
    const moved = await advance(position, { nextBlock: last.blockNumber, nextDepositIndex: last.depositIndex + 1 }, [
      ...made.values(),
    ])
    // Another process was here: some of the range may still be to do.
    if (moved === 'moved') return settle(await follower(moved), range, signal)
    const ourKeys = new Set(ours.map(({ publicKey }) => toHex(publicKey)))
    for (const { publicKey, blockNumber, depositIndex } of wrong)
      if (ourKeys.has(toHex(publicKey))) events.depositWrong(blockNumber, depositIndex)
    return moved
  }

  return {
    findPosition,

    /**
     * Settles what the newest final block has, from a position on.
     *
     * @param onProgress is told, in words, how far a longer scan has come
     */
    async settleFinal(from: Position, signal: AbortSignal, onProgress: (words: string) => void): Promise<void> {
      const final = await findFinal(signal)
      if (final === undefined || final.number < from.nextBlock) return
      let position = from
      let told = performance.now()
      for await (const range of readDeposits(execution, network, from.nextBlock, final.number, signal)) {
        position = await settle(position, range, signal)
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
      assertNoGap([], { previousIndex: position.nextDepositIndex - 1, count, host: execution.host })
      const end = { nextBlock: final.number + 1, nextDepositIndex: position.nextDepositIndex }
      if ((await advance(position, end, [])) !== 'moved')
        events.registrySettled(final.number, position.count, position.count - from.count)
    },
  }

  /** The newest final block, undefined while there is none. */
  async function findFinal(signal: AbortSignal): Promise<BlockRef | undefined> {
    try {
      return await execution.getBlock('finalized', signal)
    } catch (error) {
      // Some depth below the head would be a guess: what is settled is never looked at again.
      if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED')
        throw new ChainError(
          'EXECUTION_REFUSED',
          `the execution node at ${execution.host} does not say which block is final, so no deposit can be settled: it needs a version that knows the block "finalized" (EXECUTION_ENDPOINT)`,
          { cause: error },
        )
      throw error
    }
  }
}
export type RegistryScan = ReturnType<typeof createRegistryScan>

/** How far a scan has come, in words for `/ready` and for who asks too early. */
export function progressOf(block: number, head: number): string {
  return `the deposits of the chain are being read: block ${block} of ${head}`
}
