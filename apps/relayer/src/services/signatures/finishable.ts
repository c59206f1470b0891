/**
 * What there is to finish, found in the database alone: where a job was lost or a process killed, and after a change of the oracles.
 *
 * No round looks through everything: what lists show otherwise than before is looked at once, what was handed out until it comes back, and
 * the rest slice by slice, which repairs what two deaths at once may leave.
 */

import type { Change } from '@dvt-relayer/db/queries/messages/look.ts'
import {
  findChanged,
  findLiveAfter,
  findNewestRevision,
  findQueued,
  findQueuedAmong,
} from '@dvt-relayer/db/queries/messages/look.ts'
import { claimFinishable, findFinishable } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { findCurrentOracleSetId } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Context } from '../../context.ts'

/** Some milliseconds of the database. */
const SLICE = 1000
/** The same of what was looked at once and has not changed since: some milliseconds of the database at each round, for good. */
const AGAIN = 100
/** Before the first change there is. */
const NOTHING: Change = { revision: 0, id: 0 }

/** What a round found. */
export interface Found {
  /** Claimed for whoever asked. */
  claimed: number[]
  /** Whether the next round has more to look at. */
  hasMore: boolean
}

/**
 * Creates the look of one process. What it remembers is only where it is: a process that starts anew looks at everything once, and
 * then slowly again.
 *
 * @param slice messages looked at in one round for each of the three reasons
 */
export function createFinishable({ db }: Pick<Context, 'db'>, slice = SLICE) {
  let seen = NOTHING
  let walked = 0
  let walkSlice = slice
  /** What changed while a worker had it, or somebody had it locked: it is looked at again once it is given back. */
  let held: number[] = []
  let oracleSetId: number | undefined

  return {
    /** Claims messages that a worker should finish, at most `limit`. */
    async claim(limit: number): Promise<Found> {
      const [current, newest] = await Promise.all([findCurrentOracleSetId(db), findNewestRevision(db)])
      // Every exit may be split anew; or a standby was made the primary that lacks the last changes, and others have their revisions.
      if (current !== oracleSetId || newest < seen.revision) seen = NOTHING
      oracleSetId = current
      const [changed, queued, walk] = await Promise.all([
        findChanged(db, seen, slice),
        findQueued(db, slice),
        findLiveAfter(db, walked, walkSlice),
      ])
      const news = [...new Set([...held, ...changed.map(({ id }) => id)])]
      const busy = news.length === 0 ? [] : await findQueuedAmong(db, news)
      const ids = new Set([...news, ...queued, ...walk])
      const claimed = ids.size === 0 ? [] : await claimFinishable(db, [...ids], limit)
      // What there was no room for is looked at again.
      if (claimed.length >= limit) return { claimed, hasMore: true }
      // Whoever had one of them locked may tell of nothing, and die before it claims it.
      const others = [...new Set(news).difference(new Set(claimed))]
      const locked = others.length === 0 ? [] : await findFinishable(db, others)
      seen = changed.at(-1) ?? seen
      held = [...new Set([...busy, ...locked])]
      const isThrough = walk.length < walkSlice
      walked = isThrough ? 0 : (walk.at(-1) ?? 0)
      if (isThrough) walkSlice = Math.min(slice, AGAIN)
      return { claimed, hasMore: changed.length === slice }
    },
  }
}
