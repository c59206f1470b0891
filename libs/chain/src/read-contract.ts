/** One view function of a contract, read at one block, its answer decoded and checked. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { AbiFunction, AbiParameterToPrimitiveType, Hex } from 'viem'
import { ChainError } from './errors.ts'
import type { ExecutionClient } from './execution.ts'

/** A view function without arguments and with one result. */
export interface ViewFunction extends AbiFunction {
  readonly stateMutability: 'view'
  readonly inputs: readonly []
  readonly outputs: readonly [{ readonly name: string; readonly type: string }]
}

/** Where and when a contract is read. */
export interface ContractPlace {
  /** The contract, 20 bytes. */
  address: Uint8Array
  /** Hash of the block. */
  block: string
  signal?: AbortSignal | undefined
}

/**
 * Reads a view function at exactly one block.
 *
 * @throws {ChainError} EXECUTION_REVERTED, EXECUTION_EMPTY, EXECUTION_INVALID when the answer is not the one encoding of a
 * value of the function's type; {HttpError}
 */
export async function readContract<const F extends ViewFunction>(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  view: F,
  { address, block, signal }: ContractPlace,
): Promise<AbiParameterToPrimitiveType<F['outputs'][0]>> {
  // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
  const { decodeAbiParameters, encodeAbiParameters, toFunctionSelector } = await import('viem/utils')
  const data = toFunctionSelector(view)
  const answer = toHex(await execution.call({ to: address, data, block, ...(signal === undefined ? {} : { signal }) }))
  try {
    const values = decodeAbiParameters(view.outputs as ViewFunction['outputs'], answer as Hex)
    if (encodeAbiParameters(view.outputs as ViewFunction['outputs'], values) === answer)
      return values[0] as AbiParameterToPrimitiveType<F['outputs'][0]>
  } catch {
    // viem's errors hold the data, so none is passed on.
  }
  throw new ChainError(
    'EXECUTION_INVALID',
    `the execution node at ${execution.host} answers ${view.name} with what is no ${view.outputs[0].type}`,
  )
}
