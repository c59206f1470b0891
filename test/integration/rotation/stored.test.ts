/** What is stored of rotations and read of it: each by its vault, state, oracle set, nonce and time, and nothing of what is only like it. */

import { randomBytes } from 'node:crypto'
import {
  approveRotation,
  completeRotations,
  findNewestRotation,
  findOldestOpen,
  findOpenRotation,
  findRotationContent,
  findRotationExits,
  findRotationVaults,
  findTransactions,
  findUnsettledVaults,
  findWantedExits,
  hasClaimedExits,
  insertRotation,
  markOutdated,
  storeTransaction,
  voidOvertaken,
  voidRotation,
} from '@dvt-relayer/db/queries/rotations.ts'
import { type SQL, sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

const [BEFORE, CURRENT] = [1, 2]
const vaultOf = (n: number) => Buffer.alloc(20, n)
const hashOf = (n: number) => Buffer.alloc(32, n)

/** A database with two oracle sets, the second of them current. */
async function openRotations() {
  const store = await openMessages()
  const { query } = store
  await query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    select i, i::text, 1, ${Buffer.alloc(65)}, '{}', i, now(), i = ${CURRENT} from generate_series(1, 2) i`)
  return {
    ...store,
    /** A rotation for the current set under nonce 5, open unless told, of these exits. */
    async addRotation(
      vault: number,
      {
        set = CURRENT,
        nonce = 5,
        state = 'open',
        ipfsHash = null as string | null,
        more = sql`created_at = now()`,
      } = {},
      messageIds: readonly number[] = [],
    ): Promise<number> {
      const [row] = await query<{ id: string }>(sql`
        insert into rotations (vault, oracle_set_id, nonce, state, ipfs_hash)
        values (${vaultOf(vault)}, ${set}, ${nonce}, ${state}, ${ipfsHash}) returning id`)
      const id = Number(row?.id)
      await query(sql`update rotations set ${more} where id = ${id}`)
      for (const [place, messageId] of messageIds.entries())
        await query(
          sql`insert into rotation_messages (rotation_id, place, message_id) values (${id}, ${place}, ${messageId})`,
        )
      return id
    },
    /** A validator of a new key of which this is known. */
    async addKnown(more: SQL) {
      const validator = await store.addValidator()
      await query(sql`update validators set ${more} where id = ${validator.id}`)
      return validator
    },
    /** The shares of an exit for an oracle set. */
    split: (messageId: number, set: number) =>
      query(sql`
        insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
        values (${messageId}, ${set}, ${Buffer.alloc(48, set)}, ${Buffer.alloc(193, set)}, ${Buffer.alloc(32)}, 1)`),
    /** State of each rotation, and whether it has ended. */
    rotations: () =>
      query<{ state: string; ended: boolean }>(
        sql`select state, ended_at is not null as ended from rotations order by id`,
      ),
  }
}
const ended = (hoursAgo: number) => sql`ended_at = now() - make_interval(hours => ${hoursAgo}::int)`

it('vaults that are looked at are those of registered validators that have not exited, each once', async () => {
  const { db, addKnown } = await openRotations()
  let index = 0
  const registered = (vault: number | null) =>
    addKnown(sql`registered_at = now(), beacon_index = ${index++}, beacon_vault = ${vault && vaultOf(vault)}`)
  for (const vault of [3, 2, 5, 3, 2, null]) await registered(vault)
  for (const vault of [1, 4, 6]) {
    await addKnown(sql`beacon_vault = ${vaultOf(vault)}`)
    const { id } = await registered(vault)
    await db.execute(sql`update validators set exited_at = now() where id = ${id}`)
  }
  expect(await findRotationVaults(db)).toEqual([2, 3, 5].map(vaultOf))
})

it('a rotation that was given up is looked at for a day, to the moment', async () => {
  const { db, addRotation } = await openRotations()
  await addRotation(1, { state: 'void', ipfsHash: 'a' })
  await addRotation(2, { state: 'void', ipfsHash: 'a' })
  const found = await db.transaction(async (tx) => {
    await tx.execute(sql`update rotations set ended_at = now() - interval '1 day' + case when vault = ${vaultOf(2)}
                                                              then interval '1 ms' else interval '0' end`)
    return findUnsettledVaults(tx)
  })
  expect(found).toEqual([vaultOf(2)])
})

it('an exit is as far as its shares and rotations for the oracle set are', async () => {
  const { db, query, addValidator, addExit, addRotation, split } = await openRotations()
  const wanted: { publicKey: Uint8Array; validatorIndex: number }[] = []
  const expected: object[] = []
  const add = async (
    state: string,
    is: { hasShares?: true; hasSignature?: true; isDone?: true } | 'not found',
    { signature = state === 'ready', set = 0, epoch = 0, index = 7 } = {},
  ) => {
    const { id, publicKey } = await addValidator()
    const messageId = await addExit(id, { index, state })
    await query(
      sql`update messages set epoch = ${epoch}, signature = ${signature ? randomBytes(9) : null} where id = ${messageId}`,
    )
    if (set > 0) await split(messageId, set)
    wanted.push({ publicKey, validatorIndex: 7 })
    const key = Buffer.from(publicKey)
    if (is !== 'not found')
      expected.push({ publicKey: key, messageId, hasShares: false, hasSignature: false, isDone: false, ...is })
    return messageId
  }
  await add('collecting', {})
  await add('ready', { hasSignature: true })
  await add('expired', {})
  await add('expired', { hasSignature: true }, { signature: true })
  await add('erased', {}, { signature: true })
  await add('erased', { hasShares: true }, { set: CURRENT })
  await add('collecting', {}, { set: BEFORE })
  await add('collecting', 'not found', { epoch: 1 })
  await add('collecting', 'not found', { index: 8 })
  await add('superseded', 'not found', { set: CURRENT })
  const done = { state: 'done', more: ended(23) }
  await addRotation(1, done, [await add('collecting', { isDone: true })])
  for (const rotation of [
    { ...done, set: BEFORE },
    { ...done, state: 'void' },
    { ...done, more: ended(25) },
    { state: 'open' },
  ])
    await addRotation(1, rotation, [await add('collecting', {})])
  // Not asked for.
  await addExit((await addValidator()).id, { index: 7 })
  const found = await findRotationExits(db, wanted, { epoch: 0, oracleSetId: CURRENT })
  expect(found).toEqual(expected)
})

it('one rotation of a vault is open at a time, and is found with what is noted of it', async () => {
  const { db, query, addRotation, addValidator, addExit, rotations } = await openRotations()
  await addRotation(1, { state: 'done', more: ended(1) })
  await addRotation(2)
  const exits: number[] = []
  for (let i = 0; i < 3; i++) exits.unshift(await addExit((await addValidator()).id))
  const rotation = { vault: vaultOf(1), oracleSetId: CURRENT, nonce: 9, ipfsHash: null }
  expect(await findOpenRotation(db, vaultOf(1))).toBeUndefined()
  const id = (await insertRotation(db, rotation, exits)) ?? 0
  expect(await insertRotation(db, { ...rotation, nonce: 10 }, exits)).toBeUndefined()
  expect(
    await query(
      sql`select rotation_id::int as id, place, message_id::int as message from rotation_messages order by place`,
    ),
  ).toEqual(exits.map((message, place) => ({ id, place, message })))
  await query(sql`update rotations set created_at = now() - interval '1 hour' where id = ${id}`)
  const open = { id, oracleSetId: CURRENT, nonce: 9, ipfsHash: null, transactionHash: null, transaction: null }
  const found = await findOpenRotation(db, vaultOf(1))
  expect(found).toEqual({ ...open, deadline: null, ageSeconds: expect.closeTo(3600, -2) })

  expect(await voidOvertaken(db, vaultOf(3), 99)).toBe(0)
  expect(await voidOvertaken(db, vaultOf(1), 9)).toBe(0)
  expect(await voidOvertaken(db, vaultOf(1), 10)).toBe(1)
  expect(await rotations()).toEqual([
    { state: 'done', ended: true },
    { state: 'open', ended: false },
    { state: 'void', ended: true },
  ])
})

it('content is that of one rotation, in its order, with the shares for its own oracle set alone', async () => {
  const { db, addRotation, addValidator, addExit, split } = await openRotations()
  const exits: { publicKey: Buffer; messageId: number; validatorIndex: number }[] = []
  for (const validatorIndex of [31, 32, 33, 34]) {
    const { id, publicKey } = await addValidator()
    const messageId = await addExit(id, { index: validatorIndex })
    exits.push({ publicKey: Buffer.from(publicKey), messageId, validatorIndex })
  }
  const [a, b, c, d] = exits as [(typeof exits)[0], (typeof exits)[0], (typeof exits)[0], (typeof exits)[0]]
  for (const [{ messageId }, set] of [
    [a, CURRENT],
    [a, BEFORE],
    [b, BEFORE],
    [d, CURRENT],
  ] as const)
    await split(messageId, set)
  await addRotation(1, {}, [d.messageId])
  const id = await addRotation(2, {}, [c.messageId, a.messageId, b.messageId])
  const none = { publicKeyShares: null, ciphertexts: null }
  expect(await findRotationContent(db, id)).toEqual([
    { ...c, ...none },
    { ...a, publicKeyShares: Buffer.alloc(48, CURRENT), ciphertexts: Buffer.alloc(193, CURRENT) },
    { ...b, ...none },
  ])
})

it('what was approved and sent of an open rotation is replaced by nobody who has not seen it', async () => {
  const { db, query, addRotation, rotations } = await openRotations()
  const [over, id, other] = [
    await addRotation(1, { state: 'done', more: ended(1) }),
    await addRotation(1),
    await addRotation(2),
  ]
  expect(await approveRotation(db, id, 'one')).toBe(true)
  expect(await approveRotation(db, id, 'one')).toBe(true)
  expect(await approveRotation(db, id, 'two')).toBe(false)
  expect(await approveRotation(db, over, 'one')).toBe(false)

  const send = (rotationId: number, n: number, replaced: number | null) =>
    storeTransaction(db, rotationId, replaced === null ? null : hashOf(replaced), {
      hash: hashOf(n),
      raw: hashOf(10 + n),
      deadline: 100 + n,
    })
  expect(await send(id, 1, 9)).toBe(false)
  expect(await send(id, 1, null)).toBe(true)
  expect(await send(id, 2, null)).toBe(false)
  expect(await send(id, 2, 9)).toBe(false)
  expect(await send(id, 2, 1)).toBe(true)
  expect(await send(over, 3, null)).toBe(false)
  expect(await send(other, 4, null)).toBe(true)
  expect(await findOpenRotation(db, vaultOf(1))).toMatchObject({
    ipfsHash: 'one',
    transactionHash: hashOf(2),
    transaction: hashOf(12),
    deadline: 102,
  })
  await voidRotation(db, id)
  await query(sql`update rotations set ended_at = 'epoch' where id = ${over}`)
  await voidRotation(db, over)
  expect(await query(sql`select ended_at = 'epoch' as kept from rotations where id = ${over}`)).toEqual([
    { kept: true },
  ])
  expect((await rotations()).map(({ state, ended: has }) => [state, has])).toEqual([
    ['done', true],
    ['void', true],
    ['open', false],
  ])
  await addRotation(3)
  const sent = [
    { rotationId: other, isOpen: true, deadline: 104, transaction: hashOf(14) },
    { rotationId: id, isOpen: false, deadline: 102, transaction: hashOf(12) },
  ]
  expect(await findTransactions(db, 9)).toEqual(sent)
  expect(await findTransactions(db, 1)).toEqual(sent.slice(0, 1))
})

it('final updates end what they have carried out, and their validators have shares for the set of the newest', async () => {
  const { db, query, addRotation, addValidator, addExit, rotations } = await openRotations()
  const add = async (
    vault: number,
    rotation: { nonce: number } & Record<string, unknown>,
    exits: readonly number[] = [],
  ) => {
    const { id } = await addValidator()
    const exit = await addExit(id)
    await addRotation(vault, { ipfsHash: 'a', state: 'void', ...rotation }, [exit, ...exits])
    return { validator: id, exit }
  }
  const sets = async () =>
    (await query<{ set: number | null }>(sql`select oracle_set_id::int as set from validators order by id`)).map(
      ({ set }) => set,
    )
  const updates = { vault: vaultOf(1), from: 5, to: 8, ipfsHashes: ['a', 'b'] }
  const first = await add(1, { nonce: 5, set: BEFORE })
  await add(1, { nonce: 7, ipfsHash: 'b', state: 'open' }, [first.exit])
  await add(1, { nonce: 6, set: BEFORE })
  for (const rotation of [
    { nonce: 4 },
    { nonce: 8 },
    { nonce: 6, ipfsHash: 'c' },
    { nonce: 6, ipfsHash: null },
    { nonce: 6, state: 'done', more: ended(1) },
  ])
    await add(1, rotation)
  await add(2, { nonce: 6 })
  await addValidator()
  expect(await completeRotations(db, updates)).toBe(3)
  expect(await sets()).toEqual([CURRENT, CURRENT, BEFORE, ...Array(7).fill(null)])
  const states = await rotations()
  expect(states.map(({ state }) => state)).toEqual([
    'done',
    'done',
    'done',
    'void',
    'void',
    'void',
    'void',
    'done',
    'void',
  ])
  expect(states.slice(0, 3).every((rotation) => rotation.ended)).toBe(true)
  expect(await completeRotations(db, updates)).toBe(0)
  // One alone.
  expect(await completeRotations(db, { ...updates, vault: vaultOf(2) })).toBe(1)
  expect(await sets()).toEqual([CURRENT, CURRENT, BEFORE, ...Array(5).fill(null), CURRENT, null])
  const [one, , , two] = (await query<{ id: number }>(sql`select id::int from validators order by id`)).map(
    ({ id }) => id,
  )
  await markOutdated(db, [one ?? 0, two ?? 0], CURRENT)
  await markOutdated(db, [one ?? 0, first.validator + 1], BEFORE)
  expect(await sets()).toEqual([null, CURRENT, BEFORE, ...Array(5).fill(null), CURRENT, null])
})

it('an exit that a worker has claimed is one that is wanted, live and queued', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openRotations()
  const set = (id: number, more: SQL) => query(sql`update messages set ${more} where id = ${id}`)
  const claimed = sql`requester = 'rotation', queued_at = now()`
  const exitOf = async (state: string) => addExit((await addValidator()).id, { state })
  await set(await exitOf('ready'), sql`requester = 'rotation'`)
  await set(await exitOf('ready'), sql`queued_at = now()`)
  await set(await exitOf('ready'), sql`requester = 'other', queued_at = now()`)
  await set(await exitOf('expired'), claimed)
  await set(await addDeposit((await addValidator()).id), claimed)
  expect(await hasClaimedExits(db, 'rotation')).toBe(false)
  for (const state of ['collecting', 'ready']) {
    const exit = await exitOf(state)
    await set(exit, claimed)
    expect(await hasClaimedExits(db, 'rotation')).toBe(true)
    await set(exit, sql`queued_at = null`)
  }
})

it('the oldest that is open has its age, and none has 0', async () => {
  const { db, addRotation } = await openRotations()
  const created = (hours: number) => sql`created_at = now() - make_interval(hours => ${hours}::int)`
  await addRotation(1, { state: 'done', more: created(9) })
  expect(await findOldestOpen(db)).toBe(0)
  for (const [vault, hours] of [
    [1, 1],
    [2, 3],
    [3, 2],
  ] as const)
    await addRotation(vault, { more: created(hours) })
  expect(await findOldestOpen(db)).toBeCloseTo(3 * 3600, -2)
})

it('of a vault the rotation that is open is told of, else the newest', async () => {
  const { db, addRotation } = await openRotations()
  const end = sql`ended_at = to_timestamp(1700000000.9), transaction_hash = ${hashOf(3)}, transaction = ${hashOf(4)}, deadline = 1`
  await addRotation(1, { state: 'void', nonce: 1, more: ended(1) })
  const done = await addRotation(1, { state: 'done', nonce: 2, ipfsHash: 'a', more: end })
  await addRotation(2, { nonce: 3 })
  expect(await findNewestRotation(db, vaultOf(1))).toEqual({
    ...{ id: done, state: 'done', nonce: 2, ipfsHash: 'a', transactionHash: hashOf(3), endedAt: 1_700_000_000 },
  })
  const id = await addRotation(1, { nonce: 4 })
  await addRotation(1, { state: 'void', nonce: 5, more: ended(1) })
  expect(await findNewestRotation(db, vaultOf(1))).toEqual({
    ...{ id, state: 'open', nonce: 4, ipfsHash: null, transactionHash: null, endedAt: null },
  })
  expect(await findNewestRotation(db, vaultOf(3))).toBeUndefined()
})

it('exits that a requester wants are live ones of the vault’s registered validators without shares of the current set on chain', async () => {
  const { db, query, addKnown, addExit, addDeposit, split } = await openRotations()
  const add = async (
    index: number,
    known: SQL = sql``,
    { requester = 'rotation', state = 'ready', set = 0 } = {},
  ): Promise<Buffer> => {
    const registered = sql`registered_at = now(), beacon_index = ${index}, beacon_vault = ${vaultOf(1)}`
    const { id, publicKey } = await addKnown(registered)
    await query(sql`update validators set id = id ${known} where id = ${id}`)
    const exit = await addExit(id, { index, requester, state })
    if (set > 0) await split(exit, set)
    return Buffer.from(publicKey)
  }
  const wanted = [
    { publicKey: await add(9), validatorIndex: 9, hasShares: false },
    { publicKey: await add(8, undefined, { set: CURRENT }), validatorIndex: 8, hasShares: true },
    { publicKey: await add(7, undefined, { set: BEFORE }), validatorIndex: 7, hasShares: false },
    {
      publicKey: await add(6, sql`, oracle_set_id = ${BEFORE}`, { state: 'collecting' }),
      ...{ validatorIndex: 6, hasShares: false },
    },
  ]
  await add(1, sql`, oracle_set_id = ${CURRENT}`)
  await add(2, sql`, registered_at = null, beacon_index = null`)
  await add(3, sql`, beacon_vault = ${vaultOf(2)}`)
  await add(4, undefined, { requester: 'other' })
  await add(5, undefined, { state: 'expired' })
  const { id } = await addKnown(sql`registered_at = now(), beacon_index = 10, beacon_vault = ${vaultOf(1)}`)
  const deposit = await addDeposit(id)
  await query(sql`update messages set requester = 'rotation', validator_index = 10 where id = ${deposit}`)
  expect(await findWantedExits(db, vaultOf(1), 'rotation')).toEqual(wanted.toReversed())
})
