/** The rules of the vault's stand-in that no relayer's test comes upon: they are those of StakeWise's own contracts. */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { oracleAddress } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { concatHex, numberToHex } from 'viem/utils'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Anvil, deployKeeper, type Keeper, skipWithoutAnvil, startAnvil } from '../chain/anvil.ts'
import { makeOracles } from '../chain/oracles.ts'
import { signValidators } from '../keys/manager-wallet.ts'
import { encodeDeposit } from '../operator/operator-encoding.ts'
import { joinSignatures, signConsolidation, signRegistration } from '../oracle/oracle-approvals.ts'
import { type DepositContract, deployDepositContract } from './deposits.ts'
import { deployContract, type Outcome, writeContract } from './transactions.ts'
import { type ConsolidationsChecker, deployConsolidationsChecker, deployVault, type Vault } from './vault.ts'

const CHAIN_ID = 31_337
const MIN = 2
const KEY = `0x${'5a'.repeat(32)}` as const
const MANAGER = privateKeyToAccount(KEY).address
const oracles = makeOracles(3).map(({ secretKey, publicKey }) => ({
  key: toHex(secretKey),
  oracle: oracleAddress(publicKey),
}))

let anvil: Anvil
let keeper: Keeper
let checker: ConsolidationsChecker
let depositContract: DepositContract
/** One whose oracles approve registrations, for each test its own. */
let vault: Vault
beforeAll(async () => {
  if (skipWithoutAnvil) return
  anvil = await startAnvil({ chainId: CHAIN_ID })
  keeper = await deployKeeper(anvil, { keeper: Buffer.from('4ee9'.padStart(40, '0'), 'hex') })
  checker = await deployConsolidationsChecker(anvil, keeper)
  depositContract = await deployDepositContract(anvil)
  const addresses = oracles.map(({ oracle }) => oracle)
  expect(await keeper.setOracles(addresses, MIN)).toMatchObject({ ok: true })
})
beforeEach(async () => {
  if (!skipWithoutAnvil) vault = await deployVault(anvil, { manager: MANAGER, depositContract, keeper, checker })
})
afterAll(() => anvil?.[Symbol.asyncDispose]())

let made = 0
/** A key that nobody has. */
const newKey = (): Hex => numberToHex(++made, { size: 48 })
const depositOf = (key: Hex, signature = new Uint8Array(96)) =>
  encodeDeposit(vault.address, '0x02', key, 32_000_000_000, signature)
const signWith = async (root: Hex, validators: Hex) =>
  signValidators(KEY, { chainId: CHAIN_ID, vault: vault.address }, { root, validators })
const sign = async (validators: Hex) => signWith(numberToHex(await vault.nonce(), { size: 32 }), validators)

/** Registers as the oracles approve it. */
async function register(key = newKey()): Promise<Outcome> {
  const [root, validators] = [await depositContract.root(), depositOf(key)]
  const registration = { root, vault: vault.address, validators, ipfsHash: 'Qm' }
  const deadline = Math.floor(Date.now() / 1000) + 600
  const domain = { chainId: CHAIN_ID, keeper: keeper.address }
  const signed = oracles.map(async ({ key: privateKey, oracle }) => ({
    oracle,
    signature: await signRegistration(privateKey, domain, { ...registration, deadline }),
  }))
  const signatures = joinSignatures(await Promise.all(signed), MIN)
  return vault.registerApproved(root, validators, await signWith(root, validators), {
    ...{ ipfsHash: 'Qm', deadline, signatures },
  })
}
const fund = async (...keys: Hex[]) => {
  const validators = concatHex(keys.map((key) => depositOf(key)))
  return vault.fund(validators, await sign(validators))
}
const withdraw = async (key: Hex) => {
  const validators = concatHex([key, numberToHex(1, { size: 8 })])
  return vault.withdraw(validators, await sign(validators))
}
const consolidate = async (source: Hex, target: Hex, approval?: Hex) =>
  vault.consolidate(concatHex([source, target]), await sign(concatHex([source, target])), approval)

/** What these oracles, by place, have signed for a consolidation, in ascending order. */
async function approve(validators: Hex, positions: readonly number[], change: { vault?: Hex; checker?: Hex } = {}) {
  const place = { chainId: CHAIN_ID, checker: change.checker ?? checker.address }
  const signed = positions.map(async (position) => {
    const { key = KEY, oracle = MANAGER } = oracles[position] ?? {}
    return {
      oracle,
      signature: await signConsolidation(key, place, { vault: change.vault ?? vault.address, validators }),
    }
  })
  return joinSignatures(await Promise.all(signed), positions.length)
}

const error = (name: string) => ({ ok: false, error: name })
const ok = { ok: true }

