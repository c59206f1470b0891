/**
 * Where no deposit registry is followed: the deposits of the relayer's validators in final logs, since exits are erased only of
 * validators that have one. It reads from a day before the first validator came here: an exit is asked for before its deposit is made.
 * Of one that had its deposit before that, nothing is found, and its exits stay.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { DepositRange } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import { assertNoGap, readDepositCount, readDeposits } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import type { BlockRef } from '@dvt-relayer/chain/execution/execution.ts'
import { getFinalBlock } from '@dvt-relayer/chain/execution/final-block.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import {
  clearDepositBlocks,
  findFirstCreation,
  storeDepositBlocks,
} from '@dvt-relayer/db/queries/messages/retention.ts'
import { findValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import { insertCheckpoint, lockCheckpoint } from '@dvt-relayer/db/queries/registry.ts'
import { deleteCheckpoint, findCheckpoint, storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Context } from '../../context.ts'
import { createDepositJudge } from '../deposit-registry/deposits.ts'
import { REGISTRY_CHECKPOINT } from '../deposit-registry/position.ts'

const CHECKPOINT = 'erasure_deposits'
const whole = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
/** `next_deposit_index` is not known before the first deposit is read. */
const stored = Compile(Type.Object({ next_block: whole, next_deposit_index: Type.Optional(whole) }))

interface Position {
  nextBlock: number
  nextDepositIndex: number | undefined
}

/** Clocks of machines and blocks that differ. */
const SPARE_SECONDS = 86_400
/** Nodes are not so far apart about what is final. */
const MOST_BEHIND = 1_000
/** One round; the next one goes on from there. */
const ROUND_MS = 20_000

/** Creates the search. */
export function createDepositSearch({
  config,
  db,
  crypto,
  chain: { execution },
  events,
}: Pick<Context, 'config' | 'db' | 'crypto' | 'chain' | 'events'>) {
  const { network } = config
  const judge = createDepositJudge({ config, crypto })

  async function find(): Promise<Position | undefined> {
    const value = await findCheckpoint(db, CHECKPOINT)
    return stored.Check(value) ? { nextBlock: value.next_block, nextDepositIndex: value.next_deposit_index } : undefined
  }

  /** The first block, not before the deposit contract's, of this time (Unix seconds) or later. */
  async function firstBlockOf(seconds: number, final: BlockRef, signal: AbortSignal): Promise<number> {
    let [from, to] = [network.depositContractBlock, final.number]
    while (from < to) {
      const middle = Math.floor((from + to) / 2)
      const block = await execution.getBlock(middle, signal)
      // Nodes may have dropped old blocks.
      if (block === undefined || block.timestamp < seconds) from = middle + 1
      else to = middle
    }
    return from
  }

  async function begin(final: BlockRef, signal: AbortSignal): Promise<Position | undefined> {
    const since = await findFirstCreation(db)
    if (since === undefined) return undefined
    const nextBlock = await firstBlockOf(Math.floor(since) - SPARE_SECONDS, final, signal)
    const inserted = await insertCheckpoint(db, CHECKPOINT, { next_block: nextBlock })
    if (inserted === 'inserted') events.depositsSearched(nextBlock)
    return find()
  }

  /** Moves on behind a range, with the deposits of ours in it; false where another process has moved on. */
  async function take(from: Position, to: Position, range: DepositRange, signal: AbortSignal): Promise<boolean> {
    const keys = [...new Map(range.deposits.map(({ publicKey }) => [toHex(publicKey), publicKey])).values()]
    const ours = new Map((await findValidators(db, keys)).map(({ id, publicKey }) => [toHex(publicKey) as string, id]))
    const deposits = range.deposits.filter(({ publicKey }) => ours.has(toHex(publicKey)))
    const { made } = await judge(deposits, new Set(), signal)
    const found = [...made].flatMap(([key, { blockNumber }]) => {
      const validatorId = ours.get(key)
      return validatorId === undefined ? [] : [{ validatorId, blockNumber }]
    })
    return db.transaction(async (tx) => {
      const stands = await lockCheckpoint(tx, CHECKPOINT)
      if (!stored.Check(stands) || stands.next_block !== from.nextBlock) return false
      await storeDepositBlocks(tx, found)
      await storeCheckpoint(tx, CHECKPOINT, {
        next_block: to.nextBlock,
        ...(to.nextDepositIndex === undefined ? {} : { next_deposit_index: to.nextDepositIndex }),
      })
      return true
    })
  }

  async function readOn(begun: Position, final: BlockRef, signal: AbortSignal): Promise<string | undefined> {
    const end = performance.now() + ROUND_MS
    let position = begun
    for await (const range of readDeposits(execution, network, begun.nextBlock, final.number, signal)) {
      const { nextDepositIndex: next } = position
      const host = execution.host
      const isLast = range.toBlock === final.number
      // No log is proof that there is none. Of the last range the contract's own count says it.
      const count = isLast ? await readDepositCount(execution, network, final.hash, signal) : undefined
      const last = assertNoGap(range.deposits, {
        previousIndex: next === undefined ? undefined : next - 1,
        count,
        host,
      })
      const to = { nextBlock: range.toBlock + 1, nextDepositIndex: last === undefined ? undefined : last + 1 }
      if (!(await take(position, to, range, signal))) return undefined
      position = to
      if (!isLast && performance.now() > end) return 'the deposits of the chain are being read'
    }
    return undefined
  }

  /** What a node has said that was wrong is read again from the beginning; the checkpoint is made anew by the next round. */
  const beginAnew = () =>
    db.transaction(async (tx) => {
      await clearDepositBlocks(tx)
      await deleteCheckpoint(tx, CHECKPOINT)
    })

  return {
    beginAnew,
    /**
     * Reads on to the newest final block, for some seconds at most. Returns what is to be waited for, in words.
     *
     * @throws {ChainError | HttpError} when the execution node is away, or leaves logs out
     */
    async run(signal: AbortSignal): Promise<string | undefined> {
      if ((await findCheckpoint(db, REGISTRY_CHECKPOINT)) !== undefined) return undefined
      const final = await getFinalBlock(execution, network, 'no deposit can be found', signal)
      if (final === undefined) return 'the execution node does not say yet which block is final'
      const position = (await find()) ?? (await begin(final, signal))
      if (position === undefined) return undefined
      if (position.nextBlock > final.number) {
        if (position.nextBlock > final.number + MOST_BEHIND) await beginAnew()
        return undefined
      }
      try {
        return await readOn(position, final, signal)
      } catch (error) {
        // Logs are missing now, or some were invented before.
        if (error instanceof ChainError && error.code === 'EXECUTION_INVALID') await beginAnew()
        throw error
      }
    },
  }
}
