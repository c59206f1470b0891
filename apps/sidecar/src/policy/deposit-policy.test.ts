import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { describe, expect, it } from 'vitest'
import { readFixtureJson } from '../../../../test/support/keys/fixtures.ts'
import { createDepositPolicy } from './deposit-policy.ts'
import type { WantedDeposit } from './wanted.ts'

const VAULT = `0x${'ab'.repeat(20)}`
const OTHER = `0x${'cd'.repeat(20)}`
const DEPOSIT: WantedDeposit = { vault: VAULT, amountGwei: 32e9, validatorType: '0x01' }
const inLock = (withdrawalAddress: string | undefined) => ({ withdrawalAddress })

describe('deposit policy', () => {
  it('computes the signing roots of the official messages, on the network that is set', () => {
    const { cases } = readFixtureJson('vectors/deposit_data.json') as {
      cases: {
        network: 'mainnet' | 'hoodi' | 'gnosis'
        pubkey: string
        vault: string
        validator_type: '0x01' | '0x02'
        amount_gwei: string
        signing_root: string
      }[]
    }
    expect(cases.length).toBeGreaterThan(5)
    for (const { network, pubkey, vault, validator_type: validatorType, amount_gwei, signing_root } of cases) {
      const wanted = { vault, validatorType, amountGwei: Number(amount_gwei) }
      for (const name of ['mainnet', 'hoodi', 'gnosis'] as const) {
        const { signingRoot, message } = createDepositPolicy(networks[name], []).deposit(pubkey, wanted)
        const credentials = Buffer.concat([
          fromHex(validatorType, 1),
          new Uint8Array(11),
          fromHex(vault.toLowerCase(), 20),
        ])
        expect(message).toEqual({
          kind: 'deposit',
          withdrawalCredentials: new Uint8Array(credentials),
          amountGwei: BigInt(amount_gwei),
        })
        const root = toHex(signingRoot)
        if (name === network) expect(root).toBe(signing_root)
        else expect(root).not.toBe(signing_root)
      }
    }
  })

  it.each([
    ['0x01', 32e9, undefined],
    ['0x01', 32e9 - 1, 'amount_not_allowed'],
    ['0x01', 32e9 + 1, 'amount_not_allowed'],
    ['0x01', 2048e9, 'amount_not_allowed'],
    ['0x01', 1, 'amount_not_allowed'],
    ['0x02', 32e9, undefined],
    ['0x02', 32e9 + 1, undefined],
    ['0x02', 2048e9, undefined],
    ['0x02', 32e9 - 1, 'amount_not_allowed'],
    ['0x02', 2048e9 + 1, 'amount_not_allowed'],
    ['0x02', Number.MAX_SAFE_INTEGER, 'amount_not_allowed'],
  ] as const)('type %s with %i Gwei: %s', (validatorType, amountGwei, verdict) => {
    const policy = createDepositPolicy(networks.hoodi, [])
    expect(policy.judge(inLock(VAULT), { ...DEPOSIT, validatorType, amountGwei })).toBe(verdict)
  })

  it.each([
    // allowed vaults, withdrawal address of the lock, verdict for VAULT
    [[], VAULT, undefined],
    [[], OTHER, 'vault_not_in_lock'],
    [[], undefined, undefined],
    [[VAULT], VAULT, undefined],
    [[VAULT], undefined, undefined],
    [[OTHER, VAULT], VAULT, undefined],
    [[VAULT], OTHER, 'vault_not_in_lock'],
    [[OTHER], VAULT, 'vault_not_allowed'],
    [[OTHER], undefined, 'vault_not_allowed'],
    [[OTHER], OTHER, 'vault_not_allowed'],
  ] as const)('allowed %j, in the lock %s: %s', (allowed, withdrawalAddress, verdict) => {
    expect(createDepositPolicy(networks.hoodi, allowed).judge(inLock(withdrawalAddress), DEPOSIT)).toBe(verdict)
    const onReal = allowed.length === 0 && withdrawalAddress === undefined ? 'vault_unnamed' : verdict
    for (const network of [networks.mainnet, networks.gnosis, { ...networks.mainnet, name: 'under another name' }])
      expect(createDepositPolicy(network, allowed).judge(inLock(withdrawalAddress), DEPOSIT)).toBe(onReal)
  })
})
