/**
 * Oracles change and exits follow, from end to end: sidecars as a user runs them and a relayer that only looks around more often, oracles
 * that decrypt, verify, approve and sign in processes of their own, and a Keeper that checks what they sign; with oracles that are away,
 * slow or approve something else, an index that was predicted wrong, exits that were erased, and a relayer that is killed again and again.
 */

import { randomBytes, randomInt } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { ExitsResponse, VaultResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'
import { loadFixtureCluster } from '../support/keys/fixtures.ts'
import type { OracleProcess } from '../support/oracle/oracle-process.ts'
import { prepareProcesses, type RegistrationProcesses } from '../support/world/registration-processes.ts'
import { type Accepted, assertSeparate, assertThresholdExits } from '../support/world/rotation-proof.ts'
import { type OracleSet, type RotationWorld, startRotationWorld } from '../support/world/rotation-world.ts'
import { ask, eventually } from '../support/world/world.ts'

const TEST_MS = 600_000
/** For a change to be noticed, approved, sent and final. */
const ROTATION_MS = 240_000
const KILLS = 10

const cleanup = new AsyncDisposableStack()
let world: RotationWorld
let processes: RegistrationProcesses
let url: string
let settings: Record<string, string>
/** In the order of their registration. */
const keys: string[] = []
/** The sets in force so far, with what was accepted for each. */
let registered: Accepted
let current: Accepted

beforeAll(async () => {
  if (skipWithoutAnvil) return
  const cluster = loadFixtureCluster('cluster-4')
  world = cleanup.use(await startRotationWorld(cluster))
  processes = cleanup.use(await prepareProcesses(world, cluster, world.vault.address, 'quick relayer'))
  url = processes.url
  settings = {
    ...world.rotationSettings,
    DATABASE_URL: world.databaseUrl,
    SEALING_KEY: randomBytes(32).toString('hex'),
  }
})
afterAll(() => cleanup.disposeAsync())

/** Shows the ends of all logs when a test fails. */
function showLogs(): void {
  onTestFailed(() => {
    for (const [name, text] of processes.logs()) console.error(`the last of ${name}:\n${text.slice(-3000)}`)
    for (const { address, output } of current?.set.oracles ?? [])
      console.error(`the last of oracle ${address}:\n${output().slice(-400)}`)
  })
}

const indexOf = (key: string): number => {
  const found = world.beacon.findValidator(fromHex(key, 48))
  if (found === undefined) throw new Error(`${key} is not registered`)
  return found.index
}
const vaultSaid = async () => (await ask(url, `/vaults/${world.vault.address}`)).json as VaultResponse
const drawOracles = (oracles: readonly OracleProcess[], count: number) => {
  const left = [...oracles]
  return Array.from({ length: count }, () => left.splice(randomInt(left.length), 1)).flat()
}

/** The one update of the vault that a change of oracles has brought. */
async function untilUpdated(set: OracleSet, updatesBefore: number): Promise<Accepted> {
  const witness = set.oracles.at(-1)
  if (witness === undefined) throw new Error('a set without oracles')
  await world.untilCurrent(url, witness, ROTATION_MS)
  const updates = await world.updates()
  expect(updates.length).toBe(updatesBefore + 1)
  const content = updates.at(-1)
  if (content === undefined) throw new Error('there is no update')
  expect(content.config).toBe(set.cid)
  expect(content.validators.map(({ public_key }) => public_key).sort()).toEqual([...keys].sort())
  return { set, content }
}

/** Resolves when the relayer has the registered validators from a final state. */
function untilRegistered(): Promise<true> {
  return untilTrue('the registered validators', async () => (await vaultSaid()).registered === keys.length)
}

/** Asks some times a second, for what nobody announces. */
function untilTrue(what: string, look: () => Promise<boolean>): Promise<true> {
  return eventually(
    what,
    async () => {
      if (await look()) return true
      await pause(200)
      return undefined
    },
    ROTATION_MS,
  )
}

describe.skipIf(skipWithoutAnvil)('exits of registered validators', () => {
  it('are split for the oracles in force when the vault registers, who can fetch them too', {
    timeout: TEST_MS,
  }, async () => {
    showLogs()
    const oracles = await world.startOracles(11)
    const set = await world.announceSet(oracles, 7, 6)
    await Promise.all([processes.startRelayer(settings), ...[1, 2, 3].map((index) => processes.startSidecar(index))])
    const right = await world.register(url, set, { count: 2 })
    // The operator thinks that somebody else's two validators come first.
    const wrong = await world.register(url, set, { count: 1, ahead: 2 })
    const validators = [...right.validators, ...wrong.validators].map((item) => ({
      public_key: item.public_key as `0x${string}`,
      public_key_shards: (item.oracles_exit_signature_shares?.public_keys ?? []) as `0x${string}`[],
      exit_signature_shards: (item.oracles_exit_signature_shares?.encrypted_exit_signatures ?? []) as `0x${string}`[],
    }))
    keys.push(...validators.map(({ public_key }) => public_key))
    registered = { set, content: { vault: world.vault.address, config: set.cid, validators } }
    current = registered
    for (const oracle of drawOracles(oracles, 2))
      expect(await oracle.fetchFrom(url)).toEqual({ same: keys.length, different: [], missing: [] })
    expect(await world.updates()).toEqual([])
  })

  it('follow other oracles with another threshold, though two are away, one approves something else and one is slow', {
    timeout: TEST_MS,
  }, async () => {
    showLogs()
    await untilRegistered()
    expect(await vaultSaid()).toMatchObject({ outdated: 0, wrong_index: 1 })
    const [stay, leave] = [registered.set.oracles.slice(0, 6), registered.set.oracles.slice(6)]
    const come = await world.startOracles(leave.length)
    const [away, down, other, slow] = [come[0], stay[1], come[2], stay[3]]
    await Promise.all([
      away?.[Symbol.asyncDispose](),
      down?.behave({ down: true, outdated: [1, 2, 3] }),
      other?.behave({ other: true }),
      slow?.behave({ slowMs: 2_000, outdated: [1, 2, 3] }),
    ])
    // Eight of eleven must sign, and three never will: the slow one is waited for.
    const set = await world.announceSet([...come, ...stay], 8, 8)
    current = await untilUpdated(set, 0)
    const [update] = await world.keeper.updates(world.vault.address)
    expect(update).toMatchObject({ caller: world.wallet.address, nonce: 0 })
    for (const key of keys) await assertThresholdExits(world.network, current, key, indexOf(key))
    await assertSeparate(world.network, registered, current, keys[0] ?? '', indexOf(keys[0] ?? ''))
    expect(await vaultSaid()).toMatchObject({ outdated: 0, wrong_index: 0 })
    for (const oracle of [come[3], stay[0]]) {
      const fetched = await oracle?.fetchFrom(url)
      expect(fetched).toMatchObject({ same: keys.length, different: [] })
      // Shares for the oracles before are not handed out any more.
      expect(fetched?.missing.filter((share) => !share.endsWith(registered.set.cid))).toEqual([])
    }
    await Promise.all([down, other, slow].map((oracle) => oracle?.behave({})))
    await Promise.all(leave.map((oracle) => oracle[Symbol.asyncDispose]()))
  })

  it('are collected again from the nodes where they were erased', { timeout: TEST_MS }, async () => {
    showLogs()
    await processes.kill('relayer')
    await processes.startRelayer({ ...settings, EXIT_RETENTION: 'erase' })
    const db = new pg.Client({ connectionString: world.databaseUrl })
    await db.connect()
    try {
      const left = async () => {
        const { rows } = await db.query(
          `select count(*)::int as count from message_keys k join messages m on m.id = k.message_id where m.kind = 'exit'`,
        )
        return rows[0].count as number
      }
      const begun = async () =>
        (await db.query(`select count(*)::int as count from erasure_clocks`)).rows[0].count as number
      await untilTrue('that all exits have begun their day', async () => (await begun()) === keys.length)
      await processes.kill('relayer')
      await db.query(`update erasure_clocks set held_since = held_since - interval '1 day'`)
      await processes.startRelayer({ ...settings, EXIT_RETENTION: 'erase' })
      await untilTrue('that every exit is erased', async () => (await left()) === 0)
      const before = current
      await processes.kill('relayer')
      // All but the one that is away for good.
      const set = await world.announceSet(drawOracles(before.set.oracles.slice(1), 7), 4, 5)
      await processes.startRelayer({ ...settings, EXIT_RETENTION: 'erase' })
      current = await untilUpdated(set, 1)
      const [key = ''] = keys
      await assertThresholdExits(world.network, current, key, indexOf(key))
      await assertSeparate(world.network, before, current, key, indexOf(key))
    } finally {
      await db.end()
    }
  })

  it(`are renewed once for each change, with ${KILLS} SIGKILLs of the relayer on the way`, {
    timeout: TEST_MS,
  }, async () => {
    showLogs()
    const seed = Number(process.env['ROTATION_SEED'] ?? randomInt(2 ** 31))
    onTestFailed(() => console.error(`the moments of the kills follow from ROTATION_SEED=${seed}`))
    const random = randomFrom(seed)
    await processes.kill('relayer')
    const pool = current.set.oracles
    let kills = 0
    for (const [round, until] of [KILLS / 2, KILLS].entries()) {
      const updates = (await world.updates()).length
      const set = await world.announceSet(pool.slice(0, 5 + round), 3 + round, 3 + round)
      for (; kills < until; kills++) {
        const started = processes.startRelayer(settings).catch(() => undefined)
        // From the first milliseconds of boot to well after the update is sent.
        await pause(random() * 2_500)
        await processes.kill('relayer')
        await started
      }
      await processes.startRelayer(settings)
      current = await untilUpdated(set, updates)
      for (const key of keys) await assertThresholdExits(world.network, current, key, indexOf(key))
      if (kills < KILLS) await processes.kill('relayer')
    }
    expect((await world.keeper.updates(world.vault.address)).map(({ nonce }) => nonce)).toEqual([0, 1, 2, 3])
    const { exits } = (await ask(url, '/exits')).json as ExitsResponse
    expect(exits.filter(({ is_exit_signature_ready }) => !is_exit_signature_ready)).toEqual([])
    expect(await processes.stop()).toEqual({ relayer: 0, 'sidecar 1': 0, 'sidecar 2': 0, 'sidecar 3': 0 })
  })
})

/** Numbers of [0, 1) that follow from a seed: xorshift32. */
function randomFrom(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
