/** What a contract answers at exactly one block (`eth_call` by block hash, EIP-1898). */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { HttpAsk } from '@dvt-relayer/common/http/client.ts'
import { ChainError } from '../errors.ts'
import { Bytes, callRpc, type RpcFault } from './json-rpc.ts'

/** What is asked of a contract. */
export interface ContractCall {
  /** The contract, 20 bytes. */
  to: Uint8Array
  /** Selector and arguments, as hex. */
  data: string
  /** Hash of the block, as `BlockRef` has it. */
  block: string
  signal?: AbortSignal
}

const CallResult = Bytes()

/**
 * Calls the contract.
 *
 * @throws {ChainError} EXECUTION_REVERTED, EXECUTION_EMPTY; EXECUTION_REFUSED where the node does not know such a call; {HttpError}
 * when no node can answer
 */
export async function ethCall(http: HttpAsk, { to, data, block, signal }: ContractCall): Promise<Uint8Array> {
  const params = [
    { to: toHex(to), data },
    { blockHash: block, requireCanonical: true },
  ]
  let reverted = false
  const isEarned = (fault: RpcFault) => {
    reverted = isRevert(fault)
    return reverted
  }
  let result: string
  try {
    result = await callRpc(http, 'eth_call', params, CallResult, {
      isEarned,
      ...(signal === undefined ? {} : { signal }),
    })
  } catch (error) {
    // What the contract says for its refusal is a stranger's text; the caller knows what it has asked.
    if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED' && reverted)
      throw new ChainError('EXECUTION_REVERTED', `the contract ${toHex(to)} reverts the call`)
    throw error
  }
  if (result === '0x')
    throw new ChainError('EXECUTION_EMPTY', `there is no contract at ${toHex(to)} that knows the call`)
  return fromHex(result)
}

/** Whether the contract has refused, in the words of every node (3: geth, reth, erigon, anvil; -32015: nethermind). */
export function isRevert({ code, message }: RpcFault): boolean {
  return code === 3 || code === -32015 || /revert/i.test(message)
}
