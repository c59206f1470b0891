/** The connection to PostgreSQL: a pool behind drizzle, and a listener for notifications. */

import { createTurns, type Turns } from '@dvt-relayer/common/flow/turns.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { pause, withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { sql } from 'drizzle-orm'
import type { NodePgDatabase } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import { DatabaseClient, hostOf } from './client.ts'
import { DatabaseError, isOfDatabase, isPassing, translateDatabaseError } from './errors.ts'
import { assertOwnSessions, assertWritable } from './fitness.ts'
import type { Orm } from './orm.ts'
import { createOrm, runTransaction } from './orm.ts'

/** Drizzle's database, ended by `await using`. `bigint` columns are numbers; every query throws `DatabaseError` only. */
export interface Database extends Orm, AsyncDisposable {
  /** Where it is: host, port and database, without credentials. */
  readonly host: string
  /** Runs `work` in a transaction: its statements count all, or none when it throws. */
  transaction<T>(work: (tx: Orm) => Promise<T>): Promise<T>
  /** Runs `work` on a connection of its own, where session-wide locks and settings hold and no timeout does. */
  onOneConnection<T>(work: (db: NodePgDatabase) => Promise<T>): Promise<T>
  /** The newest failure of a statement that was the database's, and not the statement's: it may pass unseen. */
  trouble(): DatabaseError | undefined
  /** A write has gone through since. */
  troubleIsOver(): void
}

interface ConnectOptions {
  url: string
  logger: Logger
  applicationName?: string
  maxConnections?: number
  /** How the connections are shared among those on whose account statements run (`currentAccount`); in rotation unless given. */
  shares?: ConnectionShares
  /** How long a database that is away is waited for. */
  waitMs?: number
  statementTimeoutMs?: number
  /** The server refuses every write of these connections. */
  readOnly?: boolean
  signal?: AbortSignal
}

/** How many connections accounts may have at once, by group, those that go first first. */
export type ConnectionShares = Readonly<Record<string, { ofOne: number; ofAll: number }>>

/** Statements of one account that may wait for a connection, and for how long. */
const WAITING = { most: 1000, ms: 10_000 }

/**
 * Connects, waiting for a database that is away, short of something or takes no writes.
 *
 * @throws {DatabaseError} DATABASE_UNREACHABLE, DATABASE_OVERLOADED, DATABASE_READ_ONLY after `waitMs` (60 s); at once what a person has to
 * mend: DATABASE_ACCESS_DENIED, DATABASE_POOLED, DATABASE_TLS
 */
export async function connectDatabase(options: ConnectOptions): Promise<Database> {
  const { url, logger, applicationName = 'dvt-relayer', maxConnections = 10, statementTimeoutMs = 30_000 } = options
  const host = hostOf(url)
  const pool = new pg.Pool({
    connectionString: url,
    application_name: applicationName,
    max: maxConnections,
    statement_timeout: statementTimeoutMs,
    ...(options.readOnly === true ? { options: '-c default_transaction_read_only=on' } : {}),
    // A connection that died without a word would otherwise hold its caller for ever.
    query_timeout: statementTimeoutMs + 5_000,
    idle_in_transaction_session_timeout: 60_000,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    Client: DatabaseClient,
  })
  const endPool = createEnd(pool)
  pool.on('error', (error) => logger.debug({ err: translateDatabaseError(error, host) }, 'database connection lost'))
  const others = { ofOne: maxConnections, ofAll: maxConnections }
  const limits = { total: maxConnections, groups: options.shares ?? {}, others }
  takeInTurns(pool, createTurns({ ...limits, waiting: WAITING.most, waitMs: WAITING.ms }))
  let trouble: DatabaseError | undefined
  const onFailure = (error: DatabaseError) => {
    if (isOfDatabase(error)) trouble = error
  }
  const orm = createOrm(pool, host, onFailure)
  try {
    await waitForDatabase(orm, host, options)
    trouble = undefined
  } catch (error) {
    await endPool()
    throw error
  }
  return Object.assign(orm, {
    host,
    trouble: () => trouble,
    troubleIsOver: () => {
      trouble = undefined
    },
    transaction: <T>(work: (tx: Orm) => Promise<T>) => runTransaction(pool, host, onFailure, work),
    onOneConnection: async <T>(work: (db: NodePgDatabase) => Promise<T>): Promise<T> => {
      const client = new DatabaseClient({
        connectionString: url,
        application_name: applicationName,
        connectionTimeoutMillis: 5_000,
      })
      const open = async () => {
        await client.connect()
        await client.query(NOTICE_AN_ABSENCE)
      }
      try {
        await open().catch((error: unknown) => Promise.reject(translateDatabaseError(error, host)))
        return await work(createOrm(client, host))
      } finally {
        await client.end().catch(() => undefined)
      }
    },
    [Symbol.asyncDispose]: endPool,
  })
}

