/** `npm run relayer -- rotate` as a process: what a dry run says and leaves alone, the calldata, sending, and who is in the way. */

import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { tryLock } from '@dvt-relayer/db/try-lock.ts'
import { sql } from 'drizzle-orm'
import type { Hex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rotate as rotateHere } from '../../apps/relayer/src/rotate.ts'
import { rotationLock } from '../../apps/relayer/src/services/rotation.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { createTestKeys } from '../support/keys.ts'
import { makeManagerWallet } from '../support/manager-wallet.ts'
import { getExits, type KeyedValidator, sidecarRound } from '../support/nodes.ts'
import { startProcess } from '../support/process.ts'
import { startVaultWorld, type VaultWorld } from '../support/vault-world.ts'
import { ask, eventually } from '../support/world.ts'
import { query, settings } from './manager-support.ts'
import {
  addRegistered,
  announceOracles,
  type RotationOracle,
  someVault,
  startRotationOracle,
} from './rotation-support.ts'

const VAULT = someVault(0xd4)

describe.skipIf(skipWithoutAnvil)('the command rotate', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let oracles: RotationOracle[]
  let validators: KeyedValidator[]
  let indexes: number[]
  let wallet: { ROTATION_WALLET_KEY_FILE: string; ROTATION_WALLET_PASSWORD_FILE: string }

  async function rotate(args: readonly string[], more: Record<string, string> = {}) {
    const environment = world.environment({ ...settings, LOG_LEVEL: 'error', ...more })
    const process = startProcess('relayer', environment, ['rotate', ...args])
    return { code: await process.ended, text: process.output() }
  }
  /** Every row of every table there is. */
  async function everything(): Promise<string> {
    const tables = await query<{ name: string }>(
      world,
      `select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables
       where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE' order by 1`,
    )
    const content = []
    for (const { name } of tables)
      content.push(
        `${name} ${JSON.stringify(await query(world, `select md5(t::text) as hash from ${name} t order by 1`))}`,
      )
    return content.join('\n')
  }

  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    oracles = []
    for (let i = 0; i < 4; i++) oracles.push(resources.use(await startRotationOracle(world.network)))
    await announceOracles(world, oracles, { threshold: 2, needed: 3, limit: 2 })
    await world.anvil.mine(4)
    const { keyFile, passwordFile, address } = await makeManagerWallet(world.dir)
    await world.anvil.rpc('anvil_setBalance', address, '0x8ac7230489e80000')
    wallet = { ROTATION_WALLET_KEY_FILE: keyFile, ROTATION_WALLET_PASSWORD_FILE: passwordFile }
    validators = createTestKeys(3, { nodes: 4, threshold: 3 })
    // An API process collects partial signatures, and nobody finishes them.
    await using api = await world.startRelayer({ ...settings, ROLE: 'api' })
    indexes = []
    for (const validator of validators) indexes.push(await addRegistered(world, VAULT, validator))
    for (const oracle of oracles) oracle.outdated = indexes
    await eventually('the oracle set', async () =>
      (await ask(api.url, '/vaults')).text.includes('"cid"') ? true : undefined,
    )
    const answer = await ask(api.url, `/vaults/${VAULT}/rotation`, { method: 'POST' })
    expect(answer).toMatchObject({ status: 409, json: { code: 'ROTATION_COLLECTING' } })
    expect(await getExits(api.url)).toHaveLength(2)
  }, 120_000)
  afterAll(() => resources.disposeAsync())

  it('says in a dry run what it would do, over connections that cannot write', async () => {
    const before = await everything()
    for (const oracle of oracles) oracle.requests.length = 0
    const { code, text } = await rotate(['--vault', VAULT, '--dry-run'])
    expect(text).toContain('2 validators would be handed in with the next update')
    expect(text).toContain(`${indexes[0]} ${toHex(validators[0]?.publicKey ?? new Uint8Array())}: its exit would be`)
    expect(code).toBe(0)
    expect(await everything()).toBe(before)
    expect(
      oracles.flatMap(({ requests }) => requests).filter((line) => !line.startsWith('GET /signatures/0x')),
    ).toEqual([])

    await using db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger, readOnly: true })
    await expect(db.execute(sql`delete from rotations`)).rejects.toThrow()
  })

  it('finishes and splits what was signed, and prints the transaction', async () => {
    expect(await rotate(['--vault', VAULT])).toMatchObject({
      code: 1,
      text: expect.stringContaining('2 are collected'),
    })
    {
      await using api = await world.startRelayer({ ...settings, ROLE: 'api' })
      for (const share of [1, 2, 3]) await sidecarRound(api.url, world.network, validators, share)
    }
    const { code, text } = await rotate(['--vault', VAULT])
    expect(code).toBe(0)
    const update = JSON.parse(text.slice(text.indexOf('{'))) as { to: Hex; nonce: number; validators: object[] }
    expect(update).toMatchObject({ to: world.keeper.address, nonce: 0, deadline: expect.any(Number) })
    expect(update.validators).toEqual(
      [0, 1].map((place) => ({
        public_key: toHex(validators[place]?.publicKey ?? new Uint8Array()),
        validator_index: indexes[place],
      })),
    )
    expect(await world.keeper.nonce(VAULT)).toBe(0)
  })

  it('sends it once: run twice, it does nothing twice', async () => {
    const again = { ...wallet }
    const first = await rotate(['--vault', VAULT, '--send'], again)
    expect(first).toMatchObject({ code: 0, text: expect.stringContaining('it is in block') })
    expect(await world.keeper.nonce(VAULT)).toBe(1)
    const second = await rotate(['--vault', VAULT, '--send'], again)
    expect(second).toMatchObject({ code: 0, text: expect.stringContaining('it is in block') })
    expect(await world.keeper.nonce(VAULT)).toBe(1)
    expect(await query(world, 'select state from rotations')).toEqual([{ state: 'open' }])
  })

  it('says who is in the way, and what is missing', async () => {
    await using db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
    const lock = rotationLock(fromHex(VAULT, 20))
    const here = (...args: string[]) => rotateHere(args, world.environment(settings), () => undefined)
    const busy = tryLock(db, lock, () => here('--vault', VAULT))
    await expect(busy).rejects.toMatchObject({ code: 'ROTATION_BUSY', message: expect.stringContaining('since 20') })
    const inner = await tryLock(db, lock, () => tryLock(db, lock, async () => 'both'))
    expect(inner).toMatchObject({ value: { isOurs: false, holder: expect.stringContaining('since') } })
    await expect(here()).rejects.toThrow('--vault must be the address')
    await expect(here('--vault', VAULT, '--send')).rejects.toThrow('--send needs ROTATION_WALLET_KEY_FILE')
    await expect(here('--vault', VAULT, '--send', '--dry-run')).rejects.toThrow('--dry-run sends nothing')
  })
})
