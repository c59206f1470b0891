/** What is noted of registered validators, and the numbers of their vaults, row by row. */

import { randomBytes } from 'node:crypto'
import {
  countByVault,
  countOutdated,
  findNoted,
  findOutdated,
  findStaying,
  findUnregistered,
  forgetExited,
  forgetRegistration,
  markExited,
  markRegistered,
  sumByVault,
} from '@dvt-relayer/db/queries/registered.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

const [A, B] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]

interface Chain {
  index: number
  vault?: Buffer | null
  set?: number | null
  hasLeft?: boolean
}

async function openNoted() {
  const store = await openMessages()
  const { query } = store
  return {
    ...store,
    async addSet(blockNumber: number, more: { isCurrent?: boolean; at?: number; epochs?: number } = {}) {
      const { isCurrent = false, at = 0, epochs } = more
      const config = JSON.stringify(epochs === undefined ? {} : { untilForceExitEpochs: epochs })
      const [row] = await query<{ id: number }>(sql`
        insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
        values (${`of ${blockNumber}`}, 1, ${Buffer.alloc(65)}, ${config}::jsonb, ${blockNumber}, to_timestamp(${at}), ${isCurrent})
        returning id`)
      return Number(row?.id)
    },
    /** A validator, registered where it is told how. */
    async add(chain?: Chain) {
      const { id, publicKey } = await store.addValidator()
      if (chain !== undefined)
        await query(sql`
          update validators set registered_at = now(), beacon_index = ${chain.index}, beacon_vault = ${chain.vault ?? null},
                                oracle_set_id = ${chain.set ?? null},
                                exited_at = case when ${chain.hasLeft ?? false}::boolean then now() end where id = ${id}`)
      return { id, publicKey: Buffer.from(publicKey) }
    },
    /** An exit with a share set for each of these oracle sets. */
    async addShares(validatorId: number, index: number, setIds: readonly number[], revision: number, state = 'ready') {
      const exit = await store.addExit(validatorId, { index, state })
      for (const setId of setIds)
        await query(sql`
          insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
          values (${exit}, ${setId}, ${randomBytes(48)}, ${randomBytes(193)}, ${randomBytes(32)}, ${revision})`)
    },
    /** What is noted of all validators. */
    noted: () =>
      query(sql`select id::int, beacon_index::int as index, beacon_vault as vault, registered_at is not null as registered,
                       exited_at is not null as left, oracle_set_id::int as set from validators order by id`),
  }
}

it('the chain is asked for those that oracles have shares of and that are not noted, and for those that stay', async () => {
  const { db, query, add } = await openNoted()
  const tally = ({ id }: { id: number }, isAwaited: boolean) =>
    query(
      sql`insert into validator_tallies (validator_id, tally_id, is_awaited) values (${id}, ${Buffer.of(1)}, ${isAwaited})`,
    )
  const awaited = [await add(), await add(), await add()]
  for (const one of awaited) await tally(one, true)
  await tally(await add(), false)
  const staying = [await add({ index: 5 }), await add({ index: 6 }), await add({ index: 7 })]
  for (const one of staying) await tally(one, true)
  await add({ index: 8, hasLeft: true })
  await add()
  expect(await findUnregistered(db, 0, 9)).toEqual(awaited)
  expect(await findUnregistered(db, awaited[0]?.id ?? 0, 1)).toEqual(awaited.slice(1, 2))
  const rows = staying.map((one, position) => ({ ...one, beaconIndex: 5 + position }))
  expect(await findStaying(db, 0, 9)).toEqual(rows)
  expect(await findStaying(db, rows[0]?.id ?? 0, 1)).toEqual(rows.slice(1, 2))
})

it('a registration is noted once, with index, vault and whether it has left, and of those alone that were found', async () => {
  const { db, add, noted } = await openNoted()
  const [one, other, before, notAsked] = [await add(), await add(), await add({ index: 9, vault: A }), await add()]
  const registered = (validatorId: number, beaconIndex: number, vault: Buffer | undefined, hasLeft = false) => ({
    validatorId,
    beaconIndex,
    vault,
    hasLeft,
  })
  const as = (id: number, index: number | null, vault: Buffer | null = null, left = false) => ({
    id,
    index,
    vault,
    registered: index !== null,
    left,
    set: null,
  })
  const kept = as(before.id, 9, A)
  expect(await markRegistered(db, [])).toEqual([])
  expect(await markRegistered(db, [registered(before.id, 8, B, true)])).toEqual([])
  expect(await markRegistered(db, [registered(one.id, 5, A)])).toEqual([one.id])
  expect(await noted()).toEqual([as(one.id, 5, A), as(other.id, null), kept, as(notAsked.id, null)])
  const again = [registered(other.id, 7, undefined, true), registered(before.id, 8, B, true), registered(one.id, 6, B)]
  expect(await markRegistered(db, again)).toEqual([other.id])
  expect(await noted()).toEqual([as(one.id, 5, A), as(other.id, 7, null, true), kept, as(notAsked.id, null)])

  expect(await markExited(db, [])).toBe(0)
  expect(await markExited(db, [one.id])).toBe(1)
  expect(await markExited(db, [one.id, other.id])).toBe(0)
  expect(await noted()).toEqual([as(one.id, 5, A, true), as(other.id, 7, null, true), kept, as(notAsked.id, null)])
})

