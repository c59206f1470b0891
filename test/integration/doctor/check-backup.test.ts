/** `npm run relayer -- check-backup`: a copy that is good, what one may lack, and a second relayer on it. */

import { randomBytes } from 'node:crypto'
import type { Finding, Report } from '@dvt-relayer/common/findings.ts'
import { reportText } from '@dvt-relayer/common/findings.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { TABLES } from '@dvt-relayer/db/queries/doctor/contents.ts'
import * as schema from '@dvt-relayer/db/schema.ts'
import { getTableName, is } from 'drizzle-orm'
import { PgTable } from 'drizzle-orm/pg-core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { checkBackup } from '../../../apps/relayer/src/doctor/backup.ts'
import type { Check } from '../../../apps/relayer/src/doctor/findings.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { copyDatabase, createTestDatabase } from '../../support/services/postgres.ts'
import { startProcess } from '../../support/services/process.ts'
import { postValidators, publicKeysOf, sidecarRound, untilOracleSet, untilShares } from '../../support/world/nodes.ts'
import { eventually, startWorld, type World } from '../../support/world/world.ts'

const VALIDATORS = 3

describe.skipIf(skipWithoutAnvil)('check-backup', () => {
  const resources = new AsyncDisposableStack()
  let world: World
  let settings: Environment
  let copyUrl: string

  beforeAll(async () => {
    world = resources.use(await startWorld({ oracles: 3, threshold: 2 }))
    settings = world.environment({ SIGNATURE_THRESHOLD: '3' })
    {
      await using relayer = await world.startRelayer(settings)
      await untilOracleSet(relayer.url)
      const validators = createTestKeys(VALIDATORS, { nodes: 4, threshold: 3 })
      await postValidators(relayer.url, publicKeysOf(validators))
      for (const index of [1, 2, 3]) await sidecarRound(relayer.url, world.network, validators, index)
      await untilShares(relayer.url, publicKeysOf(validators))
    }
    copyUrl = resources.use(await copyDatabase(world.databaseUrl)).url
  })
  afterAll(() => resources.disposeAsync())

  async function look(url: string, more: Environment = {}) {
    const report: Report<Check> = await checkBackup({ ...settings, ...more }, url)
    const text = reportText(report)
    for (const secret of [settings['SEALING_KEY'] ?? '', new URL(world.databaseUrl).password])
      expect(JSON.stringify(report) + text).not.toContain(secret)
    const of = (check: Check): Finding<Check> | undefined => report.findings.find((found) => found.check === check)
    return { report, text, of }
  }
  /** A copy of the copy, changed by SQL; it goes with the test. */
  async function changed(statement: string): Promise<string> {
    const copy = await copyDatabase(copyUrl)
    onTestFinished(() => copy[Symbol.asyncDispose]())
    await run(copy.url, statement)
    return copy.url
  }

  it('says that a good copy is good: as a process with 0, and it writes nothing', async () => {
    const rows = () =>
      run(copyUrl, 'select max(xmin::text::bigint) from messages union select max(xmin::text::bigint) from processes')
    const before = await rows()
    const open = new URL(copyUrl)
    const environment = { ...settings, PGPASSWORD: open.password }
    open.password = ''
    await using json = startProcess('relayer', environment, ['check-backup', '--database-url', open.href, '--json'])
    expect([await json.ended, json.output()]).toEqual([0, expect.any(String)])
    const report = JSON.parse(json.output()) as Report<Check>
    expect(report.findings.map(({ check, status }) => [check, status])).toEqual([
      ['database', 'good'],
      ['contents', 'good'],
      ['sealing', 'good'],
      ['live', 'good'],
      ['relayers', 'good'],
    ])
    const { of } = await look(copyUrl)
    expect(of('contents')?.message).toMatch(
      /^0 clusters, 3 validators, 3 messages, 3 sets of oracle shares, .* the newest row is of 2/,
    )
    expect(of('sealing')?.message).toBe('the sealing key fits the database; 3 of the newest 3 stored signatures opened')
    expect(of('live')?.message).toMatch(/ the live database, and lacks no row$/)
    expect(await rows()).toEqual(before)
  })

  it('finds another key, keys left out, and signatures that are damaged', async () => {
    expect((await look(copyUrl, { SEALING_KEY: randomBytes(32).toString('hex') })).of('sealing')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('does not fit the database'),
    })
    const keyless = (await look(await changed('delete from message_keys'))).of('sealing')
    expect(keyless).toMatchObject({ status: 'warning', facts: { kept_exits: 3, exits_without_key: 3 } })
    expect(keyless?.details[0]).toContain('void-sealed --yes')
    const damaged = await changed(
      'update messages set signature = set_byte(signature, 40, get_byte(signature, 40) # 1) where id = 1',
    )
    expect((await look(damaged)).of('sealing')).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('1 of the newest 3 stored signatures cannot be opened'),
    })
    expect((await look(await changed('delete from sealing_checks'))).of('sealing')).toMatchObject({ status: 'problem' })
  })

  it('counts every table that there is', () => {
    const names = Object.values(schema).flatMap((one) => (is(one, PgTable) ? [getTableName(one)] : []))
    expect(Object.keys(TABLES).sort()).toEqual(names.sort())
  })

  it('finds that a restore has failed, and a table that is missing', async () => {
    await using empty = await createTestDatabase()
    const none = await look(empty.url)
    expect(none.report).toMatchObject({ healthy: false })
    expect(none.of('database')?.message).toContain('holds no tables of a relayer')
    const half = await look(await changed('drop table manager_signatures'))
    expect(half.of('contents')).toMatchObject({ status: 'problem', message: 'it lacks 1 table: manager_signatures' })
    const away = await look('postgres://a:top-secret@127.0.0.1:1/none')
    expect(away.of('database')).toMatchObject({ status: 'problem' })
    expect(away.text).not.toContain('top-secret')
  })

  it('says what has come since, and how old the copy is', async () => {
    const old = await changed(
      `delete from messages where id = 1; update processes set beat_at = beat_at - interval '3 days', stopped_at = null;
       update messages set requested_at = now() - interval '3 days'; delete from checkpoints; delete from nodes_seen;
       update validators set created_at = now() - interval '3 days'; update oracle_shares set created_at = now() - interval '3 days';
       update partial_signatures set seen_at = now() - interval '3 days'; update oracle_sets set adopted_at = now() - interval '3 days'`,
    )
    const { of, report } = await look(old)
    expect(of('live')).toMatchObject({ status: 'warning' })
    expect(of('live')?.message).toMatch(
      /^the copy is 2 days behind the live database, and lacks rows: messages 1, message_keys 1, partial_signatures/,
    )
    expect(report.healthy).toBe(true)
    await run(
      world.databaseUrl,
      "insert into deposit_bindings (validator_id, vault) select min(id), '\\x0101010101010101010101010101010101010101' from validators",
    )
    expect((await look(copyUrl)).of('live')?.details).toEqual([
      "deposit_bindings lacks 1 row: a relayer on the copy may give these keys to another vault, which the nodes' journals then refuse",
    ])
    await run(world.databaseUrl, 'delete from deposit_bindings')
  })

  it('knows the live database from a copy', async () => {
    const { of, report } = await look(world.databaseUrl)
    expect(of('live')?.message).toContain('is the live database itself, and no copy')
    expect(report.healthy).toBe(false)
  })

  it('finds a second relayer on the copy, one that has run there, and what it cannot know', async () => {
    await using live = await world.startRelayer(settings)
    await eventually('a heartbeat', async () =>
      (await world.query('select id from processes where stopped_at is null')).at(0),
    )
    const copy = await changed("delete from processes where role = 'worker'")
    // Heartbeats that were copied are no relayer.
    await run(copy, "insert into processes (id, role, version) values ('copied', 'all', '0.2.0')")
    await world.query("insert into processes (id, role, version) values ('copied', 'all', '0.2.0')")
    expect((await look(copy)).of('relayers')).toMatchObject({ status: 'good' })
    // None starts on a copy by itself.
    const onCopy = { ...settings, DATABASE_URL: copy }
    await expect(world.startRelayer(onCopy)).rejects.toMatchObject({ code: 'DATABASE_COPIED' })
    expect((await look(copy)).of('relayers')).toMatchObject({ status: 'good' })
    expect(await runCommand(['adopt-copy', '--yes'], onCopy, () => {})).toBe(0)
    {
      await using second = await world.startRelayer(onCopy)
      await eventually(
        'its heartbeat',
        async () => (await look(copy)).of('relayers')?.status === 'problem' || undefined,
      )
      const { of, report } = await look(copy)
      expect(of('relayers')?.message).toMatch(/^a second relayer runs on the copy .*, beside that of .*: stop it/)
      expect(report.healthy).toBe(false)
      expect(second.url).not.toBe(live.url)
      // Without the live database it is known that somebody is there, and no more.
      const alone = await look(copy, { DATABASE_URL: 'postgres://a@127.0.0.1:1/none' })
      expect(alone.of('live')).toMatchObject({ status: 'warning' })
      expect(alone.of('relayers')).toMatchObject({
        status: 'problem',
        message: expect.stringContaining('a second one runs on the copy, or this is the live database'),
      })
    }
    expect((await look(copy)).of('relayers')).toMatchObject({
      status: 'warning',
      message: expect.stringContaining('it is a backup no more'),
    })
  })
})

/** Runs SQL on a database. */
async function run(url: string, statement: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(statement)).rows
  } finally {
    await client.end()
  }
}
