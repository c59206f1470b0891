import { inspect } from 'node:util'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { parseAddress } from '@dvt-relayer/crypto/address.ts'
import { recoverTypedDataAddress } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { ChainError } from '../errors.ts'
import {
  createManagerWallet,
  encodeConsolidations,
  encodeFunding,
  encodeRegistration,
  encodeWithdrawals,
  inCanonicalOrder,
  isAmbiguousLength,
  isRegistrationAmount,
  type ManagerMessage,
  managerDigest,
  nonceToRoot,
  type SignDigest,
  type ValidatorType,
} from './validators-manager.ts'

interface Validator {
  public_key: string
  amount_gwei: string
  deposit_signature: string
}
interface Case {
  network: string
  action: 'register' | 'fund' | 'withdraw' | 'consolidate'
  chain_id: number
  vault: string
  wallet_private_key: string
  wallet_address: string
  validator_type?: ValidatorType
  validators_manager_nonce?: string
  validators?: Validator[]
  withdrawals?: { public_key: string; amount_gwei: string }[]
  consolidations?: { source_public_key: string; target_public_key: string }[]
  validators_registry_root: string
  validators_bytes: string
  digest: string
  signature: string
}
const { cases } = readFixtureJson('vectors/eip712.json') as { cases: Case[] }

function encode({ action, vault, validator_type, ...vector }: Case): Uint8Array {
  const vaultBytes = parseAddress(vault) ?? new Uint8Array()
  const validators = (vector.validators ?? []).map(({ public_key, amount_gwei, deposit_signature }) => ({
    publicKey: fromHex(public_key),
    amountGwei: BigInt(amount_gwei),
    signature: fromHex(deposit_signature),
  }))
  if (action === 'register')
    return encodeRegistration({ vault: vaultBytes, type: validator_type ?? '0x01', validators })
  if (action === 'fund') return encodeFunding({ vault: vaultBytes, validators })
  if (action === 'withdraw')
    return encodeWithdrawals(
      (vector.withdrawals ?? []).map(({ public_key, amount_gwei }) => ({
        publicKey: fromHex(public_key),
        amountGwei: BigInt(amount_gwei),
      })),
    )
  return encodeConsolidations(
    (vector.consolidations ?? []).map(({ source_public_key, target_public_key }) => ({
      sourcePublicKey: fromHex(source_public_key),
      targetPublicKey: fromHex(target_public_key),
    })),
  )
}

describe('vectors of other implementations', () => {
  it.each(cases.map((vector, position) => ({ ...vector, position })))(
    '$position: $action on $network',
    async (vector) => {
      const validators = encode(vector)
      expect(toHex(validators)).toBe(vector.validators_bytes)
      const root =
        vector.validators_manager_nonce === undefined
          ? fromHex(vector.validators_registry_root)
          : nonceToRoot(BigInt(vector.validators_manager_nonce))
      expect(toHex(root)).toBe(vector.validators_registry_root)
      const wallet = createManagerWallet(fromHex(vector.wallet_private_key))
      expect([wallet.address, toHex(wallet.addressBytes)]).toEqual([
        vector.wallet_address,
        vector.wallet_address.toLowerCase(),
      ])
      const vault = fromHex(vector.vault)
      const message = { chainId: vector.chain_id, vault, validatorsRegistryRoot: root, validators }
      const { digest, signature } = await wallet.sign(message)
      expect([toHex(digest), toHex(signature)]).toEqual([vector.digest, vector.signature])
    },
  )

  it('has every action on every network', () => {
    expect(new Set(cases.map(({ network, action }) => `${network} ${action}`)).size).toBe(12)
  })
})

const vault = new Uint8Array(20).fill(7)
const publicKey = new Uint8Array(48).fill(1)
const signature = new Uint8Array(96).fill(2)
const entry = { publicKey, amountGwei: 32_000_000_000n, signature }
const many = (count: number) => Array.from({ length: count }, () => entry)