it('the oracle set of a registration is that of its deposit, by block and then by order, of those it had shares for or came before', async () => {
  const { db, add, addSet, addShares, noted, query } = await openNoted()
  // Not in the order of their blocks; the last two are of one block.
  const [c, a, b, b2] = [await addSet(30), await addSet(10), await addSet(20), await addSet(20)]
  const cases: [
    what: string,
    block: number | undefined,
    at: { real?: number[]; other?: number[] },
    is: number | null,
  ][] = [
    ['the newest when the deposit was made', 29, { real: [a, b, b2, c] }, b2],
    ['announced in that very block', 30, { real: [a, b, b2, c] }, c],
    ['none that it never had shares for', 99, { real: [a, b] }, b],
    ['of one block the last', 99, { real: [b, b2] }, b2],
    ['an older one whose shares are not kept', 15, { real: [c] }, a],
    ['all are newer: the oldest at its index', 5, { real: [c, b2, b], other: [a] }, b],
    ['no block is known: the oldest at its index', undefined, { real: [c, b2], other: [a] }, b2],
    ['no shares at its index: the oldest of any', undefined, { other: [c, b2, b] }, b],
    ['no shares at all', 99, {}, null],
    ['no shares and no block', undefined, {}, null],
  ]
  const validators = await Promise.all(cases.map(() => add()))
  for (const [position, [, block, { real = [], other = [] }]] of cases.entries()) {
    const { id, publicKey } = validators[position] ?? { id: 0, publicKey: Buffer.of() }
    await addShares(id, 7, other, 1, 'superseded')
    await addShares(id, 1000 + id, real, 2)
    if (block !== undefined)
      await query(sql`insert into registry_validators (public_key, block_number) values (${publicKey}, ${block})`)
  }
  await markRegistered(
    db,
    validators.map(({ id }) => ({ validatorId: id, beaconIndex: 1000 + id, vault: undefined, hasLeft: false })),
  )
  const sets = new Map((await noted()).map((row) => [Number(row['id' as never]), row['set' as never] as number | null]))
  expect(cases.map(([what], position) => [what, sets.get(validators[position]?.id ?? 0)])).toEqual(
    cases.map(([what, , , is]) => [what, is]),
  )
})

it('what is noted of one validator is told, and taken back of it alone', async () => {
  const { db, query, add, addSet, addExit, addDeposit, noted } = await openNoted()
  const set = await addSet(1)
  const [gone, staying, free] = [
    await add({ index: 5, vault: A, set, hasLeft: true }),
    await add({ index: 6, vault: B, set, hasLeft: true }),
    await add(),
  ]
  for (const { id } of [gone, staying])
    await query(sql`insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block)
                    values (${id}, 1, ${randomBytes(32)}, 1)`)
  await addExit(gone.id, { state: 'erased' })
  // Nothing that was erased: an exit in another state, and a deposit.
  await addExit(staying.id, { state: 'expired' })
  await addDeposit(staying.id, { state: 'erased' })
  const ofGone = { id: gone.id, beaconIndex: 5, vault: A, hasLeft: true, isErased: true }
  const ofStaying = { id: staying.id, beaconIndex: 6, vault: B, hasLeft: true, isErased: false }
  const none = { beaconIndex: null, vault: null, hasLeft: false }
  expect(await findNoted(db, gone.publicKey)).toEqual(ofGone)
  expect(await findNoted(db, staying.publicKey)).toEqual(ofStaying)
  expect(await findNoted(db, free.publicKey)).toEqual({ id: free.id, ...none, isErased: false })
  expect(await findNoted(db, randomBytes(48))).toBeUndefined()

  await forgetRegistration(db, gone.id)
  expect(await noted()).toMatchObject([
    { id: gone.id, index: null, vault: null, registered: false, left: false, set: null },
    { id: staying.id, index: 6, vault: B, registered: true, left: true, set },
    { id: free.id, registered: false },
  ])
  expect(await query(sql`select validator_id::int as id from erasure_clocks`)).toEqual([{ id: staying.id }])
  const other = await add({ index: 7, hasLeft: true })
  await forgetExited(db, staying.id)
  expect(await findNoted(db, staying.publicKey)).toEqual({ ...ofStaying, hasLeft: false })
  expect(await findNoted(db, other.publicKey)).toMatchObject({ beaconIndex: 7, hasLeft: true })
})

