/** Which exits of registered validators are looked at and erased, row by row, and the clocks they wait for. */

import { randomBytes } from 'node:crypto'
import {
  clearDepositBlocks,
  eraseExits,
  findErasable,
  findFirstCreation,
  holdErasures,
  lockErasable,
  stopErasures,
  storeDepositBlocks,
} from '@dvt-relayer/db/queries/messages/retention.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const DAY = 86_400
const VAULT = Buffer.alloc(20, 0xaa)
const OWNERS = [{ vault: VAULT, publicKey: Buffer.alloc(65, 4) }]
const CREDENTIALS = Buffer.alloc(32, 7)
const KEPT = { rotationRequester: 'rotation:', owners: [], delaySeconds: DAY }

interface Made {
  /** Of its exit; null where it has a deposit alone. */
  state?: string | null
  requester?: string
  isRegistered?: boolean
  vault?: Buffer
  set?: number | null
  clock?: { hours: number; indexOff?: number; set?: number }
}

/** Two oracle sets, the second current; validators at an index of their own, registered under the current set unless told. */
async function openErasable() {
  const store = await openMessages()
  const { query, addValidator, addExit, addDeposit } = store
  const addSet = async (isCurrent: boolean) => {
    const [row] = await query<{ id: number }>(sql`
      insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
      values ('a', 1, ${Buffer.alloc(65)}, '{}', 1, now(), ${isCurrent}) returning id`)
    return Number(row?.id)
  }
  const [old, current] = [await addSet(false), await addSet(true)]
  const add = async (made: Made = {}) => {
    const { state = 'ready', requester, isRegistered = true, vault, clock, set = current } = made
    const { id, publicKey } = await addValidator()
    const index = 100 * id
    let exit = 0
    if (state === null) await addDeposit(id, { state: 'ready' })
    else {
      exit = await addExit(id, { index, state: 'ready', ...(requester === undefined ? {} : { requester }) })
      await query(sql`update messages set state = ${state} where id = ${exit}`)
    }
    if (isRegistered)
      await query(sql`update validators set registered_at = now(), beacon_index = ${index}, beacon_vault = ${vault ?? null},
                                            oracle_set_id = ${set} where id = ${id}`)
    if (clock !== undefined)
      await query(sql`
        insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block, oracle_set_id, held_since)
        values (${id}, ${index + (clock.indexOff ?? 0)}, ${CREDENTIALS}, 1, ${clock.set ?? set},
                now() - make_interval(hours => ${clock.hours}::int))`)
    return { id, publicKey: Buffer.from(publicKey), exit, index }
  }
  return { ...store, add, old, current }
}
const clocks = ({ query }: MessageStore) =>
  query<{ id: number; isNew: boolean }>(sql`
    select validator_id::int as id, beacon_index::int as index, oracle_set_id::int as set, withdrawal_credentials as credentials,
           deposit_block::int as block, held_since > now() - interval '1 hour' as "isNew"
    from erasure_clocks order by 1`)

