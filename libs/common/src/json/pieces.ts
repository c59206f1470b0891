/**
 * Long JSON texts, read in pieces: a parser that is given some megabytes takes the event loop for all of them. What is long of what
 * callers send is lists in an object, so the text is looked through first, a little at a time, and cut between the items of these.
 */

import { TextError } from '../errors.ts'
import {
  BACKSLASH,
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  invalid,
  LINE_FEED,
  MAX_DEPTH,
  OPEN_LIST,
  OPEN_OBJECT,
  parseBounded,
  QUOTE,
  RETURN,
  SPACE,
  TAB,
  tooDeep,
  tooMany,
} from './text.ts'

/** How much is done at a time. */
export interface PieceSizes {
  /** Bytes that are looked through. */
  lookedThrough: number
  /** Bytes, or values, after which the next item of a list begins another piece. */
  bytes: number
  values: number
  /** Bytes of an item, or of a field that is no list, at most: neither can be cut. */
  item: number
}

/** Each takes some tenths of a millisecond. An item of a contract has 4 KiB, and what is wanted of one 64 at most. */
export const PIECES: PieceSizes = { lookedThrough: 128 * 1024, bytes: 32 * 1024, values: 2048, item: 96 * 1024 }

/** Fields of an object at most. */
const MOST_FIELDS = 1000

export interface JsonPieces {
  /** Values at most, the object and everything in it counted. */
  maxValues: number
  /** Told how many values there are before they are built; what it throws is thrown. */
  admit?(values: number): void
  /** Awaited between two pieces. */
  between(): Promise<unknown>
  /** Told the items of each piece of a list; what it throws is thrown, and nothing behind is parsed. */
  check?(field: string, items: readonly unknown[], from: number): void
}

/** A field of the object, and where its list may be cut: at commas between items. */
interface Field {
  from: number
  colon: number
  to: number
  cuts: readonly number[]
}

/**
 * The value of a JSON text that is one object: what `JSON.parse` makes of it.
 *
 * @throws {TextError} JSON_TOO_DEEP, JSON_TOO_MANY, JSON_TOO_LONG, JSON_INVALID; none of them quotes the text, which may be a secret
 */
export async function parseJsonInPieces(
  text: Buffer,
  { maxValues, admit, between, check }: JsonPieces,
  sizes: PieceSizes = PIECES,
): Promise<object> {
  const scan = createScan(text, maxValues, sizes)
  while (!scan.goOn()) await between()
  admit?.(scan.values())
  let done = 0
  /** Parses a part of the text, as soon as there is room for one of its length. */
  const parse = async (from: number, to: number, [before, after] = ['', '']): Promise<unknown> => {
    if (done + to - from > sizes.bytes) {
      await between()
      done = 0
    }
    done += to - from
    return parseBounded(`${before}${text.toString('utf8', from, to)}${after}`)
  }
  const entries: [name: string, value: unknown][] = []
  for (const { from, colon, to, cuts } of scan.fields) {
    const name = await parse(from, colon)
    if (typeof name !== 'string') throw invalid()
    if (cuts.length === 0) {
      const value = await parse(colon + 1, to)
      if (Array.isArray(value)) check?.(name, value, 0)
      entries.push([name, value])
      continue
    }
    const items: unknown[] = []
    let start = colon
    for (const end of [...cuts, to]) {
      const piece = await parse(start + 1, end, [start === colon ? '' : '[', end === to ? '' : ']'])
      // A comma stands between two items, so that there is one on either side.
      if (!Array.isArray(piece) || piece.length === 0) throw invalid()
      check?.(name, piece, items.length)
      for (const item of piece) items.push(item)
      start = end
    }
    entries.push([name, items])
  }
  return Object.fromEntries(entries)
}

/**
 * Looks through a text: how many values it has, and where its fields and their lists can be cut. Whether what is between is JSON,
 * the parser finds out.
 */
