/** The snapshot that pages are made of: written by a worker, read whole by each page's process when it has changed, and only then. */

import { randomBytes } from 'node:crypto'
import { findSnapshot, findStamp, storeSnapshot } from '@dvt-relayer/db/queries/status/snapshot.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import { createSnapshotReader, createSnapshots } from '../../../apps/relayer/src/services/status/snapshot.ts'
import { openMessages } from '../../support/stages/messages.ts'

const { config } = readConfig({
  NETWORK: 'hoodi',
  EXECUTION_ENDPOINT: 'http://127.0.0.1:1',
  CONSENSUS_ENDPOINT: 'http://127.0.0.1:1',
  SIGNATURE_THRESHOLD: '3',
  DATABASE_URL: 'postgres://127.0.0.1/none',
  SEALING_KEY: '01'.repeat(32),
})

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
