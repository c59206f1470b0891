import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { getAddress } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../test/support/keys/fixtures.ts'
import { addressOfSecretKey, checksumAddress, createSpelling, parseAddress, parseListedAddress } from './address.ts'

/** The examples of EIP-55. */
const EXAMPLES = [
  '0x52908400098527886E0F7030069857D2E4169EE7',
  '0x8617E340B3D01FA5F11F306F4090FD50E238070D',
  '0xde709f2102306220921060314715629080e2fb77',
  '0x27b1fdb04752bbc536007a920d24acb045561c26',
  '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed',
  '0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359',
  '0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB',
  '0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb',
]
const { cases } = readFixtureJson('vectors/eip712.json') as {
  cases: { wallet_private_key: string; wallet_address: string }[]
}

describe('an address', () => {
  it.each(EXAMPLES)('%s is spelled as EIP-55 says', (example) => {
    const address = fromHex(example, 20)
    expect(checksumAddress(address)).toBe(example)
    for (const text of [example, example.slice(2), example.toLowerCase(), `0x${example.slice(2).toUpperCase()}`])
      expect(parseAddress(text)).toEqual(address)
  })

  it('is spelled as viem spells it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (address) => {
        expect(checksumAddress(address)).toBe(getAddress(toHex(address)))
      }),
    )
  })

  it('that comes again and again is spelled once, whatever bytes bring it', () => {
    let spelled = 0
    const spell = createSpelling((address) => {
      spelled++
      return checksumAddress(address)
    })
    for (let time = 0; time < 3; time++)
      for (const example of EXAMPLES) expect(spell(fromHex(example, 20))).toBe(example)
    expect(spelled).toBe(EXAMPLES.length)
    // No more are kept than a relayer serves.
    for (let n = 0; n < 1000; n++) spell(fromHex(`0x${String(n).padStart(40, '0')}`, 20))
    spell(fromHex(EXAMPLES[0] ?? '', 20))
    expect(spelled).toBe(EXAMPLES.length + 1001)
  })

  it('is refused with one letter of a mixed spelling in the wrong case', () => {
    const [, , , , example = ''] = EXAMPLES
    for (const [position, letter] of [...example].entries()) {
      if (position < 2 || !/[a-f]/i.test(letter)) continue
      const other = letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()
      expect(
        parseAddress(example.slice(0, position) + other + example.slice(position + 1)),
        String(position),
      ).toBeUndefined()
    }
  })

  it.each(['', '0x', `0x${'11'.repeat(19)}`, '11'.repeat(21), `0x${'1g'.repeat(20)}`, ` ${'11'.repeat(20)}`, '0x1'])(
    'is not %j',
    (text) => expect(parseAddress(text)).toBeUndefined(),
  )

  it('of a list of a setting is named by its first letters where it is none', () => {
    const [example = ''] = EXAMPLES
    expect(parseListedAddress(example, 'vaults')).toEqual(fromHex(example, 20))
    expect(() => parseListedAddress('0x12345678ffff', 'vaults')).toThrow(
      /^must be addresses of vaults, which 0x12345678… is not: /,
    )
  })

  it('has 20 bytes', () => {
    for (const length of [0, 19, 21, 32]) expect(() => checksumAddress(new Uint8Array(length))).toThrow(RangeError)
  })
})

describe('the address of a secret key', () => {
  it('is what other implementations say', () => {
    expect(cases.length).toBeGreaterThan(0)
    for (const { wallet_private_key, wallet_address } of cases)
      expect(checksumAddress(addressOfSecretKey(fromHex(wallet_private_key)))).toBe(wallet_address)
  })

  it('is refused for what is no secret key', () => {
    const order = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141'
    for (const text of ['', '00'.repeat(32), order, 'ff'.repeat(32), '11'.repeat(31), '11'.repeat(33)])
      expect(() => addressOfSecretKey(fromHex(text)), text).toThrow('not a secp256k1 secret key')
  })
})
