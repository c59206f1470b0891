/** The snapshot that pages are made of: written by a worker, read whole by each page's process when it has changed, and only then. */

import { randomBytes } from 'node:crypto'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { findSnapshot, findStamp, storeSnapshot } from '@dvt-relayer/db/queries/status/snapshot.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createSnapshotReader, createSnapshots } from '../../../apps/relayer/src/services/status/snapshot.ts'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'
import { idleConfig as config } from '../../support/stores/idle-config.ts'

it('is what was counted, from the first on, and the same object until something else is', async () => {
  const { db, query, addValidator } = await openMessages()
  const [snapshots, read] = [createSnapshots({ config, db }), createSnapshotReader({ db })]
  expect(await read()).toMatchObject({ countedAt: null, snapshot: { totals: { validators: 0 } } })
  await addValidator()
  await snapshots.write()
  const first = await read()
  expect(first).toMatchObject({ countedAt: expect.any(Number), snapshot: { totals: { validators: 1 } } })
  await snapshots.write()
  expect((await read()).snapshot).toBe(first.snapshot)
  await addValidator()
  await snapshots.write()
  expect((await read()).snapshot.totals.validators).toBe(2)
  // A process that comes later.
  expect((await createSnapshotReader({ db })()).snapshot.totals.validators).toBe(2)
  await query(sql`update status_snapshots set content = '{"of": "another version"}', revision = revision + 1`)
  expect(await read()).toMatchObject({ countedAt: null, snapshot: { totals: { validators: 0 } } })
})

it('is stored where it says something else, and its content is sent to who does not have it', async () => {
  const { db, query } = await openMessages()
  expect(await findSnapshot(db, 0)).toBeUndefined()
  expect(await findStamp(db)).toEqual({ stamp: '0', revision: 0 })
  const first = (await storeSnapshot(db, { a: 1 })) ?? 0
  const { writtenAt } = (await findSnapshot(db, 0)) ?? {}
  expect(await findSnapshot(db, first - 1)).toEqual({ revision: first, writtenAt, content: { a: 1 } })
  expect(await findSnapshot(db, first)).toEqual({ revision: first, writtenAt, content: null })
  expect(await storeSnapshot(db, { a: 1 })).toBeUndefined()
  expect((await findStamp(db)).revision).toBe(first)
  await query(sql`update status_snapshots set written_at = to_timestamp(1700000000)`)
  expect(await findSnapshot(db, first)).toEqual({ revision: first, writtenAt: 1_700_000_000, content: null })
  expect(await storeSnapshot(db, { a: 2 })).toBe(first + 1)
  const second = await findSnapshot(db, first)
  expect(second).toEqual({ revision: first + 1, writtenAt: expect.any(Number), content: { a: 2 } })
  expect(second?.writtenAt).toBeGreaterThan(1_700_000_000)
  expect(await findStamp(db)).toEqual({ stamp: '0', revision: first + 1 })
})

