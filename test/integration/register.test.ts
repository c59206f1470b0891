/** Generation 4 against a chain: registration from the operator's first request to the vault's validators. */

import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { expect, onTestFinished, test } from 'vitest'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { makeCluster } from '../support/make-cluster.ts'
import { sidecar2Round } from '../support/nodes.ts'
import { nextIndex, register, registerOnChain, registerUntilReady } from '../support/operator.ts'
import { startVaultWorld } from '../support/vault-world.ts'

const ETH32 = 32_000_000_000

async function setUp(validators: number) {
  const world = await startVaultWorld()
  onTestFinished(() => world[Symbol.asyncDispose]())
  const vault = await world.deployVault()
  const cluster = await makeCluster({
    dir: join(world.dir, 'cluster'),
    nodes: 4,
    threshold: 3,
    validators,
    network: networks.hoodi,
    withdrawalAddress: fromHex(vault.address, 20),
    feeRecipient: fromHex(vault.address, 20),
    name: 'test',
  })
  const relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
  onTestFinished(() => relayer[Symbol.asyncDispose]())
  return { world, vault, cluster, url: relayer.url }
}

test.skipIf(skipWithoutAnvil)('validators are registered on chain', async () => {
  const { world, vault, cluster, url } = await setUp(3)
  const startIndex = nextIndex(world.beacon)
  const request = { vault: vault.address, startIndex, amounts: [ETH32, ETH32], type: '0x01' as const }
  const first = await register(url, request)
  expect(first.validators).toHaveLength(2)
  for (const shareIndex of [1, 2, 4]) {
    const answer = await sidecar2Round(url, world.network, cluster.validators, shareIndex)
    expect(answer).toMatchObject({ status: 200, text: '{}' })
  }
  const answer = await registerUntilReady(url, request)
  expect(await registerOnChain(vault, '0x01', answer)).toMatchObject({ ok: true })
})
