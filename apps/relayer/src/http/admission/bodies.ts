/** Bodies: what is held of them, by each caller and in all, in bytes. Who is at its limit waits, unread, behind itself alone. */

import type { Account } from '@dvt-relayer/common/account.ts'
import { createTurns } from '@dvt-relayer/common/turns.ts'
import { BODY_COST, BYTES_A_VALUE, LARGE_BYTES, type Limits } from './limits.ts'

/** Room for a body. */
export interface BodyRoom {
  /** Whether there is room too for what comes of parsing so many values. */
  holds(values: number): boolean
  release(): void
}

/** Creates the account of bodies. */
export function createBodies(limits: Limits['bodies']) {
  const { ofOne, total, ofSidecars, largeOfOne, largeWaitMs, waiting, waitMs } = limits
  const unbounded = Number.POSITIVE_INFINITY
  const bytes = createTurns({
    total,
    groups: { operator: { ofOne, ofAll: total }, sidecar: { ofOne, ofAll: ofSidecars } },
    others: { ofOne, ofAll: total },
    waiting,
    waitMs,
  })
  const large = createTurns({
    total: unbounded,
    groups: {},
    others: { ofOne: largeOfOne, ofAll: unbounded },
    waiting,
    waitMs: largeWaitMs,
  })

  return {
    /** Room for a body of this length when the caller's turn comes; undefined where it has not come in time. */
    async take(account: Account, length: number, signal: AbortSignal): Promise<BodyRoom | undefined> {
      const place = length < LARGE_BYTES ? undefined : await large.take(1, { account, signal })
      if (length >= LARGE_BYTES && place === undefined) return undefined
      const room = await bytes.take(BODY_COST * length, { account, signal })
      if (room === undefined) {
        place?.release()
        return undefined
      }
      return {
        holds(values: number): boolean {
          const more = BYTES_A_VALUE * values - (BODY_COST - 1) * length
          return more <= 0 || room.grow(more)
        },
        release(): void {
          room.release()
          place?.release()
        },
      }
    },
    /** Bytes held, in all or on one account. */
    held: bytes.held,
    /** Bodies that wait. */
    waiting: (account?: Account): number => bytes.waiting(account) + large.waiting(account),
  }
}
