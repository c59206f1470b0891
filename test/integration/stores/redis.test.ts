/** Redis that answers and cannot hold a queue: told in its own words, and gone on with by itself. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectQueue } from '@dvt-relayer/queue/queue.ts'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startProcess } from '../../support/services/process.ts'
import { hasRedis, startRedis, type TestRedis } from '../../support/services/redis.ts'
import { startWorld, type World } from '../../support/world/world.ts'
import { expectRecovery, threshold, untilReady } from './support.ts'

/** An administrator's connection, which no test takes the rights from. */
function administer(redis: TestRedis): Redis {
  const client = new Redis(redis.url, { lazyConnect: false, maxRetriesPerRequest: null })
  client.on('error', () => undefined)
  return client
}

interface Fault {
  name: string
  words: RegExp
  begin(admin: Redis): Promise<unknown>
  end(admin: Redis): Promise<unknown>
}

const USER = ['setuser', 'default', 'on', 'nopass', '~*', '&*', '+@all'] as const
/** Clients that are there are let in already. */
const cutOthers = (admin: Redis) => admin.call('client', 'kill', 'type', 'normal', 'skipme', 'yes')

const FAULTS: readonly Fault[] = [
  {
    name: 'that evicts',
    words: /^Redis may throw jobs away: maxmemory-policy is allkeys-lru, and must be noeviction/,
    begin: (admin) => admin.config('SET', 'maxmemory-policy', 'allkeys-lru'),
    end: (admin) => admin.config('SET', 'maxmemory-policy', 'noeviction'),
  },
  {
    name: 'that is full',
    words: /^Redis is full: raise maxmemory/,
    begin: (admin) => admin.config('SET', 'maxmemory', '1'),
    end: (admin) => admin.config('SET', 'maxmemory', '0'),
  },
  {
    name: 'that wants a password',
    words: /^Redis wants a password: put it into REDIS_URL/,
    async begin(admin) {
      await admin.config('SET', 'requirepass', 'secret')
      await admin.auth('secret')
      await cutOthers(admin)
    },
    end: (admin) => admin.config('SET', 'requirepass', ''),
  },
  {
    name: 'that is a read-only replica',
    words: /^this Redis is a read-only replica: name the primary/,
    begin: (admin) => admin.replicaof('127.0.0.1', 1),
    end: (admin) => admin.replicaof('NO', 'ONE'),
  },
  {
    name: 'that is a replica without its primary',
    words: /^this Redis is a replica that has lost its primary/,
    async begin(admin) {
      await admin.config('SET', 'replica-serve-stale-data', 'no')
      await admin.replicaof('127.0.0.1', 1)
    },
    end: (admin) => admin.replicaof('NO', 'ONE'),
  },
  {
    name: 'whose user may not write',
    words: /^the user of REDIS_URL lacks rights in Redis/,
    begin: (admin) => admin.call('acl', ...USER, '-@write'),
    end: (admin) => admin.call('acl', ...USER),
  },
  {
    name: 'whose user may touch other keys only',
    words: /^the user of REDIS_URL lacks rights in Redis/,
    begin: (admin) => admin.call('acl', ...USER, 'resetkeys', '~other:*'),
    end: (admin) => admin.call('acl', ...USER),
  },
  {
    name: 'that must not write without replicas',
    words: /^Redis takes no writes without more replicas/,
    begin: (admin) => admin.config('SET', 'min-replicas-to-write', '1'),
    end: (admin) => admin.config('SET', 'min-replicas-to-write', '0'),
  },
  {
    name: 'that says nothing for a while',
    words: /^the queue does not answer; PostgreSQL keeps what is to be done$/,
    // It ends by itself: nobody is heard meanwhile.
    begin: (admin) => admin.call('client', 'pause', '12000', 'all'),
    end: async () => undefined,
  },
]

