/** Which share sets oracles are handed out, row by row, in which order, and which of them are shown again. */

import { randomBytes } from 'node:crypto'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { addressOfPublicKey, checksumAddress } from '@dvt-relayer/crypto/address.ts'
import {
  findExitShares,
  findExitsToShowAgain,
  findOracleSetsAfter,
  findRenewedToShowAgain,
  findShareSet,
  restampOracleShares,
} from '@dvt-relayer/db/queries/oracle-fetch.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createOracleFetch } from '../../../apps/relayer/src/services/oracles/fetch.ts'
import { showAgain, showRenewed } from '../../../apps/relayer/src/services/oracles/show-again.ts'
import { openMessages } from '../../support/stages/messages.ts'

const [A, B] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]
const START = { revision: 0, messageId: 0, oracleSetId: 0 }
const ALL = { vault: undefined, publicKey: undefined }
const PLACES = [1, 2, 3]

/** Three oracle sets of three oracles each, the second current; share sets whose every place is told by its first byte. */
async function openShares() {
  const store = await openMessages()
  const { query, addValidator, addExit } = store
  const addSet = async (blockNumber: number, isCurrent = false) => {
    const [row] = await query<{ id: number }>(sql`
      insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
      values (${`of ${blockNumber}`}, 2, ${Buffer.alloc(195, blockNumber)}, '{}', ${blockNumber}, now(), ${isCurrent}) returning id`)
    return Number(row?.id)
  }
  const [old, current, other] = [await addSet(7), await addSet(8, true), await addSet(9)]
  let made = 0
  return {
    ...store,
    old,
    current,
    other,
    /** A validator with this lock's vault and, where it is registered, the chain's vault and oracle set. */
    async add(more: { lockVault?: Buffer; onChain?: { vault?: Buffer; set: number }; set?: number } = {}) {
      const { id, publicKey } = await addValidator()
      const { lockVault = null, onChain, set = null } = more
      await query(
        sql`update validators set withdrawal_address = ${lockVault}, oracle_set_id = ${onChain?.set ?? set} where id = ${id}`,
      )
      if (onChain)
        await query(sql`update validators set registered_at = now(), beacon_index = 1, beacon_vault = ${onChain.vault ?? null}
                        where id = ${id}`)
      return { id, publicKey: Buffer.from(publicKey) }
    },
    /** An exit at a new index, with share sets at these revisions. */
    async addShares(validatorId: number, sets: readonly [setId: number, revision: number][], state = 'ready') {
      const index = ++made
      const exit = await addExit(validatorId, { index, state })
      for (const [setId, revision] of sets)
        await query(sql`
          insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision, created_at)
          values (${exit}, ${setId}, ${slices(48, exit, setId)}, ${slices(193, exit, setId)}, ${Buffer.alloc(32, exit)}, ${revision},
                  to_timestamp(1700000000.9))`)
      return { exit, index }
    },
  }
}
/** One slice for each place: of its place first and last, and the message and the set between. */
const slice = (bytes: number, place: number, exit: number, set: number) =>
  Buffer.concat([Buffer.of(place, exit, set), Buffer.alloc(bytes - 4), Buffer.of(place)])
const slices = (bytes: number, exit: number, set: number) =>
  Buffer.concat(PLACES.map((place) => slice(bytes, place, exit, set)))

