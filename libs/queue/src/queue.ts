/**
 * The queue: a hint that something can be done now. PostgreSQL is the truth, so a job may be lost, doubled or late, and adding
 * one never fails or delays what added it.
 */

import { CodedError } from '@dvt-relayer/common/errors.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { pause, withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import type { Backend, BullWorker, OpenQueue, Process } from './backends.ts'
import { postgresBackend, redisBackend } from './backends.ts'
import type { JobHandlers, JobName, JobPayload } from './jobs.ts'
import { isJobName, isJobPayload } from './jobs.ts'

type QueueErrorCode = 'QUEUE_UNREACHABLE' | 'QUEUE_REFUSED'

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
  /** Whether nothing is wrong with the queue. */
  isHealthy(): Promise<boolean>
  /** What is wrong with the queue, in words, within 4 s: it does not answer, or cannot hold jobs. */
  findProblem(): Promise<string | undefined>
  /** How many jobs wait and run; undefined when the queue does not answer within 1 s. */
  counts(): Promise<QueueCounts | undefined>
}

const ANSWER_MS = 1_000
/** Nobody waits for it but `/ready`. */
const PROBLEM_MS = 4_000
const DRAIN_MS = 3_000

/** Says once that the queue went away and once that it is back, whatever number of errors lies between. */
function createOutageLog(logger: Logger, queue: string) {
  let away = false
  let last: unknown
  return {
    /** The newest failure since it last worked. */
    last: () => last,
    failed: (error: unknown) => {
      last = error
      if (!away) logger.warn({ queue, err: error }, 'queue away')
      else logger.debug({ queue, err: error }, 'queue still away')
      away = true
    },
    worked: () => {
      last = undefined
      if (away) logger.info({ queue }, 'queue back')
      away = false
    },
  }
}

type OutageLog = ReturnType<typeof createOutageLog>

/**
 * Opens the queue: on Redis when there is a `redisUrl`, whether it answers or not; else on PostgreSQL, which must answer.
 *
 * @throws {QueueError} QUEUE_UNREACHABLE: it may work later; QUEUE_REFUSED
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

  /** The answer of the queue in time, or undefined. That it answers does not show that it works: one that is full does too. */
  const ask = async <T>(question: () => Promise<T>, timeoutMs = ANSWER_MS): Promise<T | undefined> => {
    if (!queue.isConnected()) return undefined
    try {
      return await withTimeout(question(), timeoutMs)
    } catch (error) {
      outage.failed(error)
      return undefined
    }
  }
  const counts = async (): Promise<QueueCounts | undefined> => {
    const found = await ask(queue.counts)
    return found && { waiting: found['waiting'] ?? 0, active: found['active'] ?? 0 }
  }

  const findProblem = async (): Promise<string | undefined> => {
    const found = await ask(async () => ({ problem: await queue.findProblem() }), PROBLEM_MS)
    if (found !== undefined) {
      if (found.problem === undefined) outage.worked()
      return found.problem
    }
    const fault = queue.faultOf(outage.last())
    return `${fault ?? 'the queue does not answer'}; PostgreSQL keeps what is to be done`
  }

  return {
    name: backend.name,
    counts,
    findProblem,
    isHealthy: async () => (await findProblem()) === undefined,
    add: async (name, payload, { jobId } = {}) => {
      if (!isJobPayload(name, payload)) {
        logger.error({ job: name }, 'job payload refused')
        return 'not_added'
      }
      const added = await ask(() => queue.add(name, payload, jobId === undefined ? {} : { jobId }))
      if (added === undefined) return 'not_added'
      outage.worked()
      return 'added'
    },
    startWorker: (handlers, { concurrency }) => startWorker(backend, handlers, concurrency, logger, outage),
    [Symbol.asyncDispose]: () => withTimeout(queue.close(), ANSWER_MS).catch(() => undefined),
  }
}

/** SQLSTATEs (or their classes) and codes of the system that pass: PostgreSQL is away, or short of something. */
const PASSING = /^(08|53|57|25006|E[A-Z]{3,}|unknown)/

/** On PostgreSQL the queue must answer; one on Redis that is away comes back by itself. @throws {QueueError} */
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
    const { code } = error as { code?: unknown }
    const reason = typeof code === 'string' ? code : 'unknown'
    if (PASSING.test(reason))
      throw new QueueError('QUEUE_UNREACHABLE', `the queue cannot be opened on PostgreSQL (${reason})`, {
        meta: { reason },
      })
    const words = reason === '42501' ? ': the user must be able to make the schema bullmq, or own it' : ''
    throw new QueueError('QUEUE_REFUSED', `PostgreSQL refuses the queue (SQLSTATE ${reason})${words}`, {
      meta: { reason },
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
