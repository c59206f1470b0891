/** How far the deposit registry is settled: one checkpoint, which everybody moves on under its row lock. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { ApiError } from '../../errors.ts'

/** Where the registry stands. Each position is proven: no deposit below `nextDepositIndex` is missing. */
export interface Position {
  /** The first block that may hold deposits which are not settled. */
  nextBlock: number
  /** Every deposit below this index is settled. */
  nextDepositIndex: number
  /** Keys settled: as many as `registry_validators` has rows. */
  count: number
}

export const REGISTRY_CHECKPOINT = 'registry'

const whole = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const stored = Compile(
  Type.Object({
    chain_id: whole,
    deposit_contract: Type.String(),
    dump_cid: Type.Union([Type.String(), Type.Null()]),
    next_block: whole,
    next_deposit_index: whole,
    count: whole,
  }),
)

/** The checkpoint of a position. */
export function checkpointOf(network: Network, position: Position) {
  return {
    chain_id: network.chainId,
    deposit_contract: toHex(network.depositContract),
    dump_cid: network.registryDump?.cid ?? null,
    next_block: position.nextBlock,
    next_deposit_index: position.nextDepositIndex,
    count: position.count,
  }
}

/**
 * The position of a checkpoint, undefined where there is none yet.
 *
 * @throws {ApiError} DEPENDENCY_AWAY when it is not one of this network: nothing in this database can be used then
 */
export function positionOf(network: Network, value: unknown): Position | undefined {
  if (value === undefined) return undefined
  const isOurs =
    stored.Check(value) &&
    value.chain_id === network.chainId &&
    value.deposit_contract === toHex(network.depositContract)
  if (!isOurs)
    throw new ApiError(
      'DEPENDENCY_AWAY',
      `the database holds the registry of another network than ${network.name}: every network needs a database of its own (DATABASE_URL, DATA_DIR)`,
    )
  return { nextBlock: value.next_block, nextDepositIndex: value.next_deposit_index, count: value.count }
}

/** Said to who asks before the registry has begun. */
export const NOT_BEGUN = 'the deposits of the chain have not been read yet'

const READING = 'the deposits of the chain are being read'

/** How far a scan has come, in words for `/ready` and for who asks too early. */
export function progressOf(block: number, head: number): string {
  return `${READING}: block ${block} of ${head}`
}

/** Whether these words only say that it takes time, and not what is wrong. */
export const isProgress = (words: string): boolean => words === NOT_BEGUN || words.startsWith(READING)
