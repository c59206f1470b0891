import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, test } from 'vitest'
import { parseKeyList } from './key-list.ts'

const key = (byte: number) => `0x${byte.toString(16).padStart(2, '0').repeat(48)}`
const read = (text: string) => parseKeyList(text, 'keys.csv', (bytes) => bytes[0] !== 0xff)
const parse = (text: string) => read(text).map(({ publicKey }) => toHex(publicKey))
const vaultsOf = (text: string) => read(text).map(({ vault }) => (vault === undefined ? undefined : toHex(vault)))
const VAULT = '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa'
const vault = VAULT.toLowerCase()

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

  test.each([
    ['after a blank', `${key(1)} ${VAULT}`],
    ['after several, with a remark', `${key(1)}   ${vault}  # ours, in one cluster`],
    ['after a comma', `${key(1)},${VAULT}`],
    ['after a semicolon, in quotes', `"${key(1)}"; "${vault}"`],
    ['after a tab, without 0x', `${key(1)}\t${vault.slice(2)}`],
    ['in capitals, before more columns', `${key(1)},0x${vault.slice(2).toUpperCase()},7,validator`],
    ['in the column that the head names', `public_key,index,vault\n${key(1)},7,${VAULT}`],
    ['in a named column, with the index of another', `PublicKey;Vault_Address;0x1\r\n${key(1)};${VAULT};0x12`],
  ])('may name a vault: %s', (_, text) => {
    expect(vaultsOf(text)).toEqual([vault])
  })

  test('names a vault for some keys and none for others', () => {
    const text = `${key(1)}\n${key(2)} ${VAULT}\n${key(3)},validator 1\n${key(4)},\n${key(5)} # ${VAULT}\n`
    expect(vaultsOf(text)).toEqual([undefined, vault, undefined, undefined, undefined])
    expect(read(text).map(({ line }) => line)).toEqual([1, 2, 3, 4, 5])
    // A head that calls no column a vault says that none is one.
    expect(vaultsOf(`public_key,fee_recipient\n${key(1)},${VAULT}`)).toEqual([undefined])
    expect(vaultsOf(`public_key,vault\n${key(1)},\n${key(2)},${VAULT}`)).toEqual([undefined, vault])
  })

  test.each([
    ['a digit short', `${key(1)} ${VAULT.slice(0, -1)}`],
    ['a wrong checksum', `${key(1)},${VAULT.replace('8Ae', '8aE')}`],
    ['a digit short and without 0x', `${key(1)},${vault.slice(3)}`],
    ['another key', `${key(1)} ${key(2)}`],
    ['a word after a blank', `${key(1)} validator`],
    ['a word in a column of vaults', `public_key,vault\n${key(1)},mine`],
  ])('is refused for a vault that is none: %s', (_, text) => {
    const line = text.split('\n').length
    expect(() => read(text)).toThrow(`line ${line} names no vault after its key`)
  })

  test('names at most ten problems, and how many more there are', () => {
    const problemsOf = (count: number) => {
      try {
        parse(Array.from({ length: count }, () => 'nonsense').join('\n'))
      } catch (error) {
        return (error as Error).message.split('\n').slice(1)
      }
      return []
    }
    const named = Array.from({ length: 10 }, (_, i) => expect.stringMatching(`^  - line ${i + 1} is not a validator`))
    expect(problemsOf(9)).toEqual(named.slice(0, 9))
    expect(problemsOf(10)).toEqual(named)
    expect(problemsOf(15)).toEqual([...named, '  and 5 more'])
  })
})
