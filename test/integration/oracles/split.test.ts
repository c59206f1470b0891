/** Which oracle set is in force, what workers finish and split for it, and which share sets go in the end, row by row. */

import { randomBytes } from 'node:crypto'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { shareReceipt } from '@dvt-relayer/crypto/oracle/share-receipt.ts'
import { createListener } from '@dvt-relayer/db/connect.ts'
import {
  adoptOracleSet,
  completeMessages,
  countFailedAttempts,
  deleteOldShares,
  findCurrentOracleSet,
  findCurrentOracleSetId,
  findMessagesToFinish,
  findOracleShares,
  giveBackMessages,
  insertOracleShares,
  ORACLE_SETS_CHANNEL,
  ROTATION_REQUESTER,
  releaseMessages,
} from '@dvt-relayer/db/queries/oracle-shares.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { insertShareSets } from '../../../apps/relayer/src/services/oracles/shares.ts'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const announced = (cid: string, blockNumber: number) => ({
  cid,
  threshold: 2,
  publicKeys: Buffer.alloc(130, blockNumber),
  config: { of: cid },
  blockNumber,
  announcedAt: 1000 + blockNumber,
})
const adopt = async ({ db }: MessageStore, cid: string, blockNumber: number) => {
  await db.transaction((tx) => adoptOracleSet(tx, announced(cid, blockNumber)))
  return (await findCurrentOracleSetId(db)) ?? 0
}
const split = ({ query }: MessageStore, exit: number, setIds: readonly number[]) =>
  Promise.all(
    setIds.map((set) =>
      query(sql`
        insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        values (${exit}, ${set}, ${randomBytes(48)}, ${randomBytes(193)}, ${randomBytes(32)}, 1)`),
    ),
  )

it('the set in force is the one announced last, whoever adopts another one meanwhile, and everybody is told', async () => {
  const store = await openMessages()
  const { db, query, url } = store
  expect(await findCurrentOracleSet(db)).toBeUndefined()
  expect(await findCurrentOracleSetId(db)).toBeUndefined()
  const [ready, ended, heard] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), [] as string[]]
  await using _listener = createListener({
    url,
    channels: [ORACLE_SETS_CHANNEL],
    onNotify: (_, payload) => (payload === 'end' ? ended.resolve() : heard.push(payload)),
    onReconnect: () => ready.resolve(),
    logger: silentLogger,
  })
  await ready.promise
  const first = await adopt(store, 'a', 10)
  await query(sql`select pg_notify(${ORACLE_SETS_CHANNEL}, 'end')`)
  await ended.promise
  expect(heard).toEqual(['a'])
  expect(await findCurrentOracleSet(db)).toEqual({ id: first, ...announced('a', 10) })
  // The same one, and one that was announced before.
  expect(await adopt(store, 'a', 11)).toBe(first)
  expect(await adopt(store, 'b', 9)).toBe(first)
  const second = await adopt(store, 'b', 10)
  expect(await findCurrentOracleSet(db)).toEqual({ id: second, ...announced('b', 10) })
  const third = await adopt(store, 'a', 12)
  expect(await findCurrentOracleSet(db)).toEqual({ id: third, ...announced('a', 12) })
  expect(third).toBeGreaterThan(second)

  const [isIn, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const slow = db.transaction(async (tx) => {
    await adoptOracleSet(tx, announced('c', 13))
    isIn.resolve()
    await gate.promise
  })
  await Promise.race([isIn.promise, slow])
  const later = adopt(store, 'd', 14)
  const waiting = () =>
    query(sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
  try {
    await expect.poll(waiting).toHaveLength(1)
  } finally {
    gate.resolve()
  }
  await Promise.all([slow, later])
  expect(await findCurrentOracleSet(db)).toMatchObject({ cid: 'd' })
})

