/**
 * Worker threads for signature work, so that none of it runs on the event loop. Tasks wait by urgency, and of one urgency those on
 * whose account they are take turns; what is long is cut into slices here, so that an urgent task never waits behind more than one.
 * Finishing may try for some time: a thread takes it in turns of one attempt, and whatever else comes goes between. Searches, which take
 * seconds, have a thread of their own, which rests most of the time.
 */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { accountKey, currentAccount } from '@dvt-relayer/common/account.ts'
import { createFairLine } from '@dvt-relayer/common/flow/fair-line.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { isNodeSignature } from '@dvt-relayer/crypto/cluster-lock/node-signature.ts'
import type { PartialExit } from '@dvt-relayer/crypto/cluster-lock/partial-exits.ts'
import type { DataToEncrypt, FinishedMessage, MessageToFinish, OracleSetToSplit, Tasks, Triple } from './tasks.ts'

/** What a thread runs; beside it in a bundle as well (deploy/bundle.ts). */
const PROGRAM = import.meta.url.endsWith('.ts')
  ? new URL('./worker.ts', import.meta.url)
  : new URL('./worker.js', import.meta.url)

/** What crosses to a worker and back. */
export type WorkerRequest =
  | { id: number; task: keyof Tasks; args: unknown[] }
  /** What is taken in turns is given up. */
  | { isOver: true }
export type WorkerAnswer =
  /** Once, when its modules are loaded. */
  { isReady: true } | { id: number; value: unknown } | { id: number; error: { name: string; message: string } }

/** How a thread works. */
export interface Pace {
  /** How long it rests after a turn of a long task, in times of that turn. */
  rests: number
}
/** Of those that somebody waits for. */
const CREW: Pace = { rests: 0 }
/**
 * Of searches among what was invented: a quarter of a core, for however long they go on. A lower priority would be of little use: half of a
 * check is done by threads of the native module, which have that of who came first.
 */
const SEARCHER: Pace = { rests: 3 }

interface Pending {
  request: { id: number; task: keyof Tasks; args: unknown[] }
  resolve: (value: unknown) => void
  reject: (error: Error) => void
  /** Settled when it is done, one way or the other. */
  done: Promise<unknown>
}

/** A thread, and what it is at, by id. */
interface Thread {
  worker: Worker
  short: Map<number, Pending>
  long: Map<number, Pending>
}

export interface CryptoPool extends AsyncDisposable {
  /** Which of these are public keys: 48 bytes, on the curve, in the subgroup, not infinity. */
  arePublicKeys(keys: readonly Uint8Array[]): Promise<boolean[]>
  /** Which of these are signatures: 96 bytes, on the curve, in the subgroup, not infinity. */
  areSignatures(signatures: readonly Uint8Array[]): Promise<boolean[]>
  /** Verdict on each triple, in order. */
  verify(triples: readonly Triple[]): Promise<boolean[]>
  /** Recovers, verifies, splits and encrypts; see `tasks.ts`. */
  finish(
    exits: readonly MessageToFinish[],
    oracleSet: OracleSetToSplit | undefined,
    maxAttempts?: number,
  ): Promise<FinishedMessage[]>
  /** The same of one message, however long it takes: nobody waits for it, and it lets others have the machine. */
  search(
    exit: MessageToFinish,
    oracleSet: OracleSetToSplit | undefined,
    maxAttempts?: number,
  ): Promise<FinishedMessage[]>
  /** ECIES of each (docs/protocol.md#6-ecies), in order. */
  encrypt(items: readonly DataToEncrypt[]): Promise<Uint8Array[]>
  /** The compressed key of the node that signed these partial exits, in this order; undefined where nobody did. */
  exitsSigner(exits: readonly PartialExit[], shareIndex: number, signature: Uint8Array): Promise<Uint8Array | undefined>
}

/**
 * Tasks by urgency: what a request waits for comes first. Between points to check and signatures to verify threads go to and fro: whoever
 * sends ever more points would keep all others' signatures from being verified.
 */
const URGENCY: Record<Exclude<keyof Tasks, 'finish'>, number> = {
  arePublicKeys: 0,
  areSignatures: 0,
  verify: 1,
  encrypt: 2,
  exitRoots: 1,
  exitsSigner: 1,
}
/** How many items one slice of a task holds: some tens of milliseconds of work. One of finishing is a whole job, and is taken in turns. */
export const SLICE: Record<keyof Tasks, number> = {
  arePublicKeys: 256,
  areSignatures: 256,
  verify: 64,
  finish: 16,
  encrypt: 64,
  exitRoots: 1024,
  exitsSigner: 1,
}

/** What a thread is at beside each other: of what is short one, of what is taken in turns a few. */
const AT_ONCE = { short: 1, long: 8 }

/** How long a stop waits for slices under way; a search among many candidates is the longest. */
const LAST_SLICE_MS = 3000

