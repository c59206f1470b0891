/** What is stored of validators that an owner has split among SSV operators: from keyshares files and from the chain, once, again, and when it changes. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { emptySsvState, registrationKey, type SsvRegistration, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { operatorKeyFingerprint, parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { insertValidators, lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import { storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { findSsvCounts } from '../../../apps/relayer/src/services/census/ssv-counts.ts'
import { createSsvCheckpoint, findSsvState } from '../../../apps/relayer/src/services/clusters/ssv-checkpoint.ts'
import {
  findGone,
  type SsvValidator,
  storeSsvValidators,
} from '../../../apps/relayer/src/services/clusters/ssv-clusters.ts'
import { importSsvFiles } from '../../../apps/relayer/src/services/clusters/ssv-file-import.ts'
import { readFixtureJson } from '../../support/keys/fixtures.ts'
import { keysharesJson, makeSsvValidators } from '../../support/keys/ssv.ts'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'
import { orderBeside } from '../../support/stores/import-order.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'
import { engine } from '../../support/world/nodes.ts'
import { recordingLogger } from '../sidecar/support.ts'

const [OURS, THEIRS] = [new Uint8Array(20).fill(0xaa), new Uint8Array(20).fill(0xbb)]
const scope = { contract: { address: new Uint8Array(20).fill(1), block: 100 }, owners: [OURS], operators: undefined }
const NOTHING = { imported: 0, removed: 0, rejudged: 0, locked: [] }

/** A validator of an owner; the public key share of an operator is its id plus `of`. */
function validatorOf(
  publicKey: Uint8Array,
  { owner = OURS, ownerNonce = 3, ids = [4, 7, 9, 300], of = 0 } = {},
): SsvValidator {
  const shares = ids.map((operatorId) => ({ operatorId, publicKeyShare: new Uint8Array(48).fill(operatorId + of) }))
  return { publicKey, owner, ownerNonce, data: { threshold: 3, shares } as unknown as SsvValidator['data'] }
}
const store = (
  { db }: Pick<MessageStore, 'db'>,
  validators: SsvValidator[],
  gone: { id: number; publicKey: Uint8Array }[] = [],
) => db.transaction((tx) => storeSsvValidators(tx, validators, gone))
/** What is stored of each validator with a place, in order. */
const stored = ({ query }: Pick<MessageStore, 'query'>) =>
  query(sql`
    select v.public_key as key, c.name, c.threshold, v.place,
           array(select k.share_index::int || ' ' || get_byte(k.public_key_share, 0) from key_shares k where k.validator_id = v.id order by k.share_index) as shares
    from validators v join clusters c on c.id = v.cluster_id order by v.place, v.id`)
const row = ({ publicKey, owner, ownerNonce, data }: SsvValidator) => ({
  ...{ key: Buffer.from(publicKey), name: `${toHex(owner)}:${data.shares.map(({ operatorId }) => operatorId)}` },
  ...{ threshold: data.threshold, place: ownerNonce },
  shares: data.shares.map(({ operatorId, publicKeyShare }) => `${operatorId} ${publicKeyShare[0]}`),
})

