/**
 * A backup as docs/operating/backup.md says: pg_dump of a database that is in use, restored into another PostgreSQL, judged by check-backup,
 * adopted, and worked with. What an operator had is there, the same.
 */

import { join } from 'node:path'
import type { Report } from '@dvt-relayer/common/findings.ts'
import pg from 'pg'
import { expect, it } from 'vitest'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { startProcess } from '../../support/services/process.ts'
import { hasDebianPostgres, startDebianPostgres } from '../../support/stores/debian-postgres.ts'
import { postValidators, publicKeysOf, sidecarRound, untilOracleSet, untilShares } from '../../support/world/nodes.ts'
import { eventually, startWorld } from '../../support/world/world.ts'

async function onServer(url: string, statement: string): Promise<object[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(statement)).rows
  } finally {
    await client.end()
  }
}

it.skipIf(skipWithoutAnvil || !hasDebianPostgres())('is restored elsewhere, with all that was there', async () => {
  await using world = await startWorld({ oracles: 3, threshold: 2 })
  await using one = await startDebianPostgres()
  await using other = await startDebianPostgres()
  await onServer(one.url('postgres'), 'create database relayer')
  await onServer(other.url('postgres'), 'create database restored')
  const settings = world.environment({ SIGNATURE_THRESHOLD: '3', DATABASE_URL: one.url('relayer') })
  const keys = createTestKeys(2, { nodes: 4, threshold: 3 })
  await using relayer = startProcess('quick relayer', settings)
  const url = String((await relayer.logged('relayer started'))['url'])
  await untilOracleSet(url)
  await postValidators(url, publicKeysOf(keys))
  for (const share of [1, 2, 3]) await sidecarRound(url, world.network, keys, share)
  const before = await untilShares(url, publicKeysOf(keys))
  await eventually('its heartbeat', async () => (await onServer(one.url('relayer'), 'select from processes')).at(0))

  // Both programs run as a user who may write in the server's folder alone.
  const dump = join(one.folder, 'relayer.dump')
  one.run('pg_dump', '--format=custom', `--dbname=${one.url('relayer')}`, `--file=${dump}`)
  other.run('pg_restore', '--no-owner', `--dbname=${other.url('restored')}`, dump)
  const restored = { ...settings, DATABASE_URL: other.url('restored') }

  await using check = startProcess('relayer', settings, [
    'check-backup',
    '--database-url',
    other.url('restored'),
    '--json',
  ])
  expect([await check.ended, check.output()]).toEqual([0, expect.any(String)])
  expect((JSON.parse(check.output()) as Report).healthy).toBe(true)

  // The first one is lost.
  await relayer.end('SIGKILL')
  await using refused = startProcess('relayer', restored)
  expect([await refused.ended, refused.output()]).toEqual([1, expect.stringContaining('adopt-copy --yes')])
  await using adopted = startProcess('relayer', restored, ['adopt-copy', '--yes'])
  expect(await adopted.ended).toBe(0)
  await using second = startProcess('quick relayer', restored)
  const secondUrl = String((await second.logged('relayer started'))['url'])
  const after = await untilShares(secondUrl, publicKeysOf(keys))
  expect(after.validators).toEqual(before.validators)
})
