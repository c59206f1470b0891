/**
 * ROTATION=on with a wallet, as a process that is killed at every step: one update on chain, one transaction, the same shares whenever
 * oracles are asked. Then what a transaction that came too late leads to.
 */

import type { RotationResponse } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { makeManagerWallet } from '../../support/keys/manager-wallet.ts'
import { type AppProcess, startProcess } from '../../support/services/process.ts'
import { query, settings } from '../../support/stages/manager.ts'
import {
  addRegistered,
  announceOracles,
  type RotationOracle,
  someVault,
  startRotationOracle,
} from '../../support/stages/rotation.ts'
import { getExits, type KeyedValidator, sidecarRound } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

const VAULT = someVault(0xc3)
const WAIT_MS = 120_000

describe.skipIf(skipWithoutAnvil)('a rotation whose relayer is killed', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let oracles: RotationOracle[]
  let validators: KeyedValidator[]
  let wallet: string
  /** The relayer that nobody kills. */
  let running: AppProcess | undefined
  let environment: Record<string, string | undefined>

  const start = async (): Promise<{ process: AppProcess; url: string }> => {
    const process = resources.use(startProcess('quick relayer', environment))
    const { url } = (await process.logged('relayer started')) as { url: string }
    return { process, url }
  }
  const row = async () =>
    (
      await query<{ state: string; hash: string | null; deadline: number | null }>(
        world,
        `select state, '0x' || encode(transaction_hash, 'hex') as hash, deadline::int from rotations order by id desc limit 1`,
      )
    )[0]
  const until = <T>(what: string, look: () => Promise<T | undefined>) => eventually(what, look, WAIT_MS)
  const sent = () => world.anvil.rpc('eth_getTransactionCount', wallet, 'latest')
  const pooled = async (): Promise<string[]> => {
    const pool = (await world.anvil.rpc('txpool_content')) as Record<
      string,
      Record<string, Record<string, { hash: string }>>
    >
    return Object.values(pool['pending'] ?? {}).flatMap((byNonce) => Object.values(byNonce).map(({ hash }) => hash))
  }

  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    oracles = []
    for (let i = 0; i < 5; i++) oracles.push(resources.use(await startRotationOracle(world.network)))
    await announceOracles(world, oracles, { threshold: 3, needed: 3, validity: 900 })
    await world.anvil.mine(4)
    const { keyFile, passwordFile, address } = await makeManagerWallet(world.dir)
    wallet = address
    await world.anvil.rpc('anvil_setBalance', wallet, '0x8ac7230489e80000')
    environment = world.environment({
      ...settings,
      VALIDATORS_MANAGER_KEY_FILE: '',
      VALIDATORS_MANAGER_PASSWORD_FILE: '',
      ROTATION: 'on',
      ROTATION_WALLET_KEY_FILE: keyFile,
      ROTATION_WALLET_PASSWORD_FILE: passwordFile,
    })
    // Tables first.
    await using _ = await world.startRelayer(settings)
    validators = createTestKeys(3, { nodes: 4, threshold: 3 })
    const indexes: number[] = []
    for (const validator of validators) indexes.push(await addRegistered(world, VAULT, validator))
    for (const oracle of oracles) oracle.outdated = indexes
    await world.anvil.rpc('evm_setAutomine', false)
  }, 300_000)
  afterAll(() => resources.disposeAsync())

  it('goes on wherever it was, and is done once', async () => {
    // Killed when exits are wanted and nobody has signed.
    let { process, url } = await start()
    await until('the exits', async () => ((await getExits(url)).length === 3 ? true : undefined))
    await process.end('SIGKILL')

    // Killed while the oracles think about it.
    ;({ process, url } = await start())
    const { child } = process
    for (const oracle of oracles) oracle.onApproval = () => void child.kill('SIGKILL')
    for (const share of [1, 2, 3]) await sidecarRound(url, world.network, validators, share)
    await process.ended
    for (const oracle of oracles) oracle.onApproval = undefined
    expect((await row())?.hash).toBeNull()

    // Killed with a transaction under way, which the node forgets.
    ;({ process } = await start())
    await until('a transaction', async () => ((await pooled()).length === 1 ? true : undefined))
    const { hash } = (await row()) ?? {}
    expect(await pooled()).toEqual([hash])
    await process.end('SIGKILL')
    await world.anvil.rpc('anvil_dropTransaction', hash)
    expect(await pooled()).toEqual([])

    // The very same is sent again; killed once it is in a block that is not final.
    ;({ process, url } = await start())
    await until('the transaction', async () => ((await pooled()).length === 1 ? true : undefined))
    expect(await pooled()).toEqual([hash])
    expect((await ask(url, `/vaults/${VAULT}/rotation`)).json as RotationResponse).toMatchObject({
      state: 'sent',
      transaction_hash: hash,
    })
    await world.anvil.mine(1)
    const block = Number(await world.anvil.rpc('eth_blockNumber'))
    expect(await world.keeper.nonce(VAULT)).toBe(1)
    await process.end('SIGKILL')
    expect((await row())?.state).toBe('open')

    await world.anvil.mine(4)
    for (const oracle of oracles) Object.assign(oracle, { outdated: [], block, nonce: 1 })
    ;({ process, url } = await start())
    await until('the end', async () => ((await row())?.state === 'done' ? true : undefined))
    running = process

    expect(await query(world, 'select state from rotations')).toEqual([{ state: 'done' }])
    expect(await sent()).toBe('0x1')
    expect(await world.keeper.updates(VAULT)).toHaveLength(1)
    const bodies = oracles.flatMap(({ asked }) => asked.map(({ deadline: _, ...content }) => JSON.stringify(content)))
    expect(new Set(bodies).size).toBe(1)
    const current = await query(
      world,
      'select 1 from validators v join oracle_sets o on o.id = v.oracle_set_id and o.is_current',
    )
    expect(current).toHaveLength(3)
    expect(process.output()).not.toContain(toHex(validators[0]?.publicKey ?? new Uint8Array()))
  }, 300_000)

  it('sends another transaction when the first was mined too late, and asks for approval again', async () => {
    const added = resources.use(await startRotationOracle(world.network))
    Object.assign(added, { block: oracles[0]?.block })
    oracles.push(added)
    const [index] = await query<{ index: number }>(world, 'select min(beacon_index)::int as index from validators')
    for (const oracle of oracles) Object.assign(oracle, { outdated: [index?.index], nonce: 1 })
    await world.anvil.rpc('evm_setAutomine', true)
    await announceOracles(world, oracles, { threshold: 3, needed: 4, validity: 900 })
    await world.anvil.rpc('evm_setAutomine', false)

    await until('a transaction', async () => ((await pooled()).length === 1 ? true : undefined))
    const first = await row()
    await world.anvil.rpc('evm_setNextBlockTimestamp', (first?.deadline ?? 0) + 1)
    await world.anvil.mine(1)
    expect(await world.keeper.nonce(VAULT)).toBe(1)
    await until('another transaction', async () => ((await pooled()).length === 1 ? true : undefined))
    const second = await row()
    expect(second?.hash).not.toBe(first?.hash)
    expect(second?.deadline).toBeGreaterThan(first?.deadline ?? 0)
    await world.anvil.mine(5)
    expect(await world.keeper.nonce(VAULT)).toBe(2)
    await until('the end', async () => ((await row())?.state === 'done' ? true : undefined))
    expect(await sent()).toBe('0x3')
    expect(await running?.end('SIGTERM')).toBe(0)
  }, 300_000)
})
