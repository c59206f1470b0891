/** The number of validators in a state, from questions about single indexes. */

import { ChainError } from '../errors.ts'

/** VALIDATOR_REGISTRY_LIMIT of the consensus specification. */
const REGISTRY_LIMIT = 2 ** 40

/**
 * Counts the validators of a state: gallops from what is known, then bisects. With the count unchanged one call, from nothing
 * on a chain of a million about 41.
 *
 * @param find the validator at an index of one and the same state, undefined beyond the last
 * @param known validators that the state is known to have, and the key of the last of them
 * @returns the number, and the key of the last validator
 * @throws {ChainError} CONSENSUS_INVALID when the state has no validator at all, or more than can be
 */
export async function countValidators(
  find: (index: number) => Promise<{ publicKey: string } | undefined>,
  known?: { total: number; lastKey: string },
): Promise<{ total: number; lastKey: string }> {
  let lastKey = known?.lastKey
  const has = async (index: number) => {
    const found = await find(index)
    if (found !== undefined) lastKey = found.publicKey
    return found !== undefined
  }
  // The state has `low` validators at least, and fewer than `high + 1`.
  let low = known?.total ?? 0
  let high = low
  for (let step = 1; await has(high); step *= 2) {
    low = high + 1
    high = low + step
    if (high > REGISTRY_LIMIT)
      throw new ChainError('CONSENSUS_INVALID', 'the consensus node claims more validators than can be')
  }
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (await has(middle)) low = middle + 1
    else high = middle
  }
  // No chain is without validators: a node that knows none would have us predict index 0.
  if (lastKey === undefined)
    throw new ChainError('CONSENSUS_INVALID', 'the consensus node knows no validator in its head state')
  return { total: low, lastKey }
}
