/** Clients of today, of both generations at once, against a relayer process that wants tokens: they reach registration. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { expect, onTestFinished, test } from 'vitest'
import { createToken } from '../../apps/relayer/src/http/auth/tokens.ts'
import { findFreePorts } from '../demo/ports.ts'
import { findLeaks } from '../demo/secrets/secrets.ts'
import { PATIENCE_MS } from '../demo/wait.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { makeCluster } from '../support/keys/make-cluster.ts'
import { askAsOperator3, createExistingSidecar, getAsClient } from '../support/operator/existing-clients.ts'
import {
  fund,
  fundOnChain,
  isReady,
  nextIndex,
  register,
  registerOnChain,
  withdraw,
} from '../support/operator/operator.ts'
import { postAsOperator } from '../support/operator/operator-http.ts'
import { untilAnswered, untilComplete } from '../support/operator/patient-operator.ts'
import { startProcess } from '../support/services/process.ts'
import { assertOraclesCanExit } from '../support/world/nodes.ts'
import { assertRegistered } from '../support/world/registration-steps.ts'
import { startVaultWorld } from '../support/world/vault-world.ts'
import { eventually } from '../support/world/world.ts'

const ETH = 1_000_000_000
const SHARES = [1, 2, 3, 4] as const

async function setUp() {
  const world = await startVaultWorld()
  onTestFinished(() => world[Symbol.asyncDispose]())
  const [vault, vault3] = [await world.deployVault(), await world.deployVault()]
  const clusterOf = (name: string, address: string) =>
    makeCluster({
      ...{ dir: join(world.dir, name), nodes: 4, threshold: 3, validators: 4, network: world.network, name },
      withdrawalAddress: fromHex(address, 20),
      feeRecipient: fromHex(address, 20),
    })
  const cluster = await clusterOf('generation-4', vault.address)
  const cluster3 = await clusterOf('generation-3', vault3.address)

  const tokens = {
    operator: createToken('operator', 'operator', vault.address),
    operator3: createToken('operator-3', 'operator', vault3.address),
    admin: createToken('admin', 'admin', '*'),
  }
  const nodeTokens = SHARES.map((index) => createToken(`node-${index}`, 'sidecar', String(index)))
  const all = [...Object.values(tokens), ...nodeTokens]
  const tokensFile = join(world.dir, 'tokens')
  await writeFile(tokensFile, `${all.map(({ line }) => line).join('\n')}\n`)

  const [port = 0] = await findFreePorts(1)
  const relayer = startProcess(
    'relayer',
    world.environment({
      RELAYER_PORT: String(port),
      AUTH_TOKENS_FILE: tokensFile,
      CLUSTER_LOCK_FILES: `${cluster.lockFile},${cluster3.lockFile}`,
      VAULTS: `${vault.address},${vault3.address}`,
      LOG_LEVEL: 'debug',
    }),
  )
  onTestFinished(() => relayer[Symbol.asyncDispose]())
  await withTimeout(relayer.logged('relayer started'), PATIENCE_MS)
  const urlOf = ({ token }: { token: string }, name = 'me') => `http://${name}:${token}@127.0.0.1:${port}`
  return {
    ...{ world, vault, vault3, cluster, cluster3, relayer, urlOf, tokens },
    secrets: all.map(({ token }) => token),
    urls: { operator: urlOf(tokens.operator), operator3: urlOf(tokens.operator3), admin: urlOf(tokens.admin) },
    nodeUrl: (shareIndex: number) => urlOf(nodeTokens[shareIndex - 1] ?? { token: '' }),
    bare: `http://127.0.0.1:${port}`,
  }
}

test.skipIf(skipWithoutAnvil)(
  'Operator 4.2 with sidecars 2.1, 2.0 and 1, and Operator 3.1.10 with sidecar 1 beside them',
  { timeout: 300_000 },
  async () => {
    const { world, vault, cluster, cluster3, relayer, urls, nodeUrl, bare, secrets, urlOf, tokens } = await setUp()
    const { network, oracles, beacon } = world
    const keysOf = ({ validators }: typeof cluster): string[] => validators.map(({ publicKey }) => toHex(publicKey))
    const sidecar = (version: '1' | '2.0' | '2.1', shareIndex: number, of: typeof cluster, slash = false) =>
      createExistingSidecar(version, {
        url: nodeUrl(shareIndex),
        network,
        validators: of.validators,
        shareIndex,
        slash,
      })

    // The operator starts: the manager is the vault's.
    expect(await getAsClient(urls.operator, '/info')).toEqual({
      network: network.name,
      validators_manager_address: vault.manager,
    })
    const request = {
      vault: vault.address,
      startIndex: nextIndex(beacon),
      amounts: [32 * ETH, 40 * ETH, 32 * ETH],
      type: '0x02' as const,
    }
    const nothingYet = {
      deposit_signature: null,
      exit_signature: null,
      oracles_exit_signature_shares: null,
      receipt: null,
    }
    const first = await untilAnswered(urls.operator, request)
    expect(first).toEqual({
      validators: keysOf(cluster)
        .slice(0, 3)
        .map((public_key, position) => ({ public_key, amount: request.amounts[position], ...nothingYet })),
      validators_manager_signature: null,
    })
    // One whose path ends with a slash is redirected, body and credentials included.
    const body = {
      vault: request.vault,
      validators_start_index: request.startIndex,
      amounts: request.amounts,
      validator_type: request.type,
    }
    expect(await postAsOperator(urls.operator, '/register/', body)).toEqual(first)

    // Generation 3 at the same time: keys of its own vault, and with the same token those of generation 4 as well.
    const spelled = keysOf(cluster3).map((key, position) => (position % 2 === 0 ? key : key.slice(2).toUpperCase()))
    expect(await askAsOperator3(urls.operator3, spelled)).toBeUndefined()
    expect(await askAsOperator3(urls.operator, keysOf(cluster))).toBeUndefined()

    // The nodes of generation 4: one still has sidecar 1, whose exits count; deposits need the three others.
    const [node1, node2, node4] = [
      sidecar('2.1', 1, cluster),
      sidecar('2.1', 2, cluster, true),
      sidecar('2.0', 4, cluster),
    ]
    const oldNode = sidecar('1', 3, cluster)
    expect(await node1.round()).toBe(200)
    // It looks for its index only, finds it, and has nothing more to do.
    expect(await node1.round()).toBeUndefined()
    expect(await oldNode.round()).toBe(200)
    // It posts what is not ready at every poll, known or not.
    expect(await oldNode.round()).toBe(200)
    expect(isReady(await untilAnswered(urls.operator, request))).toBe(false)
    expect(await node2.round()).toBe(200)
    expect(await node4.round()).toBe(200)
    const answer = await untilComplete(urls.operator, request)
    for (const node of [node1, node2, node4]) expect(await node.round()).toBeUndefined()

    // The nodes of generation 3.
    const nodes3 = SHARES.slice(0, 3).map((index) => sidecar('1', index, cluster3))
    for (const node of nodes3) expect(await node.round()).toBe(200)
    const shares3 = await eventually('shares for Operator 3', () => askAsOperator3(urls.operator3, spelled))
    for (const node of nodes3) expect(await node.round()).toBeUndefined()
    for (const [position, { public_key, oracles_exit_signature_shares: shares }] of shares3.entries()) {
      expect(public_key).toBe(spelled[position])
      await assertOraclesCanExit(network, oracles, 7, fromHex(public_key, 48), request.startIndex + position, shares)
    }

    // The answer of generation 4 holds on chain; what generation 3 gets for the same keys are the same shares.
    const same = await askAsOperator3(urls.operator, keysOf(cluster).slice(0, 3))
    expect(same?.map((item) => item.oracles_exit_signature_shares)).toEqual(
      answer.validators.map((item) => item.oracles_exit_signature_shares),
    )
    expect(await registerOnChain(vault, request.type, answer)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    await assertRegistered(world, vault, request, answer)

    // What the operator does with validators it has; what cannot be signed is refused, never answered without a signature.
    const amounts = [{ publicKey: answer.validators[0]?.public_key ?? '', amountGwei: ETH }]
    expect(await fundOnChain(vault, amounts, await fund(urls.operator, vault.address, amounts))).toMatchObject({
      ok: true,
    })
    await expect(withdraw(urls.operator, vault.address, amounts)).rejects.toMatchObject({ status: 422 })

    // Their indexes are gone: generation 3 is given the next ones, and its nodes sign anew.
    expect(await askAsOperator3(urls.operator3, spelled)).toBeUndefined()
    for (const node of nodes3) expect(await node.round()).toBe(200)
    const again = await eventually('shares anew', () => askAsOperator3(urls.operator3, spelled))
    for (const [position, { public_key, oracles_exit_signature_shares: shares }] of again.entries())
      await assertOraclesCanExit(network, oracles, 7, fromHex(public_key, 48), nextIndex(beacon) + position, shares)

    // Who shows no token, a wrong one, or one for something else.
    const refused = (status: number) => expect.objectContaining({ status })
    await expect(register(bare, request)).rejects.toEqual(refused(401))
    await expect(register(urlOf({ token: 'guessed' }), request)).rejects.toEqual(refused(401))
    await expect(register(urls.operator3, request)).rejects.toEqual(refused(403))
    await expect(register(nodeUrl(1), request)).rejects.toEqual(refused(403))
    const inAnothersName = { url: nodeUrl(1), network, validators: cluster3.validators, shareIndex: 4 }
    const untaken = { ...request, vault: vault.address, startIndex: nextIndex(beacon), amounts: [32 * ETH] }
    await untilAnswered(urls.operator, untaken)
    expect(await createExistingSidecar('2.1', { ...inAnothersName, validators: cluster.validators }).round()).toBe(403)
    expect(await createExistingSidecar('2.1', { ...inAnothersName, url: bare }).round()).toBe(401)
    expect(await getAsClient(urlOf(tokens.admin), '/ready')).toMatchObject({ status: 'ready' })

    expect(await withTimeout(relayer.end('SIGTERM'), PATIENCE_MS)).toBe(0)
    const leaks = findLeaks(
      new Map([['relayer', relayer.output()]]),
      secrets.map((value) => ({ kind: 'token', value })),
    )
    expect(leaks).toEqual([])
  },
)
