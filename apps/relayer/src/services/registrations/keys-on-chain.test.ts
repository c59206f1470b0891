import { toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import type { DepositView } from '../deposit-registry/deposit-registry.ts'
import { createKeysOnChain } from './keys-on-chain.ts'

const keyOf = (number: number) => Buffer.alloc(48, number)
const rowOf = (number: number) => ({ id: number, publicKey: keyOf(number), threshold: 3, isReserved: false })

/** Keys that the deposit contract and the consensus node have, and a source of the rows 1, 2, 3 and so on. */
function chainWith({ seen = [] as number[], known = [] as number[], count = 20, away = false } = {}) {
  const has = (numbers: readonly number[], keys: readonly Uint8Array[]) =>
    keys.map((key) => numbers.includes(key[0] ?? 0))
  const asked: { limit: number; excluded: number[] }[] = []
  const view = { isRegistered: async (keys: readonly Uint8Array[]) => has(seen, keys) } as unknown as DepositView
  const keys = createKeysOnChain(view, {
    knownKeys: async (some) => {
      if (away) throw new Error('away')
      return has(known, some)
    },
  })
  const find = async (limit: number, excluded: readonly Uint8Array[]) => {
    const left = new Set(excluded.map(toHex))
    asked.push({ limit, excluded: excluded.map((key) => key[0] ?? 0) })
    if (asked.length > 9) throw new Error('looks for ever')
    const rows = Array.from({ length: count }, (_, i) => rowOf(i + 1))
    return rows.filter(({ publicKey }) => !left.has(toHex(publicKey))).slice(0, limit)
  }
  return {
    asked,
    met: () => keys.met.map((key) => key[0]),
    findAbsent: async (wanted: number) => (await keys.findAbsent(wanted, find)).map(({ id }) => id),
  }
}

describe('keys that the chain has', () => {
  it('are passed over whoever of the two knows them', async () => {
    const chain = chainWith({ seen: [1], known: [3] })
    expect(await chain.findAbsent(3)).toEqual([2, 4, 5])
    expect(chain.met()).toEqual([1, 3])
    const both = chainWith({ seen: [1, 2], known: [2, 3] })
    expect(await both.findAbsent(2)).toEqual([4, 5])
  })

  it('are looked for once where there are none', async () => {
    const chain = chainWith()
    expect(await chain.findAbsent(3)).toEqual([1, 2, 3])
    expect(chain.asked).toEqual([{ limit: 3, excluded: [] }])
  })

  it('are remembered, and the more there are the further it looks', async () => {
    const chain = chainWith({ seen: [1, 2, 3, 4, 5, 6] })
    expect(await chain.findAbsent(2)).toEqual([7, 8])
    expect(chain.asked).toEqual([
      { limit: 2, excluded: [] },
      { limit: 4, excluded: [1, 2] },
      { limit: 8, excluded: [1, 2, 3, 4, 5, 6] },
    ])
    expect(await chain.findAbsent(1)).toEqual([7])
    expect(chain.asked).toHaveLength(4)
  })

  it('may be all there are', async () => {
    expect(await chainWith({ seen: [1, 3], known: [2], count: 3 }).findAbsent(2)).toEqual([])
    expect(await chainWith({ seen: [1], count: 3 }).findAbsent(5)).toEqual([2, 3])
    expect(await chainWith({ count: 0 }).findAbsent(1)).toEqual([])
  })

  it('are not known while the consensus node is away: nothing is given out', async () => {
    await expect(chainWith({ away: true }).findAbsent(1)).rejects.toMatchObject({ code: 'DEPENDENCY_AWAY' })
  })
})