it('exits of registered validators are erased unless a rotation needs them or an owner waits for its copy', async () => {
  const { db, add, old } = await openErasable()
  const clock = { hours: 30 }
  const erasable = [
    await add({ clock }),
    await add({ state: 'collecting', clock }),
    await add({ state: 'expired', clock }),
    await add({ state: 'superseded', clock }),
    // Under rotations: not outdated, or not live any more.
    await add({ requester: 'rotation:', clock }),
    await add({ requester: 'rotation:', state: 'expired', set: old, clock }),
    // Outdated, and nobody's or an operator's.
    await add({ set: old, clock }),
    await add({ set: old, requester: 'operator', clock }),
    await add({ set: null, requester: 'operator', clock }),
  ]
  const waiting = await add({ vault: VAULT, clock })
  const others = [
    await add({ state: 'erased', clock }),
    await add({ state: null, clock }),
    await add({ requester: 'rotation:', set: old, clock }),
    await add({ requester: 'rotation:', state: 'collecting', set: old, clock }),
    await add({ requester: 'rotation:', set: null, clock }),
    await add({ isRegistered: false }),
  ]
  const options = { ...KEPT, isErasing: true, afterId: 0, limit: 99 }
  const find = async (more: Partial<Parameters<typeof findErasable>[1]> = {}) =>
    (await findErasable(db, { ...options, ...more })).map(({ id }) => id)
  const ids = erasable.map(({ id }) => id)
  expect(await find()).toEqual([...ids, waiting.id])
  expect(await find({ afterId: ids[1] ?? 0, limit: 3 })).toEqual(ids.slice(2, 5))
  // The vault is the chain's word alone: its clock has seen other credentials.
  expect(await find({ owners: OWNERS })).toEqual([...ids, waiting.id])
  expect(await find({ isErasing: false })).toEqual([])
  expect(await find({ isErasing: false, owners: OWNERS })).toEqual([waiting.id])

  const all = [...erasable, waiting, ...others]
  const lock = (owners: typeof OWNERS | [], of = all) =>
    db.transaction((tx) => lockErasable(tx, { ...KEPT, owners, validatorIds: of.map(({ id }) => id) }))
  const exits = erasable.map(({ exit }) => exit)
  expect(await lock([])).toEqual([...exits, waiting.exit])
  expect(await lock(OWNERS)).toEqual(exits)
  expect(await lock([], erasable.slice(2, 4))).toEqual(exits.slice(2, 4))
})

it('the exits of a validator are locked once its own clock has seen for a day what is noted of it, not before', async () => {
  const { db, query, add, old, current } = await openErasable()
  const [over, fresh, without, ofIndex, ofSet, notRegistered, today] = [
    await add({ clock: { hours: 25 } }),
    await add({ clock: { hours: 23 } }),
    await add(),
    await add({ clock: { hours: 25, indexOff: 1 } }),
    await add({ clock: { hours: 25, set: old } }),
    await add({ isRegistered: false, clock: { hours: 25 } }),
    await add({ clock: { hours: 0 } }),
  ]
  const all = [over, fresh, without, ofIndex, ofSet, notRegistered, today]
  const blocks = [
    { publicKey: over.publicKey, block: 5 },
    { publicKey: fresh.publicKey, block: 6 },
  ]
  for (const { publicKey, block } of blocks)
    await query(sql`insert into registry_validators (public_key, block_number) values (${publicKey}, ${block})`)
  await storeDepositBlocks(db, [
    { validatorId: over.id, blockNumber: 8 },
    { validatorId: without.id, blockNumber: 9 },
  ])
  await db.transaction(async (tx) => {
    // A moment is over when it is there.
    await tx.execute(
      sql`update erasure_clocks set held_since = now() - interval '1 day' where validator_id = ${today.id}`,
    )
    const held = { vault: null, oracleSetId: current, depositBlock: null, heldCredentials: CREDENTIALS, isOver: false }
    const of = ({ id, publicKey, index }: typeof over) => ({ id, publicKey, beaconIndex: index })
    expect(await findErasable(tx, { ...KEPT, isErasing: true, afterId: 0, limit: 99 })).toEqual([
      { ...of(over), ...held, depositBlock: 5, isOver: true },
      { ...of(fresh), ...held, depositBlock: 6 },
      { ...of(without), ...held, depositBlock: 9, heldCredentials: null },
      { ...of(ofIndex), ...held, heldCredentials: null },
      { ...of(ofSet), ...held, heldCredentials: null },
      { ...of(today), ...held, isOver: true },
    ])
    expect(await lockErasable(tx, { ...KEPT, validatorIds: all.map(({ id }) => id) })).toEqual([over.exit, today.exit])
  })
})

