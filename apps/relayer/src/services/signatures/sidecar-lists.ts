/**
 * The lists for sidecars as bytes, kept ready in memory and brought up to date from what changed (`GET /exits`, `GET /validators`).
 *
 * PostgreSQL is the truth: revisions become visible in commit order, so "everything after the last revision seen" misses
 * nothing. A notification only says when to look. A list nobody asks for is never loaded.
 */

import type { ExitItem, ValidatorItem } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { ExitListRow, ListCursor, ValidatorListRow } from '@dvt-relayer/db/queries/messages/lists.ts'
import { findChangedExits, findChangedValidators, findNewestRevision } from '@dvt-relayer/db/queries/messages/lists.ts'
import type { Context } from '../../context.ts'

const ROWS = 2000
/** Rows whose bytes are kept together: a change costs the bytes of its page, not of the list. */
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

const shareIndexes = (row: ExitListRow) => ({
  share_indexes_ready: indexes(row.verified),
  share_indexes_unverified: indexes(row.unverified),
  share_indexes_rejected: indexes(row.rejected),
})
const times = ({ createdAtSeconds: seconds }: ExitListRow) => ({
  created_at_timestamp: seconds,
  created_at_string: timeText(seconds),
})

function exitItem(row: ExitListRow): ExitItem {
  return {
    public_key: toHex(row.publicKey),
    validator_index: row.validatorIndex,
    is_exit_signature_ready: row.isReady,
    ...times(row),
    ...shareIndexes(row),
  }
}

function validatorItem(row: ValidatorListRow): ValidatorItem {
  return {
    vault: checksumAddress(row.vault),
    public_key: toHex(row.publicKey),
    amount: row.amountGwei,
    validator_index: row.validatorIndex,
    validator_type: row.validatorType,
    is_signatures_ready: row.isReady,
    ...times(row),
    ...shareIndexes(row),
  }
}

/** Even without a notification the list is looked at after this time, so that a lost connection costs no more. */
const MAX_AGE_MS = 1000

/**
 * A list that nobody has asked for in this time begins anew: what it shows may have ended since, and its rows, which are kept for
 * much longer than this, be gone.
 */
const FORGET_MS = 3_600_000

/** Rows of neighbouring ids. */
interface Page {
  entries: Map<number, { revision: number; json: string }>
  /** The newest revision of them. */
  revision: number
  /** Their texts, comma separated; undefined after a change. */
  bytes: Buffer | undefined
}

/** The texts are ASCII only. */
const asciiBytes = (text: string) => Buffer.from(text, 'latin1')
const COMMA = asciiBytes(',')

/** The exits for `GET /exits`. */
const createExitList = ({ db }: Pick<Context, 'db'>): SidecarList =>
  createList(
    'exits',
    {
      find: (after, limit) => findChangedExits(db, after, limit),
      newest: () => findNewestRevision(db, ['exit']),
    },
    exitItem,
  )

/** The validators with a live exit and a live deposit for `GET /validators`. */
const createValidatorList = ({ db }: Pick<Context, 'db'>): SidecarList =>
  createList(
    'validators',
    {
      find: (after, limit) => findChangedValidators(db, after, limit),
      newest: () => findNewestRevision(db, ['exit', 'deposit']),
    },
    validatorItem,
  )

export type SidecarList = ReturnType<typeof createList>

/** Both lists, told together. */
export function createSidecarLists(context: Pick<Context, 'db'>) {
  const [exits, validators] = [createExitList(context), createValidatorList(context)]
  const each = (tell: (list: SidecarList) => void) => [exits, validators].forEach(tell)
  return {
    exits,
    validators,
    notified: (revision: number): void => each((list) => list.notified(revision)),
    changedHere: (): void => each((list) => list.changedHere()),
    reconnected: (): void => each((list) => list.reconnected()),
    close: (): void => each((list) => list.close()),
  }
}
export type SidecarLists = ReturnType<typeof createSidecarLists>