it('is stamped with the revision of what is counted and the oracle set in force', async () => {
  const { db, query, addValidator } = await openMessages()
  await addValidator()
  await settleTallies(db)
  expect((await findStamp(db)).stamp).toBe('1')
  await query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    select x, x::text, 1, ${randomBytes(65)}, '{}', x, now(), x = 2 from generate_series(1, 3) x`)
  expect((await findStamp(db)).stamp).toBe('1 2')
})

/** A tally of so many validators that are nothing but what is told. */
function addTally({ query }: MessageStore, validators: number, of: Record<string, unknown>) {
  const hex = (value: unknown) => (Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : value)
  const plain = { is_registered: false, has_exited: false, is_index_wrong: false, key: 'none', is_split_anew: false }
  const row = Object.entries({ ...plain, ...of, id: randomBytes(32), validators }).map(([name, value]) => [
    name,
    hex(value),
  ])
  return query(sql`insert into tallies
                   select * from jsonb_populate_record(null::tallies, ${JSON.stringify(Object.fromEntries(row))}::jsonb)`)
}

it('has the keys of vaults that are claimed for, nodes of clusters, and numbers of those that are registered', async () => {
  const store = await openMessages()
  const { db, query } = store
  const [A, B, C] = [1, 2, 3].map((byte) => Buffer.alloc(20, byte)) as [Buffer, Buffer, Buffer]
  await query(sql`insert into clusters (id, name, threshold, source) values (1, 'a', 2, 'lock'), (2, 'b', 3, 'ssv')`)
  const { id, publicKey } = await store.addValidator()
  await query(sql`update validators set cluster_id = 1 where id = ${id}`)
  for (const shareIndex of [4, 9]) await store.trust(id, shareIndex, publicKey)
  await settleTallies(db)
  await query(sql`delete from tallies`)
  await addTally(store, 1, { cluster_id: 1, vault: A, claimed_by: A })
  await addTally(store, 1, { cluster_id: 1, vault: B, claimed_by: B })
  await addTally(store, 1, { cluster_id: 2 })
  await addTally(store, 5, { key: 'free' })
  await addTally(store, 3, { key: 'free', key_vault: A })
  await addTally(store, 2, { key: 'reserved', key_vault: A })
  await addTally(store, 4, { is_registered: true, beacon_vault: C })
  await addTally(store, 1, { is_registered: true })
  let at = 0
  const [snapshots, read] = [createSnapshots({ config, db }, () => at), createSnapshotReader({ db })]
  const keysOf = async () => {
    at += 60_000
    await snapshots.write()
    return (await read()).snapshot.vaults.map((one) => [one.vault, one.registered, one.keys_free, one.keys_reserved])
  }
  const names = [A, B, C].map((vault) => checksumAddress(vault))
  expect(await keysOf()).toEqual([
    [names[0], 0, 8, 2],
    [names[1], 0, 5, 0],
    [names[2], 4, null, null],
  ])
  const hex = (vault: Buffer) => `0x${vault.toString('hex')}`
  expect((await read()).snapshot.clusters).toMatchObject([
    { name: 'a', share_indexes: [4, 9], vaults: [hex(A), hex(B)] },
    { name: 'b', share_indexes: [], vaults: [] },
  ])
  await query(sql`delete from tallies where key = 'free' and key_vault is null`)
  expect((await keysOf()).map(([, , free, reserved]) => [free, reserved])).toEqual([
    [3, 2],
    [0, 0],
    [null, null],
  ])
})

it('is counted anew after a minute, or once another process has found something else; after a long count there is a rest', async () => {
  const store = await openMessages()
  const { db, query } = store
  await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 2)`)
  await addTally(store, 1, { cluster_id: 1 })
  const clock = { at: 1_000_000, stepMs: 0 }
  const now = () => {
    clock.at += clock.stepMs
    return clock.at
  }
  const [one, read] = [createSnapshots({ config, db }, now), createSnapshotReader({ db })]
  const nothing = { validators: 0, registered: 0, exited: 0, ready: 0, unsplit: 0 }
  expect((await read()).snapshot.totals).toEqual(nothing)
  /** Its name as told, after it was called so. */
  const after = async (name: string, snapshots = one) => {
    await query(sql`update clusters set name = ${name}`)
    await snapshots.write()
    return (await read()).snapshot.clusters.map((cluster) => cluster.name).join()
  }
  expect(await after('b')).toBe('b')
  clock.at += 59_999
  expect(await after('c')).toBe('b')
  clock.at += 1
  expect(await after('d')).toBe('d')
  expect(await after('e', createSnapshots({ config, db }, now))).toBe('e')
  expect(await after('f')).toBe('f')
  expect(await after('g')).toBe('f')

  // The clock is looked at once before, once between and once after.
  const restOf = async (ms: number) => {
    clock.stepMs = ms / 2
    return one.write()
  }
  const rests = [await restOf(0), await restOf(400), await restOf(402), await restOf(1500), await restOf(1502)]
  expect(rests).toEqual([undefined, undefined, 4020, 15_000, 15_000])
})