describe.skipIf(skipWithoutAnvil)('a vault', () => {
  it('has as 0x02 what it has registered as such, and what the oracles have approved as the end of a consolidation', async () => {
    const [own, old, strange] = [newKey(), newKey(), newKey()]
    expect(await register(own)).toMatchObject(ok)
    expect(await vault.isCompounding(own)).toBe(true)
    expect(await fund(own)).toMatchObject(ok)
    expect(await fund(own, strange)).toEqual(error('UnknownValidator'))
    expect(await consolidate(strange, own)).toMatchObject(ok)
    expect(await consolidate(own, strange)).toEqual(error('UnknownValidator'))
    expect(await consolidate(old, old)).toEqual(error('UnknownValidator'))
    expect(await consolidate(old, old, await approve(concatHex([old, old]), [0, 2]))).toMatchObject(ok)
    expect(await vault.isCompounding(old)).toBe(true)
    expect(await fund(old)).toMatchObject(ok)
  })

  it('takes what the oracles have signed for this vault, these validators and this checker alone', async () => {
    await register()
    const old = newKey()
    const pair = concatHex([old, old])
    const wrong = [
      await approve(pair, [0]),
      await approve(pair, [0, 7]),
      await approve(concatHex([old, newKey()]), [0, 1]),
      await approve(pair, [0, 1], { vault: MANAGER }),
      await approve(pair, [0, 1], { checker: keeper.address }),
      concatHex([await approve(pair, [1]), await approve(pair, [1])]),
    ]
    for (const approval of wrong) expect(await consolidate(old, old, approval)).toEqual(error('InvalidSignatures'))
    // What comes after as many as are needed is not looked at.
    expect(await consolidate(old, old, concatHex([await approve(pair, [0, 1]), '0x00']))).toMatchObject(ok)
  })

  it('neither withdraws nor consolidates before it has registered a validator', async () => {
    const key = newKey()
    await vault.addCompounding(key)
    expect(await withdraw(key)).toEqual(error('NotCollateralized'))
    expect(await consolidate(newKey(), key)).toEqual(error('NotCollateralized'))
    expect(await register()).toMatchObject(ok)
    expect(await withdraw(key)).toMatchObject(ok)
    expect(await consolidate(newKey(), key)).toMatchObject(ok)
  })

  it('neither registers nor funds two announcements of rewards behind, and does so again once it has harvested', async () => {
    const key = newKey()
    await register(key)
    await keeper.updateRewards()
    expect(await fund(key)).toMatchObject(ok)
    await keeper.updateRewards()
    expect(await fund(key)).toEqual(error('NotHarvested'))
    expect(await register()).toEqual(error('NotHarvested'))
    expect(await withdraw(key)).toMatchObject(ok)
    expect(await vault.harvest()).toMatchObject(ok)
    expect(await fund(key)).toMatchObject(ok)
    expect(await register()).toMatchObject(ok)
  })

  it('takes nobody’s signature while it has no manager, and no bytes that are none', async () => {
    await register()
    expect(await vault.withdraw('0x', await signWith(numberToHex(await vault.nonce(), { size: 32 }), '0x'))).toEqual(
      error('InvalidSignature'),
    )
    await vault.setManager(`0x${'00'.repeat(20)}`)
    expect(await withdraw(newKey())).toEqual(error('InvalidSignature'))
  })

  it('takes a call of the manager itself without a signature, and counts nothing then', async () => {
    await register()
    const [nonce, validators] = [await vault.nonce(), concatHex([newKey(), numberToHex(1, { size: 8 })])]
    expect(await vault.withdraw(validators, '0x')).toEqual(error('InvalidSignature'))
    const [account = MANAGER] = (await anvil.rpc('eth_accounts')) as Hex[]
    await vault.setManager(account)
    expect(await vault.withdraw(validators, '0x')).toMatchObject(ok)
    expect(await vault.nonce()).toBe(nonce)
  })

  it('asks the code where the manager is a contract, or has delegated to one', async () => {
    await register()
    const wallet = await deployContract(anvil, 'OwnedWallet', [MANAGER])
    await vault.setManager(wallet.address)
    expect(await withdraw(newKey())).toMatchObject(ok)
    const foreign = await deployContract(anvil, 'OwnedWallet', [wallet.address])
    for (const manager of [foreign.address, keeper.address]) {
      await vault.setManager(manager)
      expect(await withdraw(newKey())).toEqual(error('InvalidSignature'))
    }
    await vault.setManager(MANAGER)
    for (const [delegate, outcome] of [
      [keeper.address, error('InvalidSignature')],
      [wallet.address, ok],
    ] as const) {
      await anvil.rpc('anvil_setCode', MANAGER, concatHex(['0xef0100', delegate]))
      expect(await withdraw(newKey())).toMatchObject(outcome)
    }
    await anvil.rpc('anvil_setCode', MANAGER, '0x')
    expect(await withdraw(newKey())).toMatchObject(ok)
  })

  it('has its manager named by its admin alone', async () => {
    const somebody: Anvil = {
      ...anvil,
      rpc: async (method, ...params) => (method === 'eth_accounts' ? [MANAGER] : anvil.rpc(method, ...params)),
    }
    await anvil.rpc('anvil_setBalance', MANAGER, '0xde0b6b3a7640000')
    await anvil.rpc('anvil_impersonateAccount', MANAGER)
    const { abi } = await deployContract(anvil, 'Vault', [depositContract.address, keeper.address, checker.address])
    const there = { address: vault.address, abi }
    expect(await writeContract(somebody, there, 'setValidatorsManager', [MANAGER])).toEqual(error('NotAdmin'))
    expect(await writeContract(somebody, keeper, 'updateRewards', [])).toEqual(error('NotOwner'))
  })

  it('tells fundings and consolidations from each other, whatever their number', async () => {
    const keys = Array.from({ length: 12 }, newKey)
    await register()
    await vault.addCompounding(...keys)
    const fundings = concatHex(keys.map((key) => depositOf(key)))
    expect(fromHex(fundings).length % 96).toBe(0)
    // Bytes of a signature that is none are nobody's key.
    expect(await vault.consolidate(fundings, await sign(fundings))).toEqual(error('UnknownValidator'))
    const pairs = concatHex(Array.from({ length: 23 }, () => [newKey(), keys[0] ?? '0x']).flat())
    expect(await vault.fund(pairs, await sign(pairs))).toMatchObject({ ok: false })
  })
})
