/**
 * The queue: a hint that something can be done now. PostgreSQL is the truth, so a job may be lost, doubled or late, and adding
 * one never fails or delays what added it.
 */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import { pause, withTimeout } from '@dvt-relayer/common/lifetime.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import type { Backend, BullWorker, OpenQueue, Process } from './backends.ts'
import { postgresBackend, redisBackend } from './backends.ts'
import type { JobHandlers, JobName, JobPayload } from './jobs.ts'
import { isJobName, isJobPayload } from './jobs.ts'

type QueueErrorCode = 'QUEUE_UNREACHABLE'

/** The queue cannot be opened. */
class QueueError extends CodedError<QueueErrorCode> {}

interface QueueCounts {
  waiting: number
  active: number
}

/** The queue, ended by `await using`. */
export interface JobQueue extends AsyncDisposable {
  readonly name: 'redis' | 'postgres'
  /**
   * Adds a job, within 1 s or not at all; never throws. A job whose `jobId` waits or runs already is not doubled. The id is
   * free text without a colon, and not a bare number.
   */
  add<Name extends JobName>(
    name: Name,
    payload: JobPayload<Name>,
    options?: { jobId?: string },
  ): Promise<'added' | 'not_added'>
  /** Works on jobs until disposed: then running handlers are told to stop and waited for. A handler that throws is logged. */
  startWorker(handlers: JobHandlers, options: { concurrency: number }): AsyncDisposable
  /** Whether the queue answers within 1 s. */
  isHealthy(): Promise<boolean>
  /** How many jobs wait and run; undefined when the queue does not answer within 1 s. */
  counts(): Promise<QueueCounts | undefined>
}

const ANSWER_MS = 1_000
const DRAIN_MS = 5_000

/** Says once that the queue went away and once that it is back, whatever number of errors lies between. */
function createOutageLog(logger: Logger, queue: string) {
  let away = false
  return {
    failed: (error: unknown) => {
      if (!away) logger.warn({ queue, err: error }, 'queue away')
      else logger.debug({ queue, err: error }, 'queue still away')
      away = true
    },
    worked: () => {
      if (away) logger.info({ queue }, 'queue back')
      away = false
    },
  }
}

type OutageLog = ReturnType<typeof createOutageLog>

/**
 * Opens the queue: on Redis when there is a `redisUrl`, whether it answers or not; else on PostgreSQL, which must answer.
 *
 * @throws {QueueError} QUEUE_UNREACHABLE
 */
export async function connectQueue(options: {
  redisUrl?: string | undefined
  databaseUrl: string
  logger: Logger
  prefix?: string
}): Promise<JobQueue> {
  const { redisUrl, databaseUrl, logger, prefix = 'dvt' } = options
  const backend = redisUrl === undefined ? postgresBackend(databaseUrl) : redisBackend(redisUrl, prefix)
  const outage = createOutageLog(logger, backend.name)
  const queue = await openQueue(backend, outage)

  /** The answer of the queue within 1 s, or undefined. */
  const ask = async <T>(question: () => Promise<T>): Promise<T | undefined> => {
    if (!queue.isConnected()) return undefined
    try {
      const answer = await withTimeout(question(), ANSWER_MS)
      outage.worked()
      return answer
    } catch (error) {
      outage.failed(error)
      return undefined
    }
  }
  const counts = async (): Promise<QueueCounts | undefined> => {
    const found = await ask(queue.counts)
    return found && { waiting: found['waiting'] ?? 0, active: found['active'] ?? 0 }
  }

  return {
    name: backend.name,
    counts,
    isHealthy: async () => (await counts()) !== undefined,
    add: async (name, payload, { jobId } = {}) => {
      if (!isJobPayload(name, payload)) {
        logger.error({ job: name }, 'job payload refused')
        return 'not_added'
      }
      const added = await ask(() => queue.add(name, payload, jobId === undefined ? {} : { jobId }))
      return added === undefined ? 'not_added' : 'added'
    },
    startWorker: (handlers, { concurrency }) => startWorker(backend, handlers, concurrency, logger, outage),
    [Symbol.asyncDispose]: () => withTimeout(queue.close(), ANSWER_MS).catch(() => undefined),
  }
}

/** On PostgreSQL the queue must answer; one on Redis that is away comes back by itself. @throws {QueueError} QUEUE_UNREACHABLE */
async function openQueue(backend: Backend, outage: OutageLog): Promise<OpenQueue> {
  const queue = backend.openQueue()
  queue.onError(outage.failed)
  const ready = queue.waitUntilReady()
  if (backend.name === 'redis') {
    ready.catch(outage.failed)
    await withTimeout(ready, ANSWER_MS).catch(outage.failed)
    return queue
  }
  try {
    await ready
    return queue
  } catch (error) {
    await queue.close().catch(() => undefined)
    const code = (error as { code?: unknown }).code
    throw new QueueError('QUEUE_UNREACHABLE', 'the queue cannot be opened on PostgreSQL', {
      meta: { reason: typeof code === 'string' ? code : 'unknown' },
    })
  }
}

function createProcess(handlers: JobHandlers, logger: Logger, stopping: AbortSignal): Process {
  return async ({ name, data }, _token, signal) => {
    if (!isJobName(name) || !isJobPayload(name, data)) {
      logger.error({ job: name }, 'job refused')
      return
    }
    try {
      await handlers[name]?.(data, signal === undefined ? stopping : AbortSignal.any([signal, stopping]))
    } catch (error) {
      if (stopping.aborted) return
      logger.error({ job: name, err: error }, 'job failed')
    }
  }
}

function startWorker(
  backend: Backend,
  handlers: JobHandlers,
  concurrency: number,
  logger: Logger,
  outage: OutageLog,
): AsyncDisposable {
  const stopping = new AbortController()
  const work = createProcess(handlers, logger, stopping.signal)
  let running = 0
  const process: Process = async (job, token, signal) => {
    running++
    await work(job, token, signal).finally(() => {
      running--
    })
  }
  let current: BullWorker | undefined

  const open = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const worker = backend.openWorker(process, concurrency)
      current = worker
      worker.on('error', outage.failed)
      worker.on('active', outage.worked)
      try {
        await worker.waitUntilReady()
        return
      } catch (error) {
        // BullMQ remembers for ever that PostgreSQL was away when the worker was made.
        outage.failed(error)
        await closeWorker(worker, ANSWER_MS)
        await pause(ANSWER_MS, stopping.signal)
      }
    }
  }
  const opening = open()
  return {
    [Symbol.asyncDispose]: async () => {
      stopping.abort()
      if (current !== undefined) await closeWorker(current, running > 0 ? DRAIN_MS : ANSWER_MS)
      await withTimeout(opening, ANSWER_MS).catch(() => undefined)
    },
  }
}

/** Waits for running jobs, then for nothing: with the queue away BullMQ would wait for ever. */
async function closeWorker(worker: BullWorker, timeoutMs: number): Promise<void> {
  try {
    await withTimeout(worker.close(), timeoutMs)
  } catch {
    await withTimeout(worker.disconnect(), ANSWER_MS).catch(() => undefined)
  }
}
