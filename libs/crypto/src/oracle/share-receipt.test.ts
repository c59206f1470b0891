import { createHash } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ShareSet, shareReceipt } from './share-receipt.ts'

const filled = (length: number, byte: number) => new Uint8Array(length).fill(byte)

const SET: ShareSet = {
  publicKey: filled(48, 1),
  epoch: 194_048,
  validatorIndex: 2 ** 40 + 7,
  signingRoot: filled(32, 2),
  threshold: 2,
  oracles: [filled(65, 3), filled(65, 4)],
  publicKeyShares: [filled(48, 5), filled(48, 6)],
  ciphertexts: [filled(193, 7), filled(193, 8)],
}

describe('shareReceipt', () => {
  it('is SHA-256 over the documented bytes', () => {
    const text = `${Buffer.from('dvt-relayer/oracle-shares/v1').toString('hex')}${'01'.repeat(48)}000000000002f6000000010000000007${'02'.repeat(32)}0000000200000002${'03'.repeat(65)}${'04'.repeat(65)}${'05'.repeat(48)}${'06'.repeat(48)}${'07'.repeat(193)}${'08'.repeat(193)}`
    expect(toHex(shareReceipt(SET))).toBe(`0x${createHash('sha256').update(Buffer.from(text, 'hex')).digest('hex')}`)
  })

  it('changes with every byte of every part', () => {
    const whole = toHex(shareReceipt(SET))
    expect(toHex(shareReceipt({ ...SET, epoch: SET.epoch + 1 }))).not.toBe(whole)
    expect(toHex(shareReceipt({ ...SET, validatorIndex: SET.validatorIndex + 1 }))).not.toBe(whole)
    expect(toHex(shareReceipt({ ...SET, threshold: 1 }))).not.toBe(whole)
    expect(toHex(shareReceipt({ ...SET, ciphertexts: SET.ciphertexts.toReversed() }))).not.toBe(whole)
    const flip = (bytes: Uint8Array, position: number) =>
      bytes.map((byte, i) => (i === position % bytes.length ? byte ^ 1 : byte))
    fc.assert(
      fc.property(fc.nat(192), fc.nat(1), (position, item) => {
        const list = (parts: readonly Uint8Array[]) =>
          parts.map((part, i) => (i === item ? flip(part, position) : part))
        for (const changed of [
          { publicKey: flip(SET.publicKey, position) },
          { signingRoot: flip(SET.signingRoot, position) },
          { oracles: list(SET.oracles) },
          { publicKeyShares: list(SET.publicKeyShares) },
          { ciphertexts: list(SET.ciphertexts) },
        ])
          expect(toHex(shareReceipt({ ...SET, ...changed }))).not.toBe(whole)
      }),
    )
  })

  it.each([
    ['a short public key', { publicKey: filled(47, 1) }],
    ['a short root', { signingRoot: filled(31, 1) }],
    ['a compressed oracle key', { oracles: [filled(33, 3), filled(65, 4)] }],
    ['a long public key share', { publicKeyShares: [filled(49, 5), filled(48, 6)] }],
    ['a share in the clear', { ciphertexts: [filled(96, 7), filled(193, 8)] }],
    ['fewer ciphertexts than oracles', { ciphertexts: [filled(193, 7)] }],
    ['fewer public key shares than oracles', { publicKeyShares: [filled(48, 5)] }],
  ])('refuses %s', (_, part) => {
    expect(() => shareReceipt({ ...SET, ...part })).toThrow(expect.objectContaining({ code: 'LENGTH_INVALID' }))
  })
})
