/**
 * Text files as other systems write them: every file that people or other programs hand us is read here. A byte order mark is no
 * part of the text; another encoding than UTF-8 is refused by its name, instead of as broken JSON or a wrong password. A file is
 * read no further than what it should be can be long: a setting may name the wrong one, or one without an end.
 */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { TextError } from '../errors.ts'

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/** Keys, passwords, tokens, certificates: a hundred times the longest of them. */
const SMALL_FILE_BYTES = 1 << 20
/** What lists validators with something of each: 65,536 of them with 4 KiB. */
export const LARGE_FILE_BYTES = 256 << 20
/** A pipe does not say how long it is. */
const LEAST_CHUNK = 65_536

/**
 * The text of a file's bytes, without a byte order mark.
 *
 * @throws {TextError} TEXT_ENCODING, which says nothing of the contents
 */
export function decodeText(bytes: Uint8Array): string {
  assertNoForeign(bytes)
  try {
    return UTF8.decode(bytes)
  } catch {
    throw new TextError('TEXT_ENCODING', 'is not UTF-8 text (Latin-1 or Windows-1252, perhaps): save it as UTF-8')
  }
}

/**
 * The text of a file of which only ASCII counts, such as a PEM or a list with comments: other bytes are passed over.
 *
 * @throws {TextError} TEXT_ENCODING where it is UTF-16 or UTF-32, TEXT_TOO_LARGE; and what the system throws
 */
export function readAsciiSync(file: string, maxBytes = SMALL_FILE_BYTES): string {
  const bytes = readBytesSync(file, maxBytes)
  assertNoForeign(bytes)
  return new TextDecoder().decode(bytes)
}

/** The text of a file. @throws {TextError} TEXT_ENCODING, TEXT_TOO_LARGE; and what the system throws */
export async function readText(file: string, maxBytes = SMALL_FILE_BYTES): Promise<string> {
  return decodeText(await readBytes(file, maxBytes))
}

/** As {@link readText}, at boot. */
export function readTextSync(file: string, maxBytes = SMALL_FILE_BYTES): string {
  return decodeText(readBytesSync(file, maxBytes))
}

/** The bytes of a file, of which no copy is left. @throws {TextError} TEXT_TOO_LARGE; and what the system throws */
export async function readBytes(file: string, maxBytes = SMALL_FILE_BYTES): Promise<Buffer> {
  await using handle = await open(file)
  const parts = createParts((await handle.stat()).size, maxBytes)
  for (;;) {
    const part = parts.next()
    if (!parts.take(part, (await handle.read(part)).bytesRead)) return parts.whole()
  }
}

/** As {@link readBytes}, at boot. */
export function readBytesSync(file: string, maxBytes = SMALL_FILE_BYTES): Buffer {
  const handle = openSync(file, 'r')
  try {
    const parts = createParts(fstatSync(handle).size, maxBytes)
    for (;;) {
      const part = parts.next()
      if (!parts.take(part, readSync(handle, part))) return parts.whole()
    }
  } finally {
    closeSync(handle)
  }
}

/** What is read of a file that says how long it is, or 0. */
function createParts(size: number, maxBytes: number) {
  const parts: Buffer[] = []
  let length = 0
  const assertFits = (bytes: number) => {
    if (bytes > maxBytes) throw new TextError('TEXT_TOO_LARGE', `is larger than ${maxBytes} bytes`)
  }
  assertFits(size)
  return {
    /** Room for what comes next: the rest and one byte more, so that the next look finds the end. */
    next: (): Buffer => Buffer.alloc(Math.max(size + 1 - length, LEAST_CHUNK)),
    /** Returns whether there may be more. */
    take(part: Buffer, bytes: number): boolean {
      length += bytes
      assertFits(length)
      parts.push(part.subarray(0, bytes))
      return bytes > 0
    },
    whole(): Buffer {
      const bytes = Buffer.concat(parts, length)
      for (const part of parts) part.fill(0)
      return bytes
    },
  }
}

function assertNoForeign(bytes: Uint8Array): void {
  const encoding = findForeignEncoding(bytes)
  if (encoding !== undefined) throw new TextError('TEXT_ENCODING', `is ${encoding} text: save it as UTF-8`)
}

/** UTF-32 and UTF-16 by their byte order marks, or by the zeros that ASCII has in them; undefined for all else. */
export function findForeignEncoding(bytes: Uint8Array): string | undefined {
  const [a, b, c, d] = bytes
  if (bytes.length % 2 !== 0) return undefined
  const isLittle = a === 0xff && b === 0xfe
  if (a === 0 && b === 0 && c === 0xfe && d === 0xff) return 'UTF-32 (big endian)'
  if (isLittle && c === 0 && d === 0 && bytes.length % 4 === 0) return 'UTF-32 (little endian)'
  if (isLittle || (a !== undefined && a !== 0 && b === 0)) return 'UTF-16 (little endian)'
  if ((a === 0xfe && b === 0xff) || (a === 0 && b !== undefined && b !== 0)) return 'UTF-16 (big endian)'
  return undefined
}
