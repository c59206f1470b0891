/** Two workers that finish the same exits at the same moment, and again later: one signature, one share set, never another. */

import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { createOracleShares } from '../../../apps/relayer/src/services/oracles/shares.ts'
import { openSealing } from '../../../apps/relayer/src/services/sealing/sealing.ts'
import { createFinishing } from '../../../apps/relayer/src/services/signatures/finish.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import {
  assertOraclesCanExit,
  engine,
  getExits,
  postShares,
  postValidators,
  publicKeysOf,
  sidecarRound,
  untilOracleSet,
} from '../../support/world/nodes.ts'
import { eventually, hex, startWorld, type World } from '../../support/world/world.ts'

it('two workers finish the same exits at once', async () => {
  await using world = await startWorld()
  // An API process alone: exits are collected and nobody finishes them.
  await using api = await world.startRelayer({ SIGNATURE_THRESHOLD: '3', ROLE: 'api' })
  await untilOracleSet(api.url)
  const validators = createTestKeys(12, { nodes: 4, threshold: 3 })
  const keys: string[] = validators.map(({ publicKey }) => hex(publicKey))
  await postValidators(api.url, keys)
  for (const share of [1, 2, 3, 4]) await sidecarRound(api.url, world.network, validators, share)

  const { config } = readConfig(world.environment({ SIGNATURE_THRESHOLD: '3' }))
  const worker = async (resources: AsyncDisposableStack) => {
    const db = resources.use(await connectDatabase({ url: world.databaseUrl, logger: silentLogger }))
    const crypto = resources.use(startCryptoPool(1))
    const sealing = await openSealing(config, db, silentLogger)
    const events = createEvents(silentLogger)
    const finishing = createFinishing({ db, crypto, sealing, events, logger: silentLogger, announced: () => {} })
    return { db, finishing, shares: createOracleShares({ db }) }
  }
  await using resources = new AsyncDisposableStack()
  const [a, b] = await Promise.all([worker(resources), worker(resources)])
  const ids = (await a.db.execute(sql`select id from messages order by id`)).rows.map((row) => Number(row['id']))
  expect(ids).toHaveLength(12)
  await Promise.all([
    a.finishing.finish(ids),
    b.finishing.finish([...ids].reverse()),
    a.finishing.finish(ids),
    b.finishing.finish(ids),
  ])

  const stored = async () =>
    (
      await a.db.execute(
        sql`select message_id, encode(ciphertexts, 'hex') as ciphertexts from oracle_shares order by message_id`,
      )
    ).rows
  const first = await stored()
  expect(first.map((row) => Number(row['message_id']))).toEqual(ids)
  await Promise.all([a.finishing.finish(ids), b.finishing.finish(ids)])
  expect(await stored()).toEqual(first)

  const exits = await getExits(api.url)
  const rendered = await b.shares.render(ids)
  for (const [position, key] of keys.entries()) {
    const exit = exits.find(({ public_key }) => public_key === key)
    expect(exit).toMatchObject({ is_exit_signature_ready: true, share_indexes_ready: [1, 2, 3, 4] })
    const json = rendered.get(ids[position] ?? 0)?.json ?? 'null'
    await assertOraclesCanExit(
      world.network,
      world.oracles,
      7,
      validators[position]?.publicKey ?? new Uint8Array(),
      exit?.validator_index ?? -1,
      JSON.parse(json),
    )
  }
})

