import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes, fromHex, parseHex, toHex } from './hex.ts'

describe('hex', () => {
  it('reads every spelling of the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), fc.boolean(), (bytes, prefixed, upper) => {
        const digits = toHex(bytes).slice(2)
        const text = `${prefixed ? '0x' : ''}${upper ? digits.toUpperCase() : digits}`
        expect(equalBytes(fromHex(text, bytes.length), bytes)).toBe(true)
      }),
    )
  })

  it.each(['0', '0x0', 'zz', '0xgg', '00 ', ' 00', '0x0x00', '００'])('refuses %j', (text) => {
    expect(parseHex(text)).toBeUndefined()
    expect(() => fromHex(text)).toThrow(TypeError)
  })

  it('checks the length', () => {
    expect(parseHex('0x0011', 2)).toEqual(new Uint8Array([0, 17]))
    expect(parseHex('0x0011', 3)).toBeUndefined()
  })
})
