/** Who may ask for what where tokens are set: operators for their vaults, sidecars for their share indexes (generation 4). */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { nextIndex, registerOnChain, registerUntilReady } from '../../support/operator/operator.ts'
import {
  askRegister,
  clusterFor,
  ETH32,
  keysOf,
  NOTHING,
  openStage,
  registerKeys,
  signAll,
} from '../../support/stages/registrations.ts'
import { getExits, getValidators, postPairs, postValidators, signedPair } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 2, threshold: 1 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** A relayer with two vaults, an operator for each and one for any, and sidecars. */
async function setUp(validators: number) {
  const [vaultA, vaultB] = [await world.deployVault(), await world.deployVault()]
  const cluster = await clusterFor(world, undefined, { validators })
  const stage = await openStage(world)
  const made = {
    a: createToken('a', 'operator', vaultA.address),
    alsoA: createToken('also-a', 'operator', vaultA.address.toLowerCase()),
    b: createToken('b', 'operator', vaultB.address),
    any: createToken('any', 'operator', '*'),
    nodes: createToken('nodes', 'sidecar', '*'),
    node1: createToken('node1', 'sidecar', '1'),
  }
  const file = join(world.dir, 'tokens')
  await writeFile(
    file,
    Object.values(made)
      .map(({ line }) => line)
      .join('\n'),
  )
  const { url } = await stage.startRelayer({
    CLUSTER_LOCK_FILES: cluster.lockFile,
    AUTH_TOKENS_FILE: file,
    RELAYER_HOST: '0.0.0.0',
  })
  const asks = (vault: { address: string }, count: number, later = 0) => ({
    vault: vault.address,
    startIndex: nextIndex(world.beacon) + later,
    amounts: Array<number>(count).fill(ETH32),
    type: '0x01' as const,
  })
  const local = `http://127.0.0.1:${new URL(url).port}`
  const headers = {
    a: bearer(made.a.token),
    alsoA: bearer(made.alsoA.token),
    b: bearer(made.b.token),
    any: bearer(made.any.token),
    nodes: bearer(made.nodes.token),
    node1: bearer(made.node1.token),
  }
  return { vaultA, vaultB, cluster, stage, made, headers, asks, url: local, keys: keysOf(cluster.validators) }
}