function createScan(text: Buffer, maxValues: number, sizes: PieceSizes) {
  const fields: Field[] = []
  let at = 0
  let isInString = false
  let depth = 0
  let values = 1
  let isOver = false
  /** Of the field that is looked at: where it begins, its colon if it was seen, whether its value is a list, and where that is cut. */
  let [from, colon, isList]: [number, number | undefined, boolean] = [0, undefined, false]
  let cuts: number[] = []
  let itemFrom = 0
  let piece = { from: 0, values: 0 }

  function open(code: number): void {
    values++
    depth++
    if (depth === 1) startField()
    else if (depth === 2) isList = code === OPEN_LIST
  }

  function close(code: number): void {
    if (--depth > 0) return
    if (code !== CLOSE_OBJECT) throw invalid()
    isOver = true
    const isEmpty = fields.length === 0 && colon === undefined && text.toString('latin1', from, at).trim() === ''
    if (!isEmpty) endField()
  }

  function startField(): void {
    ;[from, colon, isList, cuts] = [at + 1, undefined, false, []]
    itemFrom = from
  }

  function endName(): void {
    endItem()
    colon = at
    piece = { from: at, values }
  }

  function endField(): void {
    if (colon === undefined) throw invalid()
    endItem()
    if (fields.push({ from, colon, to: at, cuts }) > MOST_FIELDS)
      throw new TextError('JSON_TOO_MANY', `has more than ${MOST_FIELDS} fields`)
  }

  function endItem(): void {
    boundItem()
    itemFrom = at
  }

  /** What is too long is so wherever it ends. */
  function boundItem(): void {
    if (at - itemFrom > sizes.item)
      throw new TextError(
        'JSON_TOO_LONG',
        `holds a value of more than ${sizes.item} bytes that is no list in its object`,
      )
  }

  function comma(): void {
    values++
    if (depth === 1) {
      endField()
      startField()
    } else if (depth === 2 && isList) {
      endItem()
      if (at - piece.from < sizes.bytes && values - piece.values < sizes.values) return
      cuts.push(at)
      piece = { from: at, values }
    }
  }

  /** Before the object and behind it there is white space alone. */
  function begin(code: number): void {
    if (isOver) throw invalid()
    if (code !== OPEN_OBJECT) throw new TextError('JSON_INVALID', 'is no JSON object')
    open(code)
  }

  function step(code: number): void {
    if (code === SPACE || code === LINE_FEED || code === RETURN || code === TAB) return
    if (depth === 0) begin(code)
    else if (code === QUOTE) isInString = true
    else if (code === COMMA) comma()
    else if (code === OPEN_LIST || code === OPEN_OBJECT) open(code)
    else if (code === CLOSE_LIST || code === CLOSE_OBJECT) close(code)
    else if (code === COLON && depth === 1 && colon === undefined) endName()
  }

  /** Passes a string to its end, and what is deeper than items are to the end of the item: of that values and brackets are counted alone. */
  function pass(stop: number): void {
    let [position, level, count, isString] = [at, depth, values, isInString]
    for (; position < stop && (isString || level > 2); position++) {
      const code = text[position]
      if (isString) {
        if (code === BACKSLASH) position++
        else if (code === QUOTE) isString = false
      } else if (code === QUOTE) isString = true
      else if (code === COMMA) count++
      else if (code === CLOSE_LIST || code === CLOSE_OBJECT) level--
      else if (code === OPEN_LIST || code === OPEN_OBJECT) {
        count++
        if (++level > MAX_DEPTH) throw tooDeep()
      }
    }
    ;[at, depth, values, isInString] = [position, level, count, isString]
  }

  return {
    fields: fields as readonly Field[],
    values: () => values,
    /** Looks through the next part. @returns whether that was the last */
    goOn(): boolean {
      const stop = Math.min(text.length, at + sizes.lookedThrough)
      while (at < stop)
        if (isInString || depth > 2) pass(stop)
        else {
          step(text[at] as number)
          at++
        }
      if (values > maxValues) throw tooMany(maxValues)
      if (depth > 0) boundItem()
      if (at < text.length) return false
      if (!isOver) throw invalid()
      return true
    },
  }
}
