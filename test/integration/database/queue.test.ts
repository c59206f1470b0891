import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLogger, silentLogger } from '../../../libs/common/src/log/logger.ts'
import type { JobQueue } from '../../../libs/queue/src/queue.ts'
import { connectQueue } from '../../../libs/queue/src/queue.ts'
import type { TestDatabase } from '../../support/services/postgres.ts'
import { createTestDatabase } from '../../support/services/postgres.ts'
import type { TestRedis } from '../../support/services/redis.ts'
import { hasRedis, startRedis } from '../../support/services/redis.ts'

const REDIS = hasRedis()
/** What is away is not waited for: BullMQ would do that for ever. */
const SOON_MS = 30_000
let database: TestDatabase
let redis: TestRedis | undefined

beforeAll(async () => {
  database = await createTestDatabase()
  redis = REDIS ? await startRedis() : undefined
})

afterAll(async () => {
  await redis?.[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

function collectLines() {
  const lines: { level: string; msg: string }[] = []
  const logger = createLogger({
    level: 'info',
    format: 'json',
    destination: { write: (line) => lines.push(JSON.parse(line)) },
  })
  return { lines, logger }
}

const connect = (backend: string, logger = silentLogger): Promise<JobQueue> =>
  connectQueue({ redisUrl: backend === 'redis' ? redis?.url : undefined, databaseUrl: database.url, logger })

describe.each(['postgres', 'redis'])('queue on %s', (backend) => {
  const it = test.skipIf(backend === 'redis' && !REDIS)

  it('a job reaches the worker of another connection', async () => {
    await using producer = await connect(backend)
    await using consumer = await connect(backend)
    expect(producer.name).toBe(backend)
    const seen: number[][] = []
    await using _worker = consumer.startWorker(
      { finish_messages: async ({ message_ids }) => void seen.push(message_ids) },
      { concurrency: 2 },
    )
    expect(await producer.add('finish_messages', { message_ids: [1, 2] })).toBe('added')
    await expect.poll(() => seen).toEqual([[1, 2]])
    expect(await producer.isHealthy()).toBe(true)
  })

  it('a job id waits once, and can be added again after its job failed', async () => {
    const { lines, logger } = collectLines()
    await using queue = await connect(backend, logger)
    for (let i = 0; i < 3; i++)
      expect(await queue.add('finish_messages', { message_ids: [5] }, { jobId: 'exit-5' })).toBe('added')
    expect(await queue.counts()).toMatchObject({ waiting: 1 })
    let calls = 0
    await using _worker = queue.startWorker(
      {
        finish_messages: async () => {
          calls++
          throw new Error('broken')
        },
      },
      { concurrency: 1 },
    )
    await expect.poll(() => calls).toBe(1)
    await expect.poll(() => queue.counts()).toEqual({ waiting: 0, active: 0 })
    expect(await queue.add('finish_messages', { message_ids: [5] }, { jobId: 'exit-5' })).toBe('added')
    await expect.poll(() => calls).toBe(2)
    expect(lines.filter(({ msg }) => msg === 'job failed')).toHaveLength(2)
  })

  it('a payload that does not fit is refused', async () => {
    await using queue = await connect(backend)
    for (const message_ids of [[], [0], [1.5], Array.from({ length: 501 }, (_, i) => i + 1)]) {
      expect(await queue.add('verify_partials', { message_ids })).toBe('not_added')
    }
    expect(await queue.counts()).toMatchObject({ waiting: 0 })
  })

  it('a worker that is stopped tells its handlers and waits for them', async () => {
    await using queue = await connect(backend)
    let running = false
    let told = false
    const worker = queue.startWorker(
      {
        finish_messages: (_payload, signal) =>
          new Promise((done) => {
            running = true
            signal.addEventListener('abort', () => {
              told = true
              done()
            })
          }),
      },
      { concurrency: 1 },
    )
    await queue.add('finish_messages', { message_ids: [1] })
    await expect.poll(() => running).toBe(true)
    await worker[Symbol.asyncDispose]()
    expect(told).toBe(true)
    expect(await queue.counts()).toEqual({ waiting: 0, active: 0 })
  })
})

test('on postgres, a database that is away is an error at once', async () => {
  await expect(
    connectQueue({ databaseUrl: 'postgres://a:b@127.0.0.1:1/c', logger: silentLogger }),
  ).rejects.toMatchObject({
    code: 'QUEUE_UNREACHABLE',
    meta: { reason: 'ECONNREFUSED' },
  })
})

test('on postgres, lost connections are made again and the worker goes on', async () => {
  await using fresh = await createTestDatabase()
  await using queue = await connectQueue({ databaseUrl: fresh.url, logger: silentLogger })
  const seen: number[] = []
  await using _worker = queue.startWorker(
    { finish_messages: async ({ message_ids }) => void seen.push(...message_ids) },
    { concurrency: 1 },
  )
  await queue.add('finish_messages', { message_ids: [1] })
  await expect.poll(() => seen).toEqual([1])
  const admin = new pg.Client({ connectionString: fresh.url })
  await admin.connect()
  await admin.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  )
  await admin.end()
  await expect.poll(() => queue.add('finish_messages', { message_ids: [2] })).toBe('added')
  await expect.poll(() => seen.at(-1)).toBe(2)
})

describe.skipIf(!REDIS)('redis away', () => {
  test('an add returns within a second, the worker goes on afterwards, and the log tells it once', async () => {
    await using server = await startRedis()
    const { lines, logger } = collectLines()
    await using queue = await connectQueue({ redisUrl: server.url, databaseUrl: database.url, logger })
    const seen: number[] = []
    await using _worker = queue.startWorker(
      { finish_messages: async ({ message_ids }) => void seen.push(...message_ids) },
      { concurrency: 1 },
    )
    await queue.add('finish_messages', { message_ids: [1] })
    await expect.poll(() => seen).toEqual([1])

    await server.kill()
    const before = performance.now()
    const told = () => lines.flatMap(({ msg }) => (msg.startsWith('queue ') ? [msg] : []))
    for (let times = 0; times < 3; times++)
      expect(await queue.add('finish_messages', { message_ids: [2] })).toBe('not_added')
    expect(await queue.isHealthy()).toBe(false)
    expect(performance.now() - before).toBeLessThan(SOON_MS)
    await expect.poll(() => told().at(-1)).toBe('queue away')
    // Of what fails from then on nothing more is said.
    const saidBefore = lines.length
    for (let times = 0; times < 3; times++)
      expect(await queue.add('finish_messages', { message_ids: [2] })).toBe('not_added')
    expect(lines.slice(saidBefore)).toEqual([])

    await server.restart()
    await expect.poll(() => queue.isHealthy()).toBe(true)
    await expect.poll(() => queue.add('finish_messages', { message_ids: [3] })).toBe('added')
    await expect.poll(() => seen.at(-1)).toBe(3)
    expect(told()).toContain('queue back')
    // Away and back in turns.
    expect(told().every((msg, i) => msg === (i % 2 === 0 ? 'queue away' : 'queue back'))).toBe(true)
  })

  test('the queue opens while redis is away and works when it comes', async () => {
    await using server = await startRedis()
    await server.kill()
    await using queue = await connectQueue({ redisUrl: server.url, databaseUrl: database.url, logger: silentLogger })
    expect(await queue.add('finish_messages', { message_ids: [1] })).toBe('not_added')
    let worked = 0
    await using _worker = queue.startWorker({ finish_messages: async () => void worked++ }, { concurrency: 1 })
    await server.restart()
    await expect.poll(() => queue.add('finish_messages', { message_ids: [1] })).toBe('added')
    await expect.poll(() => worked).toBe(1)
  })

  test('disposing does not wait for a redis that is gone', async () => {
    const server = await startRedis()
    const queue = await connectQueue({ redisUrl: server.url, databaseUrl: database.url, logger: silentLogger })
    const worker = queue.startWorker({}, { concurrency: 1 })
    await queue.add('finish_messages', { message_ids: [1] })
    await server.kill()
    const before = performance.now()
    await worker[Symbol.asyncDispose]()
    await queue[Symbol.asyncDispose]()
    expect(performance.now() - before).toBeLessThan(SOON_MS)
  })
})

test('a connection that is cut while a worker starts does not end the process', async () => {
  await using cut = await createTestDatabase()
  await using queue = await connectQueue({ redisUrl: undefined, databaseUrl: cut.url, logger: silentLogger })
  const [client, onlooker] = [cut.url, database.url].map((url) => new pg.Client({ connectionString: url })) as [
    pg.Client,
    pg.Client,
  ]
  await Promise.all([client.connect(), onlooker.connect()])
  const name = new URL(cut.url).pathname.slice(1)
  try {
    await expect.poll(() => queue.isHealthy()).toBe(true)
    // Whoever starts waits here with a connection in hand, and is cut there: an error that nobody hears would fail the whole run.
    await client.query('begin')
    await client.query('lock table bullmq.migration in access exclusive mode')
    {
      await using _worker = queue.startWorker({ finish_messages: async () => {} }, { concurrency: 1 })
      const waiting = `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = $1 and wait_event_type = 'Lock'`
      await expect.poll(async () => (await onlooker.query(waiting, [name])).rowCount).toBeGreaterThan(0)
      await client.query('rollback')
    }
    const seen: number[][] = []
    await using _worker = queue.startWorker(
      { finish_messages: async ({ message_ids }) => void seen.push(message_ids) },
      { concurrency: 1 },
    )
    await expect.poll(() => queue.add('finish_messages', { message_ids: [9] })).toBe('added')
    await expect.poll(() => seen).toContainEqual([9])
  } finally {
    await Promise.all([client.end(), onlooker.end()])
  }
})
