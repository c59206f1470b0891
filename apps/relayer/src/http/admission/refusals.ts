/**
 * When who asks for too much at once is refused. Who is refused comes again, so refusals that leave together come back together, and while
 * the process takes in hundreds of connections at a moment, everybody else waits.
 */

import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import type { Limits } from './limits.ts'

/** Creates the times; `now` in milliseconds. */
export function createRefusals(
  { refusalMs, refusals: { gapMs, mostMs } }: Pick<Limits, 'refusalMs' | 'refusals'>,
  now: () => number = () => performance.now(),
) {
  /** When the last refusal of each account is due. */
  const lastAt = new Map<string, number>()
  return {
    /** How long the next refusal of an account waits. */
    nextMs(account: Account): number {
      const key = accountKey(account)
      const time = now()
      for (const [other, at] of lastAt) if (at + gapMs < time) lastAt.delete(other)
      const at = Math.min(
        time + mostMs,
        Math.max(time + refusalMs, (lastAt.get(key) ?? Number.NEGATIVE_INFINITY) + gapMs),
      )
      lastAt.set(key, at)
      return at - time
    },
    /** Accounts that are remembered. */
    accounts: (): number => lastAt.size,
  }
}