describe('validators that the vault must refuse', () => {
  it('are none', () => {
    expect(() => encodeRegistration({ vault, type: '0x01', validators: [] })).toThrow('no validators')
    expect(() => encodeFunding({ vault, validators: [] })).toThrow('no validators')
    expect(() => encodeWithdrawals([])).toThrow('no validators')
    expect(() => encodeConsolidations([])).toThrow('no validators')
  })

  it.each([
    ['0x01', 23],
    ['0x01', 46],
    ['0x02', 22],
    ['0x02', 44],
  ] as const)('are of type %s and %i: as long as some of the other type', (type, count) => {
    const register = (validators: number) => encodeRegistration({ vault, type, validators: many(validators) })
    expect(() => register(count)).toThrow(ChainError)
    for (const other of [count - 1, count + 1]) expect(isAmbiguousLength(register(other))).toBe(false)
    expect(isAmbiguousLength(new Uint8Array(176 * 23))).toBe(true)
    if (type === '0x02') expect(() => encodeFunding({ vault, validators: many(count) })).toThrow('cannot be told')
  })

  // By hand: 7 · 184 = 23 · 56 bytes, 7 · 96 = 12 · 56, their multiples, and none between.
  it('are fundings and consolidations as long as withdrawals, in these numbers and in no other', () => {
    const fund = (count: number) => encodeFunding({ vault, validators: many(count) })
    const pair = { sourcePublicKey: publicKey, targetPublicKey: new Uint8Array(48).fill(3) }
    const consolidate = (count: number) => encodeConsolidations(Array.from({ length: count }, () => pair))
    const isRefused = (encode: (count: number) => Uint8Array, count: number) => {
      try {
        encode(count)
        return false
      } catch (error) {
        expect(error).toBeInstanceOf(ChainError)
        return (error as Error).message.includes('cannot be told from withdrawals')
      }
    }
    const counts = Array.from({ length: 44 }, (_, position) => position + 1)
    const sevens = [7, 14, 21, 28, 35, 42]
    expect(counts.filter((count) => isRefused(fund, count))).toEqual(sevens)
    expect(counts.filter((count) => isRefused(consolidate, count))).toEqual(sevens)
    for (const count of counts) {
      const withdrawals = encodeWithdrawals(many(count))
      expect(withdrawals).toHaveLength(56 * count)
      // What is signed under the same nonce has no second reading as these.
      for (const encode of [fund, consolidate])
        for (const other of counts.filter((number) => !sevens.includes(number) && number % 22 !== 0))
          expect(encode(other).length).not.toBe(withdrawals.length)
    }
  })

  it('have fields of another length or an amount that is no uint64', () => {
    const register = (change: object, type: ValidatorType = '0x02') =>
      encodeRegistration({ vault, type, validators: [{ ...entry, ...change }] })
    expect(register({})).toHaveLength(184)
    for (const change of [
      { publicKey: new Uint8Array(47) },
      { publicKey: new Uint8Array(96) },
      { signature: new Uint8Array(95) },
      { amountGwei: -1n },
      { amountGwei: 2n ** 64n },
    ]) {
      expect(() => register(change), JSON.stringify(Object.keys(change))).toThrow()
      expect(() => register(change, '0x01')).toThrow()
    }
    expect(() => encodeRegistration({ vault: new Uint8Array(32), type: '0x01', validators: [entry] })).toThrow()
    for (const wrong of [
      { publicKey: new Uint8Array(47), amountGwei: 1n },
      { publicKey, amountGwei: -1n },
      { publicKey, amountGwei: 2n ** 64n },
    ])
      expect(() => encodeWithdrawals([wrong])).toThrow(ChainError)
    const short = new Uint8Array(47)
    expect(() => encodeConsolidations([{ sourcePublicKey: short, targetPublicKey: publicKey }])).toThrow(ChainError)
    expect(() => encodeConsolidations([{ sourcePublicKey: publicKey, targetPublicKey: short }])).toThrow(ChainError)
  })

  it('have an amount their type does not allow', () => {
    const eth = 1_000_000_000n
    expect([1n, 31n, 32n, 33n, 2048n].map((amount) => isRegistrationAmount('0x01', amount * eth))).toEqual([
      false,
      false,
      true,
      false,
      false,
    ])
    expect(
      [32n * eth - 1n, 32n * eth, 32n * eth + 1n, 2048n * eth, 2048n * eth + 1n].map((amount) =>
        isRegistrationAmount('0x02', amount),
      ),
    ).toEqual([false, true, true, true, false])
  })
})

