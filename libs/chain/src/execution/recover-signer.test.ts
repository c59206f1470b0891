import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { privateKeyToAddress, sign } from 'viem/accounts'
import { describe, expect, it } from 'vitest'
import { recoverSigner } from './recover-signer.ts'

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const word = (value: bigint) => fromHex(value.toString(16).padStart(64, '0'), 32)
const join = (r: Uint8Array, s: Uint8Array, ...v: number[]) => Uint8Array.of(...r, ...s, ...v)
const key = `0x${'07'.repeat(32)}` as const

/** A signature by viem, of a digest that ends in this byte. */
async function signed(last: number) {
  const digest = new Uint8Array(32).fill(last)
  const { r, s, yParity = 0 } = await sign({ hash: toHex(digest), privateKey: key })
  return { digest, r: fromHex(r, 32), s: fromHex(s, 32), v: 27 + yParity }
}

describe('the signer of a digest', () => {
  it('is who signed it, whichever of the two v there are', async () => {
    const seen = new Set<number>()
    for (let last = 0; last < 16; last++) {
      const { digest, r, s, v } = await signed(last)
      expect(recoverSigner(digest, join(r, s, v))).toBe(privateKeyToAddress(key))
      seen.add(v)
    }
    expect([...seen].sort()).toEqual([27, 28])
  })

  it('is nobody for a signature in another form', async () => {
    const { digest, r, s, v } = await signed(1)
    for (const wrong of [v - 27, 26, 29, 54, 255]) expect(recoverSigner(digest, join(r, s, wrong))).toBeUndefined()
    expect(recoverSigner(digest, join(r, s))).toBeUndefined()
    expect(recoverSigner(digest, join(r, s, v, 0))).toBeUndefined()
    // The same signature, as contracts do not take it.
    const high = word(ORDER - BigInt(toHex(s)))
    expect(recoverSigner(digest, join(r, high, v === 27 ? 28 : 27))).toBeUndefined()
    expect(recoverSigner(digest, join(new Uint8Array(32), s, v))).toBeUndefined()
  })

  it('may have the largest s that contracts take, and no larger one', async () => {
    const { digest, r } = await signed(1)
    const half = ORDER / 2n
    expect(recoverSigner(digest, join(r, word(half), 27))).toMatch(/^0x/)
    expect(recoverSigner(digest, join(r, word(half + 1n), 27))).toBeUndefined()
  })
})
