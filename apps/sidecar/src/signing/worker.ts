/** Works one list off: waits until something is due, takes it, and serves it in a round. */

import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { ListName } from '../config.ts'
import type { Entry, SignedJob } from '../lists/work-entry.ts'
import { createOutbox } from './outbox.ts'
import type { SigningParts } from './parts.ts'
import { createRest } from './rest.ts'
import { runRound } from './round.ts'

const GATHER_STEP_MS = 5

/** What a worker minds of that of the other list. */
interface Neighbour {
  /** Entries that the other worker serves now. */
  isHeldBack?(entry: Entry): boolean
  /** Milliseconds to wait, before a round, for what the other list may say of the same validators. */
  gatherMs?(): number
  /** Jobs have ended, whatever came of them. */
  onEnded?(): void
  /** The relayer has taken these. */
  onTaken?(batch: readonly SignedJob[]): void
}

export interface Worker extends AsyncDisposable {
  /** To be called when the work list has changed, with whether the relayer was away before. */
  wake(isBack: boolean): void
}

/** Starts the worker of a list. */
export function startWorker(parts: SigningParts, list: ListName, neighbour: Neighbour = {}): Worker {
  const { health } = parts
  const { pollIntervalMs } = parts.config.relayer
  const workList = parts.workLists[list]
  const isHeldBack = (entry: Entry) => neighbour.isHeldBack?.(entry) === true
  const stop = new AbortController()
  const { signal } = stop
  const rest = createRest(pollIntervalMs)
  let changed = Promise.withResolvers<void>()
  const onEnded = () => {
    neighbour.onEnded?.()
    changed.resolve()
  }
  const onTaken = (batch: readonly SignedJob[]) => neighbour.onTaken?.(batch)
  const outbox = createOutbox(parts, list, { rest, signal, onTaken, onEnded })
  const round = { workList, outbox, rest, signal, isHeldBack, onEnded }

  /** Waits until something may be due: the work list has changed or a time has come. */
  async function waitForWork(): Promise<void> {
    const now = performance.now()
    const dueAt = Math.max(workList.nextDueAt(isHeldBack), rest.until())
    const next = health.isGood('network') ? dueAt : Number.POSITIVE_INFINITY
    if (next <= now) return
    const ended = new AbortController()
    const timer = pause(Math.min(next - now, pollIntervalMs), AbortSignal.any([signal, ended.signal]))
    await Promise.race([changed.promise, timer])
    ended.abort()
  }

  const mayWork = () => performance.now() >= rest.until() && health.isGood('network') && !signal.aborted

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await waitForWork()
      changed = Promise.withResolvers()
      const start = performance.now()
      if (!mayWork() || workList.due(start, isHeldBack).length === 0) continue
      // In steps: where the event loop stood still, the other list's answer lies there already when the first of them ends.
      for (let waited = 0; waited < (neighbour.gatherMs?.() ?? 0) && !signal.aborted; waited += GATHER_STEP_MS)
        await pause(GATHER_STEP_MS, signal)
      const jobs = mayWork() ? workList.take(performance.now(), isHeldBack) : []
      if (jobs.length > 0) await runRound(parts, round, jobs, start)
    }
  }

  const running = run()
  return {
    wake(isBack) {
      if (isBack) rest.end()
      changed.resolve()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      changed.resolve()
      await running
      await outbox.empty()
    },
  }
}
