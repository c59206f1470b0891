/**
 * The items of a list as JSON bytes, kept in blocks of neighbouring ids: a change costs the bytes of its block, not of the list.
 * They stand in the order of their changes, too, so that a question for what changed costs what changed. An answer is what the list is when
 * it is asked for, and is put together in pieces.
 *
 * Whoever follows the list is told of what changed since a revision, and by pages also of what is gone since: an item that is not
 * listed any more is remembered by its key for a while. Who was away for longer is given the whole list, page by page.
 */

import { accountKey, currentAccount, onOwnAccount } from '@dvt-relayer/common/account.ts'
import { createChangeOrder, type Ordered } from '@dvt-relayer/common/flow/change-order.ts'
import { createKeyedQueue } from '@dvt-relayer/common/flow/keyed-queue.ts'
import { createRounds } from '@dvt-relayer/common/flow/rounds.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'

/** How many answers are kept, and bytes of them beside the last: everybody who has followed the list asks for the same. */
const KEPT = { answers: 16, bytes: 16 * 1024 * 1024 }

/** Rows of ids that are kept together. */
const BLOCK = 128

/** Keys remembered of what is not listed any more: some MB at most. */
const MOST_GONE = 20_000

/** Bytes of an answer that are copied in one go, and how many more the bytes of an item cost to make: a millisecond of the event loop. */
const AT_ONCE = 5 * 1024 * 1024
const MAKING = 4096

interface Item extends Ordered {
  json: string
}

/** The JSON of some items, comma separated, as they were once: made where somebody needs it. */
interface Text {
  /** None once there are bytes. */
  items: readonly Item[]
  length: number
  bytes: Buffer | undefined
}

interface Block {
  /** Items by the id of their row. */
  items: Map<number, Item>
  /** The newest revision of them. */
  revision: number
  /** Their text; undefined after a change. */
  text: Text | undefined
}