describe('a nonce', () => {
  it('is 32 bytes, big-endian', () => {
    expect(toHex(nonceToRoot(0n))).toBe(`0x${'00'.repeat(32)}`)
    expect(toHex(nonceToRoot(258n))).toBe(`0x${'00'.repeat(30)}0102`)
    expect(toHex(nonceToRoot(2n ** 256n - 1n))).toBe(`0x${'ff'.repeat(32)}`)
    for (const nonce of [-1n, 2n ** 256n]) expect(() => nonceToRoot(nonce)).toThrow('uint256')
  })
})

describe('the wallet', () => {
  const secret = `${'5ec4e7'.repeat(10)}0102`
  const secretKey = fromHex(secret, 32)
  const message: ManagerMessage = {
    chainId: 1,
    vault,
    validatorsRegistryRoot: new Uint8Array(32).fill(3),
    validators: new Uint8Array(176).fill(4),
  }
  const good = createManagerWallet(secretKey)

  it('signs every message differently', async () => {
    const changes: Partial<ManagerMessage>[] = [
      {},
      { chainId: 2 },
      { vault: vault.with(0, 1) },
      { validatorsRegistryRoot: new Uint8Array(32) },
      { validators: message.validators.with(175, 0) },
      { validators: message.validators.subarray(1) },
    ]
    const digests = await Promise.all(changes.map((change) => managerDigest({ ...message, ...change })))
    expect(new Set(digests.map(toHex)).size).toBe(changes.length)
  })

  it('signs nothing that is no message', async () => {
    for (const change of [
      { validators: new Uint8Array() },
      { vault: new Uint8Array(32) },
      { validatorsRegistryRoot: new Uint8Array(31) },
    ])
      await expect(good.sign({ ...message, ...change })).rejects.toMatchObject({ code: 'VALIDATORS_INVALID' })
  })

  it('keeps its key when the caller wipes the bytes it was made of', async () => {
    const bytes = Uint8Array.from(secretKey)
    const wallet = createManagerWallet(bytes)
    bytes.fill(0)
    wallet.addressBytes.fill(0)
    expect(toHex((await wallet.sign(message)).signature)).toBe(toHex((await good.sign(message)).signature))
  })

  it('pads r and s to 32 bytes, and keeps s low', async () => {
    const short = { r: false, s: false }
    for (let chainId = 1; !(short.r && short.s); chainId++) {
      const { signature: bytes } = await good.sign({ ...message, chainId })
      short.r ||= bytes[0] === 0
      short.s ||= bytes[32] === 0
      expect(bytes).toHaveLength(65)
      expect(bytes[32]).toBeLessThan(0x80)
    }
  })

  it('gives away nothing that does not give its address', async () => {
    const right = (await good.sign(message)).signature
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
    const s = BigInt(toHex(right.subarray(32, 64)))
    const high = fromHex((order - s).toString(16).padStart(64, '0'), 32)
    const wrong: [string, SignDigest][] = [
      ['another key', async () => (await createManagerWallet(secretKey.with(0, 1)).sign(message)).signature],
      ['another message', async () => (await good.sign({ ...message, chainId: 2 })).signature],
      ['the other v', async () => right.with(64, 55 - (right[64] ?? 0))],
      ['v of 0 or 1', async () => right.with(64, (right[64] ?? 0) - 27)],
      ['the high s', async () => Uint8Array.of(...right.subarray(0, 32), ...high, 55 - (right[64] ?? 0))],
      ['zeros', async () => new Uint8Array(65).fill(27, 64)],
      ['64 bytes', async () => right.subarray(0, 64)],
      ['66 bytes', async () => Uint8Array.of(...right, 0)],
      [
        'an error with the key in it',
        async (_, key) => {
          throw new Error(`cannot sign with ${toHex(key)}`)
        },
      ],
    ]
    for (const [what, signDigest] of wrong) {
      const error = await createManagerWallet(secretKey, signDigest)
        .sign(message)
        .catch((reason: unknown) => reason)
      expect(error, what).toMatchObject({ code: 'MANAGER_SIGNATURE_WRONG', meta: { address: good.address } })
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('5ec4e7')
    }
  })

  it('does not show its key', () => {
    expect(Object.isFrozen(good)).toBe(true)
    expect(Object.getOwnPropertyNames(good).sort()).toEqual(['address', 'addressBytes', 'sign'])
    const shown = `${inspect(good, { depth: 10, showHidden: true })} ${JSON.stringify(good)}`
    expect(shown).not.toContain('5ec4e7')
    expect(shown).not.toContain(String([...secretKey.subarray(0, 3)]))
  })

  it('is what viem recovers from the typed data', async () => {
    const { signature: bytes } = await good.sign(message)
    const address = await recoverTypedDataAddress({
      domain: { name: 'VaultValidators', version: '1', chainId: 1, verifyingContract: toHex(vault) },
      types: {
        VaultValidators: [
          { name: 'validatorsRegistryRoot', type: 'bytes32' },
          { name: 'validators', type: 'bytes' },
        ],
      },
      primaryType: 'VaultValidators',
      message: { validatorsRegistryRoot: toHex(message.validatorsRegistryRoot), validators: toHex(message.validators) },
      signature: toHex(bytes),
    })
    expect(address).toBe(good.address)
  })
})

