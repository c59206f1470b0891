/** EXIT_RETENTION=erase: what goes when a validator is registered, what stays, and that nothing that comes late brings a signature back. */

import { fromHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createSealer } from '@dvt-relayer/crypto/sealing.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { eraseExits, findErasable, holdErasures, lockErasable } from '@dvt-relayer/db/queries/messages/retention.ts'
import { findValidators, lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { bytesArray, numberArray } from '@dvt-relayer/db/queries/sql.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createChain } from '../../../apps/relayer/src/chain.ts'
import { type RelayerConfig, readConfig } from '../../../apps/relayer/src/config.ts'
import { PATIENCE_MS } from '../../../apps/relayer/src/context.ts'
import { startCryptoPool } from '../../../apps/relayer/src/crypto-workers/pool.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { ROTATION_REQUESTER } from '../../../apps/relayer/src/services/exits/assign.ts'
import type { ErasureProof } from '../../../apps/relayer/src/services/exits/erasure-proof.ts'
import { createRetention } from '../../../apps/relayer/src/services/exits/retention.ts'
import { openSealing } from '../../../apps/relayer/src/services/sealing/sealing.ts'
import { createFinishing } from '../../../apps/relayer/src/services/signatures/finish.ts'
import { createSubmission } from '../../../apps/relayer/src/services/signatures/submit.ts'
import { createVerification } from '../../../apps/relayer/src/services/signatures/verify.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import {
  engine,
  getExits,
  partialExit,
  postShares,
  postValidators,
  sidecarRound,
  untilShares,
} from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, hex, startWorld } from '../../support/world/world.ts'

