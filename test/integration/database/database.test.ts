import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { sql } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLogger, silentLogger } from '../../../libs/common/src/log/logger.ts'
import type { Database } from '../../../libs/db/src/connect.ts'
import { connectDatabase, createListener } from '../../../libs/db/src/connect.ts'
import type { DatabaseError } from '../../../libs/db/src/errors.ts'
import { migrateDatabase } from '../../../libs/db/src/migrate.ts'
import type { Orm } from '../../../libs/db/src/orm.ts'
import type { TestDatabase } from '../../support/services/postgres.ts'
import { createTestDatabase } from '../../support/services/postgres.ts'

const CANARY = 'canary-7f3a'
let database: TestDatabase
let db: Database
const things = pgTable('things', { id: integer('id').primaryKey(), name: text('name').notNull() })

beforeAll(async () => {
  database = await createTestDatabase()
  db = await connectDatabase({ url: database.url, logger: silentLogger, statementTimeoutMs: 500 })
  await db.execute(sql`create table things (id int primary key, name text not null,
    constraint things_name_length check (length(name) < 20), constraint things_name unique (name))`)
  await db.execute(sql`create table parts (thing_id int references things)`)
  await db.execute(sql`insert into things values (1, ${CANARY})`)
})

afterAll(async () => {
  await db[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

async function failureOf(work: PromiseLike<unknown>): Promise<DatabaseError> {
  try {
    await work
  } catch (error) {
    return error as DatabaseError
  }
  throw new Error('did not fail')
}

/** Everything of an error that anything might print, its log line included. */
function everythingOf(error: unknown): string {
  let logged = ''
  createLogger({
    level: 'debug',
    format: 'json',
    destination: {
      write: (line) => {
        logged += line
      },
    },
  }).error({ err: error }, 'x')
  return logged + inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error) + (error as Error).stack
}

describe('errors', () => {
  const cases: [string, (db: Orm) => PromiseLike<unknown>][] = [
    ['DATABASE_UNIQUE_VIOLATION', (on) => on.execute(sql`insert into things values (2, ${CANARY})`)],
    ['DATABASE_UNIQUE_VIOLATION', (on) => on.insert(things).values({ id: 2, name: CANARY })],
    [
      'DATABASE_CHECK_VIOLATION',
      (on) =>
        on
          .update(things)
          .set({ name: CANARY.repeat(3) })
          .returning(),
    ],
    ['DATABASE_VALUE_INVALID', (on) => on.delete(things).where(sql`${CANARY}::int = ${things.id}`)],
    ['DATABASE_VALUE_INVALID', (on) => on.select().from(things).where(sql`${CANARY}::int = ${things.id}`).limit(1)],
    ['DATABASE_VALUE_INVALID', (on) => on.select().from(things).where(sql`${CANARY}::int = 1`).execute()],
    ['DATABASE_VALUE_INVALID', (on) => on.select().from(things).where(sql`${CANARY}::int = 1`).prepare('p').execute()],
    [
      'DATABASE_VALUE_INVALID',
      (on) =>
        on
          .select()
          .from(things)
          .where(sql`${CANARY}::int = 1`)
          .finally(() => undefined),
    ],
    ['DATABASE_CHECK_VIOLATION', (on) => on.execute(sql`insert into things values (2, ${CANARY.repeat(3)})`)],
    ['DATABASE_NOT_NULL_VIOLATION', (on) => on.execute(sql`insert into things values (length(${CANARY}), null)`)],
    ['DATABASE_FOREIGN_KEY_VIOLATION', (on) => on.execute(sql`insert into parts values (length(${CANARY}))`)],
    ['DATABASE_VALUE_INVALID', (on) => on.execute(sql`select ${CANARY}::int`)],
    ['DATABASE_VALUE_INVALID', (on) => on.execute(sql`select decode(${CANARY}, 'hex')`)],
    ['DATABASE_QUERY_INVALID', (on) => on.execute(sql.raw(`select ${CANARY.replace('-', '_')} from things`))],
    ['DATABASE_QUERY_INVALID', (on) => on.execute(sql.raw(`sel '${CANARY}'`))],
    ['DATABASE_TIMEOUT', (on) => on.execute(sql`select pg_sleep(20), ${CANARY}::text`)],
    ['DATABASE_FAILED', (on) => on.execute(sql.raw(`do $$ begin raise exception '${CANARY}'; end $$`))],
    ['DATABASE_NUMBER_UNSAFE', (on) => on.execute(sql`select 9007199254740992::bigint, ${CANARY}::text`)],
    ['DATABASE_NUMBER_UNSAFE', (on) => on.select({ a: sql`(${things.id} + 9007199254740991::bigint)` }).from(things)],
  ]
  test.each(cases)('%s carries nothing of the query', async (code, run) => {
    for (const error of [await failureOf(run(db)), await failureOf(db.transaction((tx) => Promise.resolve(run(tx))))]) {
      expect(error).toMatchObject({ name: 'DatabaseError', code })
      expect(error.cause).toBeUndefined()
      expect(everythingOf(error)).not.toMatch(/canary/)
    }
    expect(await db.execute(sql`select count(*) as rows from things`)).toMatchObject({ rows: [{ rows: 1 }] })
  })

  test('a unique violation names its constraint', async () => {
    const error = await failureOf(db.execute(sql`insert into things values (2, ${CANARY})`))
    expect(error).toMatchObject({ code: 'DATABASE_UNIQUE_VIOLATION', meta: { constraint: 'things_name' } })
    expect(error.meta['host']).toMatch(/^127\.0\.0\.1:\d+\/test_/)
  })

  test('a deadlock is a conflict, and an error of our own passes through a transaction unchanged', async () => {
    const conflict = await failureOf(
      db.execute(sql.raw(`do $$ begin raise exception '${CANARY}' using errcode = '40P01'; end $$`)),
    )
    expect(conflict.code).toBe('DATABASE_CONFLICT')
    const own = new Error('own')
    const thrown = await failureOf(
      db.transaction(async (tx) => {
        await tx.execute(sql`insert into things values (3, 'three')`)
        throw own
      }),
    )
    expect(thrown).toBe(own)
    expect((await db.execute(sql`select from things where id = 3`)).rowCount).toBe(0)
  })

  test('a connection lost within a transaction is told, and the pool recovers', async () => {
    const error = await failureOf(
      db.transaction((tx) => tx.execute(sql`select pg_terminate_backend(pg_backend_pid()), ${CANARY}::text`)),
    )
    expect(error.code).toBe('DATABASE_UNREACHABLE')
    expect(everythingOf(error)).not.toMatch(/canary/)
    expect((await db.execute(sql`select 1 as a`)).rows).toEqual([{ a: 1 }])
  })

  test('the first error of a transaction is told, and what cannot roll back is not used again', async () => {
    const pidOf = async (on: Orm) => (await on.execute(sql`select pg_backend_pid() as pid`)).rows[0]?.['pid']
    let lost: unknown
    const own = new Error('own')
    const thrown = await failureOf(
      db.transaction(async (tx) => {
        lost = await pidOf(tx)
        await failureOf(tx.execute(sql`select pg_terminate_backend(pg_backend_pid())`))
        throw own
      }),
    )
    expect(thrown).toBe(own)
    const pids = await Promise.all(Array.from({ length: 20 }, () => db.transaction(pidOf)))
    expect(pids).not.toContain(lost)
  })

  test("a caller's own error after a statement stays what it is", async () => {
    const own = new Error('own')
    const throwing = () => {
      throw own
    }
    expect(await failureOf(db.select().from(things).then(throwing))).toBe(own)
    expect(await failureOf(db.execute(sql`select 1`).then(throwing))).toBe(own)
  })

  test('bigint columns are numbers, arrays too', async () => {
    const { rows } = await db.execute(
      sql`select 9007199254740991::bigint as a, array[1, null]::bigint[] as b, null::bigint as c`,
    )
    expect(rows).toEqual([{ a: Number.MAX_SAFE_INTEGER, b: [1, null], c: null }])
  })
})

describe('connecting', () => {
  test('gives up on a database that stays away, without its password', async () => {
    const url = `postgres://user:${CANARY}@127.0.0.1:1/none`
    const error = await failureOf(connectDatabase({ url, logger: silentLogger, waitMs: 150 }))
    expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', meta: { host: '127.0.0.1:1/none' } })
    expect(everythingOf(error)).not.toMatch(/canary/)
  })

  test('a wrong password is told at once', async () => {
    const url = new URL(database.url)
    url.password = CANARY
    const error = await failureOf(connectDatabase({ url: url.href, logger: silentLogger }))
    expect(error.code).toBe('DATABASE_ACCESS_DENIED')
    expect(everythingOf(error)).not.toMatch(/canary/)
  })

  test('a server that accepts and says nothing is not waited for for ever', async () => {
    const server = createServer(() => undefined).listen(0, '127.0.0.1')
    await new Promise((done) => server.once('listening', done))
    const { port } = server.address() as { port: number }
    const url = `postgres://user:x@127.0.0.1:${port}/none`
    const error = await failureOf(connectDatabase({ url, logger: silentLogger, waitMs: 10 }))
    expect(error.code).toBe('DATABASE_UNREACHABLE')
    server.close()
  })

  test('a listener hears, and after a lost connection says so and hears again', async () => {
    const heard: string[] = []
    const connected: number[] = []
    await using _listener = createListener({
      url: database.url,
      channels: ['one', 'Two'],
      onNotify: (channel, payload) => heard.push(`${channel}:${payload}`),
      onReconnect: (awayMs) => connected.push(awayMs),
      logger: silentLogger,
    })
    await expect.poll(() => connected.length).toBe(1)
    expect(connected).toEqual([0])
    await db.execute(sql`select pg_notify('one', 'a'), pg_notify('Two', 'b')`)
    await expect.poll(() => heard).toEqual(['one:a', 'Two:b'])
    await db.execute(sql`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'dvt-relayer-listener' and datname = current_database()`)
    await expect.poll(() => connected.length).toBe(2)
    expect(connected[1]).toBeGreaterThan(0)
    await db.execute(sql`select pg_notify('one', 'c')`)
    await expect.poll(() => heard.at(-1)).toBe('one:c')
  })
})

describe('migrations', () => {
  const root = mkdtempSync(join(tmpdir(), 'dvt-migrations-'))
  afterAll(() => rmSync(root, { recursive: true }))

  function folderOf(name: string, statements: string[]): string {
    const folder = join(root, name)
    mkdirSync(join(folder, 'meta'), { recursive: true })
    const entries = statements.map((statement, idx) => {
      writeFileSync(join(folder, `000${idx}.sql`), statement)
      return { idx, version: '7', when: 1_000 + idx, tag: `000${idx}`, breakpoints: true }
    })
    writeFileSync(
      join(folder, 'meta', '_journal.json'),
      JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
    )
    return folder
  }

  test('run once, however many start together; a database from the future is refused', async () => {
    await using fresh = await createTestDatabase()
    await using one = await connectDatabase({ url: fresh.url, logger: silentLogger })
    await using two = await connectDatabase({ url: fresh.url, logger: silentLogger })
    const old = folderOf('old', ['create table a (x int)'])
    const newer = folderOf('newer', ['create table a (x int)', 'create table b (x int)'])
    await Promise.all([one, two, one, two].map((each) => migrateDatabase(each, old)))
    await migrateDatabase(one, newer)
    await migrateDatabase(two, newer)
    expect(await failureOf(migrateDatabase(two, old))).toMatchObject({
      code: 'DATABASE_FROM_THE_FUTURE',
      meta: { unknown: 1 },
    })
    expect((await one.execute(sql`select count(*) as done from drizzle.__drizzle_migrations`)).rows).toEqual([
      { done: 2 },
    ])
  })

  test('one that fails changes nothing and says nothing of rows', async () => {
    await using fresh = await createTestDatabase()
    await using one = await connectDatabase({ url: fresh.url, logger: silentLogger })
    const broken = folderOf('broken', ['create table a (x int)', `select '${CANARY}'::int`])
    const error = await failureOf(migrateDatabase(one, broken))
    expect(error.code).toBe('DATABASE_VALUE_INVALID')
    expect(everythingOf(error)).not.toMatch(/canary/)
    expect((await one.execute(sql`select to_regclass('a') as a`)).rows).toEqual([{ a: null }])
  })
})