it('an oracle is handed out its slice of each set in order, of the current set and of what the chain knows a validator by', async () => {
  const { db, old, current, other, add, addShares } = await openShares()
  const made: Record<string, unknown>[] = []
  const add1 = async (
    validator: { id: number; publicKey: Buffer },
    sets: [setId: number, revision: number][],
    given: readonly number[],
    vault: Buffer | null = null,
  ) => {
    const { exit, index } = await addShares(validator.id, sets)
    for (const [set, revision] of sets)
      if (given.includes(set))
        made.push({
          revision,
          messageId: exit,
          oracleSetId: set,
          publicKey: validator.publicKey,
          validatorIndex: index,
          epoch: 0,
          vault,
          cid: `of ${set === old ? 7 : 8}`,
          threshold: 2,
          oracles: 3,
          blockNumber: set === old ? 7 : 8,
          isCurrent: set === current,
          receipt: Buffer.alloc(32, exit),
          createdAtSeconds: 1_700_000_000,
        })
  }
  const free = await add()
  const locked = await add({ lockVault: A })
  const byOld = await add({ lockVault: A, onChain: { vault: B, set: old } })
  await add1(
    free,
    [
      [old, 9],
      [current, 9],
    ],
    [current],
  )
  await add1(locked, [[current, 3]], [current], A)
  await add1(
    byOld,
    [
      [old, 5],
      [current, 5],
    ],
    [old, current],
    B,
  )
  await add1(
    await add({ onChain: { set: current } }),
    [
      [old, 6],
      [current, 6],
    ],
    [current],
  )
  await add1(await add({ onChain: { set: other } }), [[old, 2]], [])
  // Noted of it once, and taken back.
  await add1(await add({ set: old }), [[old, 4]], [])
  await addShares((await add()).id, [[current, 1]], 'superseded')
  const last = await add({ onChain: { set: old } })
  await addShares(last.id, [[old, 8]], 'superseded')
  const places: [set: number, place: number][] = [
    [old, 3],
    [current, 2],
  ]
  const memberships = places.map(([oracleSetId, position]) => ({ oracleSetId, position }))
  const rows = made
    .map((row): Record<string, unknown> & { oracleSetId: number; revision: number; messageId: number } => {
      const [messageId, oracleSetId] = [Number(row['messageId']), Number(row['oracleSetId'])]
      const position = oracleSetId === old ? 3 : 2
      return {
        ...row,
        revision: Number(row['revision']),
        messageId,
        oracleSetId,
        position,
        publicKeyShare: slice(48, position, messageId, oracleSetId),
        ciphertext: slice(193, position, messageId, oracleSetId),
      }
    })
    .sort((x, y) => x.revision - y.revision || x.messageId - y.messageId || x.oracleSetId - y.oracleSetId)
  const find = (filter: Parameters<typeof findExitShares>[2], after = START, limit = 9) =>
    findExitShares(db, memberships, filter, after, limit)
  expect(rows.map(({ revision, oracleSetId }) => [revision, oracleSetId])).toEqual([
    [3, current],
    [5, old],
    [5, current],
    [6, current],
    [9, current],
  ])
  expect(await find(ALL)).toEqual(rows)
  for (const [position, cursor] of rows.entries())
    expect(await find(ALL, cursor, 2)).toEqual(rows.slice(position + 1, position + 3))
  expect(await find({ ...ALL, vault: B })).toEqual(rows.slice(1, 3))
  expect(await find({ ...ALL, vault: A })).toEqual(rows.slice(0, 1))
  expect(await find({ ...ALL, publicKey: free.publicKey })).toEqual(rows.slice(4))
  expect(await find({ vault: B, publicKey: free.publicKey })).toEqual([])
  expect(await findExitShares(db, memberships.slice(1), ALL, START, 9)).toEqual(
    rows.filter(({ oracleSetId }) => oracleSetId === current),
  )
  const sets = await findOracleSetsAfter(db, old)
  expect(sets.map(({ id }) => id)).toEqual([current, other])
})

