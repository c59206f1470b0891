/**
 * The list of live exits as bytes, kept ready in memory and brought up to date from what changed (`GET /exits`).
 *
 * PostgreSQL is the truth: revisions become visible in commit order, so "everything after the last revision seen" misses
 * nothing. A notification only says when to look.
 */

import type { ExitItem } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import type { ExitListRow } from '@dvt-relayer/db/queries/exits.ts'
import { findChangedExits } from '@dvt-relayer/db/queries/exits.ts'
import type { Context } from '../context.ts'

const ROWS = 2000
/** Exits whose bytes are kept together: a change costs the bytes of its page, not of the list. */
const PAGE = 128
/** Changes that come within this time wake a waiting sidecar once. */
const GATHER_MS = 15

const indexes = (text: string | null): number[] =>
  text === null
    ? []
    : text
        .split(',')
        .map(Number)
        .sort((a, b) => a - b)

/** "2024-11-21 00:00:00+0000" */
function timeText(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')}+0000`
}

function render(row: ExitListRow): string {
  const item: ExitItem = {
    public_key: toHex(row.public_key),
    validator_index: row.validator_index,
    is_exit_signature_ready: row.state === 'ready',
    created_at_timestamp: row.created_at_seconds,
    created_at_string: timeText(row.created_at_seconds),
    share_indexes_ready: indexes(row.verified),
    share_indexes_unverified: indexes(row.unverified),
    share_indexes_rejected: indexes(row.rejected),
  }
  return JSON.stringify(item)
}

/** Even without a notification the list is looked at after this time, so that a lost connection costs no more. */
const MAX_AGE_MS = 1000

/** Live exits of neighbouring ids. */
interface Page {
  entries: Map<number, { revision: number; json: string }>
  /** The newest revision of them. */
  revision: number
  /** Their texts, comma separated; undefined after a change. */
  bytes: Buffer | undefined
}

/** The texts are ASCII only. */
const asciiBytes = (text: string) => Buffer.from(text, 'latin1')
const HEAD = asciiBytes('{"exits":[')
const COMMA = asciiBytes(',')

/** Creates the service. */
export function createExitList({ db }: Pick<Context, 'db'>) {
  const pages = new Map<number, Page>()
  let seen = { revision: 0, id: 0 }
  let isStale = true
  let loadedAt = 0
  let loading: Promise<void> | undefined
  let bytes: { revision: number; body: Buffer } | undefined
  const waiters = new Set<() => void>()

  function take(row: ExitListRow): void {
    const place = Math.floor(row.id / PAGE)
    const page = pages.get(place) ?? { entries: new Map(), revision: 0, bytes: undefined }
    if (row.state === 'collecting' || row.state === 'ready')
      page.entries.set(row.id, { revision: row.revision, json: render(row) })
    else page.entries.delete(row.id)
    page.revision = row.revision
    page.bytes = undefined
    if (page.entries.size > 0) pages.set(place, page)
    else pages.delete(place)
  }

  async function load(): Promise<void> {
    isStale = false
    try {
      for (;;) {
        const rows = await findChangedExits(db, seen, ROWS)
        for (const row of rows) {
          take(row)
          seen = { revision: row.revision, id: row.id }
        }
        if (rows.length < ROWS) break
      }
      loadedAt = performance.now()
    } catch (error) {
      isStale = true
      throw error
    }
  }

  /** Brings the list up to date. Calls at the same time share one look; what was announced during it is looked at once more. */
  async function refresh(): Promise<void> {
    for (
      let looks = 0;
      looks < 2 && (isStale || loading !== undefined || performance.now() - loadedAt > MAX_AGE_MS);
      looks++
    ) {
      loading ??= load().finally(() => {
        loading = undefined
      })
      await loading
    }
  }

  function full(): Buffer {
    if (bytes?.revision !== seen.revision) {
      const parts: Buffer[] = []
      for (const page of pages.values()) {
        page.bytes ??= asciiBytes(Array.from(page.entries.values(), ({ json }) => json).join(','))
        parts.push(parts.length === 0 ? HEAD : COMMA, page.bytes)
      }
      if (parts.length === 0) parts.push(HEAD)
      parts.push(asciiBytes(`],"revision":${seen.revision}}`))
      bytes = { revision: seen.revision, body: Buffer.concat(parts) }
    }
    return bytes.body
  }

  function changed(after: number): Buffer {
    const exits: string[] = []
    for (const page of pages.values())
      if (page.revision > after)
        for (const { revision, json } of page.entries.values()) if (revision > after) exits.push(json)
    return asciiBytes(`{"exits":[${exits.join(',')}],"revision":${seen.revision}}`)
  }

  return {
    /** The JSON of all live exits, or of those that changed after a revision. A revision from the future means all. */
    async read(after: number | undefined): Promise<Buffer> {
      await refresh()
      return after === undefined || after > seen.revision ? full() : changed(after)
    },

    /** Ends when something changed after `after`, after `waitMs`, or when the signal aborts. */
    async waitForChange(after: number, waitMs: number, signal: AbortSignal): Promise<void> {
      await refresh()
      if (seen.revision > after || after > seen.revision) return
      const stop = new AbortController()
      const both = AbortSignal.any([stop.signal, signal])
      const wake = () => stop.abort()
      waiters.add(wake)
      await pause(waitMs, both)
      waiters.delete(wake)
      if (stop.signal.aborted) await pause(GATHER_MS, signal)
    },

    /** A notification: something changed. */
    notified(revision: number): void {
      if (revision <= seen.revision) return
      isStale = true
      for (const wake of [...waiters]) wake()
    },

    /** This process changed something: who asks it next sees that, before any notification comes round. */
    changedHere(): void {
      isStale = true
    },

    /** Notifications are there (again): what was missed is looked for. */
    reconnected(): void {
      isStale = true
      for (const wake of [...waiters]) wake()
    },

    /** Wakes everybody who waits, for a stop. */
    close(): void {
      for (const wake of [...waiters]) wake()
    },
  }
}
export type ExitList = ReturnType<typeof createExitList>