/** An answer that is kept. */
interface Answer {
  /** In whose line it is made: nobody else waits in it. */
  account: string
  revision: number
  bytes: Promise<Buffer>
  /** 0 until it is made. */
  length: number
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

const textOf = (items: readonly Item[]): Text => ({
  items,
  length: items.reduce((sum, { json }) => sum + json.length + 1, -1),
  bytes: undefined,
})

/** Many items as texts as long as those of blocks. */
const inTexts = (items: readonly Item[]): Text[] =>
  Array.from({ length: Math.ceil(items.length / BLOCK) }, (_, n) => textOf(items.slice(n * BLOCK, (n + 1) * BLOCK)))

/** In bytes copied. */
const costOf = ({ length, items }: Text): number => length + MAKING * items.length

function bytesOf(text: Text): Buffer {
  text.bytes ??= asciiBytes(text.items.map(({ json }) => json).join(','))
  text.items = []
  return text.bytes
}

/** Creates the pages of a list named `name` in its JSON. */
export function createListPages(name: string) {
  const head = asciiBytes(`{"${name}":[`)
  const blocks = new Map<number, Block>()
  const changes = createChangeOrder<Item>()
  let changedAt = 0
  /** The numbers of the blocks in ascending order; undefined where one came or went since. */
  let order: number[] | undefined
  /** Answers by what they hold, the one asked for last at the end, as long as nothing changes. */
  const answers = new Map<string, Answer>()
  let whole: { changedAt: number; bytes: Promise<Buffer> } | undefined
  /** One piece of an answer in a round, callers in rotation. */
  const rounds = createRounds(1)
  const builds = createKeyedQueue({ depth: 1, waiting: Number.POSITIVE_INFINITY })
  /** Keys that are not listed any more, with the revision since which, in that order. */
  const gone = new Map<string, number>()
  let lastGone = 0
  /** Of what went before this revision not all is remembered. */
  let goneFrom = Number.POSITIVE_INFINITY

  /** Puts an answer together: a short one at once; of long ones a caller has one made at a time, and not their bytes before. */
  async function assemble(texts: readonly Text[], end: string): Promise<Buffer> {
    const account = accountKey(currentAccount())
    const rest = () => rounds.turn(account)
    if (texts.reduce((sum, text) => sum + costOf(text), 0) <= AT_ONCE) return fill(texts, end, rest)
    return await new Promise((resolve, reject) => {
      builds.run(account, async () => resolve(await fill(texts, end, rest))).catch(reject)
    })
  }

  async function fill(texts: readonly Text[], end: string, rest: () => Promise<void>): Promise<Buffer> {
    const length = texts.reduce((sum, text) => sum + text.length + 1, head.length - 1)
    const bytes = Buffer.allocUnsafe(Math.max(length, head.length) + end.length)
    let at = head.copy(bytes)
    let done = 0
    for (const [position, text] of texts.entries()) {
      if (done > 0 && done + costOf(text) > AT_ONCE) {
        await rest()
        done = 0
      }
      done += costOf(text)
      if (position > 0) at += COMMA.copy(bytes, at)
      at += bytesOf(text).copy(bytes, at)
    }
    bytes.write(end, at, 'latin1')
    return bytes
  }

  function textOfBlock(block: Block): Text {
    block.text ??= textOf([...block.items.values()])
    return block.text
  }

  function wholeBytes(revision: number): Promise<Buffer> {
    if (whole?.changedAt !== changedAt) {
      const texts = Array.from(blocks.values(), textOfBlock)
      // There is one for everybody, so in nobody's line.
      whole = { changedAt, bytes: onOwnAccount(() => assemble(texts, `],"revision":${revision}}`)) }
    }
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

  /** The revision since which the first key is gone that is gone since a revision. */
  function goneAfter(after: number): number | undefined {
    if (lastGone <= after) return undefined
    for (const since of gone.values()) if (since > after) return since
    return undefined
  }

  /** Lets go of answers that were not asked for of late, where they are too many. */
  function trimAnswers(): void {
    let bytes = 0
    for (const { length } of answers.values()) bytes += length
    for (const [what, { length }] of answers) {
      if (answers.size <= 1 || (answers.size <= KEPT.answers && bytes <= KEPT.bytes)) return
      answers.delete(what)
      bytes -= length
    }
  }

  /**
   * An answer kept for whoever asks for the same; made where there is none. One of before the revision that is asked from is none: a revision
   * that goes back means another database.
   */
  function kept(what: string, after: number, revision: number, make: () => Promise<Buffer>): Promise<Buffer> {
    const account = accountKey(currentAccount())
    const before = answers.get(what)
    answers.delete(what)
    if (before !== undefined && before.revision >= after && (before.length > 0 || before.account === account)) {
      answers.set(what, before)
      return before.bytes
    }
    const answer: Answer = { account, revision, bytes: make(), length: 0 }
    answers.set(what, answer)
    trimAnswers()
    return answer.bytes.then((bytes) => {
      answer.length = bytes.length
      trimAnswers()
      return bytes
    })
  }

  /** The items of a page in the order of their ids, and where the next page begins. */
  function pageItems({ limit, from = -1, after = -1 }: PageQuery): { texts: Text[]; next: number | undefined } {
    order ??= [...blocks.keys()].sort((a, b) => a - b)
    const texts: Text[] = []
    let left = limit
    let last = from
    for (const number of order) {
      const block = blocks.get(number)
      if (block === undefined || (number + 1) * BLOCK <= from + 1 || block.revision <= after) continue
      if (after < 0 && number * BLOCK > from && block.items.size <= left) {
        texts.push(textOfBlock(block))
        left -= block.items.size
        for (const id of block.items.keys()) last = Math.max(last, id)
        continue
      }
      const found: [number, Item][] = []
      for (const entry of block.items) if (entry[0] > from && entry[1].revision > after) found.push(entry)
      if (found.length === 0) continue
      const fitting = found.length <= left ? found : found.sort(([a], [b]) => a - b).slice(0, left)
      left -= fitting.length
      last = fitting.reduce((most, [id]) => Math.max(most, id), last)
      if (fitting.length > 0) texts.push(textOf(fitting.map(([, item]) => item)))
      if (fitting.length < found.length) return { texts, next: last }
    }
    return { texts, next: undefined }
  }

  function renderPage(query: PageQuery, goneSince: number | undefined, revision: number): Promise<Buffer> {
    const { texts, next } = pageItems(query)
    const keys = goneSince === undefined ? [] : [...gone].filter(([, since]) => since >= goneSince)
    const end = {
      revision,
      whole: query.after === undefined,
      ...(next === undefined ? {} : { next }),
      ...(keys.length === 0 ? {} : { gone: keys.map(([key]) => key) }),
    }
    return assemble(texts, `],${JSON.stringify(end).slice(1)}`)
  }

  return {
    /** The revision that last changed what the list shows: rows that were not in it and are not now change nothing. */
    changedAt: (): number => changedAt,

    /** Takes in a row that changed, in the order of the changes. */
    take<Row extends ListedRow>(row: Row, itemOf: (row: Row) => unknown): void {
      const number = Math.floor(row.id / BLOCK)
      const block = blocks.get(number) ?? { items: new Map(), revision: 0, text: undefined }
      const before = block.items.get(row.id)
      if (!row.isListed && before === undefined) return
      if (before !== undefined) changes.remove(before)
      if (row.isListed) {
        const item: Item = { revision: row.revision, place: 0, json: JSON.stringify(itemOf(row)) }
        changes.push(item)
        block.items.set(row.id, item)
      } else block.items.delete(row.id)
      note(toHex(row.publicKey), row.revision, row.isListed)
      answers.clear()
      block.revision = row.revision
      block.text = undefined
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
      answers.clear()
      gone.clear()
      goneFrom = Number.POSITIVE_INFINITY
      changedAt = 0
      order = undefined
      whole = undefined
    },

    /** The JSON of the whole list, known up to `revision`. */
    whole: wholeBytes,

    /** The JSON of what changed after a revision. Who asks from between the same two changes gets the same bytes. */
    changedAfter(after: number, revision: number): Promise<Buffer> {
      const place = changes.placeAfter(after)
      const isSome = changes.size() > 0
      if (isSome && place === changes.placeAfter(-1)) return wholeBytes(revision)
      return kept(String(place), after, revision, () =>
        assemble(inTexts(changes.from(place)), `],"revision":${revision}}`),
      )
    },

    /**
     * The JSON of a page of the whole list, or of what changed after a revision and what is gone since. Where that is not known any more, or
     * not yet, it is a page of the whole list.
     */
    page({ limit, from, after }: PageQuery, revision: number): Promise<Buffer> {
      const isKnown = after !== undefined && after >= goneFrom && after <= revision
      const query = { limit, from, after: isKnown ? after : undefined }
      if (!isKnown) return kept(`${limit} ${from}`, 0, revision, () => renderPage(query, undefined, revision))
      const goneSince = from === undefined ? goneAfter(after) : undefined
      const what = `${limit} ${from} ${changes.placeAfter(after)} ${goneSince}`
      return kept(what, after, revision, () => renderPage(query, goneSince, revision))
    },
  }
}
