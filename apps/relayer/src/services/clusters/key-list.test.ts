import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, test } from 'vitest'
import { parseKeyList } from './key-list.ts'

const key = (byte: number) => `0x${byte.toString(16).padStart(2, '0').repeat(48)}`
const parse = (text: string) =>
  parseKeyList(text, 'keys.csv', (bytes) => bytes[0] !== 0xff).map((bytes) => toHex(bytes))

describe('a list of public keys', () => {
  test('is one key a line, in order, in any spelling', () => {
    const text = `\uFEFFpublic_key\r\n${key(2).toUpperCase().replace('0X', '0x')}\r\n\r\n# a comment\n${key(1).slice(2)},validator 1\n"${key(3)}"\n`
    expect(parse(text)).toEqual([key(2), key(1), key(3)])
  })

  test.each([
    ['what is no key', `${key(1)}\n0x1234\n`, 'line 2 is not a validator public key'],
    ['a key that is no point', `${key(255)}\n`, 'line 1 is not a validator public key'],
    [
      'a key twice, in other letters',
      `${key(0xab)}\n${key(1)}\n${key(0xab).toUpperCase().slice(2)}\n`,
      'line 3 repeats the key of line 1',
    ],
    ['an empty file', '\n# nothing\n', 'it holds no key'],
  ])('is refused for %s', (_, text, message) => {
    expect(() => parse(text)).toThrow(BootError)
    expect(() => parse(text)).toThrow(message)
  })

  test('names at most ten problems', () => {
    const text = Array.from({ length: 15 }, () => 'nonsense').join('\n')
    expect(() => parse(text)).toThrow('and 5 more')
  })
})
