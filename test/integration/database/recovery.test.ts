/** What must survive: other processes, restarts, changed oracle sets, lost queues, dead dependencies, changed keys. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { makeOracles } from '../../support/chain/oracles.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { hasRedis, startRedis } from '../../support/services/redis.ts'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import {
  assertOraclesCanExit,
  getExits,
  partialExit,
  postShares,
  postValidators,
  publicKeysOf,
  sidecarRound,
  untilShares,
} from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, startWorld } from '../../support/world/world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

const threshold = { SIGNATURE_THRESHOLD: '3' }
const make = (count: number) => createTestKeys(count, { nodes: 4, threshold: 3 })
const exitOf = async (url: string, key: string) => (await getExits(url)).find((exit) => exit.public_key === key)
const query: World['query'] = (text, values) => world.query(text, values)

describe('several processes', () => {
  it('two relayers on one database: one live exit a key, one share set, the same answers', async () => {
    await using a = await world.startRelayer(threshold)
    await using b = await world.startRelayer(threshold)
    const validators = make(5)
    const keys = publicKeysOf(validators)
    const answers = await Promise.all([a, b, a, b].map(({ url }) => postValidators(url, keys)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    await Promise.all(
      [1, 2, 3, 4].map((share) => sidecarRound((share % 2 ? a : b).url, world.network, validators, share)),
    )
    const [fromA, fromB] = await Promise.all([untilShares(a.url, keys), untilShares(b.url, keys)])
    expect(fromA).toEqual(fromB)
    const rows = await query(
      `select count(*)::int as sets, count(distinct s.message_id)::int as messages from oracle_shares s join messages m on m.id = s.message_id
       join validators v on v.id = m.validator_id where v.public_key = any($1)`,
      [keys.map((key) => Buffer.from(fromHex(key)))],
    )
    expect(rows).toEqual([{ sets: 5, messages: 5 }])
  })

  it('an API process and a worker process', async () => {
    await using api = await world.startRelayer({ ...threshold, ROLE: 'api' })
    const validators = make(2)
    const keys = publicKeysOf(validators)
    await postValidators(api.url, keys)
    for (const share of [1, 2, 3]) await sidecarRound(api.url, world.network, validators, share)
    expect((await exitOf(api.url, keys[0] ?? ''))?.is_exit_signature_ready).toBe(false)
    await using worker = await world.startRelayer({ ...threshold, ROLE: 'worker' })
    expect((await ask(worker.url, '/health')).status).toBe(200)
    expect((await ask(worker.url, '/exits')).status).toBe(404)
    await untilShares(api.url, keys)
  })
})

describe('the oracle set', () => {
  it('changes while running and over a restart: everything is split anew before it is handed out', async () => {
    const validators = make(3)
    const keys = publicKeysOf(validators)
    let index: number
    let old: string
    {
      await using relayer = await world.startRelayer(threshold)
      await postValidators(relayer.url, keys)
      for (const share of [1, 2, 3]) await sidecarRound(relayer.url, world.network, validators, share)
      old = JSON.stringify(await untilShares(relayer.url, keys))
      index = (await exitOf(relayer.url, keys[0] ?? ''))?.validator_index ?? 0
    }
    const next = makeOracles(5)
    await world.announce(next, 3)
    await using relayer = await world.startRelayer(threshold)
    const shares = await eventually('shares for the new set', async () => {
      const { validators: items } = await untilShares(relayer.url, keys)
      return items.every((item) => item.oracles_exit_signature_shares?.public_keys.length === 5) ? items : undefined
    })
    for (const [position, item] of shares.entries())
      await assertOraclesCanExit(
        world.network,
        next,
        3,
        validators[position]?.publicKey ?? new Uint8Array(),
        index + position,
        item.oracles_exit_signature_shares,
      )
    // Members of the old set that are also in the new one must not be able to pool shares: no public key share is the same.
    for (const item of shares)
      for (const share of item.oracles_exit_signature_shares?.public_keys ?? []) expect(old).not.toContain(share)
  })

  it('an invalid config, and one no gateway has, change nothing', async () => {
    await using relayer = await world.startRelayer(threshold)
    const validators = make(1)
    const keys = publicKeysOf(validators)
    await postValidators(relayer.url, keys)
    for (const share of [1, 2, 3]) await sidecarRound(relayer.url, world.network, validators, share)
    const before = await untilShares(relayer.url, keys)
    await world.keeper.setConfig(world.ipfs.add({ oracles: [], exit_signature_recover_threshold: 1 }))
    await eventually('the refusal is seen', async () =>
      (await ask(relayer.url, '/ready')).text.includes('is not in force') ? true : undefined,
    )
    expect(await untilShares(relayer.url, keys)).toEqual(before)
    await world.announce(world.oracles, 7)
  })
})

describe('time', () => {
  it('an exit nobody asks for leaves the list and comes back with its partial signatures', async () => {
    await using relayer = await world.startRelayer({ ...threshold, VALIDATOR_LIFETIME: '1' })
    const validators = make(1)
    const [key = ''] = publicKeysOf(validators)
    await postValidators(relayer.url, [key])
    const index = (await exitOf(relayer.url, key))?.validator_index ?? 0
    // Two nodes sign at once; whether verified or waiting, their signatures stay.
    for (const share of [1, 2])
      await postShares(relayer.url, share, [
        { public_key: key, exit_signature: partialExit(world.network, validators[0] as KeyedValidator, share, index) },
      ])
    await eventually('it leaves the list', async () =>
      (await exitOf(relayer.url, key)) === undefined ? true : undefined,
    )
    await postValidators(relayer.url, [key])
    const back = await exitOf(relayer.url, key)
    expect(back).toMatchObject({ validator_index: index, share_indexes_unverified: [1, 2] })
    await postShares(relayer.url, 4, [
      { public_key: key, exit_signature: partialExit(world.network, validators[0] as KeyedValidator, 4, index) },
    ])
    await untilShares(relayer.url, [key])
  })
})

describe('sealing', () => {
  const sealed = async (key: string, index: number, validator: KeyedValidator) => {
    const dump = JSON.stringify(
      [
        await query(`select m.* from messages m join validators v on v.id = m.validator_id where v.public_key = $1`, [
          Buffer.from(fromHex(key)),
        ]),
        await query(
          `select p.* from partial_signatures p join messages m on m.id = p.message_id join validators v on v.id = m.validator_id where v.public_key = $1`,
          [Buffer.from(fromHex(key))],
        ),
      ].flat(),
      (_, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value),
    )
    expect(dump.length).toBeGreaterThan(500)
    for (const share of [1, 2, 3])
      expect(dump).not.toContain(partialExit(world.network, validator, share, index).slice(2))
  }

  it('no signature lies open in the database; a wrong key is refused and harms nothing; a rotated key works', async () => {
    const validators = make(1)
    const [validator] = validators as [KeyedValidator]
    const [key = ''] = publicKeysOf(validators)
    const firstKey = world.environment()['SEALING_KEY'] ?? ''
    const secondKey = randomBytes(32).toString('hex')
    let before: unknown
    {
      await using relayer = await world.startRelayer(threshold)
      await postValidators(relayer.url, [key])
      const index = (await exitOf(relayer.url, key))?.validator_index ?? 0
      for (const share of [1, 2, 3]) await sidecarRound(relayer.url, world.network, validators, share)
      before = await untilShares(relayer.url, [key])
      await sealed(key, index, validator)
    }
    await expect(world.startRelayer({ ...threshold, SEALING_KEY: secondKey })).rejects.toMatchObject({
      code: 'SEALING_KEY_WRONG',
    })
    {
      await using relayer = await world.startRelayer({
        ...threshold,
        SEALING_KEY: secondKey,
        SEALING_KEY_PREVIOUS: firstKey,
      })
      expect(await untilShares(relayer.url, [key])).toEqual(before)
    }
    // Now the new key alone is enough, and the old one is not.
    await expect(world.startRelayer({ ...threshold, SEALING_KEY: firstKey })).rejects.toMatchObject({
      code: 'SEALING_KEY_WRONG',
    })
    {
      await using relayer = await world.startRelayer({ ...threshold, SEALING_KEY: secondKey })
      await world.announce(makeOracles(4), 2)
      await eventually('split again from the resealed signature', async () => {
        const { validators: items } = await untilShares(relayer.url, [key])
        return items[0]?.oracles_exit_signature_shares?.public_keys.length === 4 ? true : undefined
      })
    }
    // The key is lost for good: a deliberate command, and exits are collected again.
    const lost = { ...world.environment(threshold), SEALING_KEY: randomBytes(32).toString('hex'), LOG_LEVEL: 'silent' }
    expect(await runCommand(['void-sealed'], lost, () => {})).toBe(1)
    expect(await runCommand(['void-sealed', '--yes'], lost, () => {})).toBe(0)
    {
      await using relayer = await world.startRelayer({ ...threshold, SEALING_KEY: lost.SEALING_KEY })
      await postValidators(relayer.url, [key])
      expect((await exitOf(relayer.url, key))?.is_exit_signature_ready).toBe(false)
      for (const share of [1, 2, 3]) await sidecarRound(relayer.url, world.network, validators, share)
      await untilShares(relayer.url, [key])
    }
    await query('delete from sealing_checks')
    await query('delete from partial_signatures')
    await query(`update messages set state = 'superseded', signature = null`)
    await world.announce(world.oracles, 7)
  })
})

describe('dependencies away', () => {
  it('the consensus node: no new indexes, polls of what is there go on, and it recovers by itself', async () => {
    await using relayer = await world.startRelayer(threshold)
    const validators = make(2)
    const [known = '', fresh = ''] = publicKeysOf(validators)
    expect((await postValidators(relayer.url, [known])).status).toBe(200)
    world.beacon.fail('down')
    expect((await postValidators(relayer.url, [known])).status).toBe(200)
    expect(await postValidators(relayer.url, [fresh])).toMatchObject({ status: 503, json: { code: 'DEPENDENCY_AWAY' } })
    await eventually('/ready says so', async () =>
      (await ask(relayer.url, '/ready')).status === 503 ? true : undefined,
    )
    world.beacon.fail(undefined)
    await eventually('it recovers', async () =>
      (await postValidators(relayer.url, [fresh])).status === 200 ? true : undefined,
    )
    await eventually('/ready again', async () => ((await ask(relayer.url, '/ready')).status === 200 ? true : undefined))
  })

  it('a consensus node that is not in step: no new indexes, /ready says why, and it recovers by itself', async () => {
    await using relayer = await world.startRelayer(threshold)
    const publicKeys = publicKeysOf(make(1))
    const reports = (checks: unknown) => async () => {
      const { json } = await ask(relayer.url, '/ready')
      const found = (json as { checks: { consensus: unknown } }).checks.consensus
      return isDeepStrictEqual(found, checks) ? true : undefined
    }
    const host = new URL(world.beacon.url).host
    for (const [step, words] of [
      [{ is_syncing: true, sync_distance: 1_234 }, 'is syncing, 1234 slots behind'],
      [{ el_offline: true }, 'has lost its execution node (el_offline)'],
      [{ is_optimistic: true }, 'has not verified its head (is_optimistic): its execution node is behind'],
    ] as const) {
      world.beacon.setStep(step)
      await eventually('/ready says so', reports({ ok: false, message: `the consensus node at ${host} ${words}` }))
      expect((await ask(relayer.url, '/ready')).status).toBe(503)
      expect(await postValidators(relayer.url, publicKeys)).toMatchObject({
        status: 503,
        json: { code: 'DEPENDENCY_AWAY' },
      })
      world.beacon.setStep(undefined)
      await eventually('/ready again', reports({ ok: true }))
    }
    await eventually('it assigns', async () =>
      (await postValidators(relayer.url, publicKeys)).status === 200 ? true : undefined,
    )
  })

  it('a node of another chain is refused at boot, and one with another fork version', async () => {
    const refusal = async (words: string) =>
      await expect(world.startRelayer(threshold)).rejects.toMatchObject({
        code: 'CHAIN_MISMATCH',
        message: expect.stringMatching(new RegExp(`${words}.*\\(CONSENSUS_ENDPOINT, NETWORK\\)`)),
      })
    world.beacon.setGenesis(new Uint8Array(32).fill(9))
    await refusal('')
    world.beacon.setGenesis(undefined)
    world.beacon.setSpec({ CAPELLA_FORK_VERSION: '0x04000000' })
    await refusal('CAPELLA_FORK_VERSION is 0x04000000 there and 0x40000910 in our network setting')
    world.beacon.setSpec({})
  })

  it.skipIf(!hasRedis())('Redis emptied and killed: the sweep finds what was lost', async () => {
    await using redis = await startRedis()
    await using relayer = await world.startRelayer({ ...threshold, REDIS_URL: redis.url })
    const validators = make(4)
    const keys = publicKeysOf(validators)
    await postValidators(relayer.url, keys)
    for (const share of [1, 2]) await sidecarRound(relayer.url, world.network, validators, share)
    await redis.kill()
    for (const share of [3, 4])
      expect((await sidecarRound(relayer.url, world.network, validators, share)).status).toBe(200)
    await redis.restart()
    // What was given to the queue that is gone is given out again after a while.
    await query(`update messages set queued_at = queued_at - interval '1 minute'`)
    await eventually('ready after Redis came back empty', async () => {
      const { json } = await postValidators(relayer.url, keys)
      return (json as { ready: boolean }).ready ? true : undefined
    })
  })
})

it('PostgreSQL dies while running: requests fail clearly, then everything goes on', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'dvt-embedded-'))
  try {
    await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: '', SEALING_KEY: '', DATA_DIR: dir })
    const validators = make(2)
    const keys = publicKeysOf(validators)
    await postValidators(relayer.url, keys)
    for (const share of [1, 2]) await sidecarRound(relayer.url, world.network, validators, share)
    const [pid] = (await readFile(join(dir, 'postgres', 'data', 'postmaster.pid'), 'utf8')).split('\n')
    process.kill(Number(pid), 'SIGKILL')
    const during = await postValidators(relayer.url, keys)
    expect([200, 503]).toContain(during.status)
    if (during.status === 503)
      expect(during.json).toMatchObject({ code: 'DEPENDENCY_AWAY', request_id: expect.any(String) })
    // A connection whose server process has outlived the others may answer once more before all of them are gone.
    await eventually('the third node counts, and the exits are ready', async () => {
      await sidecarRound(relayer.url, world.network, validators, 4).catch(() => undefined)
      const { status, json } = await postValidators(relayer.url, keys)
      return status === 200 && (json as { ready: boolean }).ready ? true : undefined
    })
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})

it('an embedded first start makes a sealing key of mode 0600 and says so', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'dvt-embedded-'))
  try {
    {
      await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: '', SEALING_KEY: '', DATA_DIR: dir })
      expect((await ask(relayer.url, '/health')).status).toBe(200)
    }
    expect((await stat(join(dir, 'sealing.key'))).mode & 0o777).toBe(0o600)
    await using again = await world.startRelayer({ ...threshold, DATABASE_URL: '', SEALING_KEY: '', DATA_DIR: dir })
    expect((await ask(again.url, '/health')).status).toBe(200)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
