/** Blocks of the execution chain. */

import type { HttpAsk } from '@dvt-relayer/common/http/client.ts'
import { type Static, Type } from 'typebox'
import { ChainError } from '../errors.ts'
import { Bytes, callRpc, parseQuantity, Quantity, type RpcFault, toQuantity } from './json-rpc.ts'

/** One block. Hashes are lower-case hex. */
export interface BlockRef {
  number: number
  hash: string
  parentHash: string
  /** Unix seconds. */
  timestamp: number
}

const Block = Type.Union([
  Type.Null(),
  Type.Object({ number: Quantity, hash: Bytes(32), parentHash: Bytes(32), timestamp: Quantity }),
])

/** The head, the newest finalized block, or the block of a number; undefined where the node has none. */
export async function getBlock(
  http: HttpAsk,
  tag: 'latest' | 'finalized' | number,
  signal?: AbortSignal,
): Promise<BlockRef | undefined> {
  const params = [typeof tag === 'number' ? toQuantity(tag) : tag, false]
  let nothingFinal = false
  const isEarned = (fault: RpcFault) => {
    nothingFinal = tag === 'finalized' && isNothingFinalized(fault)
    return nothingFinal
  }
  const check = (block: Static<typeof Block>, host: string) => {
    if (block === null) return
    if (typeof tag === 'number' && parseQuantity(block.number) !== tag)
      throw new ChainError('EXECUTION_INVALID', `the execution node at ${host} answers with another block`)
    parseQuantity(block.number)
    parseQuantity(block.timestamp)
  }
  let raw: Static<typeof Block>
  try {
    const rpc = { isEarned, check, ...(signal === undefined ? {} : { signal }) }
    raw = await callRpc(http, 'eth_getBlockByNumber', params, Block, rpc)
  } catch (error) {
    if (nothingFinal && error instanceof ChainError && error.code === 'EXECUTION_REFUSED') return undefined
    throw error
  }
  if (raw === null) return undefined
  return {
    number: parseQuantity(raw.number),
    hash: raw.hash.toLowerCase(),
    parentHash: raw.parentHash.toLowerCase(),
    timestamp: parseQuantity(raw.timestamp),
  }
}

/** Whether the node knows the word `finalized` and has no such block: null at some, these errors at others. */
function isNothingFinalized({ code, message }: RpcFault): boolean {
  return code === -39001 || /finalized.* not (found|available)/i.test(message)
}
