/** How many exits and deposits one requester may have made anew: each is a row that stays for a day after another has taken its place. */

import { createRate } from '@dvt-relayer/common/flow/rate.ts'
import type { RelayerConfig } from '../../config.ts'
import { ApiError } from '../../errors.ts'

/** Messages of all that a requester may have open, so many times at once: an exit and a deposit each, and all of them at another index. */
const BURSTS = 4
/** Requesters remembered. Those that are no tokens are vaults, of which there are more. */
const REQUESTERS = 10_000

/**
 * Creates the bucket of every requester. It is filled by one request of the largest size in each slot, an exit and a deposit for every key:
 * no Operator asks for more, whose keys get another index when a block has taken theirs, and whose nodes must sign each of them.
 */
export function createMessageRate(
  { limits, network }: Pick<RelayerConfig, 'limits' | 'network'>,
  nowMs: () => number = () => performance.now(),
) {
  const perSecond = (2 * limits.keys) / network.secondsPerSlot
  const rate = createRate({ burst: BURSTS * Math.max(limits.openExits, limits.keys), perSecond, most: REQUESTERS })
  return {
    /**
     * To be asked before anything is written, with the number of messages that will be made.
     *
     * @throws {ApiError} RATE_LIMIT
     */
    assert(requester: string | null, messages: number): void {
      if (messages === 0) return
      const seconds = rate.take(requester ?? '', messages, nowMs())
      if (seconds === 0) return
      throw new ApiError(
        'RATE_LIMIT',
        `more new exits and deposits than ${Math.ceil(perSecond)} a second; ask again in ${Math.ceil(seconds)} s`,
        { retryAfterSeconds: seconds },
      )
    },
  }
}
export type MessageRate = ReturnType<typeof createMessageRate>
