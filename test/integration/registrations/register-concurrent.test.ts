/** Several relayer processes and many requests at once: no key twice, no index twice, and the chain takes every answer (generation 4). */

import type { RegisterResponse } from '@dvt-relayer/api/schemas.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import { nextIndex, registerOnChain, registerUntilReady } from '../../support/operator/operator.ts'
import { askRegister, clusterFor, ETH32, keysOf, openStage, signAll } from '../../support/stages/registrations.ts'
import { getValidators } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { eventually } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 3, threshold: 2 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const CALLS = 50
const KEYS = 12

async function setUp() {
  const vaults = [await world.deployVault(), await world.deployVault(), await world.deployVault()]
  const cluster = await clusterFor(world, undefined, { validators: KEYS })
  const stage = await openStage(world)
  const settings = { CLUSTER_LOCK_FILES: cluster.lockFile }
  const relayers = [await stage.startRelayer(settings), await stage.startRelayer(settings)]
  return { vaults, cluster, relayers, stage, start: () => stage.startRelayer(settings) }
}
const asks = (vault: Vault, count: number, later = 0) => ({
  vault: vault.address,
  startIndex: nextIndex(world.beacon) + later,
  amounts: Array<number>(count).fill(ETH32),
  type: '0x01' as const,
})

/** The i-th of the calls: of one vault after the other, of 1 to 4 validators, from equal and from different indexes on. */
const call = (vaults: readonly Vault[], i: number) => {
  const vault = vaults[i % vaults.length]
  if (vault === undefined) throw new Error('no vault')
  return asks(vault, 1 + (i % 4), (i % 5) * (i % 2))
}

/** No key is two vaults', and no vault has an index twice; returns what each vault has. */
async function assertApart(url: string, answers: readonly { vault: string; keys: readonly string[] }[]) {
  const owner = new Map<string, string>()
  for (const { vault, keys } of answers) {
    expect(new Set(keys).size).toBe(keys.length)
    for (const key of keys) {
      expect(owner.get(key) ?? vault).toBe(vault)
      owner.set(key, vault)
    }
  }
  const list = await getValidators(url)
  for (const { public_key, vault } of list) expect(owner.get(public_key) ?? vault).toBe(vault)
  expect(new Set(list.map(({ public_key }) => public_key)).size).toBe(list.length)
  const positions = list.map(({ vault, validator_index }) => `${vault} ${validator_index}`)
  expect(new Set(positions).size).toBe(positions.length)
  return owner
}

/** One vault after the other asks with the right index, is signed for, and registers. */
async function registerAll(
  url: string,
  vaults: readonly Vault[],
  { validators }: { validators: Parameters<typeof signAll>[2] },
) {
  const registered: string[] = []
  for (const vault of vaults) {
    const request = asks(vault, 4)
    await askRegister(url, request)
    await signAll(world, url, validators)
    const answer = await registerUntilReady(url, request)
    expect(await registerOnChain(vault, '0x01', answer)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    for (const [position, { public_key }] of answer.validators.entries()) {
      expect(world.beacon.findValidator(Buffer.from(public_key.slice(2), 'hex'))).toMatchObject({
        index: request.startIndex + position,
        withdrawalCredentials: expect.toSatisfy((credentials: Uint8Array) =>
          Buffer.from(credentials).toString('hex').endsWith(vault.address.slice(2).toLowerCase()),
        ),
      })
      registered.push(public_key)
    }
  }
  return registered
}

describe.skipIf(skipWithoutAnvil)('fifty requests of three vaults to two relayers at once', () => {
  it('get no key and no index twice, and the chain takes what each vault is given in the end', async () => {
    const { vaults, cluster, relayers } = await setUp()
    const urls = relayers.map(({ url }) => url)
    const answers = await Promise.all(
      Array.from({ length: CALLS }, async (_, i) => {
        const request = call(vaults, i)
        const { status, json, text } = await askRegister(urls[(i >> 1) % 2] ?? '', request)
        expect(status, text).toBe(200)
        const { validators } = json as RegisterResponse
        expect(validators).toHaveLength(request.amounts.length)
        return { vault: request.vault, keys: validators.map(({ public_key }) => public_key) }
      }),
    )
    const owner = await assertApart(urls[0] ?? '', answers)
    expect([...owner.keys()].toSorted()).toEqual(keysOf(cluster.validators).toSorted())
    // What a vault was given stands in one order: a longer answer begins with every shorter one.
    for (const { address } of vaults) {
      const own = answers.filter(({ vault }) => vault === address).map(({ keys }) => keys)
      const longest = own.reduce((long, keys) => (keys.length > long.length ? keys : long), [])
      for (const keys of own) expect(keys).toEqual(longest.slice(0, keys.length))
    }
    const registered = await registerAll(urls[1] ?? '', vaults, cluster)
    expect(registered.toSorted()).toEqual(keysOf(cluster.validators).toSorted())
  })

  it('hold when one of the relayers ends in the middle', async () => {
    const { vaults, cluster, relayers, start } = await setUp()
    const [first, second] = relayers
    if (first === undefined || second === undefined) throw new Error('no relayer')
    let ended: PromiseLike<void> | undefined
    const answers = await Promise.all(
      Array.from({ length: CALLS }, async (_, i) => {
        const request = call(vaults, i)
        const answer = await askRegister(i % 2 === 0 ? first.url : second.url, request).catch(() => undefined)
        ended ??= second[Symbol.asyncDispose]()
        if (answer === undefined || answer.status !== 200) {
          // Only who asked the one that ended may be left without an answer.
          expect(i % 2, answer?.text).toBe(1)
          return { vault: request.vault, keys: [] }
        }
        const { validators } = answer.json as RegisterResponse
        return { vault: request.vault, keys: validators.map(({ public_key }) => public_key) }
      }),
    )
    await ended
    const { url } = await start()
    await assertApart(url, answers)
    expect(await registerAll(url, vaults, cluster)).toHaveLength(KEYS)
  })
})

it.skipIf(skipWithoutAnvil)('requests that wait for keys take no connection from what needs none', async () => {
  const { vaults, cluster, relayers, stage } = await setUp()
  const [vault, other] = vaults
  const url = relayers[0]?.url ?? ''
  if (vault === undefined || other === undefined) throw new Error('no vault')
  await askRegister(url, asks(other, 1))
  await stage.query('begin')
  await stage.query(`select pg_advisory_xact_lock(hashtext('validators.allocation'))`)
  // More than there are connections, each with keys to choose.
  const waiting = Array.from({ length: 20 }, (_, position) => askRegister(url, asks(vault, 1, 1 + position)))
  await eventually('a choice that waits', async () => {
    const [row] = await stage.query<{ n: number }>(
      `select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`,
    )
    return row?.n === 0 ? undefined : row
  })
  expect((await getValidators(url)).map(({ vault: owner }) => owner)).toEqual([other.address])
  await signAll(world, url, cluster.validators)
  await registerUntilReady(url, asks(other, 1))
  await stage.query('commit')
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual(Array(20).fill(200))
})
