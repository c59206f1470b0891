import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, test } from 'vitest'
import { packHint, unpackHint } from './key-share-hints.ts'

const share = (byte: number) => toHex(new Uint8Array(48).fill(byte))

describe('public key shares as hints', () => {
  test('are packed by share index, up to 2^53 - 1, and unpacked again', () => {
    const packed = packHint([
      { share_index: Number.MAX_SAFE_INTEGER, public_key_share: share(2) },
      { share_index: 5, public_key_share: share(1).toUpperCase().slice(2) },
    ])
    expect(unpackHint(Buffer.from(packed ?? []))).toEqual([
      { shareIndex: 5, publicKeyShare: Buffer.alloc(48, 1) },
      { shareIndex: Number.MAX_SAFE_INTEGER, publicKeyShare: Buffer.alloc(48, 2) },
    ])
  })

  test('are taken of as many nodes as a cluster may have', () => {
    const posted = Array.from({ length: 64 }, (_, n) => ({ share_index: n + 1, public_key_share: share(n) }))
    expect(unpackHint(Buffer.from(packHint(posted) ?? []))).toHaveLength(64)
  })

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['an empty list', []],
    ['a share index of 0', [{ share_index: 0, public_key_share: share(1) }]],
    ['a negative share index', [{ share_index: -1, public_key_share: share(1) }]],
    ['a fraction', [{ share_index: 1.5, public_key_share: share(1) }]],
    ['2^53', [{ share_index: 2 ** 53, public_key_share: share(1) }]],
    ['a short key', [{ share_index: 1, public_key_share: '0x12' }]],
    [
      'more nodes than a cluster has',
      Array.from({ length: 65 }, (_, n) => ({ share_index: n + 1, public_key_share: share(1) })),
    ],
    ['a share index twice', [1, 1].map((share_index) => ({ share_index, public_key_share: share(1) }))],
  ])('are no hint: %s', (_, posted) => {
    expect(packHint(posted)).toBeUndefined()
  })
})