it('what is to be finished is told whole, and split where the set lacks it and the chain has no other', async () => {
  const store = await openMessages()
  const { db, query, addValidator, addExit, addDeposit, trust } = store
  const [old, set] = [await adopt(store, 'a', 1), await adopt(store, 'b', 2)]
  const rows: Record<string, unknown>[] = []
  const ignored: number[] = []
  const addOf = async (
    kind: 'exit' | 'deposit',
    more: { state?: string; sets?: number[]; requester?: string; isRegistered?: true; shares?: true },
    expected: boolean | undefined,
  ) => {
    const { state = 'ready', sets = [], requester = null, isRegistered, shares } = more
    const { id: validatorId, publicKey } = await addValidator()
    const index = 100 + validatorId
    const live = state === 'ready' ? 'ready' : 'collecting'
    const id = await (kind === 'exit'
      ? addExit(validatorId, { index, state: live, requester })
      : addDeposit(validatorId, { state: live }))
    await query(
      sql`update messages set state = ${state}, threshold = ${validatorId}, epoch = ${kind === 'exit' ? 7 : null} where id = ${id}`,
    )
    if (isRegistered)
      await query(sql`update validators set registered_at = now(), beacon_index = 1 where id = ${validatorId}`)
    if (shares) await trust(validatorId, 1, randomBytes(48))
    await split(store, id, sets)
    if (expected === undefined) return void ignored.push(id)
    const [{ root, signature } = {}] = await query<{ root?: Buffer; signature?: Buffer }>(
      sql`select signing_root as root, signature from messages where id = ${id}`,
    )
    rows.push({
      id,
      kind,
      state,
      publicKey: Buffer.from(publicKey),
      signingRoot: root,
      threshold: validatorId,
      signature,
      requester,
      epoch: kind === 'exit' ? 7 : null,
      validatorIndex: kind === 'exit' ? index : null,
      needsOracleShares: expected,
      hasKeyShares: shares ?? false,
    })
  }
  await addOf('exit', {}, true)
  await addOf('exit', { state: 'collecting', requester: 'operator', shares: true }, true)
  await addOf('exit', { sets: [old] }, true)
  await addOf('exit', { sets: [old, set] }, false)
  await addOf('exit', { isRegistered: true }, false)
  await addOf('exit', { isRegistered: true, requester: 'operator' }, false)
  await addOf('exit', { isRegistered: true, requester: ROTATION_REQUESTER }, true)
  await addOf('exit', { isRegistered: true, requester: ROTATION_REQUESTER, sets: [set] }, false)
  await addOf('deposit', {}, false)
  await addOf('deposit', { state: 'collecting', shares: true }, false)
  await addOf('deposit', { state: 'expired' }, false)
  for (const state of ['expired', 'superseded', 'erased']) await addOf('exit', { state }, undefined)
  for (const state of ['superseded', 'erased']) await addOf('deposit', { state }, undefined)
  const ids = [...rows.map(({ id }) => Number(id)), ...ignored]
  expect(await findMessagesToFinish(db, ids, set)).toEqual(rows)
  expect(await findMessagesToFinish(db, ids, null)).toEqual(rows.map((row) => ({ ...row, needsOracleShares: false })))
  expect(await findMessagesToFinish(db, ids.slice(1, 3), set)).toEqual(rows.slice(1, 3))
})

/** Exits in each of these states, claimed for a worker. */
async function openClaimed(states: readonly string[]) {
  const store = await openMessages()
  const { query, addValidator, addExit } = store
  const ids: number[] = []
  for (const state of states) {
    const id = await addExit((await addValidator()).id)
    await query(sql`update messages set signature = ${Buffer.from('old')}, state = ${state}, failed_attempts = 3,
                                        queued_at = to_timestamp(500) where id = ${id}`)
    ids.push(id)
  }
  const told = () =>
    query(
      sql`select id::int, state, failed_attempts::int as failed, extract(epoch from queued_at)::int as queued from messages order by id`,
    )
  const as = (position: number, change: object = {}) => ({
    id: ids[position],
    state: states[position],
    failed: 3,
    queued: 500 as number | null,
    ...change,
  })
  return { ...store, ids, told, as }
}

it('a full signature is kept of what is collected and asked about, and of nothing else', async () => {
  const { db, query, ids, told, as } = await openClaimed(['collecting', 'collecting', 'ready', 'expired', 'collecting'])
  const of = (id = 0) => ({ messageId: id, sealed: Buffer.from(`of ${id}`) })
  const done = { state: 'ready', failed: 0 }
  expect(await completeMessages(db, [])).toEqual([])
  expect(await completeMessages(db, [of(ids[1])])).toEqual([ids[1]])
  expect(await told()).toEqual([as(0), as(1, done), as(2), as(3), as(4)])
  expect((await completeMessages(db, ids.slice(0, 4).map(of))).sort()).toEqual([ids[0]])
  expect(await told()).toEqual([as(0, done), as(1, done), as(2), as(3), as(4)])
  const signed = await query<{ signature: Buffer; at: boolean }>(
    sql`select signature, ready_at is not null as at from messages order by id`,
  )
  expect(signed.map(({ signature, at }) => [signature.toString(), at])).toEqual([
    [`of ${ids[0]}`, true],
    [`of ${ids[1]}`, true],
    ['old', false],
    ['old', false],
    ['old', false],
  ])
})