it('of a validator its whole share set is told: the current one of its newest exit, else what the chain knows it by', async () => {
  const { db, old, current, add, addShares } = await openShares()
  const told = async ({ publicKey }: { publicKey: Buffer }) => findShareSet(db, publicKey)
  const set = ({ exit, index }: { exit: number; index: number }, setId: number) => ({
    validatorIndex: index,
    epoch: 0,
    publicKeyShares: slices(48, exit, setId),
    ciphertexts: slices(193, exit, setId),
    receipt: Buffer.alloc(32, exit),
    createdAtSeconds: 1_700_000_000,
    cid: `of ${setId === old ? 7 : 8}`,
    threshold: 2,
    publicKeys: Buffer.alloc(195, setId === old ? 7 : 8),
    blockNumber: setId === old ? 7 : 8,
    isCurrent: setId === current,
  })
  const [one, bare, free] = [
    await add({ lockVault: A, onChain: { vault: B, set: old } }),
    await add({ lockVault: A }),
    await add(),
  ]
  await addShares(one.id, [[old, 1]], 'expired')
  const ofOld = await addShares(one.id, [[old, 2]], 'expired')
  expect(await told(one)).toEqual({ vault: B, set: set(ofOld, old) })
  await addShares(one.id, [[current, 3]], 'expired')
  const newest = await addShares(one.id, [[current, 4]], 'expired')
  await addShares(one.id, [[old, 5]], 'expired')
  await addShares(one.id, [[current, 6]], 'superseded')
  expect(await told(one)).toEqual({ vault: B, set: set(newest, current) })
  await addShares(free.id, [[old, 7]])
  expect(await told(free)).toEqual({ vault: null, set: null })
  expect(await told(bare)).toEqual({ vault: A, set: null })
  expect(await told({ publicKey: randomBytes(48) })).toBeUndefined()

  // As oracles get it.
  const { findSet } = createOracleFetch({ db })
  expect(await findSet(randomBytes(48))).toBeUndefined()
  expect(await findSet(bare.publicKey)).toEqual({ vault: A, set: undefined })
  const key = Buffer.alloc(65, 8)
  const { exit, index } = newest
  expect(await findSet(one.publicKey)).toEqual({
    vault: B,
    set: {
      ...{ public_key: toHex(one.publicKey), validator_index: index, epoch: 0, vault: checksumAddress(B) },
      oracle_set: { cid: 'of 8', threshold: 2, block_number: 8, is_current: true },
      oracles: Array(3).fill(checksumAddress(addressOfPublicKey(key))),
      oracle_public_keys: Array(3).fill(toHex(key)),
      public_keys: PLACES.map((place) => toHex(slice(48, place, exit, current))),
      encrypted_exit_signatures: PLACES.map((place) => toHex(slice(193, place, exit, current))),
      ...{ receipt: toHex(Buffer.alloc(32, exit)), created_at_timestamp: 1_700_000_000 },
    },
  })
  await addShares(free.id, [[current, 8]], 'expired')
  expect(await findSet(free.publicKey)).toMatchObject({ vault: null, set: { vault: null } })
})

it('exits are shown again whose item is another one since their validator was registered, and of no one else', async () => {
  const { db, old, current, other, add, addShares } = await openShares()
  const asked: number[] = []
  const exitOf = async (
    more: Parameters<typeof add>[0],
    sets: readonly number[],
    { isAsked = true, state = 'ready' } = {},
  ) => {
    const { id } = await add(more)
    if (isAsked) asked.push(id)
    return (
      await addShares(
        id,
        sets.map((set) => [set, 1]),
        state,
      )
    ).exit
  }
  const again = [
    await exitOf({ onChain: { set: old } }, [old]),
    await exitOf({ lockVault: A, onChain: { vault: A, set: old } }, [old, current]),
    await exitOf({ lockVault: A, onChain: { vault: B, set: current } }, [current]),
    await exitOf({ onChain: { vault: B, set: current } }, [current]),
  ]
  await exitOf({ lockVault: A, onChain: { vault: A, set: current } }, [current])
  await exitOf({ onChain: { set: current } }, [old, current])
  await exitOf({ onChain: { vault: B, set: other } }, [old])
  await exitOf({ onChain: { vault: B, set: old } }, [old, current], { state: 'superseded' })
  await exitOf({ onChain: { vault: B, set: old } }, [])
  await exitOf({ onChain: { vault: B, set: old } }, [old], { isAsked: false })
  await exitOf({ onChain: { vault: B, set: current } }, [current], { isAsked: false })
  expect(await findExitsToShowAgain(db, asked)).toEqual(again)
  expect(await findExitsToShowAgain(db, asked.slice(1, 2))).toEqual(again.slice(1, 2))
  expect(await findExitsToShowAgain(db, [])).toEqual([])
})