it('a vault is told how many of its validators are registered, exited, outdated and have shares of a wrong index, and its time', async () => {
  const { db, query, add, addSet, addShares } = await openNoted()
  const count = (vaults: Buffer[] | null = null) => countByVault(db, { vaults, secondsPerEpoch: 10 })
  const [a, b, c, d] = [
    await addSet(1),
    await addSet(2, { at: 1000, epochs: 7 }),
    await addSet(3, { at: 2000, epochs: 9 }),
    await addSet(4, { at: 3000 }),
  ]
  const wrong = await add({ index: 10, vault: A, set: d })
  await addShares(wrong.id, 11, [d], 1)
  const numbers = { registered: 1, exited: 0, outdated: 0, wrongIndex: 0, forceExitAt: null as number | null }
  // No set is in force: none is outdated.
  expect(await count()).toEqual([{ ...numbers, vault: A, wrongIndex: 1 }])
  expect(await countOutdated(db)).toEqual({ validators: 0, vaults: 0 })
  expect(await findOutdated(db, A, -1, 9)).toEqual([])
  await query(sql`update oracle_sets set is_current = true where id = ${d}`)

  const byB = await add({ index: 12, vault: A, set: b })
  const byA = await add({ index: 14, vault: A, set: a })
  const unknown = await add({ index: 13, vault: A })
  await add({ index: 15, vault: A, set: a, hasLeft: true })
  const gone = await add({ index: 16, vault: A, set: d, hasLeft: true })
  await addShares(gone.id, 17, [d], 2)
  // Of the shares of another, the newest are right; of one more the newest are wrong, of one revision the later exit's.
  const righted = await add({ index: 18, vault: B, set: d })
  await addShares(righted.id, 19, [c], 3, 'superseded')
  await addShares(righted.id, 18, [d], 4)
  const wronged = await add({ index: 20, vault: B, set: c })
  await addShares(wronged.id, 20, [c], 6, 'superseded')
  await addShares(wronged.id, 21, [d], 6)
  await addShares(wronged.id, 20, [], 7, 'expired')
  await add({ index: 22, set: d })
  // Not registered, with an exit.
  await addShares((await add()).id, 23, [a], 8)

  const ofA = { vault: A, registered: 6, exited: 2, outdated: 3, wrongIndex: 1, forceExitAt: 1070 }
  const ofB = { vault: B, registered: 2, exited: 0, outdated: 1, wrongIndex: 1, forceExitAt: null }
  expect(await count()).toEqual([ofA, ofB, { ...numbers, vault: null }])
  expect(await count([B])).toEqual([ofB])
  expect(await count([])).toEqual([])
  expect(await countOutdated(db)).toEqual({ validators: 4, vaults: 2 })
  const outdated = [
    { publicKey: byB.publicKey, beaconIndex: 12, cid: 'of 2' },
    { publicKey: unknown.publicKey, beaconIndex: 13, cid: null },
    { publicKey: byA.publicKey, beaconIndex: 14, cid: 'of 1' },
  ]
  expect(await findOutdated(db, A, -1, 9)).toEqual(outdated)
  expect(await findOutdated(db, A, 12, 1)).toEqual(outdated.slice(1, 2))
})

it('the sums of a vault by tallies are of what is registered, and none is outdated before a set is in force', async () => {
  const { db, query, addSet } = await openNoted()
  const [a, b, c] = [
    await addSet(1),
    await addSet(2, { at: 1000, epochs: 7 }),
    await addSet(3, { at: 2000, epochs: 9 }),
  ]
  let tallies = 0
  const tally = (
    validators: number,
    vault: Buffer | null,
    set: number | null,
    more: { hasExited?: boolean; isRegistered?: boolean; isIndexWrong?: boolean } = {},
  ) =>
    query(sql`
      insert into tallies (id, beacon_vault, is_registered, has_exited, oracle_set_id, is_index_wrong, key, is_split_anew, validators)
      values (${Buffer.of(++tallies)}, ${vault}, ${more.isRegistered ?? true}, ${more.hasExited ?? false}, ${set},
              ${more.isIndexWrong ?? false}, 'none', false, ${validators})`)
  await tally(1, A, a)
  await tally(2, A, b, { isIndexWrong: true })
  await tally(4, A, c)
  await tally(8, A, a, { hasExited: true })
  await tally(16, A, null)
  await tally(32, B, c)
  await tally(64, null, b)
  await tally(128, A, a, { isRegistered: false })
  const ofA = { vault: A, registered: 31, exited: 8, outdated: 0, wrongIndex: 2, forceExitAt: null as number | null }
  const ofB = { vault: B, registered: 32, exited: 0, outdated: 0, wrongIndex: 0, forceExitAt: null as number | null }
  const ofNone = { ...ofB, vault: null, registered: 64 }
  expect(await sumByVault(db, 10)).toEqual([ofA, ofB, ofNone])
  await query(sql`update oracle_sets set is_current = true where id = ${c}`)
  expect(await sumByVault(db, 10)).toEqual([
    { ...ofA, outdated: 19, forceExitAt: 1070 },
    ofB,
    { ...ofNone, outdated: 64, forceExitAt: 2090 },
  ])
})