describe.skipIf(!hasRedis())('a queue on a Redis', () => {
  it.each(FAULTS)('$name', async ({ words, begin, end }) => {
    await using redis = await startRedis()
    const admin = administer(redis)
    const warnings: string[] = []
    const logger = createLogger({
      level: 'warn',
      format: 'json',
      destination: { write: (line) => warnings.push(line) },
    })
    try {
      await using queue = await connectQueue({ redisUrl: redis.url, databaseUrl: '', logger })
      const done: number[] = []
      await using _worker = queue.startWorker(
        { finish_messages: async ({ message_ids }) => void done.push(...message_ids) },
        { concurrency: 1 },
      )
      await expect.poll(() => queue.add('finish_messages', { message_ids: [1] })).toBe('added')
      await expect.poll(() => done).toContain(1)
      expect(await queue.findProblem()).toBeUndefined()
      await begin(admin)
      await expect.poll(() => queue.findProblem()).toMatch(words)
      await expect.poll(() => queue.findProblem()).toMatch(words)
      await end(admin)
      await expect.poll(() => queue.findProblem()).toBeUndefined()
      await expect.poll(() => queue.add('finish_messages', { message_ids: [2] })).toBe('added')
      await expect.poll(() => done).toContain(2)
      // Told once, whatever number of questions failed meanwhile.
      expect(warnings.length).toBeLessThanOrEqual(2)
      expect(warnings.join('')).not.toContain('secret')
    } finally {
      admin.disconnect()
    }
  })

  it('whose password is another, or whose user lacks every right, from the start: it works once that is mended', async () => {
    await using redis = await startRedis()
    const admin = administer(redis)
    try {
      await admin.config('SET', 'requirepass', 'other')
      await admin.auth('other')
      const withPassword = new URL(redis.url)
      withPassword.password = 'secret'
      await admin.call('acl', 'setuser', 'weak', 'on', '>secret', '~*', '&*', '+@connection')
      const asWeak = new URL(redis.url)
      asWeak.username = 'weak'
      asWeak.password = 'secret'
      await using wrong = await connectQueue({ redisUrl: withPassword.href, databaseUrl: '', logger: silentLogger })
      await using weak = await connectQueue({ redisUrl: asWeak.href, databaseUrl: '', logger: silentLogger })
      await expect.poll(() => wrong.findProblem()).toMatch(/^Redis refuses the user or the password of REDIS_URL/)
      await expect.poll(() => weak.findProblem()).toMatch(/^the user of REDIS_URL lacks rights in Redis/)
      const done: number[] = []
      await using _worker = weak.startWorker(
        { finish_messages: async ({ message_ids }) => void done.push(...message_ids) },
        { concurrency: 1 },
      )
      await admin.config('SET', 'requirepass', 'secret')
      await admin.call('acl', 'setuser', 'weak', '+@all')
      for (const queue of [wrong, weak]) {
        await expect.poll(() => queue.findProblem()).toBeUndefined()
        await expect.poll(() => queue.add('finish_messages', { message_ids: [1] })).toBe('added')
      }
      await expect.poll(() => done).toContain(1)
    } finally {
      admin.disconnect()
    }
  })

  it('that is loading its data', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dvt-redis-'))
    await using redis = await startRedis(['--enable-debug-command', 'yes', '--dir', folder])
    const admin = administer(redis)
    try {
      await using queue = await connectQueue({ redisUrl: redis.url, databaseUrl: '', logger: silentLogger })
      await expect.poll(() => queue.findProblem()).toBeUndefined()
      await admin.call('debug', 'populate', '2000')
      // Microseconds for each key; between some of them others are answered.
      await admin.config('SET', 'key-load-delay', '5000')
      await admin.config('SET', 'loading-process-events-interval-bytes', '1024')
      const reloaded = admin.call('debug', 'reload')
      await expect.poll(() => queue.findProblem()).toMatch(/^Redis is (loading|not ready yet: it is loading) its data/)
      await reloaded
      await expect.poll(() => queue.findProblem()).toBeUndefined()
    } finally {
      admin.disconnect()
      await rm(folder, { recursive: true })
    }
  })
})

describe.skipIf(!hasRedis())('a relayer on a Redis', () => {
  let world: World
  beforeAll(async () => {
    world = await startWorld()
  })
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  it.each(FAULTS.filter(({ name }) => /full|password|evicts/.test(name)))('$name', async ({ words, begin, end }) => {
    await using redis = await startRedis()
    await using relayer = await world.startRelayer({ ...threshold, REDIS_URL: redis.url })
    const admin = administer(redis)
    try {
      await expectRecovery(world, relayer.url, {
        line: 'queue',
        words,
        begin: () => begin(admin),
        end: () => end(admin),
      })
    } finally {
      admin.disconnect()
    }
  })

  it('prints JSON lines of its own alone, whatever its libraries have to say', async () => {
    await using redis = await startRedis(['--maxmemory-policy', 'allkeys-lru'])
    const withPassword = new URL(redis.url)
    withPassword.password = 'superfluous'
    await using relayer = startProcess(
      'quick relayer',
      world.environment({ ...threshold, REDIS_URL: withPassword.href }),
    )
    const { url } = (await relayer.logged('relayer started')) as { url: string }
    await untilReady(url, 'queue', /must be noeviction/)
    // While Redis is away its libraries have more to say.
    await redis.kill()
    await untilReady(url, 'queue', /PostgreSQL keeps what is to be done/)
    await relayer.end('SIGTERM')
    const lines = relayer.output().trim().split('\n')
    const strange = lines.filter((line) => !line.startsWith('{"level":') || !line.includes('"msg":'))
    expect(strange).toEqual([])
    expect(relayer.output()).not.toContain('superfluous"')
    const told = lines.filter((line) => line.includes('"msg":"a library says"'))
    expect(told.filter((line) => line.includes('Eviction policy is allkeys-lru'))).toHaveLength(1)
  })
})
