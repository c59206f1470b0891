/**
 * Worker threads for signature work, so that none of it runs on the event loop. Tasks wait in three queues by urgency; long
 * work is cut into slices by the callers' slice sizes here, so that an urgent task never waits behind more than one slice.
 */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { withTimeout } from '@dvt-relayer/common/lifetime.ts'
import type { DataToEncrypt, FinishedMessage, MessageToFinish, OracleSetToSplit, Tasks, Triple } from './tasks.ts'

/** What crosses to a worker and back. */
export interface WorkerRequest {
  id: number
  task: keyof Tasks
  args: unknown[]
}
export type WorkerAnswer =
  /** Once, when its modules are loaded. */
  { isReady: true } | { id: number; value: unknown } | { id: number; error: { name: string; message: string } }

interface Pending {
  request: WorkerRequest
  resolve: (value: unknown) => void
  reject: (error: Error) => void
  /** Settled when it is done, one way or the other. */
  done: Promise<unknown>
}

export interface CryptoPool extends AsyncDisposable {
  /** Which of these are public keys: 48 bytes, on the curve, in the subgroup, not infinity. */
  arePublicKeys(keys: readonly Uint8Array[]): Promise<boolean[]>
  /** Which of these are signatures: 96 bytes, on the curve, in the subgroup, not infinity. */
  areSignatures(signatures: readonly Uint8Array[]): Promise<boolean[]>
  /** Verdict on each triple, in order. */
  verify(triples: readonly Triple[]): Promise<boolean[]>
  /** Recovers, verifies, splits and encrypts; see `tasks.ts`. */
  finish(exits: readonly MessageToFinish[], oracleSet: OracleSetToSplit | undefined): Promise<FinishedMessage[]>
  /** ECIES of each (protocol section 6), in order. */
  encrypt(items: readonly DataToEncrypt[]): Promise<Uint8Array[]>
}

/** Tasks by urgency: what a request waits for comes first. */
const URGENCY: Record<keyof Tasks, number> = { arePublicKeys: 0, areSignatures: 0, verify: 1, finish: 2, encrypt: 2 }
/** How many items one slice of a task holds: some tens of milliseconds of work. */
const SLICE: Record<keyof Tasks, number> = {
  arePublicKeys: 256,
  areSignatures: 256,
  verify: 64,
  finish: 8,
  encrypt: 64,
}

/** How long a stop waits for slices under way; a search among many candidates is the longest. */
const LAST_SLICE_MS = 3000

/** Starts the pool. One thread less than there are cores, so that the event loop keeps one, but at least one. */
export function startCryptoPool(threads = Math.max(1, Math.min(8, availableParallelism() - 1))): CryptoPool {
  const queues: Pending[][] = [[], [], []]
  const idle: Worker[] = []
  const running = new Map<Worker, Pending>()
  const loading = new Set<Promise<void>>()
  let nextId = 1
  let closed = false

  const pump = () => {
    for (;;) {
      const worker = idle.at(-1)
      const pending = worker === undefined ? undefined : queues.find((queue) => queue.length > 0)?.shift()
      if (worker === undefined || pending === undefined) return
      idle.pop()
      running.set(worker, pending)
      worker.ref()
      worker.postMessage(pending.request)
    }
  }
  const start = () => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url))
    const ready = Promise.withResolvers<void>()
    loading.add(ready.promise)
    void ready.promise.then(() => loading.delete(ready.promise))
    worker.unref()
    worker.on('message', (answer: WorkerAnswer) => {
      if ('isReady' in answer) return ready.resolve()
      const pending = running.get(worker)
      running.delete(worker)
      worker.unref()
      idle.push(worker)
      if ('error' in answer)
        pending?.reject(Object.assign(new Error(answer.error.message), { name: answer.error.name }))
      else pending?.resolve(answer.value)
      pump()
    })
    worker.on('error', () => {})
    worker.on('exit', () => {
      ready.resolve()
      const pending = running.get(worker)
      running.delete(worker)
      const position = idle.indexOf(worker)
      if (position >= 0) idle.splice(position, 1)
      pending?.reject(new Error('a signature worker died'))
      if (!closed) start()
    })
    idle.push(worker)
  }
  for (let count = 0; count < threads; count++) start()

  const run = <T>(task: keyof Tasks, args: unknown[]): Promise<T> => {
    if (closed) return Promise.reject(new Error('the signature workers are stopped'))
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const request = { id: nextId++, task, args }
    queues[URGENCY[task]]?.push({ request, resolve: resolve as (value: unknown) => void, reject, done: promise })
    pump()
    return promise
  }
  /** Runs a task slice by slice; slices of one call may run on several threads. */
  const sliced = async <I, O>(task: keyof Tasks, items: readonly I[], ...rest: unknown[]): Promise<O[]> => {
    const slices: Promise<O[]>[] = []
    for (let from = 0; from < items.length; from += SLICE[task])
      slices.push(run<O[]>(task, [items.slice(from, from + SLICE[task]), ...rest]))
    return (await Promise.all(slices)).flat()
  }
  return {
    arePublicKeys: (keys) => sliced('arePublicKeys', keys),
    areSignatures: (signatures) => sliced('areSignatures', signatures),
    verify: (triples) => sliced('verify', triples),
    finish: (exits, oracleSet) => sliced('finish', exits, oracleSet),
    encrypt: (items) => sliced('encrypt', items),
    async [Symbol.asyncDispose]() {
      closed = true
      for (const pending of queues.flat()) pending.reject(new Error('the signature workers are stopped'))
      for (const queue of queues) queue.length = 0
      // A thread that is ended in the middle of native code takes the process with it: each loads, and ends its slice, first.
      for (const worker of idle) worker.ref()
      const settled = Promise.allSettled([...loading, ...Array.from(running.values(), ({ done }) => done)])
      await withTimeout(settled, LAST_SLICE_MS).catch(() => {})
      await Promise.all([...idle, ...running.keys()].map((worker) => worker.terminate()))
    },
  }
}
