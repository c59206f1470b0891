import { randomBytes } from 'node:crypto'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { listRoot } from '@dvt-relayer/crypto/ssz.ts'
import type { Hex } from 'viem'
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import { concatHex, numberToHex, slice, toHex } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Anvil, skipWithoutAnvil, startAnvil } from '../../support/chain/anvil.ts'
import { depositOfVector } from '../../support/chain/beacon.ts'
import { type DepositContract, deployDepositContract, depositBySomebodyElse } from '../../support/chain/deposits.ts'
import { type Outcome, writeContract } from '../../support/chain/transactions.ts'
import { deployVault, type Vault } from '../../support/chain/vault.ts'
import { readFixtureJson } from '../../support/fixtures.ts'
import { signValidators } from '../../support/manager-wallet.ts'
import { encodeDeposit } from '../../support/operator-encoding.ts'

const CHAIN_ID = 31_337
const ETH = 1_000_000_000
const WEI = 10n ** 18n

type Vector = Parameters<typeof depositOfVector>[0] & { deposit_data_root: string }
const { cases: vectors } = readFixtureJson('vectors/deposit_data.json') as { cases: Vector[] }

const managerKey = generatePrivateKey()
const manager = privateKeyToAddress(managerKey)
let anvil: Anvil
beforeAll(async () => {
  if (!skipWithoutAnvil) anvil = await startAnvil({ chainId: CHAIN_ID, quickFinality: true })
})
afterAll(() => anvil?.[Symbol.asyncDispose]())

const random = (bytes: number): Hex => toHex(randomBytes(bytes))
const refused = (error: string): Outcome => ({ ok: false, error })
/** The same bytes with one bit of the byte at `place` turned. */
const turned = (bytes: Hex, place: number): Hex =>
  toHex(fromHex(bytes).map((byte, at) => (at === place ? byte ^ 1 : byte)))

interface Signed {
  root: Hex
  validators: Hex
  privateKey?: Hex
  chainId?: number
  vault?: Hex
  version?: string
}

/** The manager's signature for this vault, but for what is given. */
function sign(vault: Vault, { root, validators, privateKey = managerKey, ...domain }: Signed): Promise<Hex> {
  return signValidators(privateKey, { chainId: CHAIN_ID, vault: vault.address, ...domain }, { root, validators })
}

/** A validator as the vault takes it. */
function item(vault: Hex, type: '0x01' | '0x02', amountGwei = 32 * ETH, publicKey = random(48)): Hex {
  return encodeDeposit(vault, type, publicKey, amountGwei, randomBytes(96))
}

