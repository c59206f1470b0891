/** One value inside a JSON document and the way to it, so that every wrong value can be named by its path. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { parseJsonText } from '@dvt-relayer/common/json/text.ts'

/** Makes the error for a wrong value; the library that reads the document decides its class and code. */
export type FieldFault = (path: string, reason: string) => Error

/**
 * A reader of untrusted JSON: takes a value apart and throws what `fault` makes when it is not what the format says.
 * Reads own properties only, so nothing inherited ever counts as a field. Messages name places, never values.
 */
export class JsonField {
  readonly value: unknown
  readonly path: string
  readonly #fault: FieldFault

  constructor(value: unknown, path: string, fault: FieldFault) {
    this.value = value
    this.path = path
    this.#fault = fault
  }

  /** The error that this field is wrong for `reason`. */
  fault(reason: string): Error {
    return this.#fault(this.path, reason)
  }

  /** The field `name` of this object, missing ones included (their value is undefined). */
  get(name: string): JsonField {
    const { value } = this
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.fault('must be an object')
    const inner: unknown = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
    return new JsonField(inner, this.path === '' ? name : `${this.path}.${name}`, this.#fault)
  }

  /** Whether the field is left out or null. */
  get absent(): boolean {
    return this.value === undefined || this.value === null
  }

  /** The items of this array, at most `max`. */
  items(max: number): JsonField[] {
    const { value } = this
    if (!Array.isArray(value)) throw this.fault(this.value === undefined ? 'is missing' : 'must be a list')
    if (value.length > max) throw this.fault(`has ${value.length} items, at most ${max} are allowed`)
    // A list that was not read from JSON may have holes, which `map` would pass over.
    return Array.from(value, (item: unknown, position) => new JsonField(item, `${this.path}[${position}]`, this.#fault))
  }

  /** This text, of at most `maxBytes` UTF-8 bytes. */
  text(maxBytes: number): string {
    const { value } = this
    if (typeof value !== 'string') throw this.fault(value === undefined ? 'is missing' : 'must be a text')
    if (Buffer.byteLength(value) > maxBytes) throw this.fault(`is longer than ${maxBytes} bytes`)
    return value
  }

  /** This whole number from `min` to `max`. */
  integer(min: number, max = Number.MAX_SAFE_INTEGER): number {
    const { value } = this
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
      throw this.fault(value === undefined ? 'is missing' : `must be a whole number from ${min} to ${max}`)
    return value
  }

  /** This uint64, a decimal text. */
  uint64Text(): bigint {
    const { value } = this
    if (typeof value !== 'string' || !/^(0|[1-9]\d{0,19})$/.test(value) || BigInt(value) >= 1n << 64n)
      throw this.fault(value === undefined ? 'is missing' : 'must be a decimal text below 2^64')
    return BigInt(value)
  }

  /** This boolean. */
  flag(): boolean {
    const { value } = this
    if (typeof value !== 'boolean') throw this.fault(value === undefined ? 'is missing' : 'must be true or false')
    return value
  }

  /** The bytes of this hex text; `lengths` are those allowed. */
  hex(...lengths: readonly number[]): Uint8Array {
    const longest = Math.max(...lengths)
    const bytes = parseHex(this.text(2 * longest + 2))
    if (bytes === undefined) throw this.fault('must be hex')
    return this.#sized(bytes, lengths)
  }

  /** The bytes of this base64 text; `lengths` are those allowed. */
  base64(...lengths: readonly number[]): Uint8Array {
    const text = this.text(4 * Math.ceil(Math.max(...lengths) / 3))
    const bytes = Buffer.from(text, 'base64')
    if (bytes.toString('base64') !== text) throw this.fault('must be base64')
    return this.#sized(new Uint8Array(bytes), lengths)
  }

  #sized(bytes: Uint8Array, lengths: readonly number[]): Uint8Array {
    if (lengths.includes(bytes.length)) return bytes
    throw this.fault(`has ${bytes.length} bytes, must have ${lengths.join(' or ')}`)
  }
}

/** What a JSON text may be at most. A text within the bytes and of a few letters a value would fill many times its memory. */
export interface JsonBounds {
  readonly bytes: number
  readonly values: number
}

/** A file about one thing: a keystore, a network. */
export const SMALL_JSON: JsonBounds = { bytes: 1 << 20, values: 10_000 }

/**
 * The value of a JSON text, or the value itself when it is parsed already.
 * Node's own parse error quotes the text, which may be a password file named by mistake; this one does not.
 */
export function parseJson(json: unknown, { bytes, values }: JsonBounds, fault: FieldFault): unknown {
  if (typeof json !== 'string') return json
  if (json.length > bytes) throw fault('', `is larger than ${bytes} bytes`)
  try {
    return parseJsonText(json, values)
  } catch (error) {
    throw fault('', messageOf(error))
  }
}
