/** Where a database is, noted in it: a relayer on a copy of it starts only where nobody can be left on the first; a failover is none. */

import { randomBytes } from 'node:crypto'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { findOwnPlace } from '@dvt-relayer/db/queries/attendance/place.ts'
import { storeBeat, storeStop } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it, onTestFinished } from 'vitest'
import { examine } from '../../../apps/relayer/src/doctor/doctor.ts'
import { createPlaceWatch, takePlace } from '../../../apps/relayer/src/services/database-place.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { copyDatabase, createRelayerDatabase } from '../../support/services/postgres.ts'
import { startProcess } from '../../support/services/process.ts'
import { MIGRATIONS } from '../../support/stages/older-database.ts'
import { startStandby } from '../../support/stores/standby.ts'
import { eventually, startWorld } from '../../support/world/world.ts'

/** A database with all tables, as a relayer has it that has started once. */
async function openDatabase(): Promise<{ db: Database; url: string }> {
  const database = await createRelayerDatabase()
  onTestFinished(() => database[Symbol.asyncDispose]())
  const db = await connect(database.url)
  await migrateDatabase(db, MIGRATIONS)
  expect(await takePlace(db, silentLogger)).toBe('new')
  return { db, url: database.url }
}

async function connect(url: string): Promise<Database> {
  const db = await connectDatabase({ url, logger: silentLogger })
  onTestFinished(() => db[Symbol.asyncDispose]())
  return db
}

/** What a dump of it is when it is restored: the same rows under another number. */
async function copyOf(url: string): Promise<{ db: Database; url: string }> {
  const copy = await copyDatabase(url)
  onTestFinished(() => copy[Symbol.asyncDispose]())
  return { db: await connect(copy.url), url: copy.url }
}

const beat = (db: Database, id: string) => storeBeat(db, { id, role: 'all', version: '0.2.0' })

describe('a database', () => {
  it('stays where it is, whoever asks, and however many at once', async () => {
    const { db } = await openDatabase()
    await beat(db, 'one')
    expect(await Promise.all([1, 2, 3].map(() => takePlace(db, silentLogger)))).toEqual(['same', 'same', 'same'])
  })

  it('that was copied while a relayer ran is refused, until somebody says that the first one is gone', async () => {
    const first = await openDatabase()
    await beat(first.db, 'one')
    const copy = await copyOf(first.url)
    const refused = await takePlace(copy.db, silentLogger).catch((error: unknown) => error)
    expect(refused).toMatchObject({
      code: 'DATABASE_COPIED',
      message: expect.stringMatching(/is a copy of another one, made while a relayer ran on that.*adopt-copy --yes/),
    })
    await expect(takePlace(copy.db, silentLogger)).rejects.toThrow('is a copy')
    expect(await takePlace(copy.db, silentLogger, true)).toBe('moved')
    expect(await takePlace(copy.db, silentLogger)).toBe('same')
  })

  it('that was copied when all relayers had stopped has moved, whatever was killed long before', async () => {
    const first = await openDatabase()
    await beat(first.db, 'killed')
    await first.db.execute(sql`update processes set beat_at = now() - interval '10 minutes' where id = 'killed'`)
    await beat(first.db, 'stopped')
    await storeStop(first.db, 'stopped')
    const copy = await copyOf(first.url)
    // Two that start together: the first one's heartbeat is no reason to refuse the second.
    const both = await Promise.all(
      [1, 2].map(async (id) => {
        const found = await takePlace(copy.db, silentLogger)
        await beat(copy.db, `new ${id}`)
        return found
      }),
    )
    expect(both.toSorted()).toEqual(['moved', 'same'])
  })

  it('that moves under a relayer that goes on running is its place from then on', async () => {
    const first = await openDatabase()
    await beat(first.db, 'one')
    const copy = await copyOf(first.url)
    let current = first.db
    // As an address behind which PostgreSQL is another one now.
    const db = new Proxy(first.db, { get: (_, name) => Reflect.get(current, name) as unknown })
    const follow = createPlaceWatch({ db, logger: silentLogger })
    await follow()
    current = copy.db
    await follow()
    expect(await takePlace(copy.db, silentLogger)).toBe('same')
  })

  it('is worked with where PostgreSQL does not say where it is', async () => {
    const { db, url } = await openDatabase()
    const role = `role_${randomBytes(6).toString('hex')}`
    await db.execute(sql.raw(`create role ${role} login password 'secret'`))
    // Of this database alone: other tests look at their own.
    await db.execute(sql.raw('revoke execute on function pg_control_system() from public'))
    const other = new URL(url)
    other.username = role
    other.password = 'secret'
    try {
      expect(await takePlace(await connect(other.href), silentLogger)).toBe('unknown')
    } finally {
      await db.execute(sql.raw('grant execute on function pg_control_system() to public'))
      await db.execute(sql.raw(`drop role ${role}`)).catch(() => {})
    }
  })

  it('is at the same place when a standby takes over', async () => {
    await using standby = await startStandby()
    const db = await eventually('the standby answers', () =>
      connectDatabase({ url: standby.url, logger: silentLogger, readOnly: true, waitMs: 0 }).catch(() => undefined),
    )
    await using _db = db
    const before = await findOwnPlace(db)
    expect(before?.system).toMatch(/^\d+$/)
    await db.execute(sql`select pg_promote()`)
    expect((await db.execute(sql`select pg_is_in_recovery() as so`)).rows).toEqual([{ so: false }])
    expect(await findOwnPlace(db)).toEqual(before)
  })
})

describe.skipIf(skipWithoutAnvil)('a relayer as a process', () => {
  it('ends with 1 on a copy, and works with it once it is adopted', async () => {
    await using world = await startWorld({ oracles: 3, threshold: 2 })
    const settings = world.environment({ SIGNATURE_THRESHOLD: '3' })
    await using first = startProcess('relayer', settings)
    await first.logged('relayer started')
    await eventually('its heartbeat', async () => (await world.query('select from processes')).at(0))
    const { url } = await copyOf(world.databaseUrl)
    const onCopy = { ...settings, DATABASE_URL: url }
    const databaseOf = async (environment: Environment) =>
      (await examine(environment)).findings.find(({ check }) => check === 'database')
    expect(await databaseOf(settings)).toMatchObject({ status: 'good' })
    expect(await databaseOf(onCopy)).toMatchObject({
      status: 'problem',
      message: expect.stringContaining('adopt-copy --yes'),
    })
    {
      await using second = startProcess('relayer', onCopy)
      expect(await second.ended).toBe(1)
      expect(second.output()).toContain('is a copy of another one')
    }
    await using warned = startProcess('relayer', onCopy, ['adopt-copy'])
    expect(await warned.ended).toBe(1)
    await using adopted = startProcess('relayer', onCopy, ['adopt-copy', '--yes'])
    expect([await adopted.ended, adopted.output()]).toEqual([0, expect.stringContaining('may work with this copy')])
    expect(await databaseOf(onCopy)).toMatchObject({ status: 'good' })
    await using second = startProcess('relayer', onCopy)
    await second.logged('relayer started')
    // The first one is as it was.
    expect(await first.end('SIGTERM')).toBe(0)
    await using again = startProcess('relayer', settings)
    await again.logged('relayer started')
  })
})
