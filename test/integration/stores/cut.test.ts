/** Connections that are cut without a word, as firewalls and vanished machines do: each is noticed, and another one made. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHttpClient } from '@dvt-relayer/common/http/client.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase, createListener } from '@dvt-relayer/db/connect.ts'
import { connectQueue } from '@dvt-relayer/queue/queue.ts'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../support/services/postgres.ts'
import { hasRedis, startRedis } from '../../support/services/redis.ts'
import { type PostgresProxy, startPostgresProxy } from '../../support/stores/postgres-proxy.ts'

let database: TestDatabase
let proxy: PostgresProxy
beforeAll(async () => {
  database = await createTestDatabase()
  proxy = await startPostgresProxy(database.url)
})
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await database?.[Symbol.asyncDispose]()
})
afterEach(() => {
  vi.restoreAllMocks()
})

describe('a connection that was cut without a word', () => {
  it.concurrent('is made anew where it only listens', async () => {
    await using db = await connectDatabase({ url: database.url, logger: silentLogger })
    const heard: string[] = []
    const away: number[] = []
    await using _listener = createListener({
      url: proxy.url,
      channels: ['news'],
      onNotify: (_channel, payload) => heard.push(payload),
      onReconnect: (awayMs) => away.push(awayMs),
      logger: silentLogger,
      asksMs: 2_000,
    })
    await vi.waitUntil(() => away.length === 1, { timeout: 60_000 })
    proxy.cutSilently()
    await db.execute(sql`select pg_notify('news', 'missed')`)
    await vi.waitUntil(() => away.length > 1, { timeout: 60_000 })
    expect(away[1]).toBeGreaterThan(0)
    await db.execute(sql`select pg_notify('news', 'heard')`)
    await vi.waitUntil(() => heard.includes('heard'), { timeout: 60_000 })
    expect(heard).not.toContain('missed')
  })

  it('is not given to anybody where it lay unused', async () => {
    await using db = await connectDatabase({ url: proxy.url, logger: silentLogger, maxConnections: 2 })
    const pidsOf = async () =>
      new Set(
        await Promise.all(
          [1, 2].map(() =>
            db.transaction(async (tx) => {
              const { rows } = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid, pg_sleep(0.1)`)
              return rows[0]?.pid
            }),
          ),
        ),
      )
    const before = await pidsOf()
    expect(before.size).toBe(2)
    proxy.cutSilently()
    const now = performance.now.bind(performance)
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 10_000)
    const begun = now()
    // Statements have half a minute; that nobody waits for so long is the point.
    expect((await pidsOf()).isDisjointFrom(before)).toBe(true)
    expect(now() - begun).toBeLessThan(30_000)
  })

  it('holds a lock no longer than a minute: the server is told to look for its other end', async () => {
    await using db = await connectDatabase({ url: database.url, logger: silentLogger })
    const shown = await db.onOneConnection(
      async (own) =>
        (
          await own.execute(sql`select current_setting('tcp_keepalives_idle') as idle, current_setting('tcp_keepalives_count') as count,
          current_setting('tcp_keepalives_interval') as interval, current_setting('tcp_user_timeout') as unanswered`)
        ).rows,
    )
    expect(shown).toEqual([{ idle: '30', interval: '10', count: '3', unanswered: '60000' }])
  })

  it.concurrent('is given up where a server of HTTP is behind it, and the question asked over another one', async () => {
    await using server = createServer((_request, response) => response.end('{}'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await using between = await startPostgresProxy(`http://127.0.0.1:${port}`)
    const outcomes: string[] = []
    const onResult = ({ outcome }: { outcome: string }) => void outcomes.push(outcome)
    const http = createHttpClient({ endpoints: [between.url], timeoutMs: 2_000, retryTimeoutMs: 60_000, onResult })
    const ask = async () => expect((await http.send({ path: '' })).status).toBe(200)
    await Promise.all([ask(), ask()])
    // By now one of the two is free for the next.
    await ask()
    between.cutSilently()
    await ask()
    expect(outcomes).toContain('timeout')
    server.closeAllConnections()
  })

  it.skipIf(!hasRedis()).concurrent('is made anew by a worker of the queue on Redis', async () => {
    await using redis = await startRedis()
    await using between = await startPostgresProxy(redis.url)
    const connect = (redisUrl: string) => connectQueue({ redisUrl, databaseUrl: database.url, logger: silentLogger })
    await using producer = await connect(redis.url)
    await using consumer = await connect(between.url)
    const seen: number[] = []
    await using _worker = consumer.startWorker(
      { finish_messages: async ({ message_ids }) => void seen.push(...message_ids) },
      { concurrency: 1 },
    )
    await producer.add('finish_messages', { message_ids: [1] })
    await vi.waitUntil(() => seen.includes(1), { timeout: 60_000 })
    between.cutSilently()
    await producer.add('finish_messages', { message_ids: [2] })
    await vi.waitUntil(() => seen.includes(2), { timeout: 60_000 })
  })
})
