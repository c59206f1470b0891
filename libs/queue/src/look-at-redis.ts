/** What a doctor asks of Redis. Nothing is written. */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { Redis } from 'ioredis'

const ANSWER_MS = 5_000

/** Its version, its role, and what it does when its memory is full. @throws {CodedError} REDIS_UNUSABLE, without what the URL holds */
export async function lookAtRedis(url: string): Promise<{ version: string; policy: string; role: string }> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: ANSWER_MS,
    commandTimeout: ANSWER_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  let last: unknown
  client.on('error', (error) => {
    last = error
  })
  try {
    await client.connect()
    const text = await client.info()
    const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? 'unknown'
    return { version: field('redis_version'), policy: field('maxmemory_policy'), role: field('role') }
  } catch (error) {
    throw new CodedError('REDIS_UNUSABLE', reasonOf(last ?? error))
  } finally {
    client.disconnect()
  }
}

/** The system's code, or the first word of what Redis answers (NOAUTH, WRONGPASS, LOADING). */
function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (typeof code === 'string') return code
  return /^[A-Z]{4,}\b/.exec(String(message))?.[0] ?? 'it does not answer'
}