/** A worker in this process that looks once, and what it logs. */
async function startLookingWorker(world: World, threshold: string) {
  const { config } = readConfig(world.environment({ SIGNATURE_THRESHOLD: threshold }))
  const lines: string[] = []
  const logger = createLogger({
    level: 'info',
    format: 'json',
    destination: { write: (line) => void lines.push(line) },
  })
  const resources = new AsyncDisposableStack()
  const db = resources.use(await connectDatabase({ url: world.databaseUrl, logger: silentLogger }))
  const crypto = resources.use(startCryptoPool(1))
  const sealing = await openSealing(config, db, silentLogger)
  const events = createEvents(logger)
  const finishing = createFinishing({ db, crypto, sealing, events, logger, announced: () => {} })
  const told = (words: string) =>
    lines.filter((line) => line.includes(words)).map((line) => JSON.parse(line) as unknown)
  return { db, events, finishing, told, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

it('a threshold higher than the cluster’s is named while fewer nodes than it says are up', async () => {
  await using world = await startWorld()
  await using api = await world.startRelayer({ SIGNATURE_THRESHOLD: '4', ROLE: 'api' })
  await untilOracleSet(api.url)
  const validators = createTestKeys(2, { nodes: 4, threshold: 3 })
  await postValidators(
    api.url,
    validators.map(({ publicKey }) => hex(publicKey)),
  )
  await using worker = await startLookingWorker(world, '4')
  const starve = () => worker.db.execute(sql`update messages set created_at = now() - interval '11 minutes'`)
  const [FITS, MISSING] = ['partial signatures fit another threshold', 'fewer nodes sign than SIGNATURE_THRESHOLD says']

  // Nobody has signed: that says nothing of the threshold. Two have, and may yet be followed by others.
  await starve()
  await worker.finishing.explainStarving()
  for (const share of [1, 2]) await sidecarRound(api.url, world.network, validators, share)
  await worker.finishing.explainStarving()
  expect(worker.told(FITS)).toEqual([])
  expect(worker.told(MISSING)).toMatchObject([{ level: 'warn', threshold: 4, nodes: 2 }])

  await sidecarRound(api.url, world.network, validators, 3)
  await worker.db.execute(sql`update messages set created_at = now()`)
  await worker.finishing.explainStarving()
  expect(worker.told(FITS)).toEqual([])
  await starve()
  await worker.finishing.explainStarving()
  await worker.finishing.explainStarving()
  expect(worker.told(FITS)).toMatchObject([{ level: 'error', threshold: 4, fitting_threshold: 3 }])
  expect(worker.told(MISSING)).toHaveLength(1)
  for (const exit of await getExits(api.url)) expect(exit).toMatchObject({ is_exit_signature_ready: false })
})

it('a threshold that is not the cluster’s is named once, counted, and takes nothing', async () => {
  await using world = await startWorld()
  await using api = await world.startRelayer({ SIGNATURE_THRESHOLD: '2', ROLE: 'api' })
  await untilOracleSet(api.url)
  const validators = createTestKeys(2, { nodes: 4, threshold: 3 })
  await postValidators(
    api.url,
    validators.map(({ publicKey }) => hex(publicKey)),
  )
  for (const share of [1, 2, 3]) await sidecarRound(api.url, world.network, validators, share)

  await using worker = await startLookingWorker(world, '2')
  const ids = (await worker.db.execute(sql`select id from messages order by id`)).rows.map((row) => Number(row['id']))
  await worker.finishing.finish(ids)

  const told = worker.told('partial signatures fit another threshold')
  expect(told).toMatchObject([{ level: 'error', threshold: 2, fitting_threshold: 3 }])
  expect(await worker.events.metrics.text()).toContain('dvt_relayer_thresholds_doubtful_total 2\n')
  for (const exit of await getExits(api.url)) expect(exit).toMatchObject({ is_exit_signature_ready: false })
})

it('a search among invented shares keeps no other message of its job waiting', async () => {
  await using world = await startWorld()
  const settings = { SIGNATURE_THRESHOLD: '5' }
  await using api = await world.startRelayer({ ...settings, ROLE: 'api' })
  await untilOracleSet(api.url)
  const validators = createTestKeys(2, { nodes: 6, threshold: 5 })
  const [attacked = '', honest = ''] = validators.map(({ publicKey }) => hex(publicKey))
  await postValidators(api.url, [attacked, honest])
  for (const share of [1, 2, 3, 4, 5]) await sidecarRound(api.url, world.network, validators.slice(1), share)
  // C(13, 5) choices: more than a job tries.
  for (let share = 1; share <= 13; share++) {
    const exit_signature = hex(engine.sign(new Uint8Array(32).fill(1).with(31, share), new Uint8Array(32).fill(7)))
    await postShares(api.url, share, [{ public_key: attacked, exit_signature }])
  }

  const { config } = readConfig(world.environment(settings))
  await using resources = new AsyncDisposableStack()
  const db = resources.use(await connectDatabase({ url: world.databaseUrl, logger: silentLogger }))
  const pool = resources.use(startCryptoPool(1))
  let tried = 0
  const crypto = {
    ...pool,
    finish: (...args: Parameters<typeof pool.finish>) => {
      tried += args[0].length
      return pool.finish(...args)
    },
  }
  const sealing = await openSealing(config, db, silentLogger)
  const events = createEvents(silentLogger)
  const finishing = createFinishing({ db, crypto, sealing, events, logger: silentLogger, announced: () => {} })
  const ids = (await db.execute(sql`select id from messages order by id`)).rows.map((row) => Number(row['id']))
  await finishing.finish(ids)
  // The job is over and the honest exit ready, while the search has not ended.
  expect(await events.metrics.text()).toContain('dvt_relayer_recoveries_failed_total 0\n')
  const isReady = new Map((await getExits(api.url)).map((exit) => [exit.public_key, exit.is_exit_signature_ready]))
  expect([isReady.get(attacked), isReady.get(honest)]).toEqual([false, true])
  // What a job has tried in vain is for the search: no other job is held up by it again.
  await finishing.finish(ids)
  expect(tried).toBe(2)
  await eventually('the search ends', async () =>
    (await events.metrics.text()).includes('dvt_relayer_recoveries_failed_total 1\n') ? true : undefined,
  )
})

it('what was tried whole in vain is not tried again until something new came, and is found then', async () => {
  await using world = await startWorld()
  const settings = { SIGNATURE_THRESHOLD: '3' }
  await using api = await world.startRelayer({ ...settings, ROLE: 'api' })
  await untilOracleSet(api.url)
  const validators = createTestKeys(1, { nodes: 4, threshold: 3 })
  const [key = ''] = publicKeysOf(validators)
  await postValidators(api.url, [key])
  // Two right ones, and ten that were invented: C(12, 3) choices, more than a job tries, and none of them right.
  for (const share of [1, 2]) await sidecarRound(api.url, world.network, validators, share)
  for (let share = 5; share <= 14; share++) {
    const exit_signature = hex(engine.sign(new Uint8Array(32).fill(1).with(31, share), new Uint8Array(32).fill(7)))
    await postShares(api.url, share, [{ public_key: key, exit_signature }])
  }

  const { config } = readConfig(world.environment(settings))
  await using resources = new AsyncDisposableStack()
  const db = resources.use(await connectDatabase({ url: world.databaseUrl, logger: silentLogger }))
  const pool = resources.use(startCryptoPool(1))
  let searched = 0
  const crypto = {
    ...pool,
    finish: (...args: Parameters<typeof pool.finish>) => {
      searched += args[0].length
      return pool.finish(...args)
    },
    search: (...args: Parameters<typeof pool.search>) => {
      searched++
      return pool.search(...args)
    },
  }
  const sealing = await openSealing(config, db, silentLogger)
  const events = createEvents(silentLogger)
  const finishing = createFinishing({ db, crypto, sealing, events, logger: silentLogger, announced: () => {} })
  const ids = (await db.execute(sql`select id from messages`)).rows.map((row) => Number(row['id']))
  await finishing.finish(ids)
  await eventually('the search ends', async () =>
    (await events.metrics.text()).includes('dvt_relayer_recoveries_failed_total 1\n') ? true : undefined,
  )
  expect(searched).toBe(2)
  for (let times = 0; times < 3; times++) await finishing.finish(ids)
  expect(searched).toBe(2)
  // It waits longer each time, as after any attempt.
  expect((await db.execute(sql`select failed_attempts from messages`)).rows).toEqual([{ failed_attempts: 4 }])

  await sidecarRound(api.url, world.network, validators, 4)
  await finishing.finish(ids)
  await eventually('the exit is ready', async () => {
    const [exit] = await getExits(api.url)
    return exit?.is_exit_signature_ready === true ? true : undefined
  })
  expect((await getExits(api.url))[0]).toMatchObject({ share_indexes_ready: [1, 2, 4] })
})
