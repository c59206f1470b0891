/** Generations 3 and 4 at the same time, against one relayer, on the same keys: an exit is an exit whoever asked for it. */

import type { ValidatorsResponse } from '@dvt-relayer/api/schemas.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { nextIndex, register, registerOnChain, registerUntilReady } from '../../support/operator/operator.ts'
import { QUICK_MS } from '../../support/services/quick.ts'
import { addressOf, fetchShares } from '../../support/stages/oracle-fetch.ts'
import {
  askRegister,
  clusterFor,
  ETH32,
  keysOf,
  openStage,
  registerKeys,
  type Stage,
  signAll,
} from '../../support/stages/registrations.ts'
import {
  assertOraclesCanExit,
  getExits,
  getValidators,
  postValidators,
  sidecarRound,
  untilShares,
} from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 4, threshold: 2 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

async function setUp(validators: number, overrides: Parameters<Stage['startRelayer']>[1] = {}) {
  const vault = await world.deployVault()
  const cluster = await clusterFor(world, vault, { validators })
  const stage = await openStage(world)
  const { url } = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile }, overrides)
  const asks = (count: number, later = 0) => ({
    vault: vault.address,
    startIndex: nextIndex(world.beacon) + later,
    amounts: Array<number>(count).fill(ETH32),
    type: '0x01' as const,
  })
  return { vault, cluster, stage, url, keys: keysOf(cluster.validators), asks }
}
const indexesOf = async (url: string) =>
  new Map((await getExits(url)).map(({ public_key, validator_index }) => [public_key, validator_index]))

