/**
 * The items of a list as JSON bytes, kept in blocks of neighbouring ids: a change costs the bytes of its block, not of the list.
 *
 * Whoever follows the list is told of what changed since a revision, and by pages also of what is gone since: an item that is not
 * listed any more is remembered by its key for a while. Who was away for longer is given the whole list, page by page.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'

/** How many answers of what changed are kept: everybody who has followed the list asks for the same. */
const KEPT_CHANGES = 16

/** Rows of ids that are kept together. */
const BLOCK = 128

/** Keys remembered of what is not listed any more: some MB at most. */
const MOST_GONE = 20_000

interface Item {
  revision: number
  json: string
}

interface Block {
  /** Items by the id of their row. */
  items: Map<number, Item>
  /** The newest revision of them. */
  revision: number
  /** Their texts, comma separated; undefined after a change. */
  bytes: Buffer | undefined
}

/** What is told of a row that changed. */
export interface ListedRow {
  id: number
  revision: number
  /** Whether the list shows it. */
  isListed: boolean
  publicKey: Uint8Array
}

/** Which page is asked for. */
export interface PageQuery {
  /** Items at most. */
  limit: number
  /** `next` of the page before; undefined for the first. */
  from: number | undefined
  /** Only what changed after this revision; undefined for the whole list. */
  after: number | undefined
}

/** The texts are ASCII only. */
const asciiBytes = (text: string) => Buffer.from(text, 'latin1')
const COMMA = asciiBytes(',')

