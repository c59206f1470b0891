/** Where the queue lives: Redis, or PostgreSQL through BullMQ's own backend, in a schema of its own. */

import { createPostgresBackend, Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import pg from 'pg'
import { findRedisProblem, redisFault } from './redis-fitness.ts'

/** What of BullMQ's `Queue` is used. */
export interface OpenQueue {
  add(name: string, data: unknown, options?: { jobId?: string }): Promise<unknown>
  counts(): Promise<Record<string, number>>
  /** Whether it makes sense to ask; false while a lost connection is being made again. */
  isConnected(): boolean
  /** Looks whether it can work, beyond answering. @returns what is wrong, in words @throws what it refuses */
  findProblem(): Promise<string | undefined>
  /** What a failure means, in words; undefined for one that says nothing of it. */
  faultOf(error: unknown): string | undefined
  waitUntilReady(): Promise<unknown>
  onError(listener: (error: Error) => void): unknown
  close(): Promise<void>
}

/** What of BullMQ's `Worker` is used. */
export interface BullWorker {
  waitUntilReady(): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'active' | 'drained' | 'ready', listener: () => void): unknown
  close(force?: boolean): Promise<void>
  disconnect(): Promise<unknown>
}

/** A job as BullMQ hands it over. The third parameter makes BullMQ pass a signal. */
export type Process = (job: { name: string; data: unknown }, token?: string, signal?: AbortSignal) => Promise<void>

export interface Backend {
  name: 'redis' | 'postgres'
  openQueue(): OpenQueue
  openWorker(process: Process, concurrency: number): BullWorker
}

const QUEUE = 'dvt-relayer'
const POSTGRES_SCHEMA = 'bullmq'

/** A job that ended is removed at once: the id of one that failed could not be added again otherwise. */
const defaultJobOptions = { attempts: 1, removeOnComplete: true, removeOnFail: true }
const queueOptions = { defaultJobOptions, streams: { events: { maxLen: 100 } } }
/** After an error the worker asks again soon; a job whose worker was killed is given to another one, once. */
const workerOptions = { runRetryDelay: 1_000, lockDuration: 30_000, stalledInterval: 15_000, maxStalledCount: 1 }

/** The queue on Redis. The connection for adding is ours, so that nothing is asked of one that is away; workers wait for ever. */
export function redisBackend(url: string, prefix: string): Backend {
  const options = {
    retryStrategy: (times: number) => Math.min(100 * times, 2_000),
    maxRetriesPerRequest: null,
    connectTimeout: 5_000,
    keepAlive: 10_000,
  }
  // Longer than a worker waits for a job (10 s at most), which is an answer too. Without it one that was cut off would wait a quarter of an hour.
  const workerConnection = { ...options, socketTimeout: 12_000 }
  return {
    name: 'redis',
    openQueue: () => {
      const listeners: ((error: Error) => void)[] = []
      const open = () => {
        // A connection that died without a word is noticed by an answer that does not come.
        const client = new Redis(url, { ...options, socketTimeout: 5_000 })
        const queue = new Queue(QUEUE, { ...queueOptions, prefix, connection: client })
        const opened = { client, queue, hasFailed: false }
        queue.on('error', (error) => {
          for (const listener of listeners) listener(error)
        })
        queue.waitUntilReady().catch(() => {
          opened.hasFailed = true
        })
        return opened
      }
      type Opened = ReturnType<typeof open>
      const end = async ({ client, queue }: Opened) => {
        client.disconnect()
        await queue.close()
      }
      let current = open()
      /** BullMQ remembers for ever that Redis refused its first question: such a queue is opened anew. */
      const usable = (): Opened => {
        if (!current.hasFailed) return current
        void end(current).catch(() => undefined)
        current = open()
        return current
      }
      return {
        add: (name, data, jobOptions) => usable().queue.add(name, data, jobOptions),
        counts: () => usable().queue.getJobCounts('waiting', 'active'),
        isConnected: () => usable().client.status === 'ready',
        findProblem: () => findRedisProblem(usable().client, prefix),
        faultOf: (error) =>
          redisFault(error) ??
          (current.client.status === 'connect' ? 'Redis is not ready yet: it is loading its data' : undefined),
        waitUntilReady: () => current.queue.waitUntilReady(),
        onError: (listener) => listeners.push(listener),
        close: () => end(current),
      }
    },
    openWorker: (process, concurrency) =>
      new Worker(QUEUE, process, { ...workerOptions, prefix, concurrency, connection: { ...workerConnection, url } }),
  }
}

/**
 * A connection that may die at any moment. What runs on it fails; unheard, as while BullMQ migrates its schema, the error itself
 * would end the process.
 */
class MortalClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config)
    this.on('error', () => {})
  }
}

/** The queue in the schema `bullmq` of a PostgreSQL database. */
export function postgresBackend(connectionString: string): Backend {
  const connection = (max: number) => ({
    connectionString,
    schema: POSTGRES_SCHEMA,
    migrate: true,
    max,
    application_name: 'dvt-relayer-queue',
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    Client: MortalClient,
  })
  return {
    name: 'postgres',
    openQueue: () => {
      const queue = new Queue(QUEUE, { ...queueOptions, connection: connection(3) }, createPostgresBackend)
      return {
        add: (name, data, jobOptions) => queue.add(name, data, jobOptions),
        counts: () => queue.getJobCounts('waiting', 'active'),
        isConnected: () => true,
        // What else can be wrong with PostgreSQL is looked for where the data is.
        findProblem: async () => void (await queue.getJobCounts('waiting')),
        faultOf: () => undefined,
        waitUntilReady: () => queue.waitUntilReady(),
        onError: (listener) => queue.on('error', listener),
        close: () => queue.close(),
      }
    },
    openWorker: (process, concurrency) =>
      new Worker(
        QUEUE,
        process,
        { ...workerOptions, concurrency, connection: connection(concurrency + 1) },
        createPostgresBackend,
      ),
  }
}
