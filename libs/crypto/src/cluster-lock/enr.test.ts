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

  it('takes any bytes without an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const key = enrPublicKey(`enr:${Buffer.from(bytes).toString('base64url')}`)
        expect(key === undefined || key.length === 33).toBe(true)
      }),
    )
  })
})
