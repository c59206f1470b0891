import {
  encodeConsolidations,
  encodeFunding,
  encodeWithdrawals,
} from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { describe, expect, it } from 'vitest'
import { createVaultActions } from './vault-actions.ts'

const VAULT = new Uint8Array(20).fill(1)
const NONCE_ROOT = new Uint8Array(32).fill(5)
const SIGNATURE = new Uint8Array(65).fill(6)
const ETH = 1_000_000_000
type Amount = readonly [number: number, gwei: number]
const key = (number: number) => new Uint8Array(48).fill(number)

/** Validators of the vault by number: active ones of type 0x02 that it has registered, with as many ETH as their number, unless told. */
function setUp(told: Readonly<Record<number, { type?: '0x01'; status?: string; isStrange?: true }>> = {}) {
  const signed: unknown[] = []
  const asked: string[][] = []
  const ofKeys = (publicKeys: readonly Uint8Array[]) =>
    new Map(
      publicKeys.map(({ 0: number = 0 }) => {
        const { type = '0x02', status = 'active_ongoing' } = told[number] ?? {}
        const credentials = toHex(withdrawalCredentials(type, VAULT))
        return [toHex(key(number)), { withdrawalCredentials: credentials, status, balanceGwei: BigInt(number * ETH) }]
      }),
    )
  const actions = createVaultActions({
    config: { limits: { keys: 4 } } as never,
    chain: { registry: { findValidators: async (keys: readonly Uint8Array[]) => ofKeys(keys) } } as never,
    manager: {
      assertWallet: () => {},
      sign: async (request: unknown) => {
        signed.push(request)
        return SIGNATURE
      },
    } as never,
    vaultReader: {
      read: async (_: Uint8Array, keys: readonly Uint8Array[]) => {
        asked.push(keys.map((key) => toHex(key)))
        return { nonceRoot: NONCE_ROOT, isCompounding: ([number = 0]: Uint8Array) => told[number]?.isStrange !== true }
      },
    } as never,
  })
  const items = (amounts: readonly Amount[]) =>
    amounts.map(([number, amountGwei]) => ({ publicKey: key(number), amountGwei }))
  return {
    signed,
    /** The keys that the vault was asked about, by question. */
    asked,
    fund: (...amounts: readonly Amount[]) => actions.fund(VAULT, items(amounts), 'a token'),
    withdraw: (...amounts: readonly Amount[]) => actions.withdraw(VAULT, items(amounts), 'a token'),
    consolidate: (...moves: readonly (readonly [source: number, target: number])[]) =>
      actions.consolidate(
        VAULT,
        moves.map(([source, target]) => ({ source: key(source), target: key(target) })),
        'a token',
      ),
  }
}
/** What is refused of a request, by position. */
const refusal = (asking: Promise<unknown>) =>
  asking.then(
    () => 'signed',
    ({ code, failures = [] }: { code: string; failures?: { index: number; code: string }[] }) =>
      [code, ...failures.map((failure) => `${failure.index} ${failure.code}`)].join(' '),
  )
const inGwei = (...amounts: readonly Amount[]) =>
  amounts.map(([number, gwei]) => ({ publicKey: key(number), amountGwei: BigInt(gwei) }))
const common = { vault: VAULT, requester: 'a token', registryRoot: NONCE_ROOT }

describe('funding', () => {
  it('is signed for validators of type 0x02 that wait or are active, and moves what it adds', async () => {
    const { fund, signed, asked } = setUp({ 2: { status: 'pending_queued' }, 3: { status: 'pending_initialized' } })
    const amounts = [
      [1, ETH],
      [2, 2048 * ETH],
      [3, ETH + 1],
    ] as const
    expect(await fund(...amounts)).toBe(SIGNATURE)
    expect(signed).toEqual([
      {
        ...{ action: 'fund', ...common, validatorCount: 3, amountGwei: BigInt(2050 * ETH + 1) },
        validators: encodeFunding({ vault: VAULT, validators: inGwei(...amounts) }),
      },
    ])
    expect(asked).toEqual([[1, 2, 3].map((number) => toHex(key(number)))])
  })

  it('is refused for what is no amount, and names each such', async () => {
    const { fund, signed, asked } = setUp()
    expect(await refusal(fund([1, ETH - 1], [2, ETH], [3, 2048 * ETH + 1], [4, 0]))).toBe(
      'AMOUNT_INVALID 0 AMOUNT_INVALID 2 AMOUNT_INVALID 3 AMOUNT_INVALID',
    )
    expect(await refusal(fund([1, ETH], [1, ETH]))).toMatch(/^PUBLIC_KEY_DUPLICATE/)
    expect([signed, asked]).toEqual([[], []])
  })

  it('is refused for what is no validator of type 0x02 that goes on, also as the vault has it', async () => {
    const { fund, signed } = setUp({ 1: { type: '0x01' }, 2: { status: 'active_exiting' }, 3: { isStrange: true } })
    expect(await refusal(fund([1, ETH], [2, ETH], [3, ETH], [4, ETH]))).toBe(
      'VALIDATORS_REFUSED 0 VALIDATOR_TYPE 1 VALIDATOR_STATUS 2 VALIDATOR_UNREGISTERED',
    )
    expect(signed).toEqual([])
  })
})