it('exits of rotations of the vault that have just ended well are shown again where their set was replaced meanwhile', async () => {
  const { db, query, old, current, add, addShares } = await openShares()
  await db.transaction(async (tx) => {
    const again: number[] = []
    const rotate = async (vault: Buffer, set: number, state: string, endedAt: ReturnType<typeof sql>) => {
      const exits: number[] = []
      // Exits are made by other connections: they see none of this.
      for (let place = 0; place < 2; place++) exits.push((await addShares((await add()).id, [[set, 1]])).exit)
      await tx.execute(sql`
        with r as (insert into rotations (vault, oracle_set_id, nonce, state, ended_at)
                   values (${vault}, ${set}, 0, ${state}, ${endedAt}) returning id)
        insert into rotation_messages (rotation_id, place, message_id)
        select r.id, m.id, m.id from r, messages m where m.id in (${exits[0]}, ${exits[1]})`)
      return exits
    }
    again.push(...(await rotate(A, old, 'done', sql`now()`)))
    await rotate(B, old, 'done', sql`now()`)
    await rotate(A, old, 'void', sql`now()`)
    await rotate(A, old, 'done', sql`now() - interval '1 second'`)
    await rotate(A, current, 'done', sql`now()`)
    await rotate(A, old, 'open', sql`null`)
    expect(await findRenewedToShowAgain(tx, A)).toEqual(again)
  })
  expect(await query(sql`select from rotations`)).toHaveLength(6)
})

it('what is shown again gets the next revision, and with it its message, and everything else keeps its own', async () => {
  const { db, query, old, add, addShares } = await openShares()
  const registered = await add({ onChain: { vault: A, set: old } })
  await addShares(registered.id, [[old, 1]])
  const renewed = await addShares((await add()).id, [[old, 2]])
  await addShares((await add({ onChain: { vault: A, set: old } })).id, [[old, 3]])
  const stamps = async () =>
    (
      await query<{ shares: number; message: number }>(sql`
        select s.revision::int as shares, m.revision::int as message
        from oracle_shares s join messages m on m.id = s.message_id order by m.id`)
    ).map(({ shares, message }) => [shares, message])
  const untouched = await stamps()
  await db.transaction((tx) => showAgain(tx, []))
  await db.transaction((tx) => showRenewed(tx, A))
  expect(await stamps()).toEqual(untouched)

  await db.transaction((tx) => showAgain(tx, [registered.id]))
  const [again] = await stamps()
  const revision = again?.[1] ?? 0
  expect(revision).toBeGreaterThan(untouched[0]?.[1] ?? 0)
  expect(await stamps()).toEqual([[revision, revision], ...untouched.slice(1)])
  await db.transaction(async (tx) => {
    await tx.execute(sql`
      with r as (insert into rotations (vault, oracle_set_id, nonce, state, ended_at)
                 values (${A}, ${old}, 0, 'done', now()) returning id)
      insert into rotation_messages (rotation_id, place, message_id) select id, 0, ${renewed.exit} from r`)
    await showRenewed(tx, A)
  })
  expect(await stamps()).toEqual([[revision, revision], [revision + 1, revision + 1], untouched[2]])
})

it('all share sets of an announced message get its revision, and no other ones', async () => {
  const { db, query, old, current, add, addShares } = await openShares()
  const exits: number[] = []
  for (let n = 0; n < 3; n++)
    exits.push(
      (
        await addShares((await add()).id, [
          [old, 1],
          [current, 2],
        ])
      ).exit,
    )
  for (const exit of exits) await query(sql`update messages set revision = ${100 + exit} where id = ${exit}`)
  const [first = 0, second = 0, third = 0] = exits
  await restampOracleShares(db, [first, third])
  const stamps = await query<{ id: number; revision: number }>(
    sql`select message_id::int as id, revision::int from oracle_shares order by 1, oracle_set_id`,
  )
  expect(stamps.map(({ id, revision }) => [id, revision])).toEqual([
    [first, 100 + first],
    [first, 100 + first],
    [second, 1],
    [second, 2],
    [third, 100 + third],
    [third, 100 + third],
  ])
})
