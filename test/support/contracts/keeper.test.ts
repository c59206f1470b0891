import { toHex } from '@dvt-relayer/common/hex.ts'
import { oracleAddress } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { Hex } from 'viem'
import { concatHex, getAddress, sliceHex } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Anvil, deployKeeper, type Keeper, skipWithoutAnvil, startAnvil } from '../chain/anvil.ts'
import { makeOracles } from '../chain/oracles.ts'
import {
  joinSignatures,
  type KeeperDomain,
  type RegistrationMessage,
  type Signed,
  signRegistration,
  signUpdate,
  type UpdateMessage,
} from '../oracle/oracle-approvals.ts'
import { deployDepositContract } from './deposits.ts'
import { writeContract } from './transactions.ts'
import { type Approval, deployVault, type Vault } from './vault.ts'

const MIN = 3
const CHAIN_ID = 31_337
const VAULT = getAddress(`0x${'a1'.repeat(20)}`)
const STRANGER = `0x${'5f'.repeat(32)}` as const
/** Order of secp256k1. */
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

/** In ascending order of address. */
const oracles = makeOracles(5)
  .map(({ secretKey, publicKey }) => ({ key: toHex(secretKey), oracle: oracleAddress(publicKey) }))
  .sort((a, b) => (BigInt(a.oracle) < BigInt(b.oracle) ? -1 : 1))

let anvil: Anvil
let keeper: Keeper
let domain: KeeperDomain
beforeAll(async () => {
  if (skipWithoutAnvil) return
  anvil = await startAnvil({ chainId: CHAIN_ID })
  keeper = await deployKeeper(anvil, { keeper: Buffer.from('4ee9'.padStart(40, '0'), 'hex') })
  domain = { chainId: CHAIN_ID, keeper: keeper.address }
  const addresses = oracles.map(({ oracle }) => oracle)
  expect(await keeper.setOracles(addresses, MIN)).toMatchObject({ ok: true })
})
afterAll(() => anvil?.[Symbol.asyncDispose]())

const soon = () => Math.floor(Date.now() / 1000) + 600
const message = async (): Promise<UpdateMessage> => ({
  ...{ vault: VAULT, ipfsHash: 'QmHash', deadline: soon() },
  nonce: await keeper.nonce(VAULT),
})
const approvalOf = ({ ipfsHash, deadline }: UpdateMessage, signatures: Hex): Approval => ({
  ...{ ipfsHash, deadline, signatures },
})
/** Signatures of these oracles, by place, of what each is told. */
const signAll = (positions: readonly number[], sign: (key: Hex, position: number) => Promise<Hex>): Promise<Signed[]> =>
  Promise.all(
    positions.map(async (position) => {
      const { key, oracle } = oracles[position] ?? { key: STRANGER, oracle: VAULT }
      return { oracle, signature: await sign(key, position) }
    }),
  )
const joined = (signed: readonly Signed[]) => concatHex(signed.map(({ signature }) => signature))

