/** MANAGER_DAILY_LIMIT_GWEI: what signatures may move for one vault within 24 hours, whoever asks and whichever process answers. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeWithdrawals, managerDigest, nonceToRoot } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { concatHex } from 'viem/utils'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import { signValidators } from '../../support/keys/manager-wallet.ts'
import { encodeDeposit } from '../../support/operator/operator-encoding.ts'
import {
  addValidator,
  amountsBody,
  ETH,
  pairsBody,
  post,
  query,
  recorded,
  registerCompounding,
  settings,
} from '../../support/stages/manager.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import type { Answer } from '../../support/world/world.ts'

let world: VaultWorld
let relayer: Relayer
let url: string
/** Of each test its own, so that none has moved anything yet. */
let vault: Vault
const limited = { ...settings, MANAGER_DAILY_LIMIT_GWEI: String(100 * ETH) }
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2, validators: 20 })
  relayer = await world.startRelayer(limited)
  url = relayer.url
})
beforeEach(async () => {
  if (!skipWithoutAnvil) vault = await world.deployVault()
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const add = (fields?: Parameters<typeof addValidator>[2]) => addValidator(world, vault.address, fields)
const withdraw = (key: string, eth: number, at = url) =>
  post(at, '/withdraw', amountsBody(vault.address, [[key, eth * ETH]]))
const top = (key: string, eth: number) => post(url, '/fund', amountsBody(vault.address, [[key, eth * ETH]]))
const consolidate = (source: string, target: string) =>
  post(url, '/consolidate', pairsBody(vault.address, [[source, target]]))
const signed = async (answer: Promise<Answer>) => expect(await answer).toMatchObject({ status: 200 })
const overLimit = async (answer: Promise<Answer>, movedEth: number, moreEth: number) =>
  expect(await answer).toMatchObject({
    status: 429,
    json: {
      code: 'DAILY_LIMIT',
      message: `signatures of the last 24 hours move ${movedEth * ETH} Gwei of this vault; ${moreEth * ETH} more are over MANAGER_DAILY_LIMIT_GWEI=${100 * ETH}`,
    },
  })
const moved = async () => (await recorded(world, vault.address)).map(({ amount_gwei }) => Number(amount_gwei) / ETH)

describe.skipIf(skipWithoutAnvil)('the daily limit', () => {
  it('is a sum over what funding, withdrawing and consolidating move', async () => {
    const [target, half, whole, source] = [add(), add(), add({ balanceEth: 40 }), add({ type: '0x01', balanceEth: 33 })]
    await vault.addCompounding(target, half)
    await signed(top(target, 1))
    await signed(withdraw(half, 20))
    await signed(withdraw(whole, 0))
    await overLimit(withdraw(half, 40), 61, 40)
    await signed(consolidate(source, target))
    await overLimit(withdraw(half, 7), 94, 7)
    await overLimit(withdraw(source, 0), 94, 33)
    await overLimit(top(target, 7), 94, 7)
    await overLimit(consolidate(target, half), 94, 32)
    await signed(withdraw(half, 6))
    expect(await moved()).toEqual([1, 20, 40, 33, 6])
  })

  it('can be used up to the last Gwei, and not by one more', async () => {
    const key = add()
    await signed(withdraw(key, 100))
    expect((await post(url, '/withdraw', amountsBody(vault.address, [[key, 1]]))).status).toBe(429)
    const other = await world.deployVault()
    const more = amountsBody(other.address, [[addValidator(world, other.address), 100 * ETH + 1]])
    expect((await post(url, '/withdraw', more)).status).toBe(429)
    expect(await recorded(world, other.address)).toEqual([])
  })

  it('is each vault’s own', async () => {
    await signed(withdraw(add(), 100))
    const other = await world.deployVault()
    const key = addValidator(world, other.address)
    expect((await post(url, '/withdraw', amountsBody(other.address, [[key, 100 * ETH]]))).status).toBe(200)
  })

  it('counts the same request once, however often and by whomever it is made', async () => {
    const key = add()
    for (let i = 0; i < 3; i++) await signed(withdraw(key, 90))
    const tokens = [createToken('one', 'operator', '*'), createToken('two', 'operator', '*')]
    const file = join(world.dir, 'tokens')
    await writeFile(file, tokens.map(({ line }) => line).join('\n'))
    await using fenced = await world.startRelayer({ ...limited, AUTH_TOKENS_FILE: file })
    const body = amountsBody(vault.address, [[key, 90 * ETH]])
    for (const { token } of tokens)
      await signed(post(fenced.url, '/withdraw', body, { authorization: `Bearer ${token}` }))
    expect(await moved()).toEqual([90, 90, 90])
    await overLimit(withdraw(key, 11), 90, 11)
    await signed(withdraw(key, 10))
    await signed(withdraw(key, 90))
  })

  it('counts a switch to type 0x02 as nothing, and registrations as well', async () => {
    const old = add({ type: '0x01' })
    await signed(consolidate(old, old))
    expect(await moved()).toEqual([0])
    await query(
      world,
      `insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest)
       values ('register', $1, 'anybody', $2, $2, 1, $3, $4)`,
      [...[vault.address, '0x01'].map((hex) => Buffer.from(fromHex(hex))), 1000 * ETH, Buffer.alloc(32, 1)],
    )
    await signed(withdraw(add(), 100))
  })

  it('forgets what is older than 24 hours', async () => {
    const old = async (hours: number, eth: number, digest: number) =>
      query(
        world,
        `insert into manager_signatures
           (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
         values ('withdraw', $1, 'anybody', $2, $2, 1, $3, $4, now() - make_interval(mins => $5))`,
        [Buffer.from(fromHex(vault.address)), Buffer.alloc(32), eth * ETH, Buffer.alloc(32, digest), 60 * hours],
      )
    await old(24.1, 90, 2)
    const key = add()
    await signed(withdraw(key, 40))
    await old(23.9, 50, 3)
    await overLimit(withdraw(key, 11), 90, 11)
    await signed(withdraw(key, 10))
  })

  it('holds for two processes at once', async () => {
    await using second = await world.startRelayer(limited)
    const keys = Array.from({ length: 24 }, () => add())
    const answers = await Promise.all(keys.map((key, position) => withdraw(key, 9, [url, second.url][position % 2])))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([
      ...Array.from({ length: 11 }, () => 200),
      ...Array.from({ length: 13 }, () => 429),
    ])
    expect(await moved()).toHaveLength(11)
  })
})

describe.skipIf(skipWithoutAnvil)('bytes that the vault takes for withdrawals as well', () => {
  it('are those of seven fundings, the first a full exit: none are signed', async () => {
    const keys = await registerCompounding(world, vault, 7)
    const tops = keys.map((publicKey) => ({ publicKey, amountGwei: ETH }))
    const bytes = concatHex(
      tops.map((item) => encodeDeposit(vault.address, '0x02', item.publicKey, ETH, new Uint8Array(96))),
    )
    const root = toHex(nonceToRoot(await vault.nonce()))
    const { chainId } = world.network
    const signature = await signValidators(
      world.manager.privateKey,
      { chainId, vault: vault.address },
      { root, validators: bytes },
    )
    const outcome = await vault.withdraw(bytes, signature)
    expect(outcome).toMatchObject({ ok: true })
    expect(outcome.ok && outcome.events[0]).toMatchObject({ args: { publicKey: keys[0], amount: 0n } })

    const body = (count: number) =>
      amountsBody(
        vault.address,
        keys.slice(0, count).map((key) => [key, ETH] as const),
      )
    expect(await post(url, '/fund', body(7))).toMatchObject({ status: 422, json: { code: 'BATCH_AMBIGUOUS' } })
    expect(await moved()).toEqual([])
    await signed(post(url, '/fund', body(6)))
  })

  it('are those of seven consolidations: none are signed', async () => {
    const olds = Array.from({ length: 7 }, () => add({ type: '0x01', balanceEth: 1 }))
    const body = (count: number) =>
      pairsBody(
        vault.address,
        olds.slice(0, count).map((old) => [old, old] as const),
      )
    expect(await post(url, '/consolidate', body(7))).toMatchObject({ status: 422, json: { code: 'BATCH_AMBIGUOUS' } })
    expect(await moved()).toEqual([])
    await signed(post(url, '/consolidate', body(6)))
  })
})

describe.skipIf(skipWithoutAnvil)('a chain of consolidations', () => {
  it('is refused: what ends cannot take in', async () => {
    const [first, second, third] = [add(), add(), add()]
    const body = pairsBody(vault.address, [
      [first, second],
      [second, third],
    ])
    expect(await post(url, '/consolidate', body)).toMatchObject({
      status: 422,
      json: { code: 'PUBLIC_KEY_DUPLICATE', failures: [{ index: 0, code: 'PUBLIC_KEY_DUPLICATE' }] },
    })
    expect(await moved()).toEqual([])
  })
})

describe.skipIf(skipWithoutAnvil)('the same bytes on another day', () => {
  it('are recorded and counted again', async () => {
    const key = add()
    const digest = await managerDigest({
      chainId: world.network.chainId,
      vault: fromHex(vault.address),
      validatorsRegistryRoot: nonceToRoot(await vault.nonce()),
      validators: encodeWithdrawals([{ publicKey: fromHex(key), amountGwei: BigInt(60 * ETH) }]),
    })
    await query(
      world,
      `insert into manager_signatures
         (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
       values ('withdraw', $1, 'anybody', $2, $2, 1, $3, $4, now() - interval '25 hours')`,
      [Buffer.from(fromHex(vault.address)), Buffer.alloc(32), 60 * ETH, Buffer.from(digest)],
    )
    await signed(withdraw(key, 60))
    await overLimit(withdraw(key, 41), 60, 41)
  })
})
