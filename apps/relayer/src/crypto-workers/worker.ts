/**
 * A worker thread. It runs one task at a time and answers; what may take seconds it takes in turns, each task its turn, and what came
 * meanwhile goes first.
 */

import { setImmediate as othersFirst, setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { createFastEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { createLongTasks } from './long-tasks.ts'
import type { Pace, WorkerAnswer, WorkerRequest } from './pool.ts'
import { giveWay } from './priority.ts'
import { createTasks } from './tasks.ts'

const { rests } = workerData as Pace
giveWay()

const port = parentPort
if (port === null) throw new Error('crypto-workers/worker.ts runs as a worker thread only')
const tasks = createTasks(createBlstEngine(), createFastEcies())

const answer = (given: WorkerAnswer) => port.postMessage(given)

/** An error crosses by name and text; what our code and the libraries say of points never holds their bytes. */
function answerError(id: number, error: unknown): void {
  const { name, message } = error as Error
  answer({ id, error: { name, message } })
}

const long = createLongTasks({
  rests,
  nowMs: () => performance.now(),
  pause: (ms) => (ms > 0 ? sleep(ms) : othersFirst()),
  done: (id, value) => answer({ id, value }),
  failed: answerError,
})

port.on('message', (request: WorkerRequest) => {
  if ('isOver' in request) {
    long.giveUp(new Error('the signature workers are stopped'))
    return
  }
  const { id, task, args } = request
  try {
    if (task in tasks.inTurns) {
      const begin = tasks.inTurns[task as keyof typeof tasks.inTurns] as (
        ...args: unknown[]
      ) => Generator<void, unknown>
      long.begin({ id, turns: begin(...args) })
      return
    }
    const run = tasks[task] as (...args: unknown[]) => unknown
    answer({ id, value: run(...args) })
  } catch (error) {
    answerError(id, error)
  }
})

answer({ isReady: true })
