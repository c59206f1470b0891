/** What is summed up for pages and metrics: of which tallies and rows, each number by itself. */

import { randomBytes } from 'node:crypto'
import {
  countCollecting,
  countMessages,
  countTotals,
  countWaiting,
  findClaimingVaults,
  findOpenRotations,
  findStatusClusters,
  sumManagerSignatures,
} from '@dvt-relayer/db/queries/status/sums.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const [A, B, C] = [1, 2, 3].map((byte) => Buffer.alloc(20, byte)) as [Buffer, Buffer, Buffer]
const hexOf = (bytes: Buffer) => `\\x${bytes.toString('hex')}`
const SINCE = 1_700_000_000

/** A tally of so many validators that are nothing but what is told, and since when something is collected of some of them. */
async function addTally(
  { query }: MessageStore,
  validators: number,
  of: Record<string, unknown> = {},
  since: readonly { exit?: number; deposit?: number }[] = [],
): Promise<void> {
  const id = randomBytes(32)
  const plain = { is_registered: false, has_exited: false, is_index_wrong: false, key: 'none', is_split_anew: false }
  const row = JSON.stringify({ ...plain, ...of, id: hexOf(id), validators })
  await query(sql`insert into tallies select * from jsonb_populate_record(null::tallies, ${row}::jsonb)`)
  for (const { exit = null, deposit = null } of since)
    await query(sql`
      insert into validator_tallies (validator_id, tally_id, exit_since, deposit_since, is_awaited)
      select coalesce(max(validator_id), 0) + 1, ${id}, to_timestamp(${exit}::float8), to_timestamp(${deposit}::float8), false
      from validator_tallies`)
}