describe.skipIf(skipWithoutAnvil)('an update of exit signatures', () => {
  it('is accepted with the signatures of any three oracles, and counts once', async () => {
    const before = (await keeper.updates(VAULT)).length
    for (const positions of [
      [0, 1, 2],
      [4, 0, 3],
    ]) {
      const update = await message()
      const signed = await signAll(positions, (key) => signUpdate(key, domain, update))
      const approval = approvalOf(update, joinSignatures(signed, MIN))
      const outcome = await keeper.update(VAULT, approval)
      expect(outcome).toMatchObject({
        ok: true,
        events: [{ name: 'ExitSignaturesUpdated', args: { vault: VAULT, nonce: BigInt(update.nonce) } }],
      })
      expect(await keeper.nonce(VAULT)).toBe(update.nonce + 1)
      expect(await keeper.update(VAULT, approval)).toEqual({ ok: false, error: 'InvalidOracle' })
    }
    expect((await keeper.updates(VAULT)).slice(before)).toMatchObject([{ ipfsHash: 'QmHash' }, { ipfsHash: 'QmHash' }])
    expect(await keeper.updates(keeper.address)).toEqual([])
  })

  const flipped = (signature: Hex): Hex => {
    const s = ORDER - BigInt(sliceHex(signature, 32, 64))
    const v = sliceHex(signature, 64) === '0x1b' ? '0x1c' : '0x1b'
    return concatHex([sliceHex(signature, 0, 32), `0x${s.toString(16).padStart(64, '0')}`, v])
  }
  type Change = (update: UpdateMessage, signed: Signed[]) => Promise<Hex> | Hex
  const refused: [what: string, error: string, change: Change][] = [
    ['one too few', 'InvalidSignaturesLength', (_, signed) => joined(signed.slice(1))],
    [
      'one too many',
      'InvalidSignaturesLength',
      async (update, signed) => joined([...signed, ...(await signAll([4], (key) => signUpdate(key, domain, update)))]),
    ],
    ['a byte too many', 'InvalidSignaturesLength', (_, signed) => concatHex([joined(signed), '0x00'])],
    ['none', 'InvalidSignaturesLength', () => '0x'],
    ['another order', 'InvalidOracle', (_, signed) => joined(signed.toReversed())],
    ['one twice', 'InvalidOracle', (_, [a, b]) => joined([a, b, b].flatMap((one) => one ?? []))],
    [
      'a stranger’s',
      'InvalidOracle',
      async (update, signed) => {
        const strange = { oracle: VAULT, signature: await signUpdate(STRANGER, domain, update) }
        return joinSignatures([...signed.slice(1), strange], MIN)
      },
    ],
    [
      'the other s of one',
      'InvalidOracle',
      (_, [first, ...rest]) => concatHex([flipped(first?.signature ?? '0x'), joined(rest)]),
    ],
    [
      'a v of 0',
      'InvalidOracle',
      (_, [first, ...rest]) => concatHex([sliceHex(first?.signature ?? '0x', 0, 64), '0x00', joined(rest)]),
    ],
    ...(
      [
        ['another vault', { vault: getAddress(`0x${'b2'.repeat(20)}`) }],
        ['another hash', { ipfsHash: 'QmHasH' }],
        ['the next nonce', { nonce: 99 }],
        ['a later deadline', { deadline: soon() + 1_000 }],
      ] as [string, Partial<UpdateMessage>][]
    ).map(([what, change]): [string, string, Change] => [
      `signatures of ${what}`,
      'InvalidOracle',
      async (update) => joined(await signAll([0, 1, 2], (key) => signUpdate(key, domain, { ...update, ...change }))),
    ]),
    ...(
      [
        ['another chain', { chainId: 1 }, {}],
        ['another Keeper', { keeper: VAULT }, {}],
        ['another name', {}, { name: 'VaultValidators' }],
        ['another version', {}, { version: '2' }],
      ] as [string, Partial<KeeperDomain>, object][]
    ).map(([what, change, name]): [string, string, Change] => [
      `signatures for ${what}`,
      'InvalidOracle',
      async (update) => {
        const names = { name: 'KeeperOracles', version: '1', ...name }
        return joined(await signAll([0, 1, 2], (key) => signUpdate(key, { ...domain, ...change }, update, names)))
      },
    ]),
  ]
  it.each(refused)('is refused with %s', async (_, error, change) => {
    const update = await message()
    const signed = await signAll([0, 1, 2], (key) => signUpdate(key, domain, update))
    const outcome = await keeper.update(VAULT, approvalOf(update, await change(update, signed)))
    expect(outcome).toEqual({ ok: false, error })
    expect(await keeper.nonce(VAULT)).toBe(update.nonce)
  })

  it('is refused after its deadline', async () => {
    const update = { ...(await message()), deadline: Math.floor(Date.now() / 1000) - 60 }
    const signed = await signAll([0, 1, 2], (key) => signUpdate(key, domain, update))
    const outcome = await keeper.update(VAULT, approvalOf(update, joined(signed)))
    expect(outcome).toEqual({ ok: false, error: 'DeadlineExpired' })
  })

  it('is not a registration, nor the other way round', async () => {
    const update = await message()
    const registration = { root: `0x${'00'.repeat(32)}` as const, vault: VAULT, validators: '0x' as const }
    const signed = await signAll([0, 1, 2], (key) => signRegistration(key, domain, { ...registration, ...update }))
    const outcome = await keeper.update(VAULT, approvalOf(update, joined(signed)))
    expect(outcome).toEqual({ ok: false, error: 'InvalidOracle' })
  })

  it('needs oracles of the newest list', async () => {
    const own = await deployKeeper(anvil, { keeper: Buffer.from('4eea'.padStart(40, '0'), 'hex') })
    const there = { chainId: CHAIN_ID, keeper: own.address }
    const update = { vault: VAULT, ipfsHash: 'Qm', nonce: 0, deadline: soon() }
    const send = async (...positions: number[]) =>
      own.update(VAULT, approvalOf(update, joined(await signAll(positions, (key) => signUpdate(key, there, update)))))
    expect(await send()).toEqual({ ok: false, error: 'InvalidSignaturesLength' })
    const addresses = oracles.map(({ oracle }) => oracle)
    await own.setOracles(addresses.slice(0, 3), 1)
    await own.setOracles(addresses.slice(2), 2)
    expect(await own.minOracles()).toBe(2)
    expect(await send(1, 2)).toEqual({ ok: false, error: 'InvalidOracle' })
    expect(await send(2, 3)).toMatchObject({ ok: true })
    for (const [list, min] of [
      [addresses, 0],
      [addresses, 6],
      [[addresses[0] ?? VAULT, addresses[0] ?? VAULT], 1],
    ] as const)
      expect(await own.setOracles(list, min)).toEqual({ ok: false, error: 'InvalidOracles' })
  })

  it('does not come from config or oracles of somebody else', async () => {
    const other = getAddress(`0x${'c3'.repeat(20)}`)
    const somebody: Anvil = {
      ...anvil,
      rpc: async (method, ...params) => (method === 'eth_accounts' ? [other] : anvil.rpc(method, ...params)),
    }
    await anvil.rpc('anvil_setBalance', other, '0xde0b6b3a7640000')
    await anvil.rpc('anvil_impersonateAccount', other)
    for (const [name, args] of [
      ['updateConfig', ['QmMine']],
      ['setOracles', [[other], 1]],
    ] as const)
      expect(await writeContract(somebody, keeper, name, args)).toEqual({ ok: false, error: 'NotOwner' })
  })
})