it('a claim is ended, or given back for whoever looks next, of what is asked about alone', async () => {
  const { db, query, ids, told, as } = await openClaimed(['collecting', 'ready', 'collecting', 'ready', 'collecting'])
  const [a = 0, b = 0, , d = 0] = ids
  await releaseMessages(db, [])
  await releaseMessages(db, [a])
  await giveBackMessages(db, [])
  await giveBackMessages(db, [b])
  const [free, back] = [{ queued: null }, { queued: 0 }]
  expect(await told()).toEqual([as(0, free), as(1, back), as(2), as(3), as(4)])
  // What nobody has claimed is not given back: it is nobody's already.
  await giveBackMessages(db, [a, d])
  expect(await told()).toEqual([as(0, free), as(1, back), as(2), as(3, back), as(4)])
  await releaseMessages(db, [b, d])
  expect(await told()).toEqual([as(0, free), as(1, free), as(2), as(3, free), as(4)])
  expect(await query(sql`select from messages where queued_at is null`)).toHaveLength(3)
})

it('an attempt in vain counts one more, of what is collected or a deposit may still be made with', async () => {
  const states = ['collecting', 'expired', 'ready', 'superseded', 'erased', 'collecting']
  const { db, query, ids, told, as } = await openClaimed(states)
  await countFailedAttempts(db, [])
  await countFailedAttempts(db, ids.slice(0, 1))
  await countFailedAttempts(db, ids.slice(0, 5))
  const now = await query<{ id: number }>(
    sql`select id::int from messages where queued_at > now() - interval '1 hour' order by id`,
  )
  expect(now.map(({ id }) => id)).toEqual(ids.slice(0, 2))
  await query(sql`update messages set queued_at = to_timestamp(500)`)
  expect(await told()).toEqual([as(0, { failed: 5 }), as(1, { failed: 4 }), as(2), as(3), as(4), as(5)])
})

it('share sets are stored once, without a place in the order yet, and found of the current set alone', async () => {
  const store = await openMessages()
  const { db, query, addValidator, addExit } = store
  const [old, set] = [await adopt(store, 'a', 1), await adopt(store, 'b', 2)]
  const ids: number[] = []
  for (let n = 0; n < 3; n++) ids.push(await addExit((await addValidator()).id))
  const of = (messageId: number, byte = messageId) => ({
    messageId,
    publicKeyShares: Buffer.alloc(48, byte),
    ciphertexts: Buffer.alloc(193, byte),
    receipt: Buffer.alloc(32, byte),
  })
  const [a = 0, b = 0, c = 0] = ids
  expect(await insertOracleShares(db, set, [])).toEqual([])
  expect(await insertOracleShares(db, set, [of(a)])).toEqual([a])
  expect(await insertOracleShares(db, set, [of(b), of(a, 99)])).toEqual([b])
  expect(await insertOracleShares(db, old, [of(a), of(c)])).toEqual([a, c])
  const found = (await findOracleShares(db, ids)).sort((x, y) => x.messageId - y.messageId)
  expect(found).toEqual([a, b].map((id) => ({ ...of(id), oracleSetId: set })))
  expect(await findOracleShares(db, [b])).toHaveLength(1)
  expect(await query(sql`select from oracle_shares where revision <> 0`)).toEqual([])
})

it('of what was split each exit that has shares is stored with the receipt of them', async () => {
  const store = await openMessages()
  const { db, query, addValidator, addExit } = store
  await adopt(store, 'a', 1)
  const set = (await findCurrentOracleSet(db)) ?? fail()
  const exitOf = async (index: number) => {
    const ids = [await addExit((await addValidator()).id, { index })]
    return (await findMessagesToFinish(db, ids, set.id))[0] ?? fail()
  }
  const [one, none, other] = [await exitOf(5), await exitOf(6), await exitOf(7)]
  const of = (byte: number) => ({ publicKeyShares: Buffer.alloc(96, byte), ciphertexts: Buffer.alloc(386, byte) })
  const receipt = ({ publicKey, signingRoot }: typeof one, validatorIndex: number, byte: number) =>
    shareReceipt({
      ...{ publicKey, signingRoot, validatorIndex, epoch: 0, threshold: 2 },
      oracles: Array(2).fill(new Uint8Array(65).fill(1)),
      publicKeyShares: Array(2).fill(new Uint8Array(48).fill(byte)),
      ciphertexts: Array(2).fill(new Uint8Array(193).fill(byte)),
    })
  const split = [
    { exit: one, shares: of(1) },
    { exit: none, shares: undefined },
    { exit: other, shares: of(2) },
  ]
  expect(await insertShareSets(db, set, split)).toEqual([one.id, other.id])
  expect(await query(sql`select message_id::int as id, receipt from oracle_shares order by 1`)).toEqual([
    { id: one.id, receipt: Buffer.from(receipt(one, 5, 1)) },
    { id: other.id, receipt: Buffer.from(receipt(other, 7, 2)) },
  ])
  for (const part of ['epoch', 'validatorIndex'])
    expect(() => insertShareSets(db, set, [{ exit: { ...none, [part]: null }, shares: of(3) }])).toThrow('only exits')
})

