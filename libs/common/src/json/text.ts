/**
 * JSON from outside: every text that others hand us is read here. A parser builds whatever it is fed (60 MB of opening brackets
 * become gigabytes), so that a text is looked through first, and one that is nested too deep or holds too many values never
 * reaches it. How many bytes there may be is for whoever reads them to say: before that, nothing is read.
 */

import { TextError } from '../errors.ts'

/** Several times what any format of the field has: a cluster lock has 6. */
export const MAX_DEPTH = 32

export const TAB = 0x09
export const LINE_FEED = 0x0a
export const RETURN = 0x0d
export const SPACE = 0x20
export const QUOTE = 0x22
export const COMMA = 0x2c
export const COLON = 0x3a
export const OPEN_LIST = 0x5b
export const BACKSLASH = 0x5c
export const CLOSE_LIST = 0x5d
export const OPEN_OBJECT = 0x7b
export const CLOSE_OBJECT = 0x7d

/**
 * The value of a JSON text of at most `maxValues` values, itself and everything in it counted.
 *
 * @param admit told how many there are before they are built; what it throws is thrown
 * @throws {TextError} JSON_TOO_DEEP, JSON_TOO_MANY, JSON_INVALID; none of them quotes the text, which may be a secret
 */
export function parseJsonText(text: string, maxValues: number, admit?: (values: number) => void): unknown {
  const values = countValues(text, maxValues)
  admit?.(values)
  return parseBounded(text)
}

/** The value of a JSON text that was looked through. @throws {TextError} JSON_INVALID */
export function parseBounded(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw invalid()
  }
}

export const invalid = () => new TextError('JSON_INVALID', 'is not JSON')
export const tooDeep = () => new TextError('JSON_TOO_DEEP', `is nested deeper than ${MAX_DEPTH} levels`)
export const tooMany = (maxValues: number) => new TextError('JSON_TOO_MANY', `holds more than ${maxValues} values`)

/** Each value but the first follows a comma or an opening bracket. Whether the text is JSON at all, the parser finds out. */
function countValues(text: string, maxValues: number): number {
  let depth = 0
  let values = 1
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = endOfString(text, at)
    else if (code === CLOSE_LIST || code === CLOSE_OBJECT) depth--
    else if (code === COMMA) values++
    else if (code === OPEN_LIST || code === OPEN_OBJECT) {
      values++
      if (++depth > MAX_DEPTH) throw tooDeep()
    }
    if (values > maxValues) throw tooMany(maxValues)
  }
  return values
}

/** The position of the quote that ends the string beginning at `start`; the end of the text where none does. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let first = at
    while (text.charCodeAt(first - 1) === BACKSLASH) first--
    if ((at - first) % 2 === 0) return at
  }
  return text.length
}
