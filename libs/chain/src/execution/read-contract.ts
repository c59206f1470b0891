/** One view function of a contract, read at one block, its answer decoded and checked. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { AbiFunction, AbiParameter, AbiParameterToPrimitiveType, Hex } from 'viem'
import { ChainError } from '../errors.ts'
import type { ExecutionClient } from './execution.ts'

/** A view function with one result. */
export interface ViewFunction extends AbiFunction {
  readonly stateMutability: 'view'
  readonly inputs: readonly AbiParameter[]
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

/** The arguments of a function, in order. */
type Arguments<I extends readonly AbiParameter[]> = { [K in keyof I]: AbiParameterToPrimitiveType<I[K]> }

/**
 * Reads a view function at exactly one block.
 *
 * @param args of the function, where it has any
 * @throws {ChainError} EXECUTION_REVERTED, EXECUTION_EMPTY, EXECUTION_INVALID when the answer is not the one encoding of a
 * value of the function's type; {HttpError}
 */
export async function readContract<const F extends ViewFunction>(
  execution: Pick<ExecutionClient, 'call' | 'host'>,
  view: F,
  { address, block, signal }: ContractPlace,
  ...args: Arguments<F['inputs']>
): Promise<AbiParameterToPrimitiveType<F['outputs'][0]>> {
  // Loaded at first use: it takes a quarter of a second, which the start of a process can do without.
  const { concatHex, decodeAbiParameters, encodeAbiParameters, toFunctionSelector } = await import('../viem/utils.ts')
  const data = concatHex([toFunctionSelector(view), encodeAbiParameters(view.inputs as readonly AbiParameter[], args)])
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