describe.skipIf(skipWithoutAnvil)('the deposit contract', () => {
  it('has the root of the list of its deposits, whatever their number', async () => {
    const contract = await deployDepositContract(anvil)
    const leaves: Uint8Array[] = []
    const check = async () => {
      expect(await contract.root()).toBe(toHex(listRoot(leaves, 2 ** 32)))
      expect(await contract.count()).toBe(leaves.length)
    }
    // The root of a list of none is the same on every chain.
    expect(await contract.root()).toBe('0xd70a234731285c6804c2a4f56711ddb8c82c99740f207854891028af34e27e5e')
    await check()
    for (const vector of vectors.slice(0, 5)) {
      expect(await depositBySomebodyElse(anvil, contract, depositOfVector(vector))).toMatchObject({ ok: true })
      leaves.push(fromHex(vector.deposit_data_root, 32))
      await check()
    }
    expect(leaves).toHaveLength(5)
  })

  it('says in its events what was deposited, in little-endian numbers', async () => {
    const contract = await deployDepositContract(anvil)
    const deposits = vectors.slice(0, 2).map(depositOfVector)
    for (const deposit of deposits) await depositBySomebodyElse(anvil, contract, deposit)
    expect(await contract.events()).toMatchObject(deposits.map((deposit, index) => ({ ...deposit, index })))
  })

  it('loses what a reorganised block held', async () => {
    const contract = await deployDepositContract(anvil)
    const [first, second] = vectors.map(depositOfVector)
    if (first === undefined || second === undefined) throw new Error('too few vectors')
    await depositBySomebodyElse(anvil, contract, first)
    const before = await contract.root()
    await depositBySomebodyElse(anvil, contract, second)
    await anvil.reorg(1)
    expect(await contract.root()).toBe(before)
    expect(await contract.events()).toHaveLength(1)
  })

  it('refuses what is malformed', async () => {
    const contract = await deployDepositContract(anvil)
    const [vector] = vectors
    if (vector === undefined) throw new Error('too few vectors')
    const { pubkey, withdrawal_credentials, signature, deposit_data_root } = vector
    const fields = [pubkey, withdrawal_credentials, signature, deposit_data_root] as Hex[]
    const deposit = (args: Hex[], wei = 32n * WEI) => writeContract(anvil, contract, 'deposit', args, wei)
    for (const place of [0, 1, 2]) {
      const shorter = fields.map((field, at) => (at === place ? slice(field, 1) : field))
      const longer = fields.map((field, at) => (at === place ? concatHex([field, '0x00']) : field))
      expect(await deposit(shorter)).toEqual(refused('WrongLength'))
      expect(await deposit(longer)).toEqual(refused('WrongLength'))
    }
    for (const place of [0, 1, 2, 3]) {
      const tampered = fields.map((field, at) => (at === place ? turned(field, 20) : field))
      expect(await deposit(tampered)).toEqual(refused('WrongDepositDataRoot'))
    }
    expect(await deposit(fields, 33n * WEI)).toEqual(refused('WrongDepositDataRoot'))
    expect(await deposit(fields, WEI - 10n ** 9n)).toEqual(refused('AmountTooSmall'))
    expect(await deposit(fields, 32n * WEI + 1n)).toEqual(refused('AmountNotInGwei'))
    const [account] = (await anvil.rpc('eth_accounts')) as [string]
    const balance = await anvil.rpc('eth_getBalance', account, 'latest')
    await anvil.rpc('anvil_setBalance', account, toHex(2n ** 64n * 2n * 10n ** 9n))
    expect(await deposit(fields, 2n ** 64n * 10n ** 9n)).toEqual(refused('AmountTooLarge'))
    await anvil.rpc('anvil_setBalance', account, balance)
    expect(await contract.count()).toBe(0)
    expect(await deposit(fields)).toMatchObject({ ok: true })
  })

  it('takes 2^32 - 1 deposits and no more', async () => {
    const contract = await deployDepositContract(anvil)
    const [deposit] = vectors.map(depositOfVector)
    if (deposit === undefined) throw new Error('too few vectors')
    // The count lies after the 32 nodes of the tree.
    await anvil.rpc('anvil_setStorageAt', contract.address, numberToHex(32), numberToHex(2 ** 32 - 2, { size: 32 }))
    expect(await depositBySomebodyElse(anvil, contract, deposit)).toMatchObject({ ok: true })
    expect(await depositBySomebodyElse(anvil, contract, deposit)).toEqual(refused('TreeFull'))
  })
})