it('a share set goes once its oracle set is replaced for long and nothing needs it', async () => {
  const store = await openMessages()
  const { db, query, addValidator, addExit } = store
  const [a, b, c] = [await adopt(store, 'a', 1), await adopt(store, 'b', 2), await adopt(store, 'c', 3)]
  const add = async (
    sets: number[],
    more: { onChain?: number | null; isDeposited?: true; rotation?: [set: number, state: string] } = {},
  ) => {
    const { id, publicKey } = await addValidator()
    const exit = await addExit(id, { state: 'ready' })
    await split(store, exit, sets)
    if (more.onChain !== undefined)
      await query(
        sql`update validators set registered_at = now(), beacon_index = 1, oracle_set_id = ${more.onChain} where id = ${id}`,
      )
    if (more.isDeposited)
      await query(sql`insert into registry_validators (public_key, block_number) values (${Buffer.from(publicKey)}, 1)`)
    if (more.rotation)
      await query(sql`
        with r as (insert into rotations (vault, oracle_set_id, nonce, state)
                   values (${randomBytes(20)}, ${more.rotation[0]}, 0, ${more.rotation[1]}) returning id)
        insert into rotation_messages (rotation_id, place, message_id) select id, 0, ${exit} from r`)
    return exit
  }
  const cases: [what: string, made: Parameters<typeof add>, left: number[]][] = [
    ['of nobody', [[a, b, c]], [c]],
    ['none newer', [[a]], [a]],
    ['two, none of the current set', [[a, b]], [b]],
    ['the chain knows it by it', [[a, b, c], { onChain: a }], [a, c]],
    ['the chain knows it by another', [[a, c], { onChain: b }], [c]],
    ['the chain knows it by none known', [[a, c], { onChain: null }], [c]],
    ['a deposit was made', [[a, b, c], { isDeposited: true }], [a, b, c]],
    ['a deposit was made, and it is registered', [[a, b, c], { isDeposited: true, onChain: b }], [b, c]],
    ['its rotation is open', [[a, b, c], { rotation: [a, 'open'] }], [a, c]],
    ['its rotation is over', [[a, c], { rotation: [a, 'done'] }], [c]],
    ['its rotation is of another set', [[a, c], { rotation: [c, 'open'] }], [c]],
  ]
  const exits: number[] = []
  for (const [, made] of cases) exits.push(await add(...made))
  const left = async () => {
    const rows = await query<{ id: number; set: number }>(
      sql`select message_id::int as id, oracle_set_id::int as set from oracle_shares order by 1, 2`,
    )
    return cases.map(([what], position) => [
      what,
      rows.filter(({ id }) => id === exits[position]).map(({ set }) => set),
    ])
  }
  const before = await left()
  const setAge = (seconds: number, ids: readonly number[], on: Pick<typeof db, 'execute'> = db) =>
    on.execute(sql`update oracle_sets set adopted_at = now() - make_interval(secs => ${seconds}::float8)
                   where id in (${sql.join(
                     ids.map((id) => sql`${id}`),
                     sql`, `,
                   )})`)
  // How old a set is says nothing: its successor has to be in force for long.
  await setAge(7200, [a])
  expect(await deleteOldShares(db, 3600, 99)).toBe(0)
  await db.transaction(async (tx) => {
    await setAge(3600, [b, c], tx)
    expect(await deleteOldShares(tx, 3600, 99)).toBe(0)
  })
  expect(await left()).toEqual(before)
  await setAge(7200, [b, c])
  expect(await deleteOldShares(db, 3600, 2)).toBe(2)
  const most = cases.reduce((sum, [, [sets], kept]) => sum + sets.length - kept.length, 0)
  expect(await deleteOldShares(db, 3600, 99)).toBe(most - 2)
  expect(await left()).toEqual(cases.map(([what, , kept]) => [what, kept]))
})

function fail(): never {
  throw new Error('not there')
}
