/** What documents are taken apart with: files of strangers are read by nothing else. */

import { describe, expect, it } from 'vitest'
import { JsonField, parseJson } from './json-field.ts'

const fault = (path: string, reason: string) => new Error(`${path}: ${reason}`)
const field = (value: unknown, path = 'a') => new JsonField(value, path, fault)
/** The refusal of a field named `a`. */
const refused = (read: () => unknown) => {
  try {
    read()
  } catch (error) {
    return (error as Error).message.replace(/^a: /, '')
  }
  return 'not refused'
}

describe('a field', () => {
  it('is named by the way to it, and has own properties alone', () => {
    const root = field(JSON.parse('{"b":{"c":7},"__proto__":1}'), '')
    expect([root.get('b').path, root.get('b').get('c').path, root.get('b').get('c').value]).toEqual(['b', 'b.c', 7])
    expect(root.get('__proto__').value).toBe(1)
    expect(root.get('toString').value).toBeUndefined()
    expect(root.get('b').get('__proto__').value).toBeUndefined()
    expect(refused(() => root.get('b').get('d').text(9))).toBe('b.d: is missing')
    for (const none of [undefined, null, [], [1], 'b', 7])
      expect(refused(() => field(none).get('b'))).toBe('must be an object')
  })

  it('is absent where it is left out or null, and not where it is empty', () => {
    for (const none of [undefined, null]) expect(field(none).absent).toBe(true)
    for (const some of [0, '', false, [], {}]) expect(field(some).absent).toBe(false)
  })

  it('is a list of at most so many items, holes among them', () => {
    expect(field([5, 6]).items(2)).toMatchObject([
      { value: 5, path: 'a[0]' },
      { value: 6, path: 'a[1]' },
    ])
    const holed: unknown[] = [5]
    holed[2] = 6
    const items = field(holed).items(3)
    expect(items.map(({ value }) => value)).toEqual([5, undefined, 6])
    expect(field([]).items(0)).toEqual([])
    expect(refused(() => field([5, 6, 7]).items(2))).toBe('has 3 items, at most 2 are allowed')
    expect(refused(() => field(undefined).items(2))).toBe('is missing')
    for (const none of [null, { length: 1 }, 'ab']) expect(refused(() => field(none).items(2))).toBe('must be a list')
  })

  it('is a text of at most so many bytes', () => {
    expect([field('abé').text(4), field('').text(0)]).toEqual(['abé', ''])
    expect(refused(() => field('abé').text(3))).toBe('is longer than 3 bytes')
    expect(refused(() => field(undefined).text(3))).toBe('is missing')
    for (const none of [null, 7, ['a']]) expect(refused(() => field(none).text(3))).toBe('must be a text')
  })

  it('is a whole number within its bounds', () => {
    expect([field(2).integer(2, 4), field(4).integer(2, 4)]).toEqual([2, 4])
    expect(field(Number.MAX_SAFE_INTEGER).integer(0)).toBe(Number.MAX_SAFE_INTEGER)
    for (const other of [1, 5, 2.5, '3', null, Number.NaN])
      expect(refused(() => field(other).integer(2, 4))).toBe('must be a whole number from 2 to 4')
    expect(refused(() => field(2 ** 53).integer(0))).toBe('must be a whole number from 0 to 9007199254740991')
    expect(refused(() => field(undefined).integer(2, 4))).toBe('is missing')
  })

  it('is a uint64 in decimal digits, spelled in one way', () => {
    for (const text of ['0', '10', '18446744073709551615']) expect(field(text).uint64Text()).toBe(BigInt(text))
    for (const other of [
      '',
      '00',
      '01',
      '-1',
      '+1',
      '1.0',
      '0x1',
      ' 1',
      '18446744073709551616',
      '9'.repeat(21),
      1,
      null,
    ])
      expect(refused(() => field(other).uint64Text())).toBe('must be a decimal text below 2^64')
    expect(refused(() => field(undefined).uint64Text())).toBe('is missing')
  })

  it('is a flag', () => {
    expect([field(true).flag(), field(false).flag()]).toEqual([true, false])
    for (const other of [null, 0, 1, 'true']) expect(refused(() => field(other).flag())).toBe('must be true or false')
    expect(refused(() => field(undefined).flag())).toBe('is missing')
  })

  it('is hex of one of the lengths that are allowed', () => {
    for (const text of ['ab', '0xab', '0xAB']) expect(field(text).hex(1, 3)).toEqual(Uint8Array.of(0xab))
    expect(field('0x010203').hex(3, 1)).toEqual(Uint8Array.of(1, 2, 3))
    expect(refused(() => field('0x0102').hex(1, 3))).toBe('has 2 bytes, must have 1 or 3')
    expect(refused(() => field('0x').hex(1, 3))).toBe('has 0 bytes, must have 1 or 3')
    for (const other of ['0x1', 'xy', 'abc']) expect(refused(() => field(other).hex(1, 3))).toBe('must be hex')
    expect(refused(() => field('0x0102030').hex(1, 3))).toBe('is longer than 8 bytes')
    expect(refused(() => field(undefined).hex(1))).toBe('is missing')
  })

  it('is base64 of one of the lengths that are allowed, spelled in one way', () => {
    expect(field('AQID').base64(3, 1)).toEqual(Uint8Array.of(1, 2, 3))
    expect(field('AQ==').base64(1, 4)).toEqual(Uint8Array.of(1))
    expect(field('AQIDBA==').base64(4)).toEqual(Uint8Array.of(1, 2, 3, 4))
    expect(refused(() => field('AQI=').base64(1, 3))).toBe('has 2 bytes, must have 1 or 3')
    for (const other of ['AQ', 'AR==', '-_==', 'A Q='])
      expect(refused(() => field(other).base64(1))).toBe('must be base64')
    expect(refused(() => field('AQIDB').base64(3))).toBe('is longer than 4 bytes')
  })
})

describe('a document', () => {
  const bounds = { bytes: 9, values: 3 }

  it('is a JSON text within its bounds, or what was read from one', () => {
    expect(parseJson('[1, 2222]', bounds, fault)).toEqual([1, 2222])
    const read = { much: Array(99).fill(1) }
    expect(parseJson(read, bounds, fault)).toBe(read)
    expect(refused(() => parseJson('[1, 22222]', bounds, fault))).toBe(': is larger than 9 bytes')
    expect(refused(() => parseJson('[1,2,3]', bounds, fault))).toBe(': holds more than 3 values')
  })

  it('that is no JSON is not repeated', () => {
    expect(refused(() => parseJson('hunter2', bounds, fault))).toBe(': is not JSON')
  })
})
