import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { depositDataRoot, depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Hex } from 'viem'
import { concatHex, numberToHex } from 'viem/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../chain/anvil.ts'
import { madeUpKey } from '../chain/beacon.ts'
import type { Vault } from '../contracts/vault.ts'
import { createTestKeys } from '../keys/keys.ts'
import { signValidators } from '../keys/manager-wallet.ts'
import {
  consolidateOnChain,
  fundOnChain,
  nextIndex,
  type RegisterAnswer,
  registerOnChain,
  withdrawOnChain,
} from '../operator/operator.ts'
import { engine, type KeyedValidator } from './nodes.ts'
import { startVaultWorld, type VaultWorld } from './vault-world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ validators: 20 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const sign = (vault: Vault, root: Hex, validators: Hex) =>
  signValidators(world.manager.privateKey, { chainId: 31_337, vault: vault.address }, { root, validators })

/** What a relayer would answer for these keys. */
async function answerFor(
  vault: Vault,
  type: '0x01' | '0x02',
  keys: readonly KeyedValidator[],
  amountGwei: bigint,
): Promise<RegisterAnswer> {
  const deposits = keys.map(({ publicKey, secretKey }) => {
    const credentials = withdrawalCredentials(type, fromHex(vault.address, 20))
    const message = { publicKey, withdrawalCredentials: credentials, amountGwei }
    return { ...message, signature: engine.sign(secretKey, depositSigningRoot(world.network, message)) }
  })
  const bytes = deposits.flatMap((deposit) => [
    toHex(deposit.publicKey),
    toHex(deposit.signature),
    toHex(depositDataRoot(deposit)),
    type === '0x01' ? '0x' : numberToHex(deposit.amountGwei, { size: 8 }),
  ])
  return {
    validators: deposits.map(({ publicKey, signature }) => ({
      public_key: toHex(publicKey),
      amount: Number(amountGwei),
      // Without 0x, as some answer.
      deposit_signature: toHex(signature).slice(2),
      exit_signature: null,
      oracles_exit_signature_shares: { public_keys: [], encrypted_exit_signatures: [] },
    })),
    validators_manager_signature: await sign(vault, await vault.depositContract.root(), concatHex(bytes as Hex[])),
  }
}

describe.skipIf(skipWithoutAnvil)('the world of generation 4', () => {
  it.each(['0x01', '0x02'] as const)('registers validators from an answer, type %s', async (type) => {
    const vault = await world.deployVault()
    const keys = createTestKeys(2, { nodes: 1, threshold: 1 })
    const first = nextIndex(world.beacon)
    const answer = await answerFor(vault, type, keys, 32_000_000_000n)
    expect(await registerOnChain(vault, type, answer)).toMatchObject({ ok: true })
    expect(await registerOnChain(vault, type, answer)).toEqual({ ok: false, error: 'InvalidSignature' })
    await world.beaconFollows.sync()
    expect(nextIndex(world.beacon)).toBe(first + 2)
    const credentials = withdrawalCredentials(type, fromHex(vault.address, 20))
    for (const [position, { publicKey }] of keys.entries())
      expect(world.beacon.findValidator(publicKey)).toMatchObject({
        index: first + position,
        withdrawalCredentials: credentials,
      })
  })

  it('sends what the manager signed for validators that are there', async () => {
    const vault = await world.deployVault()
    const keys = createTestKeys(2, { nodes: 1, threshold: 1 })
    await registerOnChain(vault, '0x02', await answerFor(vault, '0x02', keys, 32_000_000_000n))
    const [a = '0x', b = '0x'] = keys.map(({ publicKey }) => toHex(publicKey))
    const [signature, amount] = [new Uint8Array(96), numberToHex(1_000_000_000, { size: 8 })]
    const deposit = {
      publicKey: fromHex(a, 48),
      withdrawalCredentials: withdrawalCredentials('0x02', fromHex(vault.address, 20)),
      amountGwei: 1_000_000_000n,
      signature,
    }
    const signed = async (...fields: Hex[]) =>
      sign(vault, numberToHex(await vault.nonce(), { size: 32 }), concatHex(fields))
    const amounts = [{ publicKey: a, amountGwei: 1_000_000_000 }]
    const top = await signed(a, toHex(signature), toHex(depositDataRoot(deposit)), amount)
    expect(await fundOnChain(vault, amounts, top)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    expect(world.beacon.findValidator(fromHex(a))?.balanceGwei).toBe(33_000_000_000n)
    expect(await withdrawOnChain(vault, amounts, await signed(a, amount))).toMatchObject({ ok: true })
    const pair = await signed(a, b)
    expect(await consolidateOnChain(vault, [{ source: b, target: a }], pair)).toMatchObject({ ok: false })
    expect(await consolidateOnChain(vault, [{ source: a, target: b }], pair)).toMatchObject({ ok: true })
  })

  it('puts a vault at the address a cluster lock names', async () => {
    const address = '0x8ae5c1046158526cf236f74d8fb88fabe2e94aca'
    const vault = await world.deployVault({ address })
    expect(vault.address).toBe('0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa')
    const keys = createTestKeys(1, { nodes: 1, threshold: 1 })
    const answer = await answerFor(vault, '0x01', keys, 32_000_000_000n)
    expect(await registerOnChain(vault, '0x01', answer)).toMatchObject({ ok: true })
  })

  it('has a registry dump of the made-up validators, all before the deposit contract’s first deposit', async () => {
    const { registryDump } = world.network
    const response = await fetch(`${world.ipfs.url}/ipfs/${registryDump?.cid}`)
    const dump = Buffer.from(await response.arrayBuffer())
    expect(dump).toHaveLength(20 * 52)
    for (let index = 0; index < 20; index++) {
      const record = dump.subarray(index * 52, (index + 1) * 52)
      expect(record.readUInt32BE()).toBeLessThanOrEqual(registryDump?.lastBlock ?? 0)
      expect(new Uint8Array(record.subarray(4))).toEqual(madeUpKey(index))
    }
    const [first] = await world.depositContract.events()
    expect(first?.blockNumber ?? Number.POSITIVE_INFINITY).toBeGreaterThan(registryDump?.lastBlock ?? 0)
  })

  it('makes a block final two blocks later', async () => {
    const number = async (tag: string) =>
      Number(((await world.anvil.rpc('eth_getBlockByNumber', tag, false)) as { number: string }).number)
    await world.anvil.mine(3)
    expect(await number('finalized')).toBe((await number('latest')) - 2)
  })
})
