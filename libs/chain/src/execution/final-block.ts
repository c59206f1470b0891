/** The newest final block, where nothing can be done without one. */

import { ChainError } from '../errors.ts'
import type { BlockRef, ExecutionClient } from './execution.ts'

/**
 * The newest final block, undefined while there is none. Some depth below the head in its place would be a guess.
 *
 * @param consequence what cannot be done, as words that follow "so"
 * @throws {ChainError} EXECUTION_REFUSED saying so, where the node does not know the block "finalized"; {HttpError}
 */
export async function getFinalBlock(
  execution: Pick<ExecutionClient, 'getBlock' | 'host'>,
  consequence: string,
  signal: AbortSignal,
): Promise<BlockRef | undefined> {
  try {
    return await execution.getBlock('finalized', signal)
  } catch (error) {
    if (error instanceof ChainError && error.code === 'EXECUTION_REFUSED')
      throw new ChainError(
        'EXECUTION_REFUSED',
        `the execution node at ${execution.host} does not say which block is final, so ${consequence}: it needs a version that knows the block "finalized" (EXECUTION_ENDPOINT)`,
        { cause: error },
      )
    throw error
  }
}
