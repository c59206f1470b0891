/** The validators-manager's signature for fund, withdraw and consolidate: the vault takes it once, for what it was made for and nothing else. */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import * as operator from '../../support/operator/operator.ts'
import {
  addRegistered,
  addValidator,
  amountsBody,
  approveConsolidation,
  ETH,
  post,
  registerCompounding,
  settings,
} from '../../support/stages/manager.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask } from '../../support/world/world.ts'

let world: VaultWorld
let relayer: Awaited<ReturnType<VaultWorld['startRelayer']>>
let url: string
let vault: Vault
let other: Vault
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2, validators: 20 })
  vault = await world.deployVault()
  other = await world.deployVault()
  // Vaults that have no validators withdraw and consolidate nothing.
  for (const one of [vault, other]) await registerCompounding(world, one, 1)
  relayer = await world.startRelayer(settings)
  url = relayer.url
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const REFUSED = { ok: false, error: 'InvalidSignature' }
const active = (key: string) => {
  const index = world.beacon.findValidator(fromHex(key, 48))?.index ?? -1
  world.beacon.setValidator(index, { status: 'active_ongoing' })
}

describe.skipIf(skipWithoutAnvil)('the vault takes, once, the signature for', () => {
  it('funding validators that wait and that are active', async () => {
    const [a = '', b = '', c = ''] = await registerCompounding(world, vault, 3)
    active(b)
    const tops = [
      { publicKey: a, amountGwei: ETH },
      { publicKey: b, amountGwei: 2016 * ETH },
    ]
    const [top = { publicKey: a, amountGwei: ETH }, ...more] = tops
    const signature = await operator.fund(url, vault.address, tops)
    expect(await operator.fund(url, vault.address, tops)).toBe(signature)
    expect(await operator.fundOnChain(other, tops, signature)).toEqual(REFUSED)
    expect(await operator.fundOnChain(vault, [{ ...top, amountGwei: 2 * ETH }, ...more], signature)).toEqual(REFUSED)
    expect(await operator.fundOnChain(vault, [{ ...top, publicKey: c }, ...more], signature)).toEqual(REFUSED)
    expect(await operator.fundOnChain(vault, [...more, top], signature)).toEqual(REFUSED)
    expect(await operator.withdrawOnChain(vault, tops, signature)).toEqual(REFUSED)
    const before = await vault.nonce()
    expect(await operator.fundOnChain(vault, tops, signature)).toMatchObject({
      ok: true,
      events: expect.arrayContaining([
        { name: 'ValidatorFunded', args: { publicKey: a, amount: BigInt(ETH) * BigInt(ETH) } },
      ]),
    })
    expect(await vault.nonce()).toBe(before + 1n)
    expect(await operator.fundOnChain(vault, tops, signature)).toEqual(REFUSED)
    await world.beaconFollows.sync()
    const again = await operator.fund(url, vault.address, [top])
    expect(await operator.fundOnChain(vault, [top], again)).toMatchObject({ ok: true })
  })

  it('withdrawing in part and in full', async () => {
    const [a, b, old] = [
      addValidator(world, vault.address),
      addValidator(world, vault.address),
      addValidator(world, vault.address, { type: '0x01' }),
    ]
    const exits = [
      { publicKey: a, amountGwei: 5 * ETH },
      { publicKey: b, amountGwei: 0 },
      { publicKey: old, amountGwei: 0 },
    ]
    const signature = await operator.withdraw(url, vault.address, exits)
    expect(await operator.withdraw(url, vault.address, exits)).toBe(signature)
    const changed = (change: object) => exits.map((exit, position) => (position === 0 ? { ...exit, ...change } : exit))
    expect(await operator.withdrawOnChain(other, exits, signature)).toEqual(REFUSED)
    expect(await operator.withdrawOnChain(vault, changed({ amountGwei: 0 }), signature)).toEqual(REFUSED)
    expect(
      await operator.withdrawOnChain(vault, changed({ publicKey: addValidator(world, vault.address) }), signature),
    ).toEqual(REFUSED)
    expect(await operator.withdrawOnChain(vault, exits.slice(1), signature)).toEqual(REFUSED)
    expect(await operator.withdrawOnChain(vault, exits, signature)).toMatchObject({
      ok: true,
      events: exits.map(({ publicKey, amountGwei }) => ({
        name: 'ValidatorWithdrawalSubmitted',
        args: { publicKey, amount: BigInt(amountGwei) * BigInt(ETH) },
      })),
    })
    expect(await operator.withdrawOnChain(vault, exits, signature)).toEqual(REFUSED)
    const again = await operator.withdraw(url, vault.address, exits)
    expect(again).not.toBe(signature)
    expect(await operator.withdrawOnChain(vault, exits, again)).toMatchObject({ ok: true })
  })

  it('consolidating into others, and switching to type 0x02', async () => {
    const [target, a, old] = [
      await addRegistered(world, vault),
      addValidator(world, vault.address),
      addValidator(world, vault.address, { type: '0x01' }),
    ]
    const switched = addValidator(world, vault.address, { type: '0x01' })
    const pairs = [
      { source: a, target },
      { source: old, target },
      { source: switched, target: switched },
    ]
    const signature = await operator.consolidate(url, vault.address, pairs)
    expect(await operator.consolidate(url, vault.address, pairs)).toBe(signature)
    const approval = await approveConsolidation(world, vault, pairs)
    const swapped = pairs.map(({ source, target: into }) => ({ source: into, target: source }))
    expect(await operator.consolidateOnChain(other, pairs, signature)).toEqual(REFUSED)
    expect(await operator.consolidateOnChain(vault, swapped, signature)).toEqual(REFUSED)
    expect(await operator.consolidateOnChain(vault, pairs.slice(0, 2), signature)).toEqual(REFUSED)
    // The last one is of type 0x01 yet, for which the oracles must answer.
    expect(await operator.consolidateOnChain(vault, pairs, signature)).toEqual({ ok: false, error: 'UnknownValidator' })
    expect(await operator.consolidateOnChain(vault, pairs, signature, approval)).toMatchObject({
      ok: true,
      events: pairs.map(({ source, target: into }) => ({
        name: 'ValidatorConsolidationSubmitted',
        args: { sourcePublicKey: source, targetPublicKey: into },
      })),
    })
    expect(await operator.consolidateOnChain(vault, pairs, signature)).toEqual(REFUSED)
    expect(await vault.isCompounding(switched)).toBe(true)
  })

  it('what was asked before another signature was used, not any more', async () => {
    const key = addValidator(world, vault.address)
    const part = [{ publicKey: key, amountGwei: ETH }]
    const whole = [{ publicKey: key, amountGwei: 0 }]
    const [first, second] = [
      await operator.withdraw(url, vault.address, part),
      await operator.withdraw(url, vault.address, whole),
    ]
    expect(await operator.withdrawOnChain(vault, part, first)).toMatchObject({ ok: true })
    expect(await operator.withdrawOnChain(vault, whole, second)).toEqual(REFUSED)
  })
})

describe.skipIf(skipWithoutAnvil)('a request', () => {
  it('may spell hex in every letter case, with or without 0x, the vault checksummed where it is mixed', async () => {
    const key = addValidator(world, vault.address)
    const body = amountsBody(vault.address, [[key, ETH]])
    const { json: expected } = await post(url, '/withdraw', body)
    const upper = (text: string) => text.slice(2).toUpperCase()
    for (const spelled of [
      { ...body, vault: vault.address.toLowerCase() },
      { ...body, vault: `0X${upper(vault.address)}` },
      { ...body, vault: vault.address.slice(2), public_keys: [upper(key)] },
      { ...body, public_keys: [`0X${upper(key)}`] },
    ])
      expect(await post(url, '/withdraw', spelled)).toMatchObject({ status: 200, json: expected })
  })

  it('is answered by who /info says signs', async () => {
    expect((await ask(url, '/info')).json).toEqual({
      network: 'devnet',
      validators_manager_address: world.manager.address,
    })
    expect(vault.manager).toBe(world.manager.address)
  })
})
