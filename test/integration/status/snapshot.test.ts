/** The snapshot that pages are made of: written by a worker, read whole by each page's process when it has changed, and only then. */

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
