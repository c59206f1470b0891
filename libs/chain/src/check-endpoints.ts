/** Which chain the endpoints of a client are on. */

import type { HttpAsk } from '@dvt-relayer/common/http/client.ts'
import { ChainError } from './errors.ts'

/**
 * Asks every endpoint for its chain. Endpoints that are away do not count while one answers.
 *
 * @param assertChain throws CHAIN_MISMATCH for an endpoint on another chain
 * @throws {ChainError} CHAIN_MISMATCH when any is on another chain; {HttpError} when none answers
 */
export async function checkEndpoints(
  endpoints: readonly HttpAsk[],
  assertChain: (endpoint: HttpAsk) => Promise<void>,
): Promise<void> {
  const results = await Promise.allSettled(endpoints.map(assertChain))
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  const mismatch = failures.find((reason) => reason instanceof ChainError && reason.code === 'CHAIN_MISMATCH')
  if (mismatch !== undefined) throw mismatch
  if (failures.length === results.length) throw failures[0]
}