/**
 * The server notices within a minute that who holds a lock is gone without a word (its machine, or the way to it), and frees the lock. By
 * itself it would take two hours.
 */
const NOTICE_AN_ABSENCE =
  'set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3; set tcp_user_timeout = 60000'

/** How long the end of a pool waits for statements under way: whoever needs their answers has been waited for before. */
const LAST_STATEMENTS_MS = 500

/** Ends a pool. A statement that a database does not answer any more fails, instead of holding its connection, and the end, for half a minute. */
function createEnd(pool: pg.Pool): () => Promise<void> {
  const clients = new Set<pg.PoolClient>()
  pool.on('connect', (client) => clients.add(client))
  pool.on('remove', (client) => clients.delete(client))
  return async () => {
    if (pool.ending) return
    const ended = pool.end()
    await withTimeout(ended, LAST_STATEMENTS_MS).catch(async () => {
      await Promise.all([...clients].map((client) => (client as pg.PoolClient & pg.Client).end()))
    })
  }
}

/**
 * Has a pool's connections taken in turns: who wants many waits in a line of its own, before it holds one. Every way to a connection
 * leads through `connect`, of `pool.query` too.
 */
function takeInTurns(pool: pg.Pool, turns: Turns): void {
  const { connect, given } = createTrust(pool.connect.bind(pool) as () => Promise<pg.PoolClient>)
  const connectInTurn = async (): Promise<pg.PoolClient> => {
    const turn = await turns.take()
    if (turn === undefined) throw new DatabaseError('DATABASE_BUSY', 'too much of one caller waits for the database')
    try {
      const client = await connect()
      const release = client.release.bind(client)
      client.release = (error?: Error | boolean) => {
        given(client)
        release(error)
        turn.release()
      }
      return client
    } catch (error) {
      turn.release()
      throw error
    }
  }
  type Callback = (error: unknown, client?: pg.PoolClient, release?: pg.PoolClient['release']) => void
  const either = (callback?: Callback) => {
    if (callback === undefined) return connectInTurn()
    connectInTurn().then((client) => callback(undefined, client, client.release), callback)
    return undefined
  }
  pool.connect = either as typeof pool.connect
}

/** A connection that lay unused for so long is asked whether it still is one, and how long its answer is waited for. */
const UNUSED_MS = 5_000
const ALIVE_MS = 5_000

/**
 * Takes from a pool no connection that was cut without a word while nobody used it, as firewalls and vanished servers do: whoever had it
 * would wait half a minute for a statement that nobody has got.
 */
function createTrust(take: () => Promise<pg.PoolClient>) {
  /** When each was last given back. */
  const givenAt = new WeakMap<pg.PoolClient, number>()
  /** What was last used before that is cut off too. */
  let cutAt = Number.NEGATIVE_INFINITY

  async function isAlive(client: pg.PoolClient): Promise<boolean> {
    const at = givenAt.get(client) ?? performance.now()
    if (at <= cutAt) return false
    if (performance.now() - at < UNUSED_MS) return true
    try {
      await client.query({ text: 'select 1', query_timeout: ALIVE_MS } as pg.QueryConfig)
      return true
    } catch {
      // Why it is none is nobody's concern: the next one is made anew, and says what is wrong.
      cutAt = Math.max(cutAt, at)
      return false
    }
  }

  return {
    given: (client: pg.PoolClient): void => void givenAt.set(client, performance.now()),
    /** Each that is none is thrown away, so the last is a new one. */
    async connect(): Promise<pg.PoolClient> {
      for (;;) {
        const client = await take()
        if (await isAlive(client)) return client
        client.release(true)
      }
    },
  }
}

