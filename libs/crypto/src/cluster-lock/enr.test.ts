import { toHex } from '@dvt-relayer/common/hex.ts'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  FIXTURE_CLUSTERS,
  loadFixtureCluster,
  readFixture,
  readFixtureJson,
} from '../../../../test/support/keys/fixtures.ts'
import { makeEnr } from '../../../../test/support/keys/make-enr.ts'
import { enrPublicKey } from './enr.ts'

/** The example record of EIP-778. */
const EIP_778 =
  'enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0gmlwhH8AAAGJc2VjcDI1NmsxoQPKY0yuDUmstAHYpMa2_oxVtw0RW_QAdpzBQA8yWM0xOIN1ZHCCdl8'

describe('enrPublicKey', () => {
  it('reads the example of EIP-778', () => {
    expect(toHex(enrPublicKey(EIP_778) ?? new Uint8Array())).toBe(
      '0x03ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138',
    )
  })

  it.each(FIXTURE_CLUSTERS)('finds the key of every node of %s', (name) => {
    const { nodes, lockFile } = loadFixtureCluster(name)
    const lock = readFixtureJson(lockFile) as { cluster_definition: { operators: { enr: string }[] } }
    const keys = nodes.map(({ enrKeyFile }) => {
      const secret = Buffer.from(readFixture(enrKeyFile), 'hex')
      return secp256k1.getPublicKey(secret, true)
    })
    expect(lock.cluster_definition.operators.map(({ enr }) => enrPublicKey(enr))).toEqual(keys)
  })

  it('reads the records that the test clusters have', () => {
    const key = secp256k1.utils.randomSecretKey()
    expect(enrPublicKey(makeEnr(key))).toEqual(secp256k1.getPublicKey(key, true))
  })

  const rlp = (...bytes: number[]) => `enr:${Buffer.from(bytes).toString('base64url')}`
  it.each([
    ['empty', ''],
    ['no prefix', EIP_778.slice(4)],
    ['upper-case prefix', EIP_778.replace('enr:', 'ENR:')],
    ['plain base64', `${EIP_778}+/=`],
    ['a space inside', EIP_778.replace('QHC', ' HC')],
    ['cut short', EIP_778.slice(0, -8)],
    ['bytes after the record', `${EIP_778}AAAA`],
    ['an empty list', rlp(0xc0)],
    ['a byte string', rlp(0x83, 1, 2, 3)],
    ['a length beyond the end', rlp(0xc5, 0xb8, 0xff)],
    ['a length of eight bytes', rlp(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['an inner item longer than its list', rlp(0xc2, 0x85, 1)],
    ['no secp256k1 entry', rlp(0xc4, 0x80, 0x80, 0x61, 0x62)],
    ['too large', `enr:${'A'.repeat(2000)}`],
  ])('refuses: %s', (_, enr) => {
    expect(enrPublicKey(enr)).toBeUndefined()
  })

  const item = (...bytes: number[]) => {
    if (bytes.length === 1 && (bytes[0] ?? 0) < 0x80) return bytes
    return bytes.length < 56 ? [0x80 + bytes.length, ...bytes] : [0xb9, bytes.length >> 8, bytes.length & 255, ...bytes]
  }
  const text = (word: string) => item(...Buffer.from(word))
  const key = [2, ...Array.from({ length: 32 }, () => 7)]
  const header = (length: number) => [0xf9, length >> 8, length & 255]
  const record = (...pairs: number[][]) => {
    const items = [...item(...Array.from({ length: 64 }, () => 9)), ...item(1), ...pairs.flat()]
    return rlp(...header(items.length), ...items)
  }
  const own = [text('secp256k1'), item(...key)]

  it('finds it among any other entries, first or last', () => {
    const others = [text('a'), [0xc0], text('b'), item(), text('c'), item(...new Uint8Array(300))]
    for (const pairs of [own, [...own, ...others], [...others, ...own]])
      expect(enrPublicKey(record(...pairs))).toEqual(Uint8Array.from(key))
  })

  it('takes no other entry for it, and it in no other length', () => {
    expect(enrPublicKey(record(text('secp256k2'), item(...key)))).toBeUndefined()
    expect(enrPublicKey(record(text('a'), item(...key.toReversed()), ...own))).toEqual(Uint8Array.from(key))
    for (const other of [key.slice(1), [...key, 7], []])
      expect(enrPublicKey(record(text('secp256k1'), item(...other)))).toBeUndefined()
    expect(enrPublicKey(record(text('secp256k1')))).toBeUndefined()
  })

  it('reads records of 1024 bytes at most', () => {
    const padded = (bytes: number) => {
      const bare = Buffer.from(record(...own).slice(4), 'base64url').length
      return record(...own, text('a'), item(...new Uint8Array(bytes - bare - text('a').length - 3)))
    }
    expect(Buffer.from(padded(1024).slice(4), 'base64url')).toHaveLength(1024)
    expect(enrPublicKey(padded(1024))).toEqual(Uint8Array.from(key))
    expect(enrPublicKey(padded(1025))).toBeUndefined()
  })

  it('wants a list, whose length stands in two bytes at most', () => {
    const bytes = Buffer.from(record(...own).slice(4), 'base64url')
    const rest = bytes.subarray(3)
    expect(enrPublicKey(rlp(...bytes))).toEqual(Uint8Array.from(key))
    expect(enrPublicKey(rlp(0xf8, rest.length, ...rest))).toEqual(Uint8Array.from(key))
    expect(enrPublicKey(rlp(0xb8, rest.length, ...rest))).toBeUndefined()
    expect(enrPublicKey(rlp(0xfa, 0, 0, rest.length, ...rest))).toBeUndefined()
  })

  it('takes any bytes without an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const key = enrPublicKey(`enr:${Buffer.from(bytes).toString('base64url')}`)
        expect(key === undefined || key.length === 33).toBe(true)
      }),
    )
  })
})