it('validators are stored once, and what was collected is judged anew where their shares change, and nowhere else', async () => {
  const database = await openMessages()
  const { query, addExit, message } = database
  const [key, other] = [randomBytes(48), randomBytes(48)]
  const one = validatorOf(key)
  const bystander = validatorOf(other, { ownerNonce: 9, ids: [1, 2, 3, 4] })
  expect(await store(database, [one, bystander])).toEqual({ ...NOTHING, imported: 2 })
  expect(await stored(database)).toEqual([row(one), row(bystander)])
  const idOf = async (publicKey: Buffer) =>
    Number((await query<{ id: string }>(sql`select id from validators where public_key = ${publicKey}`))[0]?.id)
  const [exit, otherExit] = [await addExit(await idOf(key)), await addExit(await idOf(other))]
  const states = async () =>
    (
      await query<{ state: string }>(
        sql`select share_index || ' ' || state as state from partial_signatures where message_id = ${exit} order by 1`,
      )
    ).map(({ state }) => state)
  for (const [change, result, left] of [
    [{}, NOTHING, ['4 verified', '7 verified']],
    [{ ownerNonce: 4 }, { ...NOTHING, imported: 1 }, ['4 verified', '7 verified']],
    [{ owner: THEIRS }, { ...NOTHING, imported: 1 }, ['4 verified', '7 verified']],
    [{ of: 1 }, { ...NOTHING, imported: 1, rejudged: 1 }, ['4 unverified', '7 unverified']],
    [{ ids: [4, 8, 9, 300] }, { ...NOTHING, imported: 1, rejudged: 1 }, ['4 unverified']],
  ] as const) {
    await store(database, [one])
    await query(sql`delete from partial_signatures`)
    for (const index of [4, 7])
      await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                      values (${exit}, ${index}, ${randomBytes(32)}, ${randomBytes(96)}, 'verified')`)
    const { revision } = await message(exit)
    const changed = validatorOf(key, { ...change, ids: [...('ids' in change ? change.ids : [4, 7, 9, 300])] })
    expect(await store(database, [changed, bystander]), JSON.stringify(change)).toEqual(result)
    expect(await stored(database)).toEqual([row(changed), row(bystander)])
    expect(await states(), JSON.stringify(change)).toEqual(left)
    expect((await message(exit)).revision > revision, JSON.stringify(change)).toBe(result.rejudged > 0)
    expect((await query(sql`select threshold from messages where id = ${exit}`))[0]).toEqual({
      threshold: (await message(exit)).revision > 0 ? 3 : 1,
    })
  }
  expect((await message(otherExit)).revision).toBe(0)

  // One comes while another one leaves.
  const gone = [{ id: await idOf(other), publicKey: other }]
  const late = validatorOf(randomBytes(48), { ownerNonce: 2 ** 40 })
  expect(await store(database, [late], gone)).toEqual({ ...NOTHING, imported: 1, removed: 1 })
  expect((await stored(database)).slice(1)).toEqual([{ ...row(late), place: 2 ** 31 - 1 }])
  expect(await query(sql`select from key_shares where validator_id = ${gone[0]?.id}`)).toEqual([])
  expect(await store(database, [late])).toEqual(NOTHING)
})

it('validators are taken in the order of their keys, new ones as well, so that nobody waits for each other', async () => {
  const database = await openMessages()
  const { db, query } = database
  const [low, high, newLow, newHigh] = [1, 2, 3, 4].map((byte) => Buffer.alloc(48, byte)) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ]
  const isWaiting = async () => (await query(sql.raw(`select from pg_stat_activity where ${WAITS_FOR_ROW}`))).length
  /** Stores beside a transaction that takes one key, and then another one. */
  const beside = async (
    take: typeof insertValidators | typeof lockValidators,
    keys: Buffer[],
    work: () => Promise<unknown>,
  ) => {
    const { stored } = await db.transaction(async (tx) => {
      await take(tx, keys.slice(0, 1))
      const stored = work().catch((error: unknown) => error)
      await expect.poll(isWaiting).toBe(1)
      await take(tx, keys.slice(1))
      return { stored }
    })
    return stored
  }
  await store(database, [validatorOf(low), validatorOf(high, { ownerNonce: 4 })])
  const [{ id = 0 } = {}] = await query<{ id: number }>(sql`select id::int from validators where public_key = ${high}`)
  const change = () => store(database, [validatorOf(low, { of: 1 })], [{ id, publicKey: high }])
  expect(await beside(lockValidators, [low, high], change)).toEqual({ ...NOTHING, imported: 1, removed: 1 })
  const add = () => store(database, [validatorOf(newHigh), validatorOf(newLow, { owner: THEIRS })])
  expect(await beside(insertValidators, [newLow, newHigh], add)).toEqual({ ...NOTHING, imported: 2 })
})

it('what a cluster lock covers stays, and is named where the lock says otherwise of its shares or its threshold', async () => {
  const database = await openMessages()
  const { query, addValidator, trust } = database
  const addLocked = async (id: number, threshold: number, lastShare: number) => {
    const validator = await addValidator()
    await query(
      sql`insert into clusters (id, name, threshold, lock_hash) values (${id}, ${`lock ${id}`}, ${threshold}, ${Buffer.alloc(32, id)})`,
    )
    await query(sql`update validators set cluster_id = ${id}, place = 0 where id = ${validator.id}`)
    for (const index of [1, 2, 3, 4])
      await trust(validator.id, index, new Uint8Array(48).fill(index === 4 ? lastShare : index))
    return validatorOf(validator.publicKey, { ids: [1, 2, 3, 4] })
  }
  const [same, otherThreshold, otherShare] = [
    await addLocked(91, 3, 4),
    await addLocked(92, 2, 4),
    await addLocked(93, 3, 5),
  ]
  const before = await stored(database)
  const named = [otherThreshold, otherShare].map((validator, i) => ({
    validator,
    lock: `"lock ${i + 92}" (lock_hash ${toHex(Buffer.alloc(32, i + 92))})`,
  }))
  expect(await store(database, [same, otherThreshold, otherShare])).toEqual({ ...NOTHING, locked: named })
  expect(await stored(database)).toEqual(before)
  // What is beside it is stored all the same, from whatever list it was known.
  const listed = await addValidator()
  await query(sql`insert into clusters (id, name, threshold, source) values (98, 'list', 3, 'list')`)
  await query(sql`update validators set cluster_id = 98, place = 5 where id = ${listed.id}`)
  const ours = validatorOf(listed.publicKey, { ids: [1, 2, 3, 4] })
  expect(await store(database, [otherShare, ours])).toEqual({ ...NOTHING, imported: 1, locked: named.slice(1) })
  expect((await stored(database)).slice(3)).toEqual([row(ours)])
})

it('those are gone whose registration has ended, or whose owner is not followed any more', async () => {
  const database = await openMessages()
  const [live, ended, ahead, foreign, foreignLive] = [
    validatorOf(randomBytes(48), { ownerNonce: 3 }),
    validatorOf(randomBytes(48), { ownerNonce: 4 }),
    validatorOf(randomBytes(48), { ownerNonce: 5 }),
    validatorOf(randomBytes(48), { owner: THEIRS, ownerNonce: 9 }),
    validatorOf(randomBytes(48), { owner: THEIRS, ownerNonce: 8 }),
  ] as const
  await store(database, [live, ended, ahead, foreign, foreignLive])
  const state = {
    ...emptySsvState(scope),
    nonces: new Map([[toHex(OURS), 5]]),
    live: new Map(
      [live, foreignLive].map((one) => [registrationKey(one.owner, one.publicKey), one as SsvRegistration]),
    ),
  }
  const gone = async (of: SsvState, owners = [OURS]) =>
    (await findGone(database.db, of, owners)).map(({ publicKey }) => toHex(publicKey)).sort()
  const keys = (...validators: SsvValidator[]) => validators.map(({ publicKey }) => toHex(publicKey)).sort()
  expect(await gone(state)).toEqual(keys(ended, foreign))
  expect(await gone(state, [OURS, THEIRS])).toEqual(keys(ended))
  const gaps = new Map([[toHex(OURS), { blockNumber: 1, logIndex: 0, counted: 0, signed: 1 }]])
  expect(await gone({ ...state, gaps })).toEqual(keys(foreign))
})

it('of two processes the state of the one that has come further counts, until all is forgotten', async () => {
  const { db, query, ...database } = await openMessages()
  const told: unknown[] = []
  const events = {
    ssvImported: (source: string, { imported, removed }: { imported: number; removed: number }) =>
      told.push([source, imported, removed]),
    ssvLocked: (validators: readonly string[]) => told.push(validators),
  }
  const context = { config: { ssv: { owners: [OURS] } }, db, events } as unknown as Parameters<
    typeof createSsvCheckpoint
  >[0]
  const checkpoint = createSsvCheckpoint(context, scope)
  const state = (nextBlock: number, change: Partial<SsvState> = {}): SsvState => ({
    ...emptySsvState(scope),
    nextBlock,
    ...change,
  })
  expect(await checkpoint.find()).toBeUndefined()
  expect(await checkpoint.save(state(200))).toEqual(state(200))
  expect(await checkpoint.find()).toEqual(state(200))
  expect(await findSsvState(db, undefined)).toBeUndefined()
  expect(await findSsvState(db, { ...scope, owners: [THEIRS] })).toBeUndefined()
  expect(await checkpoint.save(state(199))).toEqual(state(200))
  // A block that became doubtful where nothing else was read.
  const doubtful = state(200, { doubtful: 250 })
  expect(await checkpoint.save(doubtful)).toEqual(doubtful)
  expect(await checkpoint.find()).toEqual(doubtful)
  expect(await checkpoint.forget(250)).toEqual(state(100, { doubtful: 250 }))
  expect(await checkpoint.find()).toEqual(state(100, { doubtful: 250 }))

  const locked = await database.addValidator()
  await query(sql`insert into clusters (id, name, threshold, lock_hash) values (90, 'lock', 2, ${Buffer.alloc(32, 1)})`)
  await query(sql`update validators set cluster_id = 90, place = 0 where id = ${locked.id}`)
  const registrations = [validatorOf(randomBytes(48)), validatorOf(locked.publicKey, { ownerNonce: 4 })].map(
    (one, i) => ({
      ...{ ...one, blockNumber: 150, logIndex: i },
      data: { ...one.data, bytes: new Uint8Array() },
    }),
  ) as unknown as SsvRegistration[]
  const live = new Map(registrations.map((one) => [registrationKey(one.owner, one.publicKey), one]))
  const settled = state(300, { live, nonces: new Map([[toHex(OURS), 5]]) })
  expect(await checkpoint.settle(settled)).toBe(settled)
  expect(await findSsvCounts(db)).toMatchObject({ validators: 2 })
  const words = [`${toHex(locked.publicKey)}: "lock" (lock_hash 0x${'01'.repeat(32)})`]
  expect(told).toEqual([['chain', 1, 0], words])
  // Said once.
  expect(await checkpoint.settle({ ...settled, nextBlock: 301 })).toMatchObject({ nextBlock: 301 })
  expect(told.slice(2)).toEqual([['chain', 0, 0]])
  await storeCheckpoint(db, 'ssv', { no: 'text' })
  expect(await checkpoint.find()).toBeUndefined()
})

/** Operators with keys that the fixtures have; what is encrypted to them is nothing. */
const OPERATORS = (
  readFixtureJson('ssv/expected.json') as { operators: { id: number; public_key: string }[] }
).operators
  .slice(0, 4)
  .map(({ id, public_key: publicKeyText }) => ({ id, publicKeyText, keyFile: '', encrypt: () => new Uint8Array(256) }))

/** A database into which keyshares files are imported. */
async function openFiles() {
  const database = await openMessages()
  const folder = await mkdtemp(join(tmpdir(), 'dvt-keyshares-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return {
    ...database,
    /** A file with these validators. */
    async write(name: string, validators: Parameters<typeof keysharesJson>[0]) {
      const file = join(folder, `${name}.json`)
      await writeFile(file, keysharesJson(validators))
      return file
    },
    /** Imports files, as a process with these settings does; what it did, or why it did not, and what it warned of. */
    async take(
      keysharesFiles: string[],
      { owners = [] as Uint8Array[], state = undefined as SsvState | undefined, verifying = engine } = {},
    ) {
      const { logger, text } = recordingLogger()
      const told: number[] = []
      const events = { ssvImported: (_: string, { imported }: { imported: number }) => void told.push(imported) }
      const config = { ssv: { owners, keysharesFiles, proofsFiles: [] } }
      const needs = { config, db: database.db, events, logger } as unknown as Parameters<typeof importSsvFiles>[0]
      const failed = await importSsvFiles(needs, verifying, state).then(
        () => undefined,
        (error: { code: string; message: string }) => `${error.code} ${error.message}`,
      )
      return {
        imported: told,
        failed,
        warned: text.map((line) => JSON.parse(line) as { level: string }).filter(({ level }) => level === 'warn'),
      }
    },
    clear: () =>
      database.query(sql`with gone as (delete from key_shares) update validators set cluster_id = null, place = null`),
  }
}
const TAKEN = { failed: undefined, warned: [] }

it('keyshares files are verified before they are stored, each once, and nothing is taken of owners that do not count', async () => {
  const files = await openFiles()
  const validators = makeSsvValidators(2, OPERATORS, { owner: toHex(OURS) })
  const one = await files.write('one', validators)
  expect(await files.take([])).toEqual({ ...TAKEN, imported: [] })
  expect(await files.take([one], { owners: [THEIRS] })).toMatchObject({
    imported: [0],
    failed: undefined,
    warned: [{ validators: 2, msg: 'validators of keyshares files left out: their owner is not in SSV_OWNERS' }],
  })
  const theirs = await files.write('theirs', makeSsvValidators(1, OPERATORS, { owner: toHex(THEIRS) }))
  expect((await files.take([one, theirs], { owners: [OURS] })).warned).toMatchObject([{ validators: 1 }])
  // What is stored is not verified again: there is nothing here to verify it with.
  const unable = {} as typeof engine
  expect(await files.take([one], { verifying: unable })).toEqual({ ...TAKEN, imported: [0] })
  const [first] = validators
  if (first === undefined) return expect.fail('no validator')
  const anew = makeSsvValidators(1, OPERATORS, { owner: toHex(OURS), firstNonce: 7, secretKey: first.secretKey })
  const later = await files.write('later', anew)
  // Another nonce than the owner's signature is for: of one that is stored, and of a new one.
  const forged = [
    await files.write(
      'forged',
      anew.map((item) => ({ ...item, ownerNonce: 8 })),
    ),
    await files.write(
      'unknown',
      makeSsvValidators(1, OPERATORS, { owner: toHex(OURS) }).map((item) => ({ ...item, ownerNonce: 8 })),
    ),
  ]
  const before = await stored(files)
  for (const file of forged)
    expect(await files.take([later, file])).toEqual({
      ...{ imported: [], warned: [] },
      failed: `KEYSHARES_INVALID ${file}: shares[0].payload.sharesData are not signed by the validator key for this owner and nonce 8`,
    })
  expect(await stored(files)).toEqual(before)
  expect(await files.take([later])).toEqual({ ...TAKEN, imported: [1] })
  // Of another split of the same nonce, a file counts again.
  const again = makeSsvValidators(1, OPERATORS, { owner: toHex(OURS), firstNonce: 7, secretKey: first.secretKey })
  expect(await files.take([await files.write('again', again)])).toEqual({ ...TAKEN, imported: [1] })
  expect(await files.take([one])).toMatchObject({
    imported: [0],
    warned: [{ origin: `${one} shares[0]`, msg: 'a later split of this validator is known: it stays' }],
  })
  // A later one of another owner is none of this one's.
  const other = makeSsvValidators(1, OPERATORS, { owner: toHex(THEIRS), secretKey: first.secretKey })
  expect(await files.take([await files.write('other', other)])).toEqual({ ...TAKEN, imported: [1] })
})

it('of a validator in a keyshares file the chain decides, as far as it is read, and a cluster lock', async () => {
  const files = await openFiles()
  const validators = makeSsvValidators(2, OPERATORS, { owner: toHex(OURS), firstNonce: 4 })
  const [first, second] = validators.map(({ publicKey }) => validatorOf(publicKey)) as [SsvValidator, SsvValidator]
  const file = await files.write('ours', validators)
  const state = (change: Partial<SsvState>): SsvState => ({ ...emptySsvState(scope), ...change })
  const counted = (nonces: number) => ({ nonces: new Map([[toHex(OURS), nonces]]) })
  const liveOf = (one: SsvValidator) => new Map([[registrationKey(one.owner, one.publicKey), one as SsvRegistration]])
  const gaps = new Map([[toHex(OURS), { blockNumber: 1, logIndex: 0, counted: 0, signed: 1 }]])
  for (const [change, imported] of [
    [{}, 2],
    [counted(4), 2],
    [counted(5), 1],
    [counted(6), 0],
    [{ ...counted(6), gaps }, 2],
    [{ live: liveOf(second) }, 1],
    [{ ...counted(5), live: liveOf(first) }, 1],
  ] as const) {
    expect(await files.take([file], { state: state(change) })).toEqual({ ...TAKEN, imported: [imported] })
    await files.clear()
  }

  const [operator, another] = OPERATORS.map(({ id, publicKeyText }) => ({
    ...{ id, key: operatorKeyFingerprint(parseOperatorPublicKey(publicKeyText) ?? new Uint8Array()) },
  })) as [{ id: number; key: string }, { id: number; key: string }]
  const named = (key: string) => state({ operators: new Map([[operator.id, key]]) })
  expect(await files.take([file], { state: named(another.key) })).toEqual({
    ...{ imported: [], warned: [] },
    failed: `KEYSHARES_INVALID ${file} shares[0] names another key for operator ${operator.id} than the SSV contract: remove the file from SSV_KEYSHARES_FILES`,
  })
  expect(await files.take([file], { state: named(operator.key) })).toEqual({ ...TAKEN, imported: [2] })

  await files.clear()
  await files.query(
    sql`insert into clusters (id, name, threshold, lock_hash) values (90, 'lock', 3, ${Buffer.alloc(32, 1)})`,
  )
  await files.query(
    sql`update validators set cluster_id = 90, place = 9 where public_key = ${Buffer.from(second.publicKey)}`,
  )
  expect(await files.take([file])).toEqual({
    ...{ imported: [], warned: [] },
    failed: `KEYSHARES_LOCKED ${file} shares[1] says otherwise of validator ${toHex(second.publicKey)} than the cluster lock "lock" (lock_hash 0x${'01'.repeat(32)}): remove the one that is wrong from SSV_KEYSHARES_FILES or CLUSTER_LOCK_FILES`,
  })
  expect(await files.query(sql`select from key_shares`)).toEqual([])
})

it('whatever is imported waits for the import under way', async () => {
  const files = await openFiles()
  const { db } = files
  const checkpoint = createSsvCheckpoint(
    { config: { ssv: { owners: [OURS] } }, db } as unknown as Parameters<typeof createSsvCheckpoint>[0],
    scope,
  )
  const file = await files.write('ours', makeSsvValidators(1, OPERATORS, { owner: toHex(OURS) }))
  for (const work of [
    () => checkpoint.save(emptySsvState(scope)),
    () => checkpoint.forget(undefined),
    () => files.take([file]),
  ])
    expect(await orderBeside(files, work)).toEqual(['first', 'second'])
})
