/** The items of a list as JSON bytes, kept in pages of neighbouring ids: a change costs the bytes of its page, not of the list. */

/** How many answers of what changed are kept: everybody who has followed the list asks for the same. */
const KEPT_CHANGES = 16

/** Rows of ids that are kept together. */
const PAGE = 128

interface Page {
  /** Items by the id of their row. */
  items: Map<number, { revision: number; json: string }>
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
}

/** The texts are ASCII only. */
const asciiBytes = (text: string) => Buffer.from(text, 'latin1')
const COMMA = asciiBytes(',')

/** Creates the pages of a list named `name` in its JSON. */
export function createListPages(name: string) {
  const head = asciiBytes(`{"${name}":[`)
  const pages = new Map<number, Page>()
  let changedAt = 0
  let size = 0
  /** What changed after a revision, as long as nothing else does. */
  const changes = new Map<number, Buffer>()
  let whole: { changedAt: number; bytes: Buffer } | undefined

  function joinPages(revision: number): Buffer {
    const parts: Buffer[] = []
    for (const page of pages.values()) {
      page.bytes ??= asciiBytes(Array.from(page.items.values(), ({ json }) => json).join(','))
      parts.push(parts.length === 0 ? head : COMMA, page.bytes)
    }
    if (parts.length === 0) parts.push(head)
    parts.push(asciiBytes(`],"revision":${revision}}`))
    return Buffer.concat(parts)
  }

  function wholeBytes(revision: number): Buffer {
    if (whole?.changedAt !== changedAt) whole = { changedAt, bytes: joinPages(revision) }
    return whole.bytes
  }

  return {
    /** The revision that last changed what the list shows: rows that were not in it and are not now change nothing. */
    changedAt: (): number => changedAt,

    /** Takes in a row that changed, in the order of the changes. */
    take<Row extends ListedRow>(row: Row, itemOf: (row: Row) => unknown): void {
      const number = Math.floor(row.id / PAGE)
      const page = pages.get(number) ?? { items: new Map(), revision: 0, bytes: undefined }
      if (!row.isListed && !page.items.has(row.id)) return
      const before = page.items.size
      if (row.isListed) page.items.set(row.id, { revision: row.revision, json: JSON.stringify(itemOf(row)) })
      else page.items.delete(row.id)
      size += page.items.size - before
      changes.clear()
      page.revision = row.revision
      page.bytes = undefined
      changedAt = row.revision
      if (page.items.size > 0) pages.set(number, page)
      else pages.delete(number)
    },

    /** Forgets all items. */
    clear(): void {
      pages.clear()
      changes.clear()
      size = 0
      whole = undefined
    },

    /** The JSON of the whole list, known up to `revision`. */
    whole: wholeBytes,

    /** The JSON of what changed after a revision. Who asks for the same gets the same bytes. */
    changedAfter(after: number, revision: number): Buffer {
      const kept = changes.get(after)
      if (kept !== undefined) return kept
      const items: string[] = []
      for (const page of pages.values())
        if (page.revision > after)
          for (const { revision: own, json } of page.items.values()) if (own > after) items.push(json)
      const isAll = size > 0 && items.length === size
      const bytes = isAll ? wholeBytes(revision) : asciiBytes(`{"${name}":[${items.join(',')}],"revision":${revision}}`)
      if (changes.size >= KEPT_CHANGES) changes.clear()
      changes.set(after, bytes)
      return bytes
    },
  }
}