/** Starts the pool. One thread less than there are cores, so that the event loop keeps one, but at least one. */
export function startCryptoPool(threads = Math.max(1, Math.min(8, availableParallelism() - 1))): CryptoPool {
  const urgent = [createFairLine<Pending>(), createFairLine<Pending>(), createFairLine<Pending>()]
  const finishing = createFairLine<Pending>()
  const crew: Thread[] = []
  /** None until something is searched, then one. */
  const searchers: Thread[] = []
  const loading = new Set<Promise<void>>()
  let nextId = 1
  let closed = false

  /** The urgency that was served last. */
  let last = 0
  const nextUrgent = () => {
    for (const urgency of last === 0 ? [1, 0, 2] : [0, 1, 2]) {
      const pending = urgent[urgency]?.shift()
      if (pending === undefined) continue
      last = urgency
      return pending
    }
    return undefined
  }
  const isIdle = ({ short, long }: Thread) => short.size + long.size === 0
  const give = (thread: Thread, kind: 'short' | 'long', pending: Pending) => {
    thread[kind].set(pending.request.id, pending)
    thread.worker.ref()
    thread.worker.postMessage(pending.request satisfies WorkerRequest)
  }
  /** Hands out of one kind what there is, to those who have least to do. */
  const handOut = (kind: 'short' | 'long', next: () => Pending | undefined) => {
    for (;;) {
      const thread = crew
        .filter((one) => one[kind].size < AT_ONCE[kind])
        .reduce<Thread | undefined>(
          (least, one) => (least === undefined || one.long.size < least.long.size ? one : least),
          undefined,
        )
      const pending = thread === undefined ? undefined : next()
      if (thread === undefined || pending === undefined) return
      give(thread, kind, pending)
    }
  }
  const pump = () => {
    handOut('short', nextUrgent)
    handOut('long', finishing.shift)
  }
  const settle = (thread: Thread, answer: Exclude<WorkerAnswer, { isReady: true }>) => {
    const { short, long, worker } = thread
    const pending = short.get(answer.id) ?? long.get(answer.id)
    short.delete(answer.id)
    long.delete(answer.id)
    if (isIdle(thread)) worker.unref()
    if ('error' in answer) pending?.reject(Object.assign(new Error(answer.error.message), { name: answer.error.name }))
    else pending?.resolve(answer.value)
    pump()
  }
  const start = (ranks: Thread[], pace: Pace): Thread => {
    const worker = new Worker(PROGRAM, { workerData: pace })
    const thread: Thread = { worker, short: new Map(), long: new Map() }
    const ready = Promise.withResolvers<void>()
    loading.add(ready.promise)
    void ready.promise.then(() => loading.delete(ready.promise))
    worker.unref()
    worker.on('message', (answer: WorkerAnswer) => ('isReady' in answer ? ready.resolve() : settle(thread, answer)))
    worker.on('error', () => {})
    worker.on('exit', () => {
      ready.resolve()
      ranks.splice(ranks.indexOf(thread), 1)
      for (const pending of [...thread.short.values(), ...thread.long.values()])
        pending.reject(new Error('a signature worker died'))
      if (closed || ranks === searchers) return
      start(ranks, pace)
      pump()
    })
    ranks.push(thread)
    return thread
  }
  for (let count = 0; count < threads; count++) start(crew, CREW)

  const run = <T>(task: keyof Tasks, args: unknown[], hand = stand): Promise<T> => {
    if (closed) return Promise.reject(new Error('the signature workers are stopped'))
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const request = { id: nextId++, task, args }
    hand({ request, resolve: resolve as (value: unknown) => void, reject, done: promise })
    return promise
  }
  /** Has a task stand in line for the crew. */
  function stand(pending: Pending): void {
    const { task } = pending.request
    const line = task === 'finish' ? finishing : urgent[URGENCY[task]]
    line?.push(accountKey(currentAccount()), pending)
    pump()
  }
  const giveToSearcher = (pending: Pending) => {
    const [thread = start(searchers, SEARCHER)] = searchers
    give(thread, 'long', pending)
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
    finish: (exits, oracleSet, maxAttempts) => sliced('finish', exits, oracleSet, maxAttempts),
    search: (exit, oracleSet, maxAttempts) => run('finish', [[exit], oracleSet, maxAttempts], giveToSearcher),
    encrypt: (items) => sliced('encrypt', items),
    exitsSigner: async (exits, shareIndex, signature) =>
      // Strangers may ask: nothing is computed for what is no signature of anything.
      isNodeSignature(signature)
        ? run('exitsSigner', [await sliced('exitRoots', exits), shareIndex, signature])
        : undefined,
    async [Symbol.asyncDispose]() {
      closed = true
      const waiting = [...urgent, finishing].flatMap((line) => line.clear())
      for (const pending of waiting) pending.reject(new Error('the signature workers are stopped'))
      // A thread that is ended in the middle of native code takes the process with it: each loads, and ends its slice, first.
      const all = [...crew, ...searchers]
      for (const { worker } of all) {
        worker.ref()
        worker.postMessage({ isOver: true } satisfies WorkerRequest)
      }
      const running = all.flatMap(({ short, long }) => [...short.values(), ...long.values()])
      const settled = Promise.allSettled([...loading, ...running.map(({ done }) => done)])
      await withTimeout(settled, LAST_SLICE_MS).catch(() => {})
      await Promise.all(all.map(({ worker }) => worker.terminate()))
    },
  }
}