describe('withdrawing', () => {
  it('is signed in part of type 0x02 and in full of either, and moves amounts and balances', async () => {
    const { withdraw, signed, asked } = setUp({ 2: { type: '0x01' }, 4: { isStrange: true } })
    const amounts = [
      [1, 1],
      [2, 0],
      [3, 2048 * ETH],
      [4, 0],
    ] as const
    expect(await withdraw(...amounts)).toBe(SIGNATURE)
    expect(signed).toEqual([
      {
        ...{ action: 'withdraw', ...common, validatorCount: 4, amountGwei: BigInt((2 + 2048 + 4) * ETH + 1) },
        validators: encodeWithdrawals(inGwei(...amounts)),
      },
    ])
    expect(asked).toEqual([[]])
  })

  it('is refused for what is no amount, in part of type 0x01, and for what is not active', async () => {
    const { withdraw, signed, asked } = setUp({
      1: { type: '0x01' },
      2: { status: 'pending_queued' },
      3: { status: 'active_exiting' },
    })
    expect(await refusal(withdraw([3, 0], [4, 2048 * ETH + 1]))).toBe('AMOUNT_INVALID 1 AMOUNT_INVALID')
    expect(await refusal(withdraw([1, 1], [2, 0], [3, 1], [4, 1]))).toBe(
      'VALIDATORS_REFUSED 0 VALIDATOR_TYPE 1 VALIDATOR_STATUS 2 VALIDATOR_STATUS',
    )
    expect(await refusal(withdraw([4, 0], [4, 1]))).toMatch(/^PUBLIC_KEY_DUPLICATE/)
    expect([signed, asked]).toEqual([[], []])
  })
})

describe('consolidating', () => {
  it('is signed into type 0x02 as the vault has it, and a switch into itself, which moves nothing', async () => {
    const { consolidate, signed, asked } = setUp({ 1: { type: '0x01' }, 3: { type: '0x01' }, 4: { isStrange: true } })
    const moves = [
      [1, 2],
      [3, 3],
      [4, 2],
    ] as const
    expect(await consolidate(...moves)).toBe(SIGNATURE)
    expect(signed).toEqual([
      {
        ...{ action: 'consolidate', ...common, validatorCount: 3, amountGwei: BigInt(5 * ETH) },
        validators: encodeConsolidations(
          moves.map(([source, target]) => ({ sourcePublicKey: key(source), targetPublicKey: key(target) })),
        ),
      },
    ])
    expect(asked).toEqual([[toHex(key(2)), toHex(key(2))]])
  })

  it('is refused from what is not active, and as a switch of what is of type 0x02 already', async () => {
    const { consolidate } = setUp({ 1: { status: 'active_exiting' } })
    expect(await refusal(consolidate([1, 4], [2, 2], [3, 4]))).toBe(
      'VALIDATORS_REFUSED 0 VALIDATOR_STATUS 1 VALIDATOR_TYPE',
    )
    expect(await refusal(consolidate([2, 4], [2, 3]))).toMatch(/^PUBLIC_KEY_DUPLICATE/)
  })

  it('is refused into what cannot take in', async () => {
    const { consolidate, signed } = setUp({
      2: { type: '0x01' },
      3: { status: 'pending_queued' },
      4: { isStrange: true },
    })
    expect(await refusal(consolidate([1, 2], [5, 3], [6, 4], [7, 8]))).toBe(
      'VALIDATORS_REFUSED 0 VALIDATOR_TYPE 1 VALIDATOR_STATUS 2 VALIDATOR_UNREGISTERED',
    )
    expect(signed).toEqual([])
  })

  it('is refused into what ends with it, but for a switch', async () => {
    const { consolidate, signed, asked } = setUp({ 3: { type: '0x01' } })
    expect(await refusal(consolidate([1, 2], [2, 4], [5, 1]))).toBe(
      'PUBLIC_KEY_DUPLICATE 0 PUBLIC_KEY_DUPLICATE 2 PUBLIC_KEY_DUPLICATE',
    )
    expect([signed, asked]).toEqual([[], []])
    expect(await refusal(consolidate([3, 3], [1, 2]))).toBe('signed')
  })
})

it('no action is signed for more keys than a request may have', async () => {
  const { fund, withdraw, consolidate, signed } = setUp()
  const numbers = [1, 2, 3, 4, 5]
  const amounts = numbers.map((number) => [number, ETH] as const)
  expect(await refusal(fund(...amounts))).toBe('TOO_MANY_KEYS')
  expect(await refusal(withdraw(...amounts))).toBe('TOO_MANY_KEYS')
  expect(await refusal(consolidate(...numbers.map((number) => [number, 9] as const)))).toBe('TOO_MANY_KEYS')
  expect(signed).toEqual([])
})