describe.skipIf(skipWithoutAnvil)('the vault', () => {
  let depositContract: DepositContract
  let vault: Vault
  beforeAll(async () => {
    depositContract = await deployDepositContract(anvil)
    vault = await deployVault(anvil, { manager, depositContract })
  })

  /** Registers over the current root with a signature for exactly that, but for what `but` says. */
  async function register(validators: Hex, but: Partial<Signed> = {}): Promise<Outcome> {
    const root = await depositContract.root()
    return vault.register(root, validators, await sign(vault, { root, validators, ...but }))
  }

  it.each(['0x01', '0x02'] as const)('deposits what the manager signed for, type %s', async (type) => {
    const gwei = type === '0x01' ? [32 * ETH, 32 * ETH] : [32 * ETH, 2_048 * ETH, 33 * ETH + 1]
    const keys = gwei.map(() => random(48))
    const items = gwei.map((amount, i) => item(vault.address, type, amount, keys[i]))
    const [nonce, balance, count] = [await vault.nonce(), await vault.balance(), await depositContract.count()]
    expect(await register(concatHex(items))).toMatchObject({
      ok: true,
      events: gwei.flatMap((amount, i) => [
        { name: 'DepositEvent', args: { pubkey: keys[i] } },
        { name: 'ValidatorRegistered', args: { publicKey: keys[i], amount: BigInt(amount) * 10n ** 9n } },
      ]),
    })
    expect((await depositContract.events()).slice(count)).toMatchObject(
      gwei.map((amount, i) => ({
        publicKey: fromHex(keys[i] ?? '', 48),
        withdrawalCredentials: fromHex(`${type}${'00'.repeat(11)}${vault.address.slice(2)}`, 32),
        amountGwei: BigInt(amount),
      })),
    )
    expect(await vault.nonce()).toBe(nonce + 1n)
    expect(balance - (await vault.balance())).toBe(gwei.reduce((sum, amount) => sum + BigInt(amount) * 10n ** 9n, 0n))
  })

  it('refuses a signature that is not the manager’s for exactly this', async () => {
    const validators = item(vault.address, '0x02', 40 * ETH)
    const root = await depositContract.root()
    const signature = await sign(vault, { root, validators })
    // One byte of each field: key, deposit signature, deposit data root, amount.
    for (const place of [0, 47, 48, 143, 144, 175, 176, 183])
      expect(await vault.register(root, turned(validators, place), signature)).toEqual(refused('InvalidSignature'))
    expect(await vault.register(turned(root, 31), validators, signature)).toEqual(refused('InvalidRegistryRoot'))
    // r, s, v
    for (const place of [0, 31, 33, 63, 64])
      expect(await vault.register(root, validators, turned(signature, place))).toEqual(refused('InvalidSignature'))
    for (const wrong of [slice(signature, 0, 64), concatHex([signature, '0x00']), '0x', numberToHex(0, { size: 65 })])
      expect(await vault.register(root, validators, wrong as Hex)).toEqual(refused('InvalidSignature'))
    const other = await deployVault(anvil, { manager, depositContract })
    const privateKey = generatePrivateKey()
    for (const but of [
      { privateKey },
      { chainId: 1 },
      { vault: other.address },
      { version: '2' },
      { root: random(32) },
    ])
      expect(await register(validators, but)).toEqual(refused('InvalidSignature'))
    expect(await vault.register(root, validators, signature)).toMatchObject({ ok: true })
  })

  it('takes the lower s only, and v 27 or 28', async () => {
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
    const validators = item(vault.address, '0x01')
    const root = await depositContract.root()
    const signature = await sign(vault, { root, validators })
    const [r, s, v] = [slice(signature, 0, 32), BigInt(slice(signature, 32, 64)), Number(slice(signature, 64))]
    // Mathematically as right as the first.
    const high = concatHex([r, numberToHex(order - s, { size: 32 }), numberToHex(v === 27 ? 28 : 27)])
    expect(await vault.register(root, validators, high)).toEqual(refused('InvalidSignature'))
    const low = concatHex([slice(signature, 0, 64), numberToHex(v - 27, { size: 1 })])
    expect(await vault.register(root, validators, low)).toEqual(refused('InvalidSignature'))
    expect(await vault.register(root, validators, signature)).toMatchObject({ ok: true })
  })

  it('never takes a signature of nobody for that of a vault without a manager', async () => {
    const nobody = await deployVault(anvil, { manager: numberToHex(0, { size: 20 }), depositContract })
    const root = await depositContract.root()
    const outcome = await nobody.register(root, item(nobody.address, '0x01'), numberToHex(27, { size: 65 }))
    expect(outcome).toEqual(refused('InvalidSignature'))
  })

  it('refuses an answer once somebody else has deposited, and takes the next', async () => {
    const validators = item(vault.address, '0x01')
    const root = await depositContract.root()
    const signature = await sign(vault, { root, validators })
    const [deposit] = vectors.map(depositOfVector)
    if (deposit === undefined) throw new Error('too few vectors')
    await depositBySomebodyElse(anvil, depositContract, deposit)
    expect(await vault.register(root, validators, signature)).toEqual(refused('InvalidRegistryRoot'))
    const current = await depositContract.root()
    expect(await vault.register(current, validators, signature)).toEqual(refused('InvalidSignature'))
    expect(await register(validators)).toMatchObject({ ok: true })
    // Its own deposit moved the root.
    expect(await vault.register(current, validators, signature)).toEqual(refused('InvalidRegistryRoot'))
  })

  it('refuses what does not fit together, though the manager signed it', async () => {
    const own = item(vault.address, '0x02', 40 * ETH)
    for (const place of [0, 47, 48, 143, 144, 175, 183])
      expect(await register(turned(own, place))).toEqual(refused('WrongDepositDataRoot'))
    // The data root of other credentials: another vault's, the other type's; and of another amount.
    expect(await register(item(random(20), '0x02'))).toEqual(refused('WrongDepositDataRoot'))
    expect(await register(slice(item(vault.address, '0x02'), 0, 176))).toEqual(refused('WrongDepositDataRoot'))
    expect(await register(item(vault.address, '0x01', 33 * ETH))).toEqual(refused('WrongDepositDataRoot'))
    // One bad item of several.
    expect(await register(concatHex([own, turned(own, 3)]))).toEqual(refused('WrongDepositDataRoot'))
    for (const amount of [32 * ETH - 1, 2_048 * ETH + 1, 0])
      expect(await register(item(vault.address, '0x02', amount))).toEqual(refused('InvalidAmount'))
  })

  it('refuses a length that does not tell the type', async () => {
    // 23 items of type 0x01 are as long as 22 of type 0x02.
    for (const length of [0, 175, 177, 183, 185, 176 + 184, 23 * 176, 2 * 23 * 176])
      expect(await register(length === 0 ? '0x' : random(length))).toEqual(refused('InvalidLength'))
  })

  it('deposits nothing and counts nothing where it cannot pay', async () => {
    const poor = await deployVault(anvil, { manager, depositContract, balanceEth: 63n })
    const validators = concatHex([item(poor.address, '0x01'), item(poor.address, '0x01')])
    const root = await depositContract.root()
    const signature = await sign(poor, { root, validators })
    expect(await poor.register(root, validators, signature)).toEqual(refused('NotEnoughEther'))
    expect([await poor.nonce(), await poor.balance()]).toEqual([0n, 63n * WEI])
    expect(await depositContract.root()).toBe(root)
  })

  it('funds the keys that it registered as type 0x02, and no others', async () => {
    const [compounding, plain] = [random(48), random(48)]
    const other = await deployVault(anvil, { manager, depositContract })
    await register(item(vault.address, '0x02', 32 * ETH, compounding))
    await register(item(vault.address, '0x01', 32 * ETH, plain))
    const top = (key: Hex, amount = 5 * ETH, signature = new Uint8Array(96), at = vault.address) =>
      encodeDeposit(at, '0x02', key, amount, signature)
    const fund = async (validators: Hex, at = vault) => {
      const root = numberToHex(await at.nonce(), { size: 32 })
      return at.fund(validators, await sign(at, { root, validators }))
    }
    const count = await depositContract.count()
    for (const key of [plain, random(48)]) expect(await fund(top(key))).toEqual(refused('UnknownValidator'))
    const foreign = top(compounding, 5 * ETH, new Uint8Array(96), other.address)
    expect(await fund(foreign, other)).toEqual(refused('UnknownValidator'))
    expect(await fund(foreign)).toEqual(refused('WrongDepositDataRoot'))
    expect(await fund(top(compounding, 5 * ETH, randomBytes(96)))).toEqual(refused('InvalidFunding'))
    expect(await fund(top(compounding, ETH - 1))).toEqual(refused('AmountTooSmall'))
    expect(await fund(slice(top(compounding), 0, 176))).toEqual(refused('InvalidLength'))
    expect(await fund('0x')).toEqual(refused('InvalidLength'))
    expect(await depositContract.count()).toBe(count)
    expect(await fund(concatHex([top(compounding), top(compounding, ETH)]))).toMatchObject({ ok: true })
    const last = (await depositContract.events()).slice(count)
    expect(last.map(({ publicKey, amountGwei }) => [toHex(publicKey), amountGwei])).toEqual([
      [compounding, 5n * BigInt(ETH)],
      [compounding, BigInt(ETH)],
    ])
  })

  it('withdraws and consolidates on the manager’s word, once', async () => {
    const [a, b] = [random(48), random(48)]
    const exits = concatHex([a, numberToHex(5 * ETH, { size: 8 }), b, numberToHex(0, { size: 8 })])
    const [nonce, pairs] = [await vault.nonce(), concatHex([a, b, b, a])]
    const next = async () => numberToHex(await vault.nonce(), { size: 32 })
    const exit = await sign(vault, { root: await next(), validators: exits })
    expect(await vault.withdraw(turned(exits, 50), exit)).toEqual(refused('InvalidSignature'))
    expect(await vault.withdraw(exits, exit)).toMatchObject({
      ok: true,
      events: [
        { name: 'ValidatorWithdrawalSubmitted', args: { publicKey: a, amount: 5n * WEI } },
        { name: 'ValidatorWithdrawalSubmitted', args: { publicKey: b, amount: 0n } },
      ],
    })
    expect(await vault.withdraw(exits, exit)).toEqual(refused('InvalidSignature'))
    const merge = await sign(vault, { root: await next(), validators: pairs })
    expect(await vault.consolidate(turned(pairs, 50), merge)).toEqual(refused('InvalidSignature'))
    expect(await vault.consolidate(pairs, merge)).toMatchObject({
      ok: true,
      events: [
        { name: 'ValidatorConsolidationSubmitted', args: { sourcePublicKey: a, targetPublicKey: b } },
        { name: 'ValidatorConsolidationSubmitted', args: { sourcePublicKey: b, targetPublicKey: a } },
      ],
    })
    expect(await vault.consolidate(pairs, merge)).toEqual(refused('InvalidSignature'))
    expect(await vault.nonce()).toBe(nonce + 2n)
    for (const validators of ['0x', random(55), random(95), random(97)] as Hex[]) {
      const signature = await sign(vault, { root: await next(), validators })
      expect(await vault.withdraw(validators, signature)).toEqual(refused('InvalidLength'))
      expect(await vault.consolidate(validators, signature)).toEqual(refused('InvalidLength'))
    }
  })
})