describe.skipIf(skipWithoutAnvil)('a registration in a vault with a Keeper', () => {
  let vault: Vault
  beforeAll(async () => {
    const depositContract = await deployDepositContract(anvil)
    vault = await deployVault(anvil, { manager: VAULT, depositContract, keeper })
  })

  /** Signed by the oracles; the manager has not, so what the oracles let pass is refused by the vault itself. */
  async function send(change: Partial<RegistrationMessage> = {}, deadline = soon()) {
    const sent = { root: await vault.depositContract.root(), vault: vault.address, ipfsHash: 'Qm', deadline }
    const registration = { ...sent, validators: `0x${'ab'.repeat(176)}` as const }
    const signed = await signAll([1, 2, 4], (key) => signRegistration(key, domain, { ...registration, ...change }))
    const approval = { ipfsHash: 'Qm', deadline, signatures: joinSignatures(signed, MIN) }
    return vault.registerApproved(registration.root, registration.validators, `0x${'00'.repeat(65)}`, approval)
  }

  it('needs the oracles, and the manager besides', async () => {
    expect(await send()).toEqual({ ok: false, error: 'InvalidSignature' })
    expect(await vault.register(await vault.depositContract.root(), '0x', '0x')).toEqual({
      ok: false,
      error: 'ApprovalMissing',
    })
  })

  it.each([
    ['another root', { root: `0x${'11'.repeat(32)}` }],
    ['another vault', { vault: VAULT }],
    ['other validators', { validators: '0xab' }],
    ['another hash', { ipfsHash: 'Qn' }],
    ['another deadline', { deadline: 1 }],
  ] as [string, Partial<RegistrationMessage>][])('is refused with signatures of %s', async (_, change) => {
    expect(await send(change)).toEqual({ ok: false, error: 'InvalidOracle' })
  })

  it('is refused after its deadline', async () => {
    const past = Math.floor(Date.now() / 1000) - 60
    expect(await send({}, past)).toEqual({ ok: false, error: 'DeadlineExpired' })
  })
})
