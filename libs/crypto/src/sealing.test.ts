import { randomBytes } from 'node:crypto'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../test/support/keys/fixtures.ts'
import { createSealer, SealingError } from './sealing.ts'

const key = randomBytes(32)
const sealer = createSealer(key)

describe('sealing', () => {
  it('opens what it sealed, in its place only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), fc.string(), (data, place, other) => {
        const sealed = sealer.seal(data, place)
        expect(sealer.open(sealed, place)).toEqual(data)
        if (other !== place) expect(() => sealer.open(sealed, other)).toThrow(SealingError)
      }),
    )
  })

  it('never gives the same bytes twice', () => {
    expect(sealer.seal(key, 'a')).not.toEqual(sealer.seal(key, 'a'))
  })

  it('refuses every damaged byte', () => {
    const sealed = sealer.seal(new Uint8Array(96).fill(7), 'a')
    for (let place = 0; place < sealed.length; place++) {
      const damaged = Uint8Array.from(sealed)
      damaged[place] = (damaged[place] ?? 0) ^ 1
      expect(() => sealer.open(damaged, 'a')).toThrow(SealingError)
    }
    expect(() => sealer.open(sealed.subarray(0, 20), 'a')).toThrow(SealingError)
    expect(() => sealer.open(new Uint8Array(), 'a')).toThrow(SealingError)
  })

  it('reads the previous key and writes the current one', () => {
    const rotated = createSealer(randomBytes(32), key)
    const old = sealer.seal(new Uint8Array([1]), 'a')
    expect(rotated.open(old, 'a')).toEqual(new Uint8Array([1]))
    expect(rotated.isCurrent(old)).toBe(false)
    const [current, previous] = rotated.keyIds
    expect(old.slice(0, 8)).toEqual(previous)
    expect(rotated.seal(new Uint8Array([1]), 'a').slice(0, 8)).toEqual(current)
    expect(rotated.isCurrent(rotated.seal(new Uint8Array([1]), 'a'))).toBe(true)
    expect(() => createSealer(randomBytes(32)).open(old, 'a')).toThrow('another key')
  })

  it('wants 32 bytes', () => {
    for (const length of [0, 31, 33]) {
      expect(() => createSealer(key, randomBytes(length))).toThrow(TypeError)
      expect(() => createSealer(randomBytes(length), key)).toThrow(TypeError)
    }
  })
})

interface Frozen {
  master_key: string
  master_key_id: string
  digest_key: string
  message_key: string
  check: { place: string; sealed: string }
  own_key: { place: string; sealed: string }
}

describe('what was sealed before', () => {
  const frozen = readFixtureJson('vectors/sealing.json') as Frozen
  const values = [
    { ...frozen.check, plaintext: frozen.digest_key },
    { ...frozen.own_key, plaintext: frozen.message_key },
  ]

  it.each(values)('opens for ever, by the current and by the previous key: $place', ({ place, sealed, plaintext }) => {
    const master = fromHex(frozen.master_key)
    for (const opener of [createSealer(master), createSealer(key, master)])
      expect(toHex(opener.open(fromHex(sealed), place))).toBe(plaintext)
    expect(() => sealer.open(fromHex(sealed), place)).toThrow('another key')
  })

  it('names its key by the same 8 bytes, and has the same length', () => {
    const master = createSealer(fromHex(frozen.master_key))
    expect(master.keyIds.map(toHex)).toEqual([frozen.master_key_id])
    for (const { place, sealed, plaintext } of values) {
      expect(master.isCurrent(fromHex(sealed))).toBe(true)
      const fresh = master.seal(fromHex(plaintext), place)
      expect(fresh).toHaveLength(fromHex(sealed).length)
      expect(toHex(fresh.slice(0, 8))).toBe(frozen.master_key_id)
    }
  })
})