async function waitForDatabase(orm: Orm, host: string, options: ConnectOptions): Promise<void> {
  const { url, applicationName = 'dvt-relayer', readOnly = false } = options
  const deadline = performance.now() + (options.waitMs ?? 60_000)
  const open = async () => {
    const client = new DatabaseClient({
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: 5_000,
      query_timeout: 5_000,
    })
    await client.connect().catch((error: unknown) => {
      throw translateDatabaseError(error, host)
    })
    return client
  }
  let told: string | undefined
  for (let attempt = 0; ; attempt++) {
    try {
      if (readOnly) await orm.execute(sql`select 1`)
      else {
        await assertWritable(orm, host)
        await assertOwnSessions(open, host)
      }
      return
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!isPassing(error) || performance.now() >= deadline) throw error
      if (told !== error.message) options.logger.warn({ host, err: error }, 'waiting for the database')
      told = error.message
      await pause(Math.min(100 * 2 ** attempt, 2_000, deadline - performance.now()), options.signal)
    }
  }
}

/** A connection that only listens does not notice that it was cut without a word: so often it is asked, and may take so long to answer. */
const LISTENER_ASKS_MS = 5_000

/**
 * Listens on channels over a connection of its own, which is made anew whenever it is lost, or gives no answer any more. Notifications
 * sent in between are lost too: `onReconnect` tells for how long nobody may have heard any, so that the caller looks for itself what it
 * missed. It is called after the first connection as well (with 0).
 */
export function createListener(options: {
  url: string
  channels: readonly string[]
  onNotify: (channel: string, payload: string) => void
  onReconnect: (awayMs: number) => void
  logger: Logger
  /** How often it is asked whether it still is a connection, and how long its answer is waited for. */
  asksMs?: number
}): AsyncDisposable {
  const { url, channels, logger, asksMs = LISTENER_ASKS_MS } = options
  const host = hostOf(url)
  const stop = new AbortController()
  let current: DatabaseClient | undefined
  /** When the connection last was one for certain. */
  let heardAt: number | undefined

  const listenOnce = async (onReady: () => void): Promise<void> => {
    const client = new DatabaseClient({
      connectionString: url,
      application_name: 'dvt-relayer-listener',
      connectionTimeoutMillis: 5_000,
      query_timeout: 5_000,
    })
    current = client
    const over = new AbortController()
    const untilSilent = async () => {
      const signal = AbortSignal.any([stop.signal, over.signal])
      while (!signal.aborted) {
        await pause(asksMs, signal)
        if (signal.aborted) return
        await client.query({ text: 'select 1', query_timeout: asksMs })
        heardAt = performance.now()
      }
    }
    const ended = new Promise<void>((resolve, reject) => {
      client.on('end', resolve)
      client.on('error', reject)
    })
    ended.catch(() => undefined)
    client.on('notification', ({ channel, payload }) => options.onNotify(channel, payload ?? ''))
    try {
      await client.connect()
      for (const channel of channels) await client.query(`listen ${client.escapeIdentifier(channel)}`)
      onReady()
      heardAt = performance.now()
      await Promise.race([ended, untilSilent()])
    } finally {
      over.abort()
      await client.end().catch(() => undefined)
    }
  }

  const run = async (): Promise<void> => {
    let attempt = 0
    while (!stop.signal.aborted) {
      try {
        await listenOnce(() => {
          const awayMs = heardAt === undefined ? 0 : performance.now() - heardAt
          if (attempt > 0) logger.info({ host, away_ms: Math.round(awayMs) }, 'listening to the database again')
          attempt = 0
          options.onReconnect(awayMs)
        })
      } catch (error) {
        if (attempt === 0 && !stop.signal.aborted) {
          logger.warn({ err: translateDatabaseError(error, host) }, 'not listening to the database')
        }
      }
      heardAt ??= performance.now()
      await pause(Math.min(50 * 2 ** attempt++, 2_000) * (0.75 + Math.random() / 2), stop.signal)
    }
  }
  const running = run()
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await current?.end().catch(() => undefined)
      await running
    },
  }
}
