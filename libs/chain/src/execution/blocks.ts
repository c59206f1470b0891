/** Blocks of the execution chain. */

import type { HttpAsk } from '@dvt-relayer/common/http-client.ts'
import { type Static, Type } from 'typebox'
import { ChainError } from '../errors.ts'
import { Bytes, callRpc, parseQuantity, Quantity, toQuantity } from './json-rpc.ts'

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
  let raw: Static<typeof Block>
  try {
    raw = await callRpc(http, 'eth_getBlockByNumber', params, Block, signal === undefined ? {} : { signal })
  } catch (error) {
    if (tag === 'finalized' && isNothingFinalized(error)) return undefined
    throw error
  }
  if (raw === null) return undefined
  const number = parseQuantity(raw.number)
  if (typeof tag === 'number' && number !== tag)
    throw new ChainError('EXECUTION_INVALID', `the execution node at ${http.host} answers with another block`)
  return {
    number,
    hash: raw.hash.toLowerCase(),
    parentHash: raw.parentHash.toLowerCase(),
    timestamp: parseQuantity(raw.timestamp),
  }
}

/** Whether the node knows the word `finalized` and has no such block: null at some, these errors at others. */
function isNothingFinalized(error: unknown): boolean {
  return (
    error instanceof ChainError &&
    error.code === 'EXECUTION_REFUSED' &&
    (error.meta['rpc_code'] === -39001 || /finalized.* not (found|available)/i.test(error.message))
  )
}