/** Creates the pages of a list named `name` in its JSON. */
export function createListPages(name: string) {
  const head = asciiBytes(`{"${name}":[`)
  const blocks = new Map<number, Block>()
  let changedAt = 0
  let size = 0
  /** The numbers of the blocks in ascending order; undefined where one came or went since. */
  let order: number[] | undefined
  /** What changed after a revision, as long as nothing else does. */
  const changes = new Map<string, Buffer>()
  let whole: { changedAt: number; bytes: Buffer } | undefined
  /** Keys that are not listed any more, with the revision since which, in that order. */
  const gone = new Map<string, number>()
  let lastGone = 0
  /** Of what went before this revision not all is remembered. */
  let goneFrom = Number.POSITIVE_INFINITY

  const bytesOf = (block: Block): Buffer => {
    block.bytes ??= asciiBytes(Array.from(block.items.values(), ({ json }) => json).join(','))
    return block.bytes
  }

  function joinBlocks(revision: number): Buffer {
    const parts: Buffer[] = []
    for (const block of blocks.values()) parts.push(parts.length === 0 ? head : COMMA, bytesOf(block))
    if (parts.length === 0) parts.push(head)
    parts.push(asciiBytes(`],"revision":${revision}}`))
    return Buffer.concat(parts)
  }

  function wholeBytes(revision: number): Buffer {
    if (whole?.changedAt !== changedAt) whole = { changedAt, bytes: joinBlocks(revision) }
    return whole.bytes
  }

  /** Notes that a key is listed, or is not any more. */
  function note(publicKey: string, revision: number, isListed: boolean): void {
    gone.delete(publicKey)
    if (isListed) return
    gone.set(publicKey, revision)
    lastGone = revision
    const [oldest] = gone.size > MOST_GONE ? gone : []
    if (oldest === undefined) return
    gone.delete(oldest[0])
    goneFrom = Math.max(goneFrom, oldest[1])
  }

  /** An answer kept for whoever asks for the same; made where there is none. */
  function kept(question: string, make: () => Buffer): Buffer {
    const before = changes.get(question)
    if (before !== undefined) return before
    const bytes = make()
    if (changes.size >= KEPT_CHANGES) changes.clear()
    changes.set(question, bytes)
    return bytes
  }

  /** The items of a page in the order of their ids, and where the next page begins. */
  function pageItems({ limit, from = -1, after = -1 }: PageQuery): { texts: Buffer[]; next: number | undefined } {
    order ??= [...blocks.keys()].sort((a, b) => a - b)
    const texts: Buffer[] = []
    let left = limit
    let last = from
    for (const number of order) {
      const block = blocks.get(number)
      if (block === undefined || (number + 1) * BLOCK <= from + 1 || block.revision <= after) continue
      const isAll = after < 0 && number * BLOCK > from && block.items.size <= left
      const found = [...block.items].filter(([id, { revision }]) => isAll || (id > from && revision > after))
      if (found.length === 0) continue
      const fitting = found.length <= left ? found : found.sort(([a], [b]) => a - b).slice(0, left)
      left -= fitting.length
      last = fitting.reduce((most, [id]) => Math.max(most, id), last)
      if (isAll) texts.push(bytesOf(block))
      else if (fitting.length > 0) texts.push(asciiBytes(fitting.map(([, { json }]) => json).join(',')))
      if (fitting.length < found.length) return { texts, next: last }
    }
    return { texts, next: undefined }
  }

  function renderPage(query: PageQuery, revision: number): Buffer {
    const { texts, next } = pageItems(query)
    const { after, from } = query
    const isTold = after !== undefined && from === undefined && lastGone > after
    const keys = isTold ? [...gone].filter(([, since]) => since > after) : []
    const parts = texts.flatMap((text, position) => (position === 0 ? [text] : [COMMA, text]))
    const end = {
      revision,
      whole: after === undefined,
      ...(next === undefined ? {} : { next }),
      ...(keys.length === 0 ? {} : { gone: keys.map(([key]) => key) }),
    }
    return Buffer.concat([head, ...parts, asciiBytes(`],${JSON.stringify(end).slice(1)}`)])
  }

  return {
    /** The revision that last changed what the list shows: rows that were not in it and are not now change nothing. */
    changedAt: (): number => changedAt,

    /** Takes in a row that changed, in the order of the changes. */
    take<Row extends ListedRow>(row: Row, itemOf: (row: Row) => unknown): void {
      const number = Math.floor(row.id / BLOCK)
      const block = blocks.get(number) ?? { items: new Map(), revision: 0, bytes: undefined }
      if (!row.isListed && !block.items.has(row.id)) return
      const before = block.items.size
      if (row.isListed) block.items.set(row.id, { revision: row.revision, json: JSON.stringify(itemOf(row)) })
      else block.items.delete(row.id)
      size += block.items.size - before
      note(toHex(row.publicKey), row.revision, row.isListed)
      changes.clear()
      block.revision = row.revision
      block.bytes = undefined
      changedAt = row.revision
      if (blocks.has(number) !== block.items.size > 0) order = undefined
      if (block.items.size > 0) blocks.set(number, block)
      else blocks.delete(number)
    },

    /** All that is listed was taken in, up to this revision: from here on it is known what goes. */
    loaded(revision: number): void {
      if (goneFrom !== Number.POSITIVE_INFINITY) return
      goneFrom = revision
      changedAt = revision
    },

    /** Forgets all items. */
    clear(): void {
      blocks.clear()
      changes.clear()
      gone.clear()
      goneFrom = Number.POSITIVE_INFINITY
      changedAt = 0
      order = undefined
      size = 0
      whole = undefined
    },

    /** The JSON of the whole list, known up to `revision`. */
    whole: wholeBytes,

    /** The JSON of what changed after a revision. Who asks for the same gets the same bytes. */
    changedAfter(after: number, revision: number): Buffer {
      return kept(String(after), () => {
        const items: string[] = []
        for (const block of blocks.values())
          if (block.revision > after)
            for (const { revision: own, json } of block.items.values()) if (own > after) items.push(json)
        if (size > 0 && items.length === size) return wholeBytes(revision)
        return asciiBytes(`{"${name}":[${items.join(',')}],"revision":${revision}}`)
      })
    },

    /**
     * The JSON of a page of the whole list, or of what changed after a revision and what is gone since. Where that is not known any more, or
     * not yet, it is a page of the whole list.
     */
    page({ limit, from, after }: PageQuery, revision: number): Buffer {
      const isKnown = after !== undefined && after >= goneFrom && after <= revision
      const query = { limit, from, after: isKnown ? after : undefined }
      return kept(`${limit} ${from} ${query.after}`, () => renderPage(query, revision))
    },
  }
}