/** Where the rows of a list come from: in the order of their changes, and the newest revision there is of such rows. */
interface Source<Row> {
  find(after: ListCursor, limit: number): Promise<Row[]>
  newest(): Promise<number>
}

/** A list named `name` in its JSON. */
function createList<Row extends ExitListRow>(
  name: 'exits' | 'validators',
  source: Source<Row>,
  itemOf: (row: Row) => unknown,
) {
  const head = asciiBytes(`{"${name}":[`)
  const pages = new Map<number, Page>()
  let seen: ListCursor = { revision: 0, messageId: 0 }
  /** The revision that last changed what the list shows: rows that were not in it and are not now change nothing. */
  let changedAt = 0
  let isStale = true
  let loadedAt = 0
  let loading: Promise<void> | undefined
  let bytes: { changedAt: number; body: Buffer } | undefined
  const waiters = new Set<() => void>()
  let isClosed = false

  function take(row: Row): void {
    const position = Math.floor(row.id / PAGE)
    const page = pages.get(position) ?? { entries: new Map(), revision: 0, bytes: undefined }
    if (!row.isListed && !page.entries.has(row.id)) return
    if (row.isListed) page.entries.set(row.id, { revision: row.revision, json: JSON.stringify(itemOf(row)) })
    else page.entries.delete(row.id)
    page.revision = row.revision
    page.bytes = undefined
    changedAt = row.revision
    if (page.entries.size > 0) pages.set(position, page)
    else pages.delete(position)
  }

  async function load(): Promise<void> {
    isStale = false
    if (performance.now() - loadedAt > FORGET_MS) {
      pages.clear()
      seen = { revision: 0, messageId: 0 }
      bytes = undefined
    }
    try {
      // Of what is dead nothing is read at the start; still every process must come to the same revision.
      const newest = seen.revision === 0 ? await source.newest() : 0
      for (;;) {
        const rows = await source.find(seen, ROWS)
        for (const row of rows) {
          take(row)
          seen = { revision: row.revision, messageId: row.messageId }
        }
        if (rows.length < ROWS) break
      }
      if (newest > seen.revision) seen = { revision: newest, messageId: Number.MAX_SAFE_INTEGER }
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
    if (bytes?.changedAt !== changedAt) {
      const parts: Buffer[] = []
      for (const page of pages.values()) {
        page.bytes ??= asciiBytes(Array.from(page.entries.values(), ({ json }) => json).join(','))
        parts.push(parts.length === 0 ? head : COMMA, page.bytes)
      }
      if (parts.length === 0) parts.push(head)
      parts.push(asciiBytes(`],"revision":${seen.revision}}`))
      bytes = { changedAt, body: Buffer.concat(parts) }
    }
    return bytes.body
  }

  function changed(after: number): Buffer {
    const items: string[] = []
    for (const page of pages.values())
      if (page.revision > after)
        for (const { revision, json } of page.entries.values()) if (revision > after) items.push(json)
    return asciiBytes(`{"${name}":[${items.join(',')}],"revision":${seen.revision}}`)
  }

  return {
    /** The JSON of the whole list, or of what changed after a revision. A revision from the future means all. */
    async read(after: number | undefined): Promise<Buffer> {
      await refresh()
      return after === undefined || after > seen.revision ? full() : changed(after)
    },

    /** Ends when what this list shows changed after `after`, after `waitMs`, or when the signal aborts. */
    async waitForChange(after: number, waitMs: number, signal: AbortSignal): Promise<void> {
      const deadline = performance.now() + waitMs
      for (;;) {
        await refresh()
        const left = deadline - performance.now()
        if (changedAt > after || after > seen.revision || left <= 0 || signal.aborted || isClosed) return
        const stop = new AbortController()
        const wake = () => stop.abort()
        waiters.add(wake)
        if (isStale) wake()
        await pause(left, AbortSignal.any([stop.signal, signal]))
        waiters.delete(wake)
        if (stop.signal.aborted) await pause(GATHER_MS, signal)
      }
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
      isClosed = true
      for (const wake of [...waiters]) wake()
    },
  }
}
