import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { countValidators } from './validator-count.ts'

const chainOf = (total: number) => {
  const asked: number[] = []
  const find = async (index: number) => {
    asked.push(index)
    if (asked.length > 200) throw new Error('asks for ever')
    return index < total ? { publicKey: `key ${index}` } : undefined
  }
  return { asked, find }
}

describe('counting validators', () => {
  it('finds any number from any known one, and the last key', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3_000_000 }), fc.nat({ max: 2_000 }), async (total, behind) => {
        const known = total - behind
        const { find } = chainOf(total)
        const result = { total, lastKey: `key ${total - 1}` }
        expect(await countValidators(find)).toEqual(result)
        if (known > 0)
          expect(await countValidators(find, { total: known, lastKey: `key ${known - 1}` })).toEqual(result)
      }),
    )
  })

  it('asks once when nothing has changed, and little on a chain of a million', async () => {
    const million = chainOf(1_200_000)
    await countValidators(million.find, { total: 1_200_000, lastKey: 'key 1199999' })
    expect(million.asked).toEqual([1_200_000])
    million.asked.length = 0
    await countValidators(million.find)
    expect(million.asked.length).toBeLessThanOrEqual(42)
  })

  it('refuses a chain without validators, and one without end', async () => {
    await expect(countValidators(async () => undefined)).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
    await expect(countValidators(async () => ({ publicKey: 'x' }))).rejects.toMatchObject({ code: 'CONSENSUS_INVALID' })
  })
})