async function openSets(current: number | null): Promise<MessageStore> {
  const store = await openMessages()
  await store.query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    select x, x::text, 1, ${randomBytes(65)}, '{}', x, now(), x = coalesce(${current}::int, 0) from generate_series(1, 3) x`)
  return store
}

it('clusters have the nodes of their first validator, and the vaults of all', async () => {
  const store = await openMessages()
  const { query } = store
  await query(sql`
    insert into clusters (id, name, threshold, source) values (4, 'd', 3, 'ssv'), (2, 'b', 2, 'lock'), (3, 'c', 3, 'lock'), (1, 'a', 3, 'list')`)
  const [third, first, second, other] = [
    await store.addValidator(),
    await store.addValidator(),
    await store.addValidator(),
    await store.addValidator(),
  ].map(({ id }) => id) as [number, number, number, number]
  for (const [id, cluster, place] of [
    [first, 2, 0],
    [second, 2, 0],
    [third, 2, 1],
    [other, 1, 0],
  ])
    await query(sql`update validators set cluster_id = ${cluster}, place = ${place} where id = ${id}`)
  for (const index of [11, 4]) await store.trust(first, index, randomBytes(48))
  await store.trust(second, 8, randomBytes(48))
  await store.trust(third, 9, randomBytes(48))
  await addTally(store, 2, { cluster_id: 2, vault: hexOf(A) })
  await addTally(store, 3, { cluster_id: 2, vault: hexOf(B) })
  await addTally(store, 4, { cluster_id: 2, vault: hexOf(B), is_registered: true })
  await addTally(store, 5, { cluster_id: 1 })
  await addTally(store, 6, { cluster_id: 4, vault: hexOf(C) })
  await addTally(store, 7)
  const found = [
    { id: 1, name: 'a', source: 'list', threshold: 3, validators: 5, shareIndexes: '', vaults: '' },
    {
      ...{ id: 2, name: 'b', source: 'lock', threshold: 2, validators: 9, shareIndexes: '4,11' },
      vaults: `${A.toString('hex')},${B.toString('hex')}`,
    },
    { id: 4, name: 'd', source: 'ssv', threshold: 3, validators: 6, shareIndexes: '', vaults: C.toString('hex') },
  ]
  expect(await findStatusClusters(store.db, 9)).toEqual(found)
  expect(await findStatusClusters(store.db, 2)).toEqual(found.slice(0, 2))
})

it.each([
  ['the oracles in force', 2, 0b0011_0000],
  ['no oracles, which nothing is split for', null, 0b0111_0000],
])('exits wait to be split for %s', async (_what, current, unsplit) => {
  const store = await openSets(current)
  expect(await countTotals(store.db)).toEqual({ validators: 0, registered: 0, exited: 0, ready: 0, unsplit: 0 })
  // Each of a power of two of validators: a sum says which they are.
  const ready = { exit_state: 'ready' }
  await addTally(store, 1)
  await addTally(store, 2, { is_registered: true })
  await addTally(store, 4, { has_exited: true })
  await addTally(store, 8, ready)
  await addTally(store, 16, { ...ready, is_split_anew: true })
  await addTally(store, 32, { ...ready, is_split_anew: true, split_set_id: 1 })
  await addTally(store, 64, { ...ready, is_split_anew: true, split_set_id: 2 })
  await addTally(store, 128, { exit_state: 'collecting', split_set_id: 1 })
  expect(await countTotals(store.db)).toEqual({
    ...{ validators: 255, registered: 2, exited: 4, ready: 0b0111_1000 },
    unsplit,
  })
})

it('messages are counted by kind and state', async () => {
  const store = await openMessages()
  const { db } = store
  expect(await countMessages(db)).toEqual({
    exit: { collecting: 0, ready: 0 },
    deposit: { collecting: 0, ready: 0 },
  })
  await addTally(store, 1)
  await addTally(store, 2, { exit_state: 'collecting' })
  await addTally(store, 4, { exit_state: 'ready' })
  await addTally(store, 8, { deposit_state: 'collecting' })
  await addTally(store, 16, { deposit_state: 'ready' })
  await addTally(store, 32, { exit_state: 'ready', deposit_state: 'collecting' })
  expect(await countMessages(db)).toEqual({
    exit: { collecting: 2, ready: 36 },
    deposit: { collecting: 40, ready: 16 },
  })
})

it('vaults that claim validators are told once each, and no more than so many', async () => {
  const store = await openMessages()
  await addTally(store, 1)
  for (const vault of [C, A, B, A]) await addTally(store, 1, { claimed_by: hexOf(vault), vault: hexOf(C) })
  expect(await findClaimingVaults(store.db, 9)).toEqual([A, B, C].map((vault) => ({ vault })))
  expect(await findClaimingVaults(store.db, 2)).toEqual([A, B].map((vault) => ({ vault })))
})

it('what is collected in a cluster is as old as its own first, and what each node owes as the first that it owes', async () => {
  const store = await openMessages()
  const exits = { exit_state: 'collecting', exit_missing: [1, 2] }
  const deposits = { deposit_state: 'collecting', deposit_missing: [2] }
  await addTally(store, 2, { cluster_id: 1, ...exits }, [{ exit: SINCE + 50 }, { exit: SINCE + 40 }])
  await addTally(store, 3, { cluster_id: 1, ...deposits }, [{ deposit: SINCE + 30 }, { deposit: SINCE + 35 }])
  await addTally(store, 5, { cluster_id: 2, ...exits, ...deposits }, [
    { exit: SINCE + 25, deposit: SINCE + 26 },
    { exit: SINCE + 28, deposit: SINCE + 20 },
  ])
  // Of which each node has handed in something, of no cluster, and which are not collected.
  await addTally(store, 7, { cluster_id: 2, exit_state: 'collecting', exit_missing: [] }, [{ exit: SINCE + 10 }])
  await addTally(store, 11, { exit_state: 'collecting' }, [{ exit: SINCE + 5 }])
  await addTally(store, 13, { cluster_id: 3, exit_state: 'ready', deposit_state: 'ready' }, [{}])
  expect(await countCollecting(store.db)).toEqual([
    { clusterId: 1, validators: 5, messages: 5, oldestAt: SINCE + 30 },
    { clusterId: 2, validators: 12, messages: 17, oldestAt: SINCE + 10 },
    { clusterId: null, validators: 11, messages: 11, oldestAt: SINCE + 5 },
  ])
  expect(await countWaiting(store.db)).toEqual([
    { clusterId: 1, shareIndex: 1, messages: 2, oldestAt: SINCE + 40 },
    { clusterId: 1, shareIndex: 2, messages: 5, oldestAt: SINCE + 30 },
    { clusterId: 2, shareIndex: 1, messages: 5, oldestAt: SINCE + 25 },
    { clusterId: 2, shareIndex: 2, messages: 10, oldestAt: SINCE + 20 },
  ])
})

it('updates of exit signatures that are under way are told with how far they are', async () => {
  const store = await openSets(1)
  const add = (vault: Buffer, state: string, more: { ipfsHash?: string; isSent?: true; at?: number } = {}) =>
    store.query(sql`
      insert into rotations (vault, oracle_set_id, nonce, state, ipfs_hash, transaction_hash, transaction, deadline, created_at)
      values (${vault}, 1, 0, ${state}, ${more.ipfsHash ?? null}, ${more.isSent ? randomBytes(32) : null},
              ${more.isSent ? randomBytes(8) : null}, ${more.isSent ? SINCE + 900 : null}, to_timestamp(${more.at ?? SINCE}))`)
  await add(C, 'open', { ipfsHash: 'c', isSent: true, at: SINCE + 3 })
  await add(B, 'open', { ipfsHash: 'b', at: SINCE + 2 })
  await add(A, 'open', { at: SINCE + 1 })
  for (const state of ['done', 'void']) await add(A, state, { ipfsHash: 'a', isSent: true })
  const found = [
    { vault: A, isApproved: false, isSent: false, createdAt: SINCE + 1, deadline: null },
    { vault: B, isApproved: true, isSent: false, createdAt: SINCE + 2, deadline: null },
    { vault: C, isApproved: true, isSent: true, createdAt: SINCE + 3, deadline: SINCE + 900 },
  ]
  expect(await findOpenRotations(store.db, 9)).toEqual(found)
  expect(await findOpenRotations(store.db, 1)).toEqual(found.slice(0, 1))
})

it('what the manager has signed of late is summed up by vault and action, each content once', async () => {
  const store = await openMessages()
  const now = Math.floor(Date.now() / 1000)
  const add = (vault: Buffer, action: string, digest: number, gwei: number, ago: number) =>
    store.query(sql`
      insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
      values (${action}, ${vault}, ${randomBytes(4).toString('hex')}, ${randomBytes(32)}, ${randomBytes(48)}, 1, ${gwei},
              ${Buffer.alloc(32, digest)}, to_timestamp(${now - ago}))`)
  // The same content twice, with what it moved by then.
  await add(A, 'fund', 1, 3, 1000)
  await add(A, 'fund', 1, 5, 900)
  await add(A, 'fund', 2, 10, 1100)
  await add(A, 'withdraw', 1, 100, 1200)
  await add(B, 'fund', 1, 1000, 1300)
  await add(A, 'fund', 3, 1_000_000, 3700)
  expect(await sumManagerSignatures(store.db, 3600)).toEqual([
    { vault: A, action: 'fund', signatures: 2, movedGwei: '15', lastAt: now - 900 },
    { vault: A, action: 'withdraw', signatures: 1, movedGwei: '100', lastAt: now - 1200 },
    { vault: B, action: 'fund', signatures: 1, movedGwei: '1000', lastAt: now - 1300 },
  ])
})

it('what the manager signed a whole day ago is none of this day', async () => {
  const { db } = await openMessages()
  await db.transaction(async (tx) => {
    for (const seconds of [3600, 3599])
      await tx.execute(sql`
        insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
        values ('fund', ${A}, 'a', ${randomBytes(32)}, ${randomBytes(48)}, 1, ${seconds}, ${randomBytes(32)},
                now() - make_interval(secs => ${seconds}::float8))`)
    expect(await sumManagerSignatures(tx, 3600)).toMatchObject([{ signatures: 1, movedGwei: '3599' }])
  })
})
