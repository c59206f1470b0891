import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createDepositPolicy } from './deposit-policy.ts'
import { type Candidate, createPolicy } from './policy.ts'
import type { WantedDeposit } from './wanted.ts'

const VAULT = `0x${'ab'.repeat(20)}`
const DEPOSIT: WantedDeposit = { vault: VAULT, amountGwei: 32e9, validatorType: '0x01' }
const deposits = createDepositPolicy(networks.hoodi, [])
const exitOf = (validatorPublicKey: string, validatorIndex: number, deposit?: WantedDeposit): Candidate => ({
  keyShare: { validatorPublicKey, withdrawalAddress: VAULT },
  wanted: { validatorIndex, deposit },
})
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
      if (questions++ > 100) throw new Error('asked without end')
      const publicKey = keys[index]
      return publicKey === undefined ? undefined : { index, publicKey, status: 'active_ongoing' }
    },
  }
}

describe('policy', () => {
  it('computes roots with the Capella epoch of its own network', () => {
    const policy = createPolicy(networks.mainnet, deposits, undefined)
    const root = exitSigningRoot(networks.mainnet, { epoch: 194048, validatorIndex: 42 })
    expect(policy.exit(42)).toEqual({
      signingRoot: root,
      message: { kind: 'exit', epoch: 194048, validatorIndex: 42 },
    })
    expect(createPolicy(networks.hoodi, deposits, undefined).exit(42).signingRoot).not.toEqual(root)
  })

  it('without a chain refuses only indexes that cannot be', async () => {
    const policy = createPolicy(networks.hoodi, deposits, undefined)
    const wanted = [0, 2 ** 40 - 1, 2 ** 40, Number.MAX_SAFE_INTEGER].map((index) => exitOf(keyOf(1), index))
    expect(await policy.judge(wanted)).toEqual([undefined, undefined, 'index_impossible', 'index_impossible'])
  })

  it('asks one question for any number of new exits', async () => {
    const chain = chainOf([1, 2, 3].map(keyOf))
    const wanted = Array.from({ length: 200 }, (_, i) => exitOf(keyOf(10 + (i % 200)), 3 + i))
    expect(
      (await createPolicy(networks.hoodi, deposits, chain).judge(wanted)).every((reason) => reason === undefined),
    ).toBe(true)
    expect(chain.questions()).toBe(1)
  })

  it('asks for the keys of pairs all at once, and for the first of their indexes', async () => {
    const chain = chainOf([1, 2, 3].map(keyOf))
    const asked: number[] = []
    const counting: typeof chain = {
      ...chain,
      findValidators: (keys) => {
        asked.push(keys.length)
        return chain.findValidators(keys)
      },
    }
    const wanted = Array.from({ length: 100 }, (_, i) => exitOf(keyOf(10 + i), 3 + i, DEPOSIT))
    const verdicts = await createPolicy(networks.hoodi, deposits, counting).judge(wanted)
    expect([new Set(verdicts), asked, chain.questions()]).toEqual([new Set([undefined]), [100], 1])
  })

  it('refuses exactly the indexes that are not the key’s', async () => {
    const exit = fc.record({ seed: fc.integer({ min: 1, max: 12 }), validatorIndex: fc.nat(12) })
    const run = fc.asyncProperty(fc.nat(6), fc.array(exit, { maxLength: 20 }), async (known, exits) => {
      const chain = chainOf(Array.from({ length: known }, (_, i) => keyOf(i + 1)))
      const wanted = exits.map(({ seed, validatorIndex }) => exitOf(keyOf(seed), validatorIndex))
      const verdicts = await createPolicy(networks.hoodi, deposits, chain).judge(wanted)
      for (const [position, { seed, validatorIndex }] of exits.entries()) {
        const isKnown = seed <= known
        const expected = isKnown
          ? validatorIndex === seed - 1
            ? undefined
            : 'key_has_other_index'
          : validatorIndex < known
            ? 'index_taken'
            : undefined
        expect(verdicts[position]).toBe(expected)
      }
    })
    await fc.assert(run)
  })

  it('refuses the deposit of a key the chain knows, and asks nothing about a deposit that is refused anyway', async () => {
    const chain = chainOf([1, 2].map(keyOf))
    const policy = createPolicy(networks.hoodi, deposits, chain)
    const wanted = [
      exitOf(keyOf(1), 0, DEPOSIT),
      exitOf(keyOf(1), 0),
      exitOf(keyOf(2), 7, DEPOSIT),
      exitOf(keyOf(3), 2, DEPOSIT),
      exitOf(keyOf(3), 1, DEPOSIT),
    ]
    expect(await policy.judge(wanted)).toEqual([
      'key_on_chain',
      undefined,
      'key_has_other_index',
      undefined,
      'index_taken',
    ])
    const asked = chain.questions()
    expect(await policy.judge([exitOf(keyOf(3), 2, { ...DEPOSIT, amountGwei: 1 })])).toEqual(['amount_not_allowed'])
    expect(await policy.judge([exitOf(keyOf(3), 2 ** 40, DEPOSIT)])).toEqual(['index_impossible'])
    expect(chain.questions()).toBe(asked)
  })

  it('with keys in a validator client refuses what the chain does not know, whatever index is named', async () => {
    const chain = chainOf([1, 2].map(keyOf))
    const wanted = [exitOf(keyOf(1), 0), exitOf(keyOf(2), 7), exitOf(keyOf(3), 2), exitOf(keyOf(3), 1)]
    expect(await createPolicy(networks.hoodi, deposits, chain, 'known').judge(wanted)).toEqual([
      undefined,
      'key_has_other_index',
      'key_not_on_chain',
      'key_not_on_chain',
    ])
  })

  it('signs nothing while the chain cannot be asked', async () => {
    const chain = { ...chainOf([]), findValidators: () => Promise.reject(new Error('away')) }
    await expect(createPolicy(networks.hoodi, deposits, chain).judge([exitOf(keyOf(1), 1)])).rejects.toThrow('away')
  })
})
