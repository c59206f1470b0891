/** A worker thread: runs one task at a time and answers. */

import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { createFastEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import type { WorkerAnswer, WorkerRequest } from './pool.ts'
import { createTasks } from './tasks.ts'

const NICE = 5

// On Linux a priority is a thread's own: where cores are short, the event loop answers before this thread works.
if (process.platform === 'linux') setPriority(NICE)

const port = parentPort
if (port === null) throw new Error('crypto-workers/worker.ts runs as a worker thread only')
const tasks = createTasks(createBlstEngine(), createFastEcies())

port.on('message', ({ id, task, args }: WorkerRequest) => {
  const run = tasks[task] as (...args: unknown[]) => unknown
  let answer: WorkerAnswer
  try {
    answer = { id, value: run(...args) }
  } catch (error) {
    // An error crosses by name and text; what our code and the libraries say of points never holds their bytes.
    const { name, message } = error as Error
    answer = { id, error: { name, message } }
  }
  port.postMessage(answer)
})

port.postMessage({ isReady: true } satisfies WorkerAnswer)
