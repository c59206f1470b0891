import { describe, expect, it } from 'vitest'
import { createHeldShares } from './held-shares.ts'
import type { KeyShare } from './keystore.ts'

const signal = new AbortController().signal
/** Says by which secret a root was "signed". */
const engine = { sign: (secretKey: Uint8Array) => new Uint8Array(96).fill(secretKey[0] ?? 0) }

/** A share of validator `v` at an index, as it was split the first or another time. */
const shareOf = (v: number, shareIndex: number, split = 1) => ({
  keyShare: {
    validatorPublicKey: `0x${String(v).repeat(96)}`,
    shareIndex,
    publicKeyShares: [{ share_index: shareIndex, public_key_share: `0x${String(split).repeat(96)}` }],
    withdrawalAddress: undefined,
  } satisfies KeyShare,
  secretKey: new Uint8Array(32).fill(10 * v + split),
})
const message = { kind: 'exit', epoch: 0, validatorIndex: 0 } as const
const request = (keyShare: KeyShare) => ({ signingRoot: new Uint8Array(32), message, keyShare })

describe('held key shares', () => {
  it('that are the same stay the same objects, and say that nothing changed', () => {
    const held = createHeldShares(engine)
    expect(held.replace([])).toBe(false)
    expect(held.replace([shareOf(1, 1), shareOf(2, 1)])).toBe(true)
    const before = held.keyShares
    expect(held.replace([shareOf(1, 1), shareOf(2, 1)])).toBe(false)
    expect(held.keyShares).toBe(before)
    // One more: the others are found again.
    expect(held.replace([shareOf(1, 1), shareOf(2, 1), shareOf(3, 1)])).toBe(true)
    expect(held.keyShares.slice(0, 2).every((share, i) => share === before[i])).toBe(true)
    // One in place of another, and one fewer.
    expect(held.replace([shareOf(1, 1), shareOf(2, 1), shareOf(4, 1)])).toBe(true)
    expect(held.replace([shareOf(1, 1), shareOf(2, 1)])).toBe(true)
    expect(held.keyShares).toEqual(before)
  })

  it('of a validator that was split anew are others, also at the same index', async () => {
    const held = createHeldShares(engine)
    held.replace([shareOf(1, 1)])
    const [old] = held.keyShares
    expect(held.replace([shareOf(1, 1, 2)])).toBe(true)
    expect(held.keyShares).toEqual([shareOf(1, 1, 2).keyShare])
    expect(held.keyShares[0]).not.toBe(old)
    expect(await held.sign(request(shareOf(1, 1).keyShare), signal)).toEqual(new Uint8Array(96).fill(12))
  })

  it('are others where one of the nodes has another public key share', () => {
    const held = createHeldShares(engine)
    const share = shareOf(1, 1)
    const [own] = share.keyShare.publicKeyShares
    const of = (...others: string[]) => ({
      ...share,
      keyShare: {
        ...share.keyShare,
        publicKeyShares: [own, ...others.map((byte, at) => ({ share_index: at + 2, public_key_share: byte }))] as never,
      },
    })
    expect([held.replace([of('0x2', '0x3')]), held.replace([of('0x2', '0x3')])]).toEqual([true, false])
    expect([held.replace([of('0x2', '0x4')]), held.replace([of('0x2')])]).toEqual([true, true])
    expect(held.replace([{ ...share, keyShare: { ...of('0x2').keyShare, withdrawalAddress: '0x1' as never } }])).toBe(
      true,
    )
  })

  it('are the first of each validator and index', async () => {
    const held = createHeldShares(engine)
    held.replace([shareOf(1, 1), shareOf(1, 1, 2), shareOf(1, 2)])
    expect(held.keyShares).toEqual([shareOf(1, 1).keyShare, shareOf(1, 2).keyShare])
    expect(await held.sign(request(shareOf(1, 1).keyShare), signal)).toEqual(new Uint8Array(96).fill(11))
  })

  it('sign for nothing else', async () => {
    const held = createHeldShares(engine)
    held.replace([shareOf(1, 1)])
    for (const other of [shareOf(1, 2), shareOf(2, 1)])
      await expect(held.sign(request(other.keyShare), signal)).rejects.toThrow(TypeError)
    held.replace([])
    await expect(held.sign(request(shareOf(1, 1).keyShare), signal)).rejects.toThrow('not held')
  })
})