let world: World
let relayer: Relayer
let db: Database
let other: Database
beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3' })
  const connect = () => connectDatabase({ url: world.databaseUrl, logger: silentLogger })
  db = await connect()
  other = await connect()
})
afterAll(async () => {
  await db?.[Symbol.asyncDispose]()
  await other?.[Symbol.asyncDispose]()
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const events = createEvents(silentLogger)
const pool = startCryptoPool(1)
afterAll(() => pool[Symbol.asyncDispose]())
const configOf = (more: Record<string, string> = {}) =>
  readConfig(world.environment({ SIGNATURE_THRESHOLD: '3', EXIT_RETENTION: 'erase', ...more })).config
/** As if all that erasing wants had held for a day already, of everything: what of the chain it wants, erasure-proof.test.ts says. */
const proof: ErasureProof = {
  async look(rows) {
    const held = rows.map(({ id: validatorId, beaconIndex, oracleSetId }) => ({
      validatorId,
      beaconIndex,
      oracleSetId,
      withdrawalCredentials: new Uint8Array(32),
      depositBlock: 1,
    }))
    return { held, broken: [], isDepositGone: false, reasons: [] }
  },
}
const forever = AbortSignal.timeout(600_000)
/** Rounds as of two processes, the second a day after the first. */
async function erase(more: Record<string, string> = {}, on = other): Promise<void> {
  const config = configOf(more)
  const chain = createChain(config, pool, events, silentLogger)
  const round = () =>
    createRetention({ config, db: on, crypto: pool, chain, events, announced: () => {} }, proof).run(forever)
  await round()
  await letADayPass()
  await round()
}
const letADayPass = () => db.execute(sql`update erasure_clocks set held_since = held_since - interval '1 day'`)
async function lock(tx: Sql, { validators }: Pick<Made, 'validators'>): Promise<number[]> {
  const found = await findValidators(
    tx,
    validators.map(({ publicKey }) => publicKey),
  )
  return lockErasable(tx, { ...kept, validatorIds: found.map(({ id }) => id) })
}
const kept = { rotationRequester: ROTATION_REQUESTER, owners: [], delaySeconds: 86_400 }
/** Starts the clocks of what is registered, a day ago. */
async function hold(): Promise<void> {
  const rows = await findErasable(db, { ...kept, isErasing: true, afterId: 0, limit: 1000 })
  await holdErasures(db, (await proof.look(rows, forever)).held)
  await letADayPass()
}
/** The service on these parts, with a verification of its own. */
const startSubmission = (
  context: Omit<Parameters<typeof createVerification>[0], 'patienceMs'> & { config: RelayerConfig },
) => {
  const patient = { ...context, patienceMs: PATIENCE_MS }
  return createSubmission({ ...patient, verification: createVerification(patient) })
}
/** A function that waits at a gate; `reached` tells that it does. */
function gated<A extends unknown[], T>(run: (...args: A) => Promise<T>) {
  const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  return {
    reached: reached.promise,
    open: gate.resolve,
    async run(...args: A): Promise<T> {
      reached.resolve()
      await gate.promise
      return run(...args)
    },
  }
}

/** Validators with an exit each, signed by these share indexes; with three, ready and split. */
async function makeExits(count: number, shares: readonly number[]) {
  const validators = createTestKeys(count, { nodes: 4, threshold: 3 })
  const keys: string[] = validators.map(({ publicKey }) => hex(publicKey))
  expect((await postValidators(relayer.url, keys)).status).toBe(200)
  for (const share of shares) await sidecarRound(relayer.url, world.network, validators, share)
  if (shares.length >= 3) await untilShares(relayer.url, keys)
  const exits = (await getExits(relayer.url)).filter(({ public_key }) => keys.includes(public_key))
  const indexes = keys.map((key) => exits.find(({ public_key }) => public_key === key)?.validator_index ?? 0)
  const { rows } = await db.execute(sql`select m.id from messages m join validators v on v.id = m.validator_id
    where v.public_key = any(${bytesArray(validators.map(({ publicKey }) => publicKey))}) and m.kind = 'exit' order by m.validator_index`)
  return { validators, keys, indexes, ids: rows.map(({ id }) => Number(id)) }
}
type Made = Awaited<ReturnType<typeof makeExits>>

/** Notes validators as registered, as it is done once a finalized state has them. */
async function register(
  { validators }: Pick<Made, 'validators'>,
  vault: Uint8Array = new Uint8Array(20).fill(3),
): Promise<void> {
  await db.execute(sql`update validators set registered_at = now(), beacon_vault = ${Buffer.from(vault)}, beacon_index =
      (select m.validator_index from messages m where m.validator_id = validators.id order by m.id desc limit 1),
      oracle_set_id = (select id from oracle_sets where is_current)
    where public_key = any(${bytesArray(validators.map(({ publicKey }) => publicKey))})`)
}

/** What there is of each message. */
async function stateOf(ids: readonly number[]) {
  const { rows } = await db.execute(sql`
    select m.state, m.signature is not null as signature, (select count(*) from partial_signatures p where p.message_id = m.id) as partials,
           (select count(*) from message_keys k where k.message_id = m.id) as keys,
           (select count(*) from oracle_shares s where s.message_id = m.id) as shares
    from messages m where m.id = any(${numberArray(ids)}) order by m.id`)
  return rows
}
const ERASED = { state: 'erased', signature: false, partials: 0, keys: 0, shares: 1 }
const READY = { state: 'ready', signature: true, partials: 3, keys: 1, shares: 1 }
const posted = ({ validators, keys, indexes }: Made, position: number, share: number) => ({
  public_key: keys[position] ?? '',
  exit_signature: partialExit(world.network, validators[position] as KeyedValidator, share, indexes[position] ?? 0),
})

describe('erasing', () => {
  it('takes the exits of registered validators in any state, once, and leaves every list told', async () => {
    const made = await makeExits(6, [1, 2, 3])
    const collecting = await makeExits(1, [1, 2])
    const [, , expired = 0, superseded = 0] = made.ids
    await db.execute(sql`update messages set state = 'expired' where id = ${expired}`)
    await db.execute(sql`update messages set state = 'superseded' where id = ${superseded}`)
    const { revision } = (await ask(relayer.url, '/exits')).json as { revision: number }
    // The last two are not registered.
    await register({ validators: [...made.validators.slice(0, 4), ...collecting.validators] })
    await erase({ EXIT_RETENTION: 'keep' }, db)
    expect((await stateOf(made.ids)).map(({ state }) => state)).toEqual([
      'ready',
      'ready',
      'expired',
      'superseded',
      'ready',
      'ready',
    ])
    await Promise.all([erase({}, db), erase({}, other)])
    expect(await stateOf(made.ids)).toEqual([ERASED, ERASED, ERASED, ERASED, READY, READY])
    expect(await stateOf(collecting.ids)).toEqual([{ ...ERASED, shares: 0 }])
    const listed = await eventually('the list has been told', async () => {
      const { exits } = (await ask(relayer.url, `/exits?wait=5&after=${revision}`)).json as {
        exits: { public_key: string }[]
      }
      const gone = [...made.keys.slice(0, 2), ...collecting.keys]
      return (await getExits(relayer.url)).some(({ public_key }) => gone.includes(public_key)) ? undefined : exits
    })
    expect(listed.filter(({ public_key }) => made.keys.slice(0, 4).includes(public_key))).toEqual([])
    const { rows } = await db.execute(sql`select max(revision) as newest from messages`)
    await erase()
    expect((await db.execute(sql`select max(revision) as newest from messages`)).rows).toEqual(rows)
  })

  it('makes their posts those of unknown validators', async () => {
    const made = await makeExits(2, [1])
    await register({ validators: made.validators.slice(0, 1) })
    await erase()
    const wrong = {
      ...posted(made, 1, 3),
      exit_signature: hex(engine.sign(new Uint8Array(32).fill(1), new Uint8Array(32))),
    }
    expect(await postShares(relayer.url, 2, [posted(made, 0, 2)])).toMatchObject({ status: 200, json: {} })
    expect(await postShares(relayer.url, 2, [{ ...wrong, public_key: made.keys[0] ?? '' }])).toMatchObject({
      status: 200,
      json: {},
    })
    expect(await postShares(relayer.url, 2, [posted(made, 0, 2), posted(made, 1, 2)])).toMatchObject({ status: 200 })
    expect(await stateOf(made.ids)).toMatchObject([
      { state: 'erased', partials: 0, keys: 0 },
      { partials: 2, keys: 1 },
    ])
  })

  it('leaves a live exit that a rotation wants, until the chain has its new shares', async () => {
    const made = await makeExits(4, [1, 2, 3])
    const [wanted = 0, done = 0, ended = 0] = made.ids
    await register(made)
    await db.execute(
      sql`update messages set requester = ${ROTATION_REQUESTER} where id in (${wanted}, ${done}, ${ended})`,
    )
    await db.execute(sql`update messages set state = 'expired' where id = ${ended}`)
    await db.execute(sql`update validators set oracle_set_id = null where id in
      (select validator_id from messages where id = any(${numberArray(made.ids)}) and id <> ${done})`)
    await erase()
    // The last one is outdated too, but it is an operator's: a rotation collects its own.
    expect(await stateOf(made.ids)).toEqual([READY, ERASED, ERASED, ERASED])
    await register(made)
    await erase()
    expect(await stateOf([wanted])).toEqual([ERASED])
  })

  it('waits for the copy of an owner, of the key that is set now', async () => {
    const vault = '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa'
    const made = await makeExits(2, [1, 2, 3])
    const collecting = await makeExits(1, [1])
    const [key, otherKey] = world.oracles.map(({ publicKey }) => Buffer.from(publicKey)) as [Buffer, Buffer]
    const owners = { OWNER_PUBLIC_KEYS: `${vault}:${hex(key)}` }
    await register(made, fromHex(vault, 20))
    await register(collecting, fromHex(vault, 20))
    await erase(owners)
    expect(await stateOf(made.ids)).toEqual([READY, READY])
    // Nothing to copy.
    expect(await stateOf(collecting.ids)).toMatchObject([{ state: 'erased' }])
    const copy = (id: number, to: Buffer) =>
      db.execute(sql`insert into owner_copies (message_id, vault, owner_public_key, ciphertext)
        values (${id}, ${Buffer.from(fromHex(vault, 20))}, ${to}, decode('00', 'hex'))`)
    await copy(made.ids[0] ?? 0, key)
    await copy(made.ids[1] ?? 0, otherKey)
    await erase(owners)
    expect(await stateOf(made.ids)).toEqual([ERASED, READY])
    await erase()
    expect(await stateOf(made.ids)).toEqual([ERASED, ERASED])
  })
})

describe('what is left', () => {
  /** Every row of every table but some, as one text. */
  async function dumpOf(without: readonly string[] = []) {
    const { rows: tables } = await db.execute(sql`select tablename from pg_tables where schemaname = 'public'`)
    const dump = new Map<string, Record<string, unknown>[]>()
    for (const { tablename } of tables as { tablename: string }[])
      if (!without.includes(tablename))
        dump.set(tablename, (await db.execute(sql`select * from ${sql.identifier(tablename)}`)).rows)
    return dump
  }

  /** Everything in a dump that opens, with SEALING_KEY and every key of an exit that the dump has. */
  function openAll(dump: Awaited<ReturnType<typeof dumpOf>>, ids: readonly number[]): string[] {
    const master = createSealer(fromHex(world.environment()['SEALING_KEY'] ?? '', 32))
    const keys = (dump.get('message_keys') ?? []).map((row) =>
      createSealer(master.open(row['sealed'] as Buffer, `message_keys:${Number(row['message_id'])}`)),
    )
    const positions = ids.flatMap((id) => [
      `messages:${id}:exit`,
      ...[1, 2, 3, 4].map((share) => `partial_signatures:${id}:${share}:exit`),
    ])
    const values = [...dump.values()]
      .flat()
      .flatMap((row) => Object.values(row).filter((value) => Buffer.isBuffer(value)))
    return [master, ...keys].flatMap((sealer) =>
      values
        .filter((value) => sealer.isCurrent(value))
        .flatMap((value) =>
          positions.flatMap((position) => {
            try {
              return [hex(sealer.open(value, position))]
            } catch {
              return []
            }
          }),
        ),
    )
  }

  it('opens nowhere after the erasure, nor in a copy without the table of keys, whoever has SEALING_KEY', async () => {
    const made = await makeExits(2, [1, 2, 3])
    const secrets = [1, 2, 3].flatMap((share) => [0, 1].map((position) => posted(made, position, share).exit_signature))
    // With the keys everything opens: the two full signatures and the six partial ones.
    const opened = openAll(await dumpOf(), made.ids)
    expect(opened).toHaveLength(8)
    expect(opened).toEqual(expect.arrayContaining(secrets))
    const backup = await dumpOf(['message_keys'])
    expect(backup.get('partial_signatures')?.length).toBeGreaterThanOrEqual(6)
    expect(openAll(backup, made.ids)).toEqual([])
    await register(made)
    await erase()
    const after = await dumpOf()
    expect(openAll(after, made.ids)).toEqual([])
    const text = JSON.stringify([...after, ...backup], (_, value) =>
      value?.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value,
    )
    for (const secret of opened) expect(text).not.toContain(secret.slice(2))
    // What was backed up before opens with none of the keys that are left, either.
    expect(openAll(new Map([...backup, ['message_keys', after.get('message_keys') ?? []]]), made.ids)).toEqual([])
  })
})

describe('what comes late', () => {
  const openOther = () => openSealing(configOf(), other, silentLogger)

  it('a worker that is finishing the exit', async () => {
    const made = await makeExits(2, [1, 2])
    // Stored without a job: nobody else finishes them.
    await db.execute(
      sql`update messages set queued_at = now() + interval '1 hour' where id = any(${numberArray(made.ids)})`,
    )
    await sidecarRound(relayer.url, world.network, made.validators, 3)
    const finish = gated(pool.finish)
    const worker = createFinishing({
      db: other,
      crypto: { ...pool, finish: finish.run },
      sealing: await openOther(),
      events,
      announced: () => {},
      logger: silentLogger,
    })
    const finishing = worker.finish(made.ids)
    await finish.reached
    await register({ validators: made.validators.slice(0, 1) })
    await erase({}, db)
    finish.open()
    await finishing
    expect(await stateOf(made.ids)).toMatchObject([
      { state: 'erased', signature: false, partials: 0, keys: 0 },
      { state: 'ready', signature: true, partials: 3, keys: 1, shares: 1 },
    ])
  })

  it('a verdict, and a right signature that it would put back', async () => {
    const made = await makeExits(2, [])
    await db.execute(sql`insert into key_shares (validator_id, share_index, public_key_share, source)
      select v.id, 1, ${Buffer.from(made.validators[0]?.shares[0]?.publicKey ?? [])}, 'lock' from validators v
      where v.public_key = ${Buffer.from(made.validators[0]?.publicKey ?? [])}`)
    const verify = gated(pool.verify)
    const signatures = startSubmission({
      config: configOf(),
      db: other,
      queue: { add: async () => 'added' } as never,
      crypto: { ...pool, verify: verify.run },
      sealing: await openOther(),
      events,
      announced: () => {},
      logger: silentLogger,
    })
    const submitted = signatures.submit(1, [posted(made, 0, 1)])
    await verify.reached
    expect(await stateOf(made.ids)).toMatchObject([{ partials: 1, keys: 1 }, {}])
    await register({ validators: made.validators.slice(0, 1) })
    await erase({}, db)
    verify.open()
    expect(await submitted).toEqual([])
    expect(await stateOf(made.ids)).toMatchObject([{ state: 'erased', partials: 0, keys: 0 }, {}])
  })

  it('a post that was matched before, and one that waits for the lock while the exit is erased', async () => {
    const made = await makeExits(2, [])
    const areSignatures = gated(pool.areSignatures)
    const signatures = startSubmission({
      config: configOf(),
      db: other,
      queue: { add: async () => 'added' } as never,
      crypto: { ...pool, areSignatures: areSignatures.run },
      sealing: await openOther(),
      events,
      announced: () => {},
      logger: silentLogger,
    })
    const submitted = signatures.submit(1, [posted(made, 0, 1), posted(made, 1, 1)])
    await areSignatures.reached
    await register({ validators: made.validators.slice(0, 1) })
    await hold()
    const erasing = await db.transaction(async (tx) => {
      const ids = await lock(tx, made)
      await eraseExits(tx, ids)
      areSignatures.open()
      await eventually('the post waits', async () => {
        const { rowCount } = await relayerLocks()
        return (rowCount ?? 0) > 0 ? true : undefined
      })
      return ids
    })
    expect(erasing).toEqual(made.ids.slice(0, 1))
    expect(await submitted).toEqual([])
    expect(await stateOf(made.ids)).toMatchObject([
      { state: 'erased', partials: 0, keys: 0 },
      { state: 'collecting', partials: 1, keys: 1 },
    ])
  })

  it('an operator that asks for an expired exit again gets another one, which is erased in its turn', async () => {
    const made = await makeExits(1, [1, 2, 3])
    await db.execute(sql`update messages set state = 'expired' where id = any(${numberArray(made.ids)})`)
    await register(made)
    await hold()
    const asked = await db.transaction(async (tx) => {
      const ids = await lock(tx, made)
      expect(ids).toEqual(made.ids)
      const answer = postValidators(relayer.url, made.keys)
      await eventually('the operator waits', async () => {
        const { rowCount } = await relayerLocks()
        return (rowCount ?? 0) > 0 ? true : undefined
      })
      await eraseExits(tx, ids)
      return { answer }
    })
    expect((await asked.answer).status).toBe(200)
    expect(await stateOf(made.ids)).toEqual([ERASED])
    expect(await exitIdsOf(made)).toHaveLength(2)
    await erase()
    expect(await stateOf(await exitIdsOf(made))).toMatchObject([{ state: 'erased' }, { state: 'erased', keys: 0 }])
  })

  it('is passed over while somebody decides about it, and erased the next time', async () => {
    const made = await makeExits(2, [1, 2, 3])
    await register(made)
    await db.transaction(async (tx) => {
      await lockMessages(tx, made.ids.slice(0, 1))
      await lockValidators(
        tx,
        made.validators.slice(1).map(({ publicKey }) => publicKey),
      )
      await erase()
      expect(await stateOf(made.ids)).toEqual([READY, READY])
    })
    await erase()
    expect(await stateOf(made.ids)).toEqual([ERASED, ERASED])
  })

  it('is all there after a kill in the middle of an erasure, and the next round does it', async () => {
    const made = await makeExits(1, [1, 2, 3])
    await register(made)
    await hold()
    const killed = other.transaction(async (tx) => {
      await eraseExits(tx, await lock(tx, made))
      await tx.execute(sql`select pg_terminate_backend(pg_backend_pid())`)
    })
    await expect(killed).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    expect(await stateOf(made.ids)).toEqual([READY])
    await erase()
    expect(await stateOf(made.ids)).toEqual([ERASED])
  })

  /** Connections of this database that wait for a row. */
  const relayerLocks = () => db.execute(sql`select from pg_stat_activity where ${sql.raw(WAITS_FOR_ROW)}`)
  const exitIdsOf = async ({ validators }: Made) =>
    (
      await db.execute(sql`select m.id from messages m join validators v on v.id = m.validator_id
        where v.public_key = ${Buffer.from(validators[0]?.publicKey ?? [])} order by m.id`)
    ).rows.map(({ id }) => Number(id))
})
