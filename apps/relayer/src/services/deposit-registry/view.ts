/**
 * The deposit registry at the newest block: what is settled, and over it the deposits from there to that block, read anew for every new
 * head. So a reorganisation needs no repair, and nothing is kept in memory for a key that is settled.
 */

import type { ChainDeposit } from '@dvt-relayer/chain/execution/deposit-contract.ts'
import {
  assertNoGap,
  readDepositCount,
  readDepositRoot,
  readDeposits,
} from '@dvt-relayer/chain/execution/deposit-contract.ts'
import type { BlockRef } from '@dvt-relayer/chain/execution/execution.ts'
import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { findRegistered, findRegisteredWith } from '@dvt-relayer/db/queries/registry.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { createDepositJudge } from './deposits.ts'
import { NOT_BEGUN, type Position, positionOf, progressOf, REGISTRY_CHECKPOINT } from './position.ts'

/** What the chain says at one block. */
export interface DepositView {
  blockNumber: number
  blockHash: string
  /** `get_deposit_root()` at this very block, 32 bytes. */
  depositRoot: Uint8Array
  /** Distinct validly signed keys in all deposit logs up to this block. */
  count: number
  /**
   * Which of these keys have a validly signed deposit in the logs up to this block, final or not. One that was settled since then
   * counts as well: it is never too early to know.
   */
  isRegistered(publicKeys: readonly Uint8Array[]): Promise<boolean[]>
}

/** Blocks above the settled ones that are read anew for every head: days without finality. */
const MOST_BLOCKS = 10_000
/** One reading. Whoever waits for it may go earlier, and find it done the next time. */
const READING_MS = 15_000
/** For how long a node is asked about a block that it does not know (yet, or any more). */
const CALLS_MS = 3_000
/** How often a reading begins anew because the chain moved under it. */
const TRIES = 3

/** Creates the part of the service that looks. `findPosition` says where the registry stands, and begins it where it has not. */
export function createDepositViews(
  {
    config,
    db,
    crypto,
    chain: { execution },
  }: Pick<Context, 'config' | 'db'> & {
    crypto: Pick<Context['crypto'], 'verify'>
    chain: Pick<Context['chain'], 'execution'>
  },
  findPosition: () => Promise<Position | undefined>,
) {
  const { network } = config
  const judge = createDepositJudge({ config, crypto })
  let last: DepositView | undefined
  let reading: Promise<DepositView> | undefined

  async function read(): Promise<DepositView> {
    const signal = AbortSignal.timeout(READING_MS)
    for (let tries = 1; tries <= TRIES; tries++) {
      const head = await execution.getBlock('latest', signal)
      if (head === undefined) throw away('the execution node has no block yet')
      if (head.hash === last?.blockHash) return last
      try {
        const view = await readAt(head, signal)
        if (view === undefined) continue
        last = view
        return view
      } catch (error) {
        // A block that is not there any more gives errors of many kinds, and the next one may give none.
        const newest = await execution.getBlock('latest', signal)
        if (newest?.hash === head.hash) throw error
      }
    }
    throw away('the newest block changed each time its deposits were read')
  }

  /** The view at this block; undefined when it is not the chain's, or not this node's, any more. */
  async function readAt(head: BlockRef, signal: AbortSignal): Promise<DepositView | undefined> {
    const position = await findPosition()
    if (position === undefined) throw away(NOT_BEGUN)
    assertNotBehind(head, position)
    const { host } = execution
    const read: ChainDeposit[] = []
    for await (const range of readDeposits(execution, network, position.nextBlock, head.number, signal))
      read.push(...range.deposits)
    const calls = AbortSignal.any([signal, AbortSignal.timeout(CALLS_MS)])
    const [depositRoot, total] = await Promise.all([
      readDepositRoot(execution, network, head.hash, calls),
      readDepositCount(execution, network, head.hash, calls),
    ])
    // Logs are asked for by number: they are this block's only if it stands where it stood, at the one node that answered all.
    const still = await execution.getBlock(head.number, signal)
    if (still?.hash !== head.hash || execution.host !== host) return undefined
    const isNew = ({ depositIndex }: ChainDeposit) => depositIndex >= position.nextDepositIndex
    const known = { previousIndex: position.nextDepositIndex - 1, count: total }
    let deposits = read.filter(isNew)
    try {
      assertNoGap(deposits, { ...known, host })
    } catch (error) {
      const others = await readElsewhere(head, position, signal, (all) => assertNoGap(all.filter(isNew), known))
      if (others === undefined) throw error
      deposits = others.filter(isNew)
    }
    return complete(head, depositRoot, total, deposits, signal)
  }

  /** The deposits up to this block by another node that has the block, and none missing: what one leaves out another one has, as a rule. */
  async function readElsewhere(
    head: BlockRef,
    position: Position,
    signal: AbortSignal,
    check: (deposits: readonly ChainDeposit[]) => void,
  ): Promise<ChainDeposit[] | undefined> {
    for (const node of execution.each.length > 1 ? execution.each : []) {
      try {
        const read: ChainDeposit[] = []
        for await (const range of readDeposits(node, network, position.nextBlock, head.number, signal))
          read.push(...range.deposits)
        if ((await node.getBlock(head.number, signal))?.hash !== head.hash) continue
        check(read)
        return read
      } catch {
        signal.throwIfAborted()
      }
    }
    return undefined
  }

  /** Puts the deposits over what is settled by now, which may be more than when they were read. */
  async function complete(
    { number: blockNumber, hash: blockHash }: BlockRef,
    depositRoot: Uint8Array,
    total: number,
    deposits: readonly ChainDeposit[],
    signal: AbortSignal,
  ): Promise<DepositView> {
    const keys = new Map(deposits.map(({ publicKey }) => [toHex(publicKey), publicKey]))
    const found = await findRegisteredWith(db, REGISTRY_CHECKPOINT, [...keys.values()])
    const settled = positionOf(network, found?.value)
    if (found === undefined || settled === undefined) throw away(NOT_BEGUN)
    if (settled.nextDepositIndex > total) throw behindOthers(blockNumber)
    const { made } = await judge(deposits, new Set(found.publicKeys.map((key) => toHex(key))), signal)
    const fresh = new Set(made.keys())
    return {
      blockNumber,
      blockHash,
      depositRoot,
      count: settled.count + fresh.size,
      async isRegistered(publicKeys) {
        const rows = new Set((await findRegistered(db, publicKeys)).map((key) => toHex(key)))
        return publicKeys.map(toHex).map((key) => fresh.has(key) || rows.has(key))
      },
    }
  }

  return {
    /** The view at the newest block; concurrent calls share one reading. */
    read(): Promise<DepositView> {
      reading ??= onOwnAccount(read).finally(() => {
        reading = undefined
      })
      return reading
    },
  }
}

function assertNotBehind(head: BlockRef, { nextBlock }: Position): void {
  if (head.number + 1 < nextBlock) throw behindOthers(head.number)
  if (head.number - nextBlock > MOST_BLOCKS) throw away(progressOf(nextBlock, head.number))
}

const away = (words: string) => new ApiError('DEPENDENCY_AWAY', words)
const behindOthers = (block: number) => away(`the execution node is at block ${block}, behind deposits that are final`)