describe.skipIf(skipWithoutAnvil)('both generations', () => {
  it('at the same indexes end ready with the same exits', async () => {
    const { vault, cluster, url, keys, asks } = await setUp(3)
    const request = asks(3)
    expect(await registerKeys(url, request)).toEqual(keys)
    expect((await postValidators(url, keys)).json).toMatchObject({ ready: false })
    // Three nodes with sidecar 1: the exits are complete, for both.
    for (const shareIndex of [1, 2, 3])
      expect((await sidecarRound(url, world.network, cluster.validators, shareIndex)).status).toBe(200)
    const ofThree = await untilShares(url, keys)
    const half = await register(url, request)
    const sharesOf = (items: { oracles_exit_signature_shares: unknown }[]) =>
      items.map((item) => item.oracles_exit_signature_shares)
    expect(sharesOf(half.validators)).toEqual(sharesOf(ofThree.validators))
    expect(half.validators.map(({ deposit_signature }) => deposit_signature)).toEqual([null, null, null])
    expect(half.validators_manager_signature).toBeNull()
    expect(await getValidators(url)).toMatchObject(keys.map(() => ({ share_indexes_ready: [] })))
    // Three with sidecar 2, two of them the same: the deposits follow.
    await signAll(world, url, cluster.validators, [4, 3, 2])
    const ofFour = await registerUntilReady(url, request)
    expect(sharesOf(ofFour.validators)).toEqual(sharesOf(ofThree.validators))
    expect((await postValidators(url, keys)).json).toEqual(ofThree)
    for (const [position, { publicKey }] of cluster.validators.entries()) {
      const shares = ofThree.validators[position]?.oracles_exit_signature_shares ?? null
      await assertOraclesCanExit(world.network, world.oracles, 2, publicKey, request.startIndex + position, shares)
    }
    expect(await registerOnChain(vault, '0x01', ofFour)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    expect((await postValidators(url, keys)).status).toBe(422)
  })

  it('an exit of no vault is told to the oracles again, once, when a vault has it', async () => {
    const vault = await world.deployVault()
    const cluster = await clusterFor(world, undefined, { validators: 1 })
    const { url } = await (await openStage(world)).startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const keys = keysOf(cluster.validators)
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32],
      type: '0x01' as const,
    }
    await postValidators(url, keys)
    for (const shareIndex of [1, 2, 3]) await sidecarRound(url, world.network, cluster.validators, shareIndex)
    await untilShares(url, keys)
    const [oracle] = world.oracles
    if (oracle === undefined) throw new Error('no oracle')
    const { exit_shares: first, cursor } = await fetchShares(url, addressOf(oracle))
    expect(first).toMatchObject([{ public_key: keys[0], vault: null }])
    expect(await registerKeys(url, request)).toEqual(keys)
    const again = await fetchShares(url, addressOf(oracle), { after: cursor, vault: vault.address })
    expect(again.exit_shares).toEqual([{ ...first[0], vault: vault.address }])
    expect(await registerKeys(url, request)).toEqual(keys)
    await registerKeys(url, { ...request, amounts: [ETH32, ETH32] })
    expect((await fetchShares(url, addressOf(oracle), { after: again.cursor })).exit_shares).toEqual([])
  })

  it('whichever came first', async () => {
    const { cluster, url, keys, asks } = await setUp(2)
    await postValidators(url, keys)
    for (const shareIndex of [1, 2, 3]) await sidecarRound(url, world.network, cluster.validators, shareIndex)
    const ofThree = await untilShares(url, keys)
    const first = await register(url, asks(2))
    expect(first.validators.map((item) => item.oracles_exit_signature_shares)).toEqual(
      ofThree.validators.map((item) => item.oracles_exit_signature_shares),
    )
    await signAll(world, url, cluster.validators)
    await registerUntilReady(url, asks(2))
    expect((await postValidators(url, keys)).json).toEqual(ofThree)
  })

  it('at the same index also where the one has asked for more', async () => {
    const { url, keys, asks } = await setUp(2)
    await registerKeys(url, asks(1))
    expect((await postValidators(url, keys)).status).toBe(200)
    const start = nextIndex(world.beacon)
    expect(await indexesOf(url)).toEqual(new Map(keys.map((key, position) => [key, start + position])))
    expect(await registerKeys(url, asks(2))).toEqual(keys)
  })

  it('at other indexes: who shows no vault takes nothing from one that lives', async () => {
    // Without the sweep, which may or may not see for itself that nobody has asked for a day.
    const intervalsMs = { ...QUICK_MS, sweep: 3_600_000 }
    const { cluster, stage, url, keys, asks } = await setUp(2, { intervalsMs })
    const next = nextIndex(world.beacon)
    await registerKeys(url, asks(2, 3))
    await signAll(world, url, cluster.validators)
    const ready = await registerUntilReady(url, asks(2, 3))
    const before = (await ask(url, '/exits')).text
    for (const wanted of [keys, keys.slice(1)])
      expect(await postValidators(url, wanted)).toMatchObject({
        status: 409,
        json: { code: 'EXIT_TAKEN', failures: wanted.map((_, index) => ({ index, code: 'EXIT_TAKEN' })) },
      })
    expect((await ask(url, '/exits')).text).toBe(before)
    expect((await register(url, asks(2, 3))).validators).toEqual(ready.validators)
    // Nobody asks for a day: now it may.
    await stage.age()
    expect((await postValidators(url, keys.slice(0, 1))).status).toBe(200)
    expect(await indexesOf(url)).toEqual(
      new Map([
        [keys[0], next],
        [keys[1], next + 4],
      ]),
    )
    expect(await getValidators(url)).toHaveLength(2)
    // The vault asks again and has it back, deposits and all.
    const { validators } = await register(url, asks(2, 3))
    expect(await indexesOf(url)).toEqual(
      new Map([
        [keys[0], next + 3],
        [keys[1], next + 4],
      ]),
    )
    expect(validators.map(({ deposit_signature }) => deposit_signature)).toEqual(
      ready.validators.map(({ deposit_signature }) => deposit_signature),
    )
    expect((await postValidators(url, keys.slice(0, 1))).status).toBe(409)
  })

  it('an exit nobody’s vault asked for goes to the vault that does', async () => {
    const { url, keys, asks } = await setUp(1)
    await postValidators(url, keys)
    await registerKeys(url, asks(1, 2))
    expect(await indexesOf(url)).toEqual(new Map([[keys[0], nextIndex(world.beacon) + 2]]))
    expect((await postValidators(url, keys)).status).toBe(409)
  })

  it('an exit whose index the chain has used is anybody’s', async () => {
    const { url, keys, asks } = await setUp(1)
    await registerKeys(url, asks(1))
    world.beacon.addValidators(new Uint8Array(48).fill(0xcd).with(0, nextIndex(world.beacon) % 256))
    expect((await postValidators(url, keys)).status).toBe(200)
    expect(await indexesOf(url)).toEqual(new Map([[keys[0], nextIndex(world.beacon)]]))
  })

  it('many requests of both at once all end', async () => {
    const { url, keys, asks } = await setUp(6)
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        i % 3 === 0 ? askRegister(url, asks(1 + (i % 6))) : postValidators(url, i % 2 ? keys : keys.toReversed()),
      ),
    )
    // Two that want different indexes refuse each other; none waits for the other in vain.
    expect(new Set(answers.map(({ status }) => status)).difference(new Set([200, 409]))).toEqual(new Set())
    expect(await registerKeys(url, asks(6))).toEqual(keys)
    const start = nextIndex(world.beacon)
    expect(await indexesOf(url)).toEqual(new Map(keys.map((key, position) => [key, start + position])))
    const answer = (await postValidators(url, keys)).json as ValidatorsResponse
    expect(answer.validators.map(({ public_key }) => public_key)).toEqual(keys)
  })
})
