import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPolicy } from './policy.ts'

const keyOf = (seed: number) => toHex(new Uint8Array(48).fill(seed))

/** A chain with these keys, in order of their indexes. */
function chainOf(keys: readonly string[]) {
  let questions = 0
  return {
    questions: () => questions,
    async findValidators(publicKeys: readonly Uint8Array[]) {
      const asked = publicKeys.map((key) => toHex(key))
      return new Map(
        keys.flatMap((publicKey, index) =>
          asked.includes(toHex(Buffer.from(publicKey.slice(2), 'hex')))
            ? [[publicKey, { index, publicKey, status: 'active_ongoing' }] as const]
            : [],
        ),
      )
    },
    async findValidatorByIndex(index: number) {
      questions++
      const publicKey = keys[index]
      return publicKey === undefined ? undefined : { index, publicKey, status: 'active_ongoing' }
    },
  }
}

describe('policy', () => {
  it('computes roots with the Capella epoch of its own network', () => {
    const policy = createPolicy(networks.mainnet, undefined)
    const root = exitSigningRoot(networks.mainnet, { epoch: 194048, validatorIndex: 42 })
    expect(policy.exitRoot(42)).toEqual(root)
    expect(createPolicy(networks.hoodi, undefined).exitRoot(42)).not.toEqual(root)
  })

  it('without a chain refuses only indexes that cannot be', async () => {
    const policy = createPolicy(networks.hoodi, undefined)
    const wanted = [0, 2 ** 40 - 1, 2 ** 40, Number.MAX_SAFE_INTEGER].map((validatorIndex) => ({
      validatorPublicKey: keyOf(1),
      validatorIndex,
    }))
    expect(await policy.judge(wanted)).toEqual([undefined, undefined, 'index_impossible', 'index_impossible'])
  })

  it('asks one question for any number of new exits', async () => {
    const chain = chainOf([1, 2, 3].map(keyOf))
    const wanted = Array.from({ length: 200 }, (_, i) => ({
      validatorPublicKey: keyOf(10 + (i % 200)),
      validatorIndex: 3 + i,
    }))
    expect((await createPolicy(networks.hoodi, chain).judge(wanted)).every((reason) => reason === undefined)).toBe(true)
    expect(chain.questions()).toBe(1)
  })

  it('refuses exactly the indexes that are not the key’s', async () => {
    const exit = fc.record({ seed: fc.integer({ min: 1, max: 12 }), validatorIndex: fc.nat(12) })
    const run = fc.asyncProperty(fc.nat(6), fc.array(exit, { maxLength: 20 }), async (known, exits) => {
      const chain = chainOf(Array.from({ length: known }, (_, i) => keyOf(i + 1)))
      const wanted = exits.map(({ seed, validatorIndex }) => ({ validatorPublicKey: keyOf(seed), validatorIndex }))
      const verdicts = await createPolicy(networks.hoodi, chain).judge(wanted)
      for (const [place, { seed, validatorIndex }] of exits.entries()) {
        const isKnown = seed <= known
        const expected = isKnown
          ? validatorIndex === seed - 1
            ? undefined
            : 'key_has_other_index'
          : validatorIndex < known
            ? 'index_taken'
            : undefined
        expect(verdicts[place]).toBe(expected)
      }
    })
    await fc.assert(run)
  })

  it('signs nothing while the chain cannot be asked', async () => {
    const chain = { ...chainOf([]), findValidators: () => Promise.reject(new Error('away')) }
    await expect(
      createPolicy(networks.hoodi, chain).judge([{ validatorPublicKey: keyOf(1), validatorIndex: 1 }]),
    ).rejects.toThrow('away')
  })
})
