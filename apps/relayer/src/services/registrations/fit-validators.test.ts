import { describe, expect, it } from 'vitest'
import { findValidators } from './fit-validators.ts'

const keys = (count: number) => Array.from({ length: count }, (_, position) => new Uint8Array(48).fill(position))

/** A registry that knows nobody, and how many keys it was asked for. */
function emptyRegistry() {
  const asked: number[] = []
  const findNone = async (publicKeys: readonly Uint8Array[]) => {
    asked.push(publicKeys.length)
    return new Map()
  }
  return { asked, registry: { findValidators: findNone } as unknown as Parameters<typeof findValidators>[0] }
}

describe('keys of one request', () => {
  it('are looked up to the last that a request may have, each list by itself', async () => {
    const { asked, registry } = emptyRegistry()
    await findValidators(registry, 3, keys(3))
    await findValidators(registry, 3, keys(3), keys(3))
    expect(asked).toEqual([3, 6])
  })

  it.each([
    ['one more', [4]],
    ['one more in the second list', [1, 4]],
    ['one more in the first list', [4, 1]],
  ])('are refused before anybody is asked: %s', async (_, counts) => {
    const { asked, registry } = emptyRegistry()
    await expect(findValidators(registry, 3, ...counts.map(keys))).rejects.toMatchObject({
      code: 'TOO_MANY_KEYS',
      message: expect.stringContaining('at most 3 public keys in one request, this one has 4'),
    })
    expect(asked).toEqual([])
  })
})
