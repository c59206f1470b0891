/** Whether a Redis that answers can hold a queue, and what its refusals mean in the words of whoever has to mend them. */

import { tlsFaultOf } from '@dvt-relayer/common/http/tls-fault.ts'
import type { Redis } from 'ioredis'

/** What a refusal begins with, and what it means. */
const REFUSALS: readonly (readonly [string, string])[] = [
  ['NOAUTH', 'Redis wants a password: put it into REDIS_URL (redis://:password@host:6379)'],
  ['WRONGPASS', 'Redis refuses the user or the password of REDIS_URL'],
  ['NOPERM', 'the user of REDIS_URL lacks rights in Redis: it needs all commands on all keys (ACL: ~* &* +@all)'],
  ['READONLY', 'this Redis is a read-only replica: name the primary in REDIS_URL'],
  ['MASTERDOWN', 'this Redis is a replica that has lost its primary: name the primary in REDIS_URL'],
  ['LOADING', 'Redis is loading its data'],
  ['OOM', 'Redis is full: raise maxmemory, or remove what else is kept there'],
  [
    'MISCONF',
    'Redis cannot write to its disk, and takes no writes (stop-writes-on-bgsave-error): the queue needs no disk',
  ],
  ['NOREPLICAS', 'Redis takes no writes without more replicas (min-replicas-to-write)'],
  ['MOVED', 'this Redis is a node of a cluster, which the queue does not know how to use: name one that stands alone'],
  [
    'CLUSTERDOWN',
    'this Redis is a node of a cluster, which the queue does not know how to use: name one that stands alone',
  ],
  ['DENIED', 'Redis is in protected mode: it lets only its own machine in without a password'],
  ['BUSY', 'Redis is busy with a script'],
  ['ERR max number of clients', 'Redis takes no more clients (maxclients)'],
  ['ERR DB index', 'Redis has no database of the number in REDIS_URL'],
]

/** Why Redis cannot be used; undefined for an error that says nothing of it. Nothing of a stranger's text is repeated. */
export function redisFault(error: unknown): string | undefined {
  const { code, message = '' } = (error ?? {}) as { code?: unknown; message?: string }
  const [, meaning] = REFUSALS.find(([start]) => new RegExp(`(^|: )-?${start}\\b`).test(message)) ?? []
  if (meaning !== undefined) return meaning
  // Before Redis 7 so ends a script whose user lacks a right.
  if (/can't run this command|no permissions/i.test(message)) return redisFault({ message: 'NOPERM' })
  if (typeof code !== 'string') return undefined
  const tls = tlsFaultOf(code)
  if (tls !== undefined) return `no connection to Redis by TLS: ${tls} (REDIS_URL)`
  return /^E[A-Z_]{3,}$/.test(code) ? `Redis cannot be reached (${code})` : undefined
}

/** Does on keys of its own what the queue does on its, so that a user without the right, or a Redis without room, is known before a job is. */
const PROBE = `
redis.call('set', KEYS[1], ARGV[1], 'px', 60000)
redis.call('del', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('hset', KEYS[2], 'a', '1')
redis.call('rpush', KEYS[3], '1')
redis.call('zadd', KEYS[4], '1', '1')
redis.call('xadd', KEYS[5], '*', 'a', '1')
redis.call('lrange', KEYS[3], 0, -1)
return redis.call('del', KEYS[2], KEYS[3], KEYS[4], KEYS[5])`

/** Looks at a Redis that is connected. @returns what is wrong, in words @throws what Redis refuses */
export async function findRedisProblem(client: Redis, prefix: string): Promise<string | undefined> {
  const keys = ['once', 'hash', 'list', 'set', 'stream'].map((kind) => `${prefix}:dvt-relayer:probe:${kind}`)
  const [info] = await Promise.all([client.info('memory'), client.eval(PROBE, keys.length, ...keys, '1')])
  const policy = /^maxmemory_policy:(\S+)/m.exec(String(info))?.[1] ?? 'noeviction'
  if (policy === 'noeviction') return undefined
  const named = /^[a-z-]{1,40}$/.test(policy) ? policy : 'another one'
  return `Redis may throw jobs away: maxmemory-policy is ${named}, and must be noeviction`
}
