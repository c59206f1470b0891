import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { encodeRegistration } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { describe, expect, it } from 'vitest'
import { ApiError } from '../../errors.ts'
import { isAmbiguous, trimAmbiguous, unambiguous } from './ambiguous.ts'

/** By hand: 23 · 176 = 22 · 184 = 4048 bytes, and their multiples. */
const AMBIGUOUS = { '0x01': [23, 46, 69, 92], '0x02': [22, 44, 66, 88] } as const
const upTo = (count: number) => Array.from({ length: count }, (_, position) => position)

describe.each(['0x01', '0x02'] as const)('new validators of type %s', (type) => {
  const counts = upTo(100).slice(1)

  it('cannot be told from the other type in these numbers, and in no other', () => {
    expect(counts.filter((count) => isAmbiguous(type, count))).toEqual(AMBIGUOUS[type])
  })

  it('are one less where they could not be told, and else all of them', () => {
    for (const count of counts) {
      const isTrimmed = AMBIGUOUS[type].some((ambiguous) => ambiguous === count)
      expect(trimAmbiguous(type, upTo(count))).toEqual(upTo(isTrimmed ? count - 1 : count))
    }
    expect(trimAmbiguous(type, [])).toEqual([])
  })

  it('are refused by the encoding in the same numbers, in words for the client', () => {
    const vault = new Uint8Array(20).fill(1)
    const validator = { publicKey: new Uint8Array(48), signature: new Uint8Array(96), amountGwei: 32_000_000_000n }
    const encode = (count: number) => () =>
      encodeRegistration({ vault, type, validators: upTo(count).map(() => validator) })
    for (const count of counts) {
      if (!isAmbiguous(type, count)) {
        expect(unambiguous(encode(count))).toHaveLength(count * (type === '0x01' ? 176 : 184))
        continue
      }
      const refused = expect.objectContaining({
        code: 'BATCH_AMBIGUOUS',
        message: expect.stringMatching(/cannot be told from the other type.*; ask for one more or one less$/),
      })
      expect(() => unambiguous(encode(count))).toThrow(refused)
    }
  })
})

describe('unambiguous', () => {
  it('gives other errors on as they are', () => {
    for (const error of [new ChainError('IPFS_UNVERIFIED', 'words'), new TypeError('words')]) {
      const thrown = (() => {
        try {
          return unambiguous(() => {
            throw error
          })
        } catch (reason) {
          return reason
        }
      })()
      expect(thrown).toBe(error)
      expect(thrown).not.toBeInstanceOf(ApiError)
    }
  })
})
