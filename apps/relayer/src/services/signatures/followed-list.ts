/**
 * A list that follows the database: kept ready as bytes, and brought up to date from what changed when somebody asks.
 *
 * PostgreSQL is the truth: revisions become visible in commit order, so "everything after the last revision seen" misses
 * nothing. A notification only says when to look. A list nobody asks for is never loaded.
 */

import { accountKey, currentAccount, onOwnAccount } from '@dvt-relayer/common/account.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { ListCursor } from '@dvt-relayer/db/queries/messages/lists.ts'
import { createListPages, type ListedRow, type PageQuery } from './list-pages.ts'

/** Rows read at once. */
const ROWS = 1000
/** Of these, rows rendered in one go: a millisecond of the event loop. */
const RENDERED_AT_ONCE = 250
/** Changes that come within this time of each other wake a waiting sidecar once; one that comes alone at once. */
const GATHER_MS = 15
const ALONE_MS = 100
/** Even without a notification the list is looked at after this time, waited for or not, so that what was lost costs no more. */
const MAX_AGE_MS = 1000
/**
 * A list that nobody has asked for in this time begins anew: what it shows may have ended since, and its rows, which are kept for
 * much longer than this, be gone.
 */
const FORGET_MS = 3_600_000
/** Questions of one caller that are answered at once; the others wait behind them, and hold nothing of the list meanwhile. */
const OF_ONE = { depth: 8, waiting: Number.POSITIVE_INFINITY }
const START: ListCursor = { revision: 0, messageId: 0 }

/** Where the rows of a list come from: in the order of their changes, and the newest revision there is of such rows. */
interface Source<Row> {
  find(after: ListCursor, limit: number): Promise<Row[]>
  newest(): Promise<number>
  itemOf(row: Row): unknown
}

/** Creates a list named `name` in its JSON. */
export function createFollowedList<Row extends ListedRow & { messageId: number }>(name: string, source: Source<Row>) {
  const pages = createListPages(name)
  const questions = createKeyedQueue(OF_ONE)
  let seen = START
  let isStale = true
  let loadedAt = 0
  let loading: Promise<void> | undefined
  /** Whether the database may be another one than the list was read from. */
  let isDoubtful = false
  const waiters = new Set<() => void>()
  let wokenAt = Number.NEGATIVE_INFINITY
  /** Whether nothing had changed for a while before the last change. */
  let isAlone = false
  let isClosed = false

  const wakeAll = () => {
    const now = performance.now()
    if (waiters.size > 0) isAlone = now - wokenAt > ALONE_MS
    if (waiters.size > 0) wokenAt = now
    for (const wake of [...waiters]) wake()
  }

  async function load(): Promise<void> {
    isStale = false
    if (isDoubtful || performance.now() - loadedAt > FORGET_MS) {
      pages.clear()
      seen = START
      isDoubtful = false
    }
    const before = pages.changedAt()
    try {
      // Of what is dead nothing is read at the start; still every process must come to the same revision.
      const newest = seen.revision === 0 ? await source.newest() : 0
      for (;;) {
        const rows = await source.find(seen, ROWS)
        // Nobody sees half of it: who asks meanwhile waits for the end of the look.
        await mapInPieces(rows, RENDERED_AT_ONCE, (row) => {
          pages.take(row, source.itemOf)
          seen = { revision: row.revision, messageId: row.messageId }
        })
        if (rows.length < ROWS) break
      }
      if (newest > seen.revision) seen = { revision: newest, messageId: Number.MAX_SAFE_INTEGER }
      pages.loaded(seen.revision)
      loadedAt = performance.now()
      // The notification of what somebody else's look has found already is passed over.
      if (pages.changedAt() !== before) wakeAll()
    } catch (error) {
      isStale = true
      throw error
    }
  }

  /** Brings the list up to date. Calls at the same time share one look; what was announced during it is looked at once more. */
  async function refresh(): Promise<void> {
    const isDue = () => isStale || loading !== undefined || performance.now() - loadedAt >= MAX_AGE_MS
    for (let looks = 0; looks < 2 && isDue(); looks++) {
      // For everybody, so in nobody's line.
      loading ??= onOwnAccount(load).finally(() => {
        loading = undefined
      })
      await loading
    }
  }

  /** Answers from the list as it is when the caller's turn comes. */
  async function answer(from: () => Promise<Buffer>): Promise<Buffer> {
    await refresh()
    return await new Promise((resolve, reject) => {
      const turn = async () => {
        await refresh()
        resolve(await from())
      }
      questions.run(accountKey(currentAccount()), turn).catch(reject)
    })
  }

  return {
    /** The JSON of the whole list, or of what changed after a revision. A revision from the future means all. */
    read: (after: number | undefined): Promise<Buffer> =>
      answer(() => {
        const { revision } = seen
        return after === undefined || after > revision ? pages.whole(revision) : pages.changedAfter(after, revision)
      }),

    /** The JSON of a page. A revision from the future, or one of too long ago, means a page of all. */
    readPage: (query: PageQuery): Promise<Buffer> => answer(() => pages.page(query, seen.revision)),

    /** Ends when what this list shows changed after `after`, after `waitMs`, or when the signal aborts. */
    async waitForChange(after: number, waitMs: number, signal: AbortSignal): Promise<void> {
      const deadline = performance.now() + waitMs
      for (;;) {
        await refresh()
        const left = deadline - performance.now()
        const hasChanged = pages.changedAt() > after || after > seen.revision
        if (hasChanged || left <= 0 || signal.aborted || isClosed) return
        const stop = new AbortController()
        const wake = () => stop.abort()
        waiters.add(wake)
        if (isStale) wake()
        // From the last look on, whoever it was for: counted from here it could be twice as long.
        const untilDue = Math.max(1, Math.ceil(loadedAt + MAX_AGE_MS - performance.now()))
        await pause(Math.min(left, untilDue), AbortSignal.any([stop.signal, signal]))
        waiters.delete(wake)
        if (stop.signal.aborted && !isAlone) await pause(GATHER_MS, signal)
      }
    },

    /** A notification: something changed. */
    notified(revision: number): void {
      if (revision <= seen.revision) return
      isStale = true
      wakeAll()
    },

    /** This process changed something: who asks it next sees that, and who waits, before any notification comes round. */
    changedHere(): void {
      isStale = true
      wakeAll()
    },

    /**
     * Notifications are there (again): what was missed is looked for. A standby that was made the primary may lack the last changes and have
     * others under their revisions, so the list begins anew.
     */
    reconnected(): void {
      isDoubtful = true
      isStale = true
      wakeAll()
    },

    /** Wakes everybody who waits, for a stop. */
    close(): void {
      isClosed = true
      wakeAll()
    },
  }
}