describe('the canonical order', () => {
  const entries = Array.from({ length: 5 }, (_, position) => ({
    publicKey: new Uint8Array(48).fill(200 - 50 * (position % 4)),
    amountGwei: BigInt(position),
  }))

  it('is the same for every order of the same validators, and holds each of them once', () => {
    const whole = inCanonicalOrder(encodeWithdrawals(entries), 5)
    for (let turn = 0; turn < 5; turn++) {
      const turned = [...entries.slice(turn), ...entries.slice(0, turn)]
      for (const order of [turned, turned.toReversed()])
        expect(inCanonicalOrder(encodeWithdrawals(order), 5)).toEqual(whole)
    }
    const size = whole.length / 5
    const held = Array.from({ length: 5 }, (_, position) =>
      toHex(whole.subarray(position * size, (position + 1) * size)),
    )
    expect(held).toEqual(entries.map((entry) => toHex(encodeWithdrawals([entry]))).toSorted())
    expect(inCanonicalOrder(encodeWithdrawals(entries.slice(1)), 4)).not.toEqual(whole)
    expect(
      inCanonicalOrder(encodeWithdrawals(entries.with(0, { ...entries[1], amountGwei: 9n } as never)), 5),
    ).not.toEqual(whole)
  })

  it('does not change the bytes it is given', () => {
    const bytes = encodeWithdrawals(entries)
    const before = toHex(bytes)
    inCanonicalOrder(bytes, 5)
    expect(toHex(bytes)).toBe(before)
  })

  it.each([0, 3, 6, 1000])('is none of bytes that are not those of %i validators', (count) => {
    expect(() => inCanonicalOrder(encodeWithdrawals(entries), count)).toThrow('the bytes are not those of')
  })
})

it('an amount may be none or the largest uint64, and no bytes are those of no validators', () => {
  const amounts = [0n, 2n ** 64n - 1n].map((amountGwei) =>
    encodeWithdrawals([{ publicKey: new Uint8Array(48), amountGwei }]).slice(-8),
  )
  expect(amounts).toEqual([new Uint8Array(8), new Uint8Array(8).fill(0xff)])
  expect(() => inCanonicalOrder(new Uint8Array(), 1)).toThrow('the bytes are not those of')
})