it('a clock that sees the same goes on, one that sees anything else begins anew, and one that is contradicted is gone', async () => {
  const store = await openErasable()
  const { db, query, add, old, current } = store
  const [same, index, set, credentials, block, alone] = [
    await add(),
    await add(),
    await add(),
    await add(),
    await add(),
    await add(),
  ]
  const held = (validatorId: number) => ({
    validatorId,
    beaconIndex: 1,
    oracleSetId: null as number | null,
    withdrawalCredentials: CREDENTIALS,
    depositBlock: 1,
  })
  await holdErasures(db, [])
  await holdErasures(db, [held(alone.id)])
  await holdErasures(
    db,
    [block, credentials, set, index, same].map(({ id }) => held(id)),
  )
  await query(sql`update erasure_clocks set held_since = held_since - interval '1 day'`)
  await holdErasures(db, [
    held(same.id),
    { ...held(index.id), beaconIndex: 2 },
    { ...held(set.id), oracleSetId: old },
    { ...held(credentials.id), withdrawalCredentials: Buffer.alloc(32, 8) },
    { ...held(block.id), depositBlock: 2 },
  ])
  const as = (id: number, isNew: boolean) => ({ id, index: 1, set: null, credentials: CREDENTIALS, block: 1, isNew })
  const rows = [
    as(same.id, false),
    { ...as(index.id, true), index: 2 },
    { ...as(set.id, true), set: old },
    { ...as(credentials.id, true), credentials: Buffer.alloc(32, 8) },
    { ...as(block.id, true), block: 2 },
    as(alone.id, false),
  ]
  expect(await clocks(store)).toEqual(rows)
  await holdErasures(db, [{ ...held(alone.id), oracleSetId: current }])
  rows[5] = { ...as(alone.id, true), set: current as never }
  expect(await clocks(store)).toEqual(rows)
  await stopErasures(db, [])
  await stopErasures(db, [same.id])
  expect(await clocks(store)).toEqual(rows.slice(1))
  await stopErasures(db, [set.id, alone.id])
  expect(await clocks(store)).toEqual([rows[1], rows[3], rows[4]])
})

it('erasing an exit takes its key, its candidates and its signature, and nothing of another one', async () => {
  const { db, query, add } = await openErasable()
  const [one, other] = [await add(), await add()]
  for (const { exit } of [one, other]) {
    await query(sql`update messages set queued_at = now() where id = ${exit}`)
    await query(sql`insert into message_keys (message_id, sealed) values (${exit}, ${randomBytes(9)})`)
    await query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                    values (${exit}, 1, ${randomBytes(32)}, ${randomBytes(9)}, 'verified')`)
  }
  const left = () =>
    query(sql`select state, signature is not null as signed, queued_at is not null as queued,
                     (select count(*)::int from message_keys k where k.message_id = m.id) as keys,
                     (select count(*)::int from partial_signatures p where p.message_id = m.id) as partials
              from messages m order by id`)
  const whole = { state: 'ready', signed: true, queued: true, keys: 1, partials: 1 }
  await eraseExits(db, [])
  expect(await left()).toEqual([whole, whole])
  await eraseExits(db, [one.exit])
  expect(await left()).toEqual([{ state: 'erased', signed: false, queued: false, keys: 0, partials: 0 }, whole])
})

it('the block of a deposit is noted once, and forgotten; nothing is searched before the first validator', async () => {
  const { db, query, add } = await openErasable()
  expect(await findFirstCreation(db)).toBeUndefined()
  const [one, other] = [await add(), await add()]
  await query(sql`update validators set created_at = to_timestamp(${one.id} * 1000)`)
  await query(sql`update validators set created_at = to_timestamp(5) where id = ${other.id}`)
  expect(await findFirstCreation(db)).toBe(5)
  const blocks = () =>
    query(sql`select validator_id::int as id, block_number::int as block from deposit_blocks order by 1`)
  await storeDepositBlocks(db, [])
  await storeDepositBlocks(db, [{ validatorId: one.id, blockNumber: 7 }])
  await storeDepositBlocks(db, [
    { validatorId: one.id, blockNumber: 8 },
    { validatorId: other.id, blockNumber: 9 },
  ])
  expect(await blocks()).toEqual([
    { id: one.id, block: 7 },
    { id: other.id, block: 9 },
  ])
  await clearDepositBlocks(db)
  expect(await blocks()).toEqual([])
})
