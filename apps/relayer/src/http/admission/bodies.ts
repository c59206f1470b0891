/** Bodies: what is held of them, by each caller and in all, in bytes. Who is at its limit waits, unread, behind itself alone. */

import { type Account, accountKey } from '@dvt-relayer/common/account.ts'
import { createTurns } from '@dvt-relayer/common/flow/turns.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { BODY_COST, BYTES_A_VALUE, LARGE_BYTES, type Limits } from './limits.ts'

/** Room for a body. */
export interface BodyRoom {
  /** Whether there is room too for what comes of parsing so many values. */
  holds(values: number): boolean
  release(): void
}

/** Of those whose signature shows with the body that they send: a few of the largest that are taken so. */
const OF_STRANGERS = 4 * BODY_COST * LARGE_BYTES

/** How many callers are remembered before those who have paid are forgotten. */
const REMEMBERED = 1000

/** A rate of bytes for each caller: who was faster waits, and pays for no one else. */
function createPace({ bytesASecond, atOnce }: Limits['bodies']['rate'], waitMs: number) {
  /** When each has paid for its bodies so far. */
  const paidAt = new Map<string, number>()
  const creditMs = (atOnce / bytesASecond) * 1000
  return {
    /** Waits until the caller may send so many more; false where it may not within the time that bodies wait. */
    async wait(account: Account, length: number, signal: AbortSignal): Promise<boolean> {
      const now = performance.now()
      if (paidAt.size > REMEMBERED) for (const [key, at] of paidAt) if (at < now) paidAt.delete(key)
      const key = accountKey(account)
      const before = Math.max(paidAt.get(key) ?? 0, now)
      const untilMs = before - now - creditMs
      const isSoon = untilMs <= waitMs
      if (isSoon) paidAt.set(key, before + (length / bytesASecond) * 1000)
      if (untilMs > 0) await pause(Math.min(untilMs, waitMs), signal)
      return isSoon
    },
  }
}

/** Creates the account of bodies. */
export function createBodies(limits: Limits['bodies']) {
  const { ofOne, total, ofSidecars, largeOfOne, largeWaitMs, rate, rateOfStrangers, waiting, waitMs } = limits
  const unbounded = Number.POSITIVE_INFINITY
  const bytes = createTurns({
    total,
    groups: {
      operator: { ofOne, ofAll: total },
      sidecar: { ofOne, ofAll: ofSidecars },
      stranger: { ofOne: OF_STRANGERS, ofAll: OF_STRANGERS },
    },
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

  const pace = createPace(rate, waitMs)
  const paceOfStrangers = createPace(rateOfStrangers, waitMs)

  return {
    /** Room for a body of this length when the caller's turn comes; undefined where it has not come in time. */
    async take(account: Account, length: number, signal: AbortSignal): Promise<BodyRoom | undefined> {
      const { wait } = account.group === 'stranger' ? paceOfStrangers : pace
      if (!(await wait(account, length, signal)) || signal.aborted) return undefined
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
    /** Whether a stranger waits for the room that strangers have together. */
    isWantedByStrangers: (): boolean => bytes.isWanted('stranger'),
    /** Bytes held. */
    held: (): number => bytes.held(),
  }
}
