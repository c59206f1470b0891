/**
 * `npm run relayer -- rotate` as a process: what a dry run says and leaves alone, the calldata, sending, and who is in the way. Then the
 * service alone, in a world that means ill.
 */

import { readTransaction, type TransactionWallet } from '@dvt-relayer/chain/execution/transaction.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { tryLock } from '@dvt-relayer/db/try-lock.ts'
import { sql } from 'drizzle-orm'
import type { Hex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createChain } from '../../../apps/relayer/src/chain.ts'
import { rotate as rotateHere } from '../../../apps/relayer/src/cli/rotate/rotate.ts'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { ApiError } from '../../../apps/relayer/src/errors.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createOracleSets } from '../../../apps/relayer/src/services/oracles/sets.ts'
import { rotationLock } from '../../../apps/relayer/src/services/rotation/locks.ts'
import { createRotation, type Rotation } from '../../../apps/relayer/src/services/rotation/rotation.ts'
import { openRotationWallet } from '../../../apps/relayer/src/services/rotation/transaction.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { makeManagerWallet } from '../../support/keys/manager-wallet.ts'
import { startProcess } from '../../support/services/process.ts'
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
    // How many exits a requester may have does not bind rotations.
    await using api = await world.startRelayer({ ...settings, ROLE: 'api', MAX_OPEN_EXITS: '1' })
    indexes = []
    for (const validator of validators) indexes.push(await addRegistered(world, VAULT, validator))
    for (const oracle of oracles) oracle.outdated = indexes
    await eventually('the oracle set', async () =>
      (await ask(api.url, '/vaults')).text.includes('"cid"') ? true : undefined,
    )
    const answer = await ask(api.url, `/vaults/${VAULT}/rotation`, { method: 'POST' })
    expect(answer).toMatchObject({ status: 409, json: { code: 'ROTATION_COLLECTING' } })
    expect(await getExits(api.url)).toHaveLength(3)
  }, 300_000)
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
      text: expect.stringContaining('3 are collected'),
    })
    {
      await using api = await world.startRelayer({ ...settings, ROLE: 'api' })
      for (const share of [1, 2, 3]) await sidecarRound(api.url, world.network, validators, share)
    }
    // What a process has taken up and not finished is another's after a while.
    await query(world, `update messages set queued_at = queued_at - interval '1 minute'`)
    const { code, text } = await rotate(['--vault', VAULT])
    expect(code).toBe(0)
    const update = JSON.parse(text.slice(text.indexOf('{'))) as { to: Hex; nonce: number; validators: object[] }
    expect(update).toMatchObject({ to: world.keeper.address, nonce: 0, deadline: expect.any(Number) })
    expect(update.validators).toEqual(
      [0, 1].map((position) => ({
        public_key: toHex(validators[position]?.publicKey ?? new Uint8Array()),
        validator_index: indexes[position],
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

  describe('in a world that means ill', () => {
    const signal = new AbortController().signal
    const vault = fromHex(VAULT, 20)
    let db: Database
    let sending: TransactionWallet
    let service: Rotation
    let connections = { now: 0, most: 0 }

    const create = (more: Record<string, string> = {}): Rotation => {
      const { config } = readConfig(world.environment({ ...settings, ROTATION: 'on', ...more }))
      const events = createEvents(silentLogger)
      const crypto = { verify: () => Promise.reject(new Error('nothing is verified here')) } as never
      const counted = Object.assign(Object.create(db) as Database, {
        onOneConnection: async (work: Parameters<Database['onOneConnection']>[0]) => {
          connections.most = Math.max(connections.most, ++connections.now)
          return db.onOneConnection(work).finally(() => connections.now--)
        },
      })
      const chain = createChain(config, crypto, events, silentLogger)
      const oracleSets = createOracleSets({ db, chain, events })
      return createRotation({ config, db: counted, chain, events, oracleSets }, sending)
    }
    const asked = () => oracles.reduce((sum, oracle) => sum + oracle.asked.length, 0)
    const newest = async () => {
      const [row] = await query<{ state: string; nonce: number; transaction: Buffer | null }>(
        world,
        'select state, nonce::int, transaction from rotations where vault = $1 order by id desc limit 1',
        [Buffer.from(vault)],
      )
      return row
    }
    const count = async () => Number(await world.anvil.rpc('eth_getTransactionCount', sending.address, 'latest'))
    const walletNonce = async () => (await readTransaction((await newest())?.transaction ?? new Uint8Array())).nonce

    beforeAll(async () => {
      await world.anvil.mine(4)
      const [update] = await world.keeper.updates(VAULT)
      for (const oracle of oracles)
        Object.assign(oracle, { outdated: indexes.slice(0, 2), block: update?.blockNumber, nonce: 1 })
      db = resources.use(await connectDatabase({ url: world.databaseUrl, logger: silentLogger }))
      const { config } = readConfig(world.environment({ ...settings, ...wallet }))
      const opened = await openRotationWallet(config)
      if (opened === undefined) throw new Error('no wallet')
      sending = opened
      service = create()
    })

    it('pays once for oracles that ask for the same again and again', async () => {
      expect(await service.advance(vault, 'send', signal)).toEqual({ step: 'nothing', leftOut: 2 })
      expect(await newest()).toMatchObject({ state: 'done', nonce: 0 })
    })

    it('notes no less than was final where a node is behind', async () => {
      const name = `exit_signatures:${VAULT.toLowerCase()}`
      const [before] = await query<{ value: unknown }>(world, 'select value from checkpoints where name = $1', [name])
      const ahead = { nonce: 3, block_number: 4 }
      await query(world, 'update checkpoints set value = $2 where name = $1', [name, ahead])
      await expect(service.advance(vault, 'prepare', signal)).rejects.toThrow('is behind')
      expect(await query(world, 'select value from checkpoints where name = $1', [name])).toEqual([{ value: ahead }])
      await query(world, 'update checkpoints set value = $2 where name = $1', [name, before?.value])
    })

    it('gives up what the nonce has overtaken, and what is of nobody here any more', async () => {
      const open = (of: Uint8Array) =>
        query(
          world,
          `insert into rotations (vault, oracle_set_id, nonce, state, created_at)
           select $1, id, 0, 'open', now() - interval '1 hour' from oracle_sets where is_current`,
          [Buffer.from(of)],
        )
      const gone = fromHex(someVault(0x66), 20)
      await open(vault)
      await query(
        world,
        `insert into rotation_messages select n.id, m.place, m.message_id from rotation_messages m, rotations n
         where n.state = 'open' and n.vault = $1`,
        [Buffer.from(vault)],
      )
      expect(await service.advance(vault, 'prepare', signal)).toMatchObject({ step: 'open', validators: 2 })
      expect(await newest()).toMatchObject({ state: 'open', nonce: 1 })
      await open(gone)
      await create({ VAULTS: someVault(0x66) }).round(signal)
      expect(await newest()).toMatchObject({ state: 'open', nonce: 1 })
      expect(await query(world, 'select state from rotations where vault = $1', [Buffer.from(gone)])).toEqual([
        { state: 'void' },
      ])
    })

    it('troubles no oracle for what is too dear, for vaults of nobody, or over and over', async () => {
      const before = asked()
      await world.anvil.rpc('anvil_setNextBlockBaseFeePerGas', `0x${(60n * 10n ** 9n).toString(16)}`)
      await world.anvil.mine(1)
      const cheap = create({ ROTATION_MAX_FEE_GWEI: '1' })
      expect(await cheap.advance(vault, 'send', signal)).toEqual({ step: 'too_dear' })
      const nobody = fromHex(someVault(0x67), 20)
      await expect(service.request(nobody, signal)).rejects.toMatchObject({ code: 'ROTATION_NOTHING' })
      expect(asked()).toBe(before)
      expect(await query(world, "select 1 from checkpoints where name ~ 'exit_signatures.*676767'")).toEqual([])

      for (const oracle of oracles) oracle.manner = 'refusing'
      const patient = create({ ROTATION_MAX_FEE_GWEI: '1000' })
      expect(await patient.round(signal)).toContain('0 of 4 oracles approve')
      expect(asked()).toBe(before + oracles.length)
      expect(await patient.round(signal)).toContain('0 of 4 oracles approve')
      expect(asked()).toBe(before + oracles.length)
      for (const oracle of oracles) oracle.manner = 'honest'
    })

    it('sends under a nonce that is free, whatever expired or used it', async () => {
      await world.anvil.rpc('anvil_setNextBlockBaseFeePerGas', '0x1')
      await world.anvil.mine(1)
      await world.anvil.rpc('evm_setAutomine', false)
      // Another vault's transaction never came, its deadline is over, and nobody goes on with it.
      const plan = { to: vault, data: '0x' as const, chainId: world.network.chainId, gas: 100_000n }
      const fees = { maxFeePerGas: 10n ** 9n, maxPriorityFeePerGas: 10n ** 9n }
      const stuck = await sending.sign({ ...plan, ...fees, nonce: await count() })
      await query(
        world,
        `insert into rotations (vault, oracle_set_id, nonce, state, transaction_hash, transaction, deadline)
         select $1, id, 0, 'open', $2, $3, 1000 from oracle_sets where is_current`,
        [Buffer.alloc(20, 0x68), Buffer.from(stuck.hash), Buffer.from(stuck.raw)],
      )
      expect(await service.advance(vault, 'send', signal)).toMatchObject({ step: 'sent' })
      expect(await walletNonce()).toBe(await count())

      // The wallet's owner uses the nonce by hand, long before the deadline.
      const hash = toHex((await readSent()) ?? new Uint8Array())
      await world.anvil.rpc('anvil_dropTransaction', hash)
      const byHand = await sending.sign({ ...plan, ...fees, nonce: await count() })
      await world.anvil.rpc('eth_sendRawTransaction', toHex(byHand.raw))
      await world.anvil.mine(1)
      expect(await service.advance(vault, 'send', signal)).toMatchObject({
        transactionHash: Buffer.from(fromHex(hash)),
      })
      await world.anvil.mine(4)
      expect(await service.advance(vault, 'send', signal)).toMatchObject({ step: 'sent' })
      expect(await walletNonce()).toBe(await count())
      await world.anvil.mine(1)
      expect(await world.keeper.nonce(VAULT)).toBe(2)
      await world.anvil.rpc('evm_setAutomine', true)
    })

    it('has few connections to the database, however many ask', async () => {
      connections = { now: 0, most: 0 }
      const vaults = Array.from({ length: 30 }, (_, position) => fromHex(someVault(position + 1), 20))
      const steps = await Promise.allSettled(vaults.map((other) => service.advance(other, 'prepare', signal)))
      expect(steps.some(({ status }) => status === 'fulfilled')).toBe(true)
      // Who waits too long for a slow machine is told to come again.
      for (const step of steps)
        if (step.status === 'rejected') expect(step.reason).toMatchObject({ code: 'ROTATION_BUSY' })
      expect(connections.most).toBeLessThanOrEqual(5)
    })

    it('asked for by hand is for the newest oracles, also before anybody has adopted them', async () => {
      const cid = await announceOracles(world, oracles, { threshold: 3, needed: 3, limit: 2 })
      const adopted = () => query<{ cid: string }>(world, 'select cid from oracle_sets where is_current')
      expect(await adopted()).not.toEqual([{ cid }])
      // Whatever it comes to: the exits have no shares for them yet.
      await service.request(vault, signal).catch((error: unknown) => expect(error).toBeInstanceOf(ApiError))
      expect(await adopted()).toEqual([{ cid }])
    })

    async function readSent(): Promise<Buffer | undefined> {
      const sql = "select transaction_hash from rotations where vault = $1 and state = 'open'"
      const [row] = await query<{ transaction_hash: Buffer }>(world, sql, [Buffer.from(vault)])
      return row?.transaction_hash
    }
  })
})
