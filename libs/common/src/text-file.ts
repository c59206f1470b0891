/**
 * Text files as other systems write them: every file that people or other programs hand us is read here. A byte order mark is no
 * part of the text; another encoding than UTF-8 is refused by its name, instead of as broken JSON or a wrong password.
 */

import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { TextError } from './errors.ts'

const UTF8 = new TextDecoder('utf-8', { fatal: true })

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
 * @throws {TextError} TEXT_ENCODING where it is UTF-16 or UTF-32; and what the system throws
 */
export function readAsciiSync(file: string): string {
  const bytes = readFileSync(file)
  assertNoForeign(bytes)
  return new TextDecoder().decode(bytes)
}

/** The text of a file. @throws {TextError} TEXT_ENCODING; and what the system throws */
export async function readText(file: string): Promise<string> {
  return decodeText(await readFile(file))
}

/** As {@link readText}, at boot. */
export function readTextSync(file: string): string {
  return decodeText(readFileSync(file))
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
