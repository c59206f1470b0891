/** What `doctor` finds of the queue: Redis, where it is set. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { finding } from '@dvt-relayer/common/findings.ts'
import { lookAtRedis } from '@dvt-relayer/queue/look-at-redis.ts'
import type { RelayerConfig } from '../config.ts'
import type { Finding } from './findings.ts'

/** Redis: is it there, one that can be written to, and does it keep what it is given? */
export async function examineQueue({ storage: { redisUrl } }: RelayerConfig): Promise<Finding> {
  if (redisUrl === undefined) return finding('queue', 'unused', 'REDIS_URL is not set: the queue is in PostgreSQL')
  const { host } = new URL(redisUrl)
  try {
    const { version, policy, role } = await lookAtRedis(redisUrl)
    const facts = { host, version, maxmemory_policy: policy, role }
    if (role !== 'master')
      return finding(
        'queue',
        'problem',
        `Redis at ${host} is a replica and refuses every write: set REDIS_URL to its master`,
        {
          facts,
        },
      )
    if (policy !== 'noeviction')
      return finding(
        'queue',
        'warning',
        `Redis ${version} at ${host} has maxmemory-policy ${policy}: it throws jobs away when its memory is full; set noeviction`,
        { facts },
      )
    return finding('queue', 'good', `Redis ${version} at ${host}, maxmemory-policy noeviction`, { facts })
  } catch (error) {
    return finding('queue', 'problem', `Redis at ${host} cannot be used: ${messageOf(error)} (REDIS_URL)`, {
      facts: { host },
    })
  }
}
