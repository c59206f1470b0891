import type { DepositRow } from '@dvt-relayer/db/queries/messages/messages.ts'
import { describe, expect, it } from 'vitest'
import { isLapsed, isSameDeposit, MANY_VAULTS, nameAfter, requesterOf, requesterOfVault } from './assign.ts'

const [ONE, OTHER] = [new Uint8Array(20).fill(1), new Uint8Array(20).fill(2)]
const [VAULT_ONE, VAULT_OTHER] = [requesterOfVault(ONE), requesterOfVault(OTHER)]

describe('who asks for a key', () => {
  it('is the vault that alone may have it, or the only one of the token, and else one of many', () => {
    const of = (vaults: Uint8Array[] | undefined, owner?: Uint8Array | null) =>
      requesterOf({ name: 'a', vaults }, owner)
    expect(VAULT_ONE).toBe(`vault:0x${'01'.repeat(20)}`)
    expect(of([ONE])).toBe(VAULT_ONE)
    expect(of([ONE], null)).toBe(VAULT_ONE)
    expect(of([ONE, ONE])).toBe(VAULT_ONE)
    expect(of([ONE, OTHER])).toBe(MANY_VAULTS)
    expect(of([])).toBe(MANY_VAULTS)
    expect(of([ONE, OTHER], OTHER)).toBe(VAULT_OTHER)
    expect(of([ONE], OTHER)).toBe(VAULT_OTHER)
    expect(of(undefined)).toBe(MANY_VAULTS)
    expect(of(undefined, ONE)).toBe(MANY_VAULTS)
  })

  it('has no name where there are no tokens', () => {
    expect(requesterOf({ name: null, vaults: undefined }, undefined)).toBeNull()
    expect(requesterOf({ name: null, vaults: [ONE] }, ONE)).toBeNull()
  })

  it('gives the message its name, but takes none from a vault that asks for many', () => {
    expect(nameAfter(VAULT_ONE, MANY_VAULTS)).toBeNull()
    expect(nameAfter('a', MANY_VAULTS)).toBe(MANY_VAULTS)
    expect(nameAfter(null, MANY_VAULTS)).toBe(MANY_VAULTS)
    expect(nameAfter(MANY_VAULTS, MANY_VAULTS)).toBe(MANY_VAULTS)
    expect(nameAfter(VAULT_ONE, VAULT_OTHER)).toBe(VAULT_OTHER)
    expect(nameAfter(MANY_VAULTS, VAULT_ONE)).toBe(VAULT_ONE)
    expect(nameAfter(VAULT_ONE, null)).toBeNull()
  })
})

it('a message has lapsed that expired, or that nobody has asked for longer than its lifetime', () => {
  const config = { validatorLifetimeSeconds: 100 } as Parameters<typeof isLapsed>[1]
  expect(isLapsed({ state: 'expired', idleSeconds: 0 }, config)).toBe(true)
  expect(isLapsed({ state: 'ready', idleSeconds: 101 }, config)).toBe(true)
  expect(isLapsed({ state: 'ready', idleSeconds: 100 }, config)).toBe(false)
  expect(isLapsed({ state: 'collecting', idleSeconds: 0 }, config)).toBe(false)
})

it('a deposit is the same to the same vault, of the same amount and type', () => {
  const deposit = { vault: Buffer.from(ONE), amountGwei: 32e9, validatorType: '0x02' } as DepositRow
  const wanted = { vault: ONE, amountGwei: 32e9, validatorType: '0x02' } as const
  expect(isSameDeposit(wanted, deposit)).toBe(true)
  for (const other of [{ vault: OTHER }, { amountGwei: 33e9 }, { validatorType: '0x01' as const }])
    expect(isSameDeposit({ ...wanted, ...other }, deposit)).toBe(false)
})