describe.skipIf(skipWithoutAnvil)('with tokens', () => {
  it('an operator is answered for its own vaults only', async () => {
    const { vaultA, vaultB, url, headers, asks, keys } = await setUp(2)
    expect(await registerKeys(url, asks(vaultA, 1), headers.a)).toEqual(keys.slice(0, 1))
    const refused = [
      [await askRegister(url, asks(vaultB, 1), headers.a), 403, 'TOKEN_BINDING'],
      [await askRegister(url, asks(vaultA, 1), headers.b), 403, 'TOKEN_BINDING'],
      [await askRegister(url, asks(vaultA, 1), headers.nodes), 403, 'TOKEN_ROLE'],
      [await askRegister(url, asks(vaultA, 1)), 401, 'TOKEN_MISSING'],
      [await askRegister(url, asks(vaultA, 1), bearer('nonsense')), 401, 'TOKEN_UNKNOWN'],
      [await ask(url, '/validators', { headers: headers.a }), 403, 'TOKEN_ROLE'],
    ] as const
    for (const [answer, status, code] of refused) expect(answer).toMatchObject({ status, json: { code } })
    const list = await getValidators(url, headers.nodes)
    expect(list.map(({ vault }) => vault)).toEqual([vaultA.address])
    expect(await registerKeys(url, asks(vaultB, 1), headers.any)).toEqual(keys.slice(1))
  })

  it('a vault is served to the end, the token in the URL as the operator has it', async () => {
    const { vaultA, url, made, headers, asks, cluster } = await setUp(1)
    const withToken = url.replace('http://', `http://operator:${made.a.token}@`)
    await askRegister(url, asks(vaultA, 1), headers.a)
    await signAll(world, url, cluster.validators, [1, 2, 3], headers.nodes)
    expect(await registerOnChain(vaultA, '0x01', await registerUntilReady(withToken, asks(vaultA, 1)))).toMatchObject({
      ok: true,
    })
    await world.beaconFollows.sync()
  })

  it('a sidecar speaks for its own share index', async () => {
    const { vaultA, url, headers, asks, cluster } = await setUp(1)
    await askRegister(url, asks(vaultA, 1), headers.a)
    const [item] = await getValidators(url, headers.node1)
    const [validator] = cluster.validators
    if (item === undefined || validator === undefined) throw new Error('not there')
    for (const [shareIndex, status] of [
      [1, 200],
      [2, 403],
    ] as const) {
      const pair = signedPair(world.network, validator, shareIndex, item)
      expect((await postPairs(url, shareIndex, [pair], headers.node1)).status).toBe(status)
    }
    expect((await getValidators(url, headers.node1))[0]?.share_indexes_ready).toEqual([1])
  })

  it('a key whose exit another operator asked for is not handed out while that lives', async () => {
    const { vaultA, stage, url, headers, asks, keys } = await setUp(2)
    expect((await postValidators(url, keys.slice(0, 1), headers.any)).status).toBe(200)
    expect(await registerKeys(url, asks(vaultA, 2), headers.a)).toEqual(keys.slice(1))
    // Whoever asks for the vault is the vault.
    expect(await registerKeys(url, asks(vaultA, 2), headers.any)).toEqual(keys.slice(1))
    await stage.age()
    expect(await registerKeys(url, asks(vaultA, 2), headers.a)).toEqual([keys[1], keys[0]])
    expect((await postValidators(url, keys.slice(0, 1), headers.any)).status).toBe(409)
  })

  it('two tokens of one vault are one operator, in both generations', async () => {
    const { vaultA, url, headers, asks, keys } = await setUp(1)
    await registerKeys(url, asks(vaultA, 1, 1), headers.a)
    const before = await getExits(url, headers.nodes)
    // A poll by the other token is a poll; at another index it moves what is its own.
    expect(await registerKeys(url, asks(vaultA, 1, 1), headers.alsoA)).toEqual(keys)
    expect(await getExits(url, headers.nodes)).toEqual(before)
    expect(await registerKeys(url, asks(vaultA, 1, 2), headers.alsoA)).toEqual(keys)
    expect((await postValidators(url, keys, headers.a)).status).toBe(200)
    expect((await postValidators(url, keys, headers.alsoA)).status).toBe(200)
    expect(await getExits(url, headers.nodes)).toMatchObject([{ validator_index: nextIndex(world.beacon) }])
  })

  it('a key that a vault has is no other vault’s operator’s to take by generation 3, whatever its index', async () => {
    const { vaultA, vaultB, stage, url, headers, asks, keys, cluster } = await setUp(2)
    await registerKeys(url, asks(vaultA, 2), headers.a)
    // The indexes are used by somebody else: such exits are anybody's.
    world.beacon.addValidators(new Uint8Array(randomBytes(48)), new Uint8Array(randomBytes(48)))
    const bindingRefused = { status: 403, json: { code: 'TOKEN_BINDING', failures: [{ index: 0 }, { index: 1 }] } }
    expect(await postValidators(url, keys, headers.b)).toMatchObject(bindingRefused)
    expect(await registerKeys(url, asks(vaultA, 2), headers.a)).toEqual(keys)
    // A binding outlives the reservation.
    await signAll(world, url, cluster.validators.slice(0, 1), [1], headers.nodes)
    await stage.age()
    await stage.query(`update messages set state = 'expired'`)
    expect(await postValidators(url, keys.slice(0, 1), headers.b)).toMatchObject({ status: 403 })
    // One without a vault is no single vault's operator's to name, but the relayer may hand it out.
    expect(await postValidators(url, keys.slice(1), headers.b)).toMatchObject({ status: 403 })
    expect(await registerKeys(url, asks(vaultB, 1), headers.b)).toEqual(keys.slice(1))
  })

  it('VAULTS is a fence besides', async () => {
    const { vaultA, vaultB, stage, cluster, asks } = await setUp(1)
    const fenced = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, VAULTS: vaultB.address })
    expect(await askRegister(fenced.url, asks(vaultA, 1))).toMatchObject({
      status: 422,
      json: { code: 'VAULT_UNKNOWN' },
    })
    expect((await askRegister(fenced.url, asks(vaultB, 1))).text).not.toBe(NOTHING)
  })
})
