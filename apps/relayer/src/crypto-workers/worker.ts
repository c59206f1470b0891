/**
 * A worker thread. It runs one task at a time and answers; what may take seconds it takes in turns, each task its turn, and what came
 * meanwhile goes first.
 */

import { setImmediate as othersFirst } from 'node:timers/promises'
import { parentPort } from 'node:worker_threads'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { createFastEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { WorkerAnswer, WorkerRequest } from './pool.ts'
import { giveWay } from './priority.ts'
import { createTasks } from './tasks.ts'

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

/** Tasks in turns: the first has the next one. */
let long: { id: number; turns: Generator<void, unknown> }[] = []
let isTaking = false

async function takeTurns(): Promise<void> {
  isTaking = true
  for (let next = long.shift(); next !== undefined; next = long.shift()) {
    const { id, turns } = next
    try {
      const turn = turns.next()
      if (turn.done === true) answer({ id, value: turn.value })
      else long.push(next)
    } catch (error) {
      answerError(id, error)
    }
    await othersFirst()
  }
  isTaking = false
}

port.on('message', (request: WorkerRequest) => {
  if ('isOver' in request) {
    for (const { id } of long) answerError(id, new Error('the signature workers are stopped'))
    long = []
    return
  }
  const { id, task, args } = request
  try {
    if (task in tasks.inTurns) {
      const begin = tasks.inTurns[task as keyof typeof tasks.inTurns] as (
        ...args: unknown[]
      ) => Generator<void, unknown>
      long.push({ id, turns: begin(...args) })
      if (!isTaking) void takeTurns()
      return
    }
    const run = tasks[task] as (...args: unknown[]) => unknown
    answer({ id, value: run(...args) })
  } catch (error) {
    answerError(id, error)
  }
})

answer({ isReady: true })
