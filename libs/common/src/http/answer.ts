/** Reads answers: no further than a limit, and checked against a schema. */

import { isUtf8 } from 'node:buffer'
import { setImmediate as othersFirst } from 'node:timers/promises'
import type { Static, TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { TextError } from '../errors.ts'
import { createFaultFinder, type Fault } from '../json/fault.ts'
import { PIECES, parseJsonInPieces } from '../json/pieces.ts'
import { parseJsonText } from '../json/text.ts'
import { HttpError } from './error.ts'
import type { HttpAnswer } from './types.ts'

/** Error answers are read no further than this. */
const MAX_ERROR_BYTES = 4096
const MAX_ERROR_VALUES = 1000

/** The body of an answer. `what` is the request as messages call it. @throws {HttpError} HTTP_TOO_LARGE, and what `fetch` throws */
export async function readBody(response: Response, maxBytes: number, host: string, what: string): Promise<Uint8Array> {
  const tooLarge = () => new HttpError('HTTP_TOO_LARGE', host, `${what} answers with more than ${maxBytes} bytes`)
  if (Number(response.headers.get('content-length') ?? 0) > maxBytes) {
    await response.body?.cancel()
    throw tooLarge()
  }
  const chunks: Uint8Array[] = []
  let length = 0
  // Counted as it arrives, after decompression: a header can lie, and a small gzip can be a large body.
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength
    if (length > maxBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return joined(chunks, length)
}

/** To put together what is longer takes some milliseconds, most of them for memory that is touched for the first time. */
const JOINED_AT_ONCE = 512 * 1024

async function joined(chunks: readonly Uint8Array[], length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length)
  let [at, rested] = [0, 0]
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
    if (at - rested < JOINED_AT_ONCE) continue
    rested = at
    await othersFirst()
  }
  return bytes
}

/**
 * The error that an answer with a status outside the accepted ones is.
 *
 * @returns {HttpError} HTTP_REDIRECT, or HTTP_STATUS with what the server said of the reason and of when to come back
 */
export async function refusalOf(response: Response, host: string, what: string): Promise<HttpError> {
  const { status } = response
  if (status >= 300 && status < 400) {
    await response.body?.cancel()
    return new HttpError('HTTP_REDIRECT', host, `${what} answers with a redirect, which is not followed`, { status })
  }
  const retryAfterMs = retryAfterOf(response.headers)
  const said = await errorCodeOf(response, host, what)
  const message = `${what} answers with status ${status}${said === undefined ? '' : ` ${said}`}`
  return new HttpError('HTTP_STATUS', host, message, { status, retryAfterMs, said })
}

function retryAfterOf(headers: Headers): number {
  const seconds = headers.get('retry-after') ?? ''
  return /^\d{1,4}$/.test(seconds) ? Number(seconds) * 1000 : 0
}

/** The `code` of an error answer (such as TOKEN_UNKNOWN); nothing else of a stranger's body goes into a message. */
async function errorCodeOf(response: Response, host: string, what: string): Promise<string | undefined> {
  try {
    const text = new TextDecoder().decode(await readBody(response, MAX_ERROR_BYTES, host, what))
    const { code } = parseJsonText(text, MAX_ERROR_VALUES) as { code?: unknown }
    return typeof code === 'string' && /^[A-Z][A-Z_]{1,39}$/.test(code) ? code : undefined
  } catch {
    return undefined
  }
}

const validators = new WeakMap<TSchema, Validator>()

/** From this size on, answers are parsed a piece at a time: whoever sends a long one holds up nobody. */
const LONG_BYTES = 64 * 1024
/** The byte order mark that some put before their text. */
const MARK = Buffer.from('\ufeff')

/**
 * The JSON of an answer, within its bounds; a long one has to be an object. Its lists are parsed a piece at a time.
 *
 * @param item bytes at most of what stands in such a list, or in another field: neither can be cut
 * @throws {HttpError} HTTP_TOO_LARGE for too many values, HTTP_INVALID
 */
export async function parseAnswer(
  { bytes, maxValues, host }: HttpAnswer,
  item = Number.POSITIVE_INFINITY,
): Promise<unknown> {
  try {
    if (bytes.length < LONG_BYTES)
      return parseJsonText(new TextDecoder('utf-8', { fatal: true }).decode(bytes), maxValues)
    if (!isUtf8(bytes)) throw new TextError('JSON_INVALID', 'is not UTF-8 text')
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    // As a decoder leaves it out of a short one.
    const text = whole.subarray(whole.subarray(0, MARK.length).equals(MARK) ? MARK.length : 0)
    return await parseJsonInPieces(
      text,
      { maxValues, between: othersFirst },
      { ...PIECES, lookedThrough: 32 * 1024, item },
    )
  } catch (error) {
    if (!(error instanceof TextError)) throw new HttpError('HTTP_INVALID', host, `the answer of ${host} is not JSON`)
    const code = error.code === 'JSON_TOO_MANY' ? 'HTTP_TOO_LARGE' : 'HTTP_INVALID'
    throw new HttpError(code, host, `the answer of ${host} ${error.message}`)
  }
}

/** The JSON of an answer, checked against the schema. @throws {HttpError} HTTP_TOO_LARGE for too many values, HTTP_INVALID */
export async function readJson<S extends TSchema>(answer: HttpAnswer, schema: S): Promise<Static<S>> {
  const { host } = answer
  const value = await parseAnswer(answer)
  let validator = validators.get(schema)
  if (validator === undefined) {
    validator = Compile(schema)
    validators.set(schema, validator)
  }
  if (validator.Check(value)) return value as Static<S>
  const { instancePath, message } = faultOf(schema, value)
  const where = instancePath.slice(0, 100)
  throw new HttpError('HTTP_INVALID', host, `the answer of ${host} is not what was expected: ${where} ${message}`)
}

/** Compiled for the first answer that does not fit. */
const faultFinders = new WeakMap<TSchema, ReturnType<typeof createFaultFinder>>()

function faultOf(schema: TSchema, value: unknown): Fault {
  const find = faultFinders.get(schema) ?? createFaultFinder(schema)
  faultFinders.set(schema, find)
  return find(value)
}
