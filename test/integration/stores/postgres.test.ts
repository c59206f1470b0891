/** PostgreSQL that answers and cannot work: told in its own words, waited for, and gone on with by itself; what a person has to mend ends the start. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { createDatabaseCheck } from '@dvt-relayer/db/check.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { connectQueue } from '@dvt-relayer/queue/queue.ts'
import { sql } from 'drizzle-orm'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { makeCa } from '../../support/services/certificates.ts'
import { createTestDatabase, type TestDatabase } from '../../support/services/postgres.ts'
import { hasPgbouncer, startPgbouncer } from '../../support/stores/pgbouncer.ts'
import { type PostgresProxy, startPostgresProxy } from '../../support/stores/postgres-proxy.ts'
import { startStandby } from '../../support/stores/standby.ts'
import { postValidators, publicKeysOf } from '../../support/world/nodes.ts'
import { eventually, startWorld, type World } from '../../support/world/world.ts'
import { expectRecovery, make, threshold } from './support.ts'

let world: World
let proxy: PostgresProxy
/** The world's database by way of the proxy, for an ordinary user: none of the server's limits hold a superuser. */
let url: string
let role: string
const nameOf = (at: string) => new URL(at).pathname.slice(1)

async function onServer(at: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: at })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}
const cut = () =>
  world.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = $1`,
    [role],
  )

beforeAll(async () => {
  world = await startWorld()
  const database = nameOf(world.databaseUrl)
  role = `role_${database}`
  await world.query(`create role ${role} login password 'secret'`)
  await world.query(`grant ${role} to current_user`)
  // What another user's relayer made before.
  await world.query('drop schema public cascade')
  for (const schema of ['bullmq', 'drizzle']) await world.query(`drop schema if exists ${schema} cascade`)
  await world.query(`alter database ${database} owner to ${role}`)
  await world.query(`create schema public authorization ${role}`)
  proxy = await startPostgresProxy(world.databaseUrl)
  const own = new URL(proxy.url)
  own.username = role
  own.password = 'secret'
  url = own.href
})

afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  const server = new URL(world.databaseUrl)
  server.pathname = '/postgres'
  await world?.[Symbol.asyncDispose]()
  await onServer(server.href, `drop role if exists ${role}`)
})

/** Everything that is asked for meanwhile is refused as what may be asked again. */
const postsAreRefused = (at: string) => async () => {
  await eventually('a clear refusal', async () => {
    const answer = await postValidators(at, publicKeysOf(make(1)))
    return answer.status === 503 && (answer.json as { code: string }).code === 'DEPENDENCY_AWAY' ? true : undefined
  })
}

/** Changes tables beside a relayer at work: of two who wait for each other PostgreSQL ends one, which may be this. */
async function change(text: string): Promise<void> {
  for (;;)
    try {
      await world.query(text)
      return
    } catch (error) {
      if ((error as { code?: unknown }).code !== '40P01') throw error
    }
}

/** As a full disk is to a statement: every write of every table fails with this code. */
async function refuseWrites(sqlstate: string): Promise<void> {
  await world.query(
    `create function refuse_write() returns trigger language plpgsql as
     $$ begin raise exception 'could not extend file' using errcode = '${sqlstate}'; end $$`,
  )
  for (const { tablename } of await world.query<{ tablename: string }>(
    `select tablename from pg_tables where schemaname = 'public'`,
  ))
    await change(
      `create trigger refuse_write before insert or update on public.${tablename} for each statement execute function refuse_write()`,
    )
}

describe('while it runs', () => {
  it('a database that is set read-only', async () => {
    await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: url })
    await expectRecovery(
      world,
      relayer.url,
      {
        line: 'database',
        words: /^the database is set read-only \(default_transaction_read_only\)/,
        begin: async () => {
          await world.query(`alter role ${role} set default_transaction_read_only = on`)
          await cut()
        },
        // The sessions that were begun meanwhile stay as they are.
        end: () => world.query(`alter role ${role} reset default_transaction_read_only`),
      },
      postsAreRefused(relayer.url),
    )
  })

  it.each([
    ['53100', /^the disk of the database is full \(SQLSTATE 53100\)$/],
    ['53200', /^the database is out of memory \(SQLSTATE 53200\)$/],
  ])('a server that refuses writes with %s, and answers everything else', async (sqlstate, words) => {
    await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: url })
    await expectRecovery(
      world,
      relayer.url,
      {
        line: 'database',
        words,
        begin: async () => {
          await refuseWrites(sqlstate)
          // Nobody writes but who is asked to.
          await postsAreRefused(relayer.url)()
        },
        end: () => change('drop function refuse_write() cascade'),
      },
      postsAreRefused(relayer.url),
    )
  })

  it('a server without a connection left for this user', async () => {
    await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: url })
    await expectRecovery(
      world,
      relayer.url,
      {
        line: 'database',
        words: /^the database has no connection left.*\(SQLSTATE 53300\)$/,
        begin: async () => {
          await world.query(`alter role ${role} connection limit 0`)
          await cut()
        },
        end: () => world.query(`alter role ${role} connection limit -1`),
      },
      postsAreRefused(relayer.url),
    )
  })

  it.each([
    [
      'a pooler that refuses parameters',
      { sqlstate: '08P01', message: 'unsupported startup parameter: statement_timeout' },
      /^there is a pooler before the database, and it refuses what a connection needs: .*ignore_startup_parameters/,
    ],
    [
      'a pooler without a connection to give',
      { sqlstate: '08P01', message: 'query_wait_timeout' },
      /^the database cannot be reached: the pooler before it gives no connection/,
    ],
    [
      'a server that is starting',
      { sqlstate: '57P03', message: 'the database system is starting up' },
      /^the database is starting, stopping or not open yet/,
    ],
    [
      'another password',
      { sqlstate: '28P01', message: 'password authentication failed for user "secret"' },
      /^the database refuses the password, or knows no such user/,
    ],
  ])('%s', async (_name, refusal, words) => {
    await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: url })
    await expectRecovery(
      world,
      relayer.url,
      { line: 'database', words, begin: () => proxy.behave(refusal), end: () => proxy.behave('pass') },
      postsAreRefused(relayer.url),
    )
  })

  it('a server that says nothing any more', async () => {
    await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: url })
    await expectRecovery(world, relayer.url, {
      line: 'database',
      words: /^the database has not answered within 5 s$/,
      begin: () => proxy.behave('hang'),
      end: () => proxy.behave('pass'),
    })
  })
})

describe('at the start', () => {
  const failureOf = async (at: string, waitMs = 0) => {
    try {
      await using _db = await connectDatabase({ url: at, logger: silentLogger, waitMs })
    } catch (error) {
      return error as Error & { code: string }
    }
    throw new Error('it works')
  }
  const withPart = (change: (url: URL) => void) => {
    const changed = new URL(url)
    change(changed)
    return changed.href
  }

  it('four causes of a refused login are four sentences, at once', async () => {
    const words = async (at: string) => {
      const { code, message } = await failureOf(at, 60_000)
      expect(code).toBe('DATABASE_ACCESS_DENIED')
      expect(message).not.toContain('secret')
      return message
    }
    const password = withPart((at) => {
      at.password = 'wrong'
    })
    expect(await words(password)).toBe('the database refuses the password, or knows no such user (SQLSTATE 28P01)')
    const database = withPart((at) => {
      at.pathname = '/nowhere'
    })
    expect(await words(database)).toBe('the server has no database of this name (SQLSTATE 3D000)')
    await world.query(`alter role ${role} nologin`)
    expect(await words(url)).toMatch(/^the database lets this user in from here by no rule: pg_hba.conf .*28000\)$/)
    await world.query(`alter role ${role} login`)
    await world.query(`revoke connect on database ${nameOf(world.databaseUrl)} from public, ${role}`)
    expect(await words(url)).toMatch(/^the user lacks a right in the database: .*42501\)$/)
    await world.query(`grant connect on database ${nameOf(world.databaseUrl)} to public`)
  })

  it('faults of TLS are named: a server without it, a strange certificate, one of another name, one that has expired', async () => {
    const ca = makeCa('stores')
    const folder = await mkdtemp(join(tmpdir(), 'dvt-ca-'))
    const file = join(folder, 'ca.pem')
    await writeFile(file, ca.cert)
    const words = async (at: string, parameters: string, host = '127.0.0.1') => {
      const changed = new URL(at)
      changed.hostname = host
      const { code, message } = await failureOf(`${changed.href}?${parameters}`, 60_000)
      expect(code).toBe('DATABASE_TLS')
      return message
    }
    try {
      await using tls = await startPostgresProxy(world.databaseUrl, ca.issue('database'))
      await using ended = await startPostgresProxy(world.databaseUrl, ca.issue('database', { ended: true }))
      const trusted = `sslmode=verify-full&sslrootcert=${file}`
      expect(await words(world.databaseUrl, 'sslmode=verify-full')).toMatch(/the server has none \(sslmode\)/)
      expect(await words(tls.url, 'sslmode=verify-full')).toMatch(/not signed by a CA that is trusted here/)
      expect(await words(tls.url, trusted, 'localhost')).toMatch(/for another name than the host in the URL/)
      expect(await words(ended.url, trusted)).toMatch(/has expired/)
      await using _db = await connectDatabase({ url: `${tls.url}?${trusted}`, logger: silentLogger, waitMs: 0 })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('a standby is waited for, in words, until it is the primary', async () => {
    await using standby = await startStandby()
    const told = Promise.withResolvers<void>()
    const logger = createLogger({
      level: 'warn',
      format: 'json',
      destination: { write: (line) => line.includes('the database is a hot standby') && told.resolve() },
    })
    const connecting = connectDatabase({ url: standby.url, logger, waitMs: 120_000 })
    await told.promise
    const reader = new pg.Client({ connectionString: standby.url })
    await reader.connect()
    await reader.query('select pg_promote(true)')
    await reader.end()
    await using db = await connecting
    await db.execute(sql`create table written (a int)`)
  })

  it('what a person has to mend ends with exit code 1 and says what to do', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => {})
    const run = (at: string) =>
      runCommand(['void-sealed', '--yes'], world.environment({ ...threshold, DATABASE_URL: at }), () => {})
    try {
      proxy.behave({ sqlstate: '08P01', message: 'unsupported startup parameter: statement_timeout' })
      expect(await run(url)).toBe(1)
      expect(said.mock.lastCall?.[0]).toMatch(/^there is a pooler before the database.* \(DATABASE_URL\)$/)
      expect(said.mock.lastCall?.[0]).not.toContain('secret')
    } finally {
      proxy.behave('pass')
      said.mockRestore()
    }
  })
})

describe('a queue on PostgreSQL', () => {
  const failureOf = (at: string) =>
    connectQueue({ databaseUrl: at, logger: silentLogger }).then(
      () => undefined,
      (error: unknown) => error,
    )

  it('that cannot be opened says whether it may be later', async () => {
    await using foreign = await createTestDatabase()
    const at = new URL(foreign.url)
    at.username = role
    at.password = 'secret'
    expect(await failureOf(at.href)).toMatchObject({
      code: 'QUEUE_REFUSED',
      message: expect.stringMatching(/42501.*schema bullmq/),
    })
    await world.query(`alter role ${role} connection limit 0`)
    expect(await failureOf(at.href)).toMatchObject({ code: 'QUEUE_UNREACHABLE', meta: { reason: '53300' } })
    await world.query(`alter role ${role} connection limit -1`)
  })
})

describe.skipIf(!hasPgbouncer())('behind PgBouncer', () => {
  const ignored = { ignore_startup_parameters: 'statement_timeout,idle_in_transaction_session_timeout,options' }
  const failureAt = async (settings: Record<string, string>) => {
    await using bouncer = await startPgbouncer(world.databaseUrl, settings)
    return await connectDatabase({ url: bouncer.url, logger: silentLogger, waitMs: 60_000 }).then(
      () => undefined,
      (error: unknown) => error,
    )
  }

  it('as it is installed it refuses what a connection needs', async () => {
    expect(await failureAt({ pool_mode: 'session' })).toMatchObject({
      code: 'DATABASE_POOLED',
      message: expect.stringContaining('it refuses what a connection needs'),
    })
  })

  it.each([
    ['transaction', '20'],
    ['transaction', '1'],
    ['statement', '20'],
  ])('pooling by %s, %s connections: sessions are not its own', async (mode, size) => {
    const failure = await failureAt({ ...ignored, pool_mode: mode, default_pool_size: size })
    expect(failure).toMatchObject({ code: 'DATABASE_POOLED' })
  })

  it('that pools otherwise from one day on is noticed while it runs', async () => {
    await using bouncer = await startPgbouncer(world.databaseUrl, { ...ignored, pool_mode: 'transaction' })
    await using db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
    await using database = createDatabaseCheck(db, bouncer.url)
    await database.check()
    // Takes what the check has left.
    const other = new pg.Client({ connectionString: bouncer.url })
    await other.connect()
    await other.query('begin')
    await expect(database.check()).rejects.toMatchObject({
      code: 'DATABASE_POOLED',
      message: expect.stringContaining('it hands one connection to several sessions'),
    })
    await other.end()
  })

  it('pooling by session, as the message says, everything works', async () => {
    let database: TestDatabase | undefined
    try {
      database = await createTestDatabase()
      await using bouncer = await startPgbouncer(database.url, {
        ...ignored,
        pool_mode: 'session',
        default_pool_size: '50',
      })
      await using relayer = await world.startRelayer({ ...threshold, DATABASE_URL: bouncer.url })
      const keys = publicKeysOf(make(1))
      await eventually('it works', async () =>
        (await postValidators(relayer.url, keys)).status === 200 ? true : undefined,
      )
    } finally {
      await database?.[Symbol.asyncDispose]()
    }
  })
})
