/**
 * Makes the signatures of a batch. All its jobs are under way at once, as far as the keystore lets them: keys in memory sign a slice at
 * a time, so that the event loop stays free, a remote signer answers in any order. A job that fails is left out, and one that takes
 * far longer than the others is finished behind their back: neither holds them up.
 */

import { setImmediate } from 'node:timers/promises'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/process/lifetime.ts'
import { SignerError } from '../keystores/remote/error.ts'
import { countKinds, type Job, type Signatures, type SignedJob } from '../lists/work-entry.ts'
import type { WorkList } from '../lists/work-list.ts'
import type { SigningParts } from './parts.ts'

/** About 4 ms of signing between two looks at the event loop. */
const SLICE = 8
/** When nothing has come for this long, the batch is over. */
const STALL_MS = 250
/** Poll intervals until a key share is tried again whose signature could not be had: while nobody is there to be asked, and else. */
const AWAY_INTERVALS = 1
const FAILED_INTERVALS = 15
const IS_ABSENCE = new Set(['SIGNER_AWAY', 'SIGNER_STOPPED', 'SIGNER_UNREACHABLE', 'SIGNER_TLS'])

interface SignParts {
  readonly policy: Pick<SigningParts['policy'], 'exit' | 'deposit'>
  readonly keystore: Pick<SigningParts['keystore'], 'sign'>
  readonly workList: Pick<WorkList, 'isCurrent' | 'signed' | 'notSigned'>
  readonly events: Pick<SigningParts['events'], 'signed' | 'notSigned' | 'loopFailed'>
}

/** What became of a batch. */
interface SignedBatch {
  readonly signed: SignedJob[]
  /** Jobs that are still under way; each is told to `onLate` when it has ended. */
  readonly late: readonly Job[]
}

/**
 * Signs what has no signatures yet. What the list wants no more is left out; what could not be signed waits before it is due again.
 *
 * @param onLate told of each job of `late` when its signatures are in its entry, or cannot be had
 */
export async function signBatch(
  parts: SignParts,
  batch: readonly Job[],
  signal: AbortSignal,
  onLate: (job: Job) => void,
): Promise<SignedBatch> {
  const { workList } = parts
  const signed: SignedJob[] = []
  const outcomes = createOutcomes(parts, signal)
  const waiting = new Set<Job>()
  let isOver = false
  let last = performance.now()

  async function signOne(job: Job): Promise<void> {
    try {
      const signatures = await sign(parts, job, signal)
      outcomes.made(job)
      if (workList.signed(job, signatures, performance.now()) && !isOver) signed.push({ ...job, signatures })
    } catch (error) {
      outcomes.failed(job, error)
    } finally {
      last = performance.now()
      waiting.delete(job)
      if (isOver) {
        outcomes.tell()
        onLate(job)
      }
    }
  }

  const work: Promise<void>[] = []
  let sinceBreak = 0
  for (const job of batch) {
    const { entry, wanted } = job
    if (signal.aborted) break
    if (!workList.isCurrent(job) || entry.listing === 'unlisted') continue
    if (entry.signatures !== undefined) {
      signed.push({ ...job, signatures: entry.signatures })
      continue
    }
    waiting.add(job)
    work.push(signOne(job))
    sinceBreak += wanted.deposit === undefined ? 1 : 2
    if (sinceBreak < SLICE) continue
    sinceBreak = 0
    await setImmediate()
  }
  const all = Promise.all(work)
  // Keys in memory are through by now but for the last one's promise.
  await Promise.race([all, setImmediate()])
  while (waiting.size > 0 && performance.now() - last < STALL_MS && !signal.aborted)
    await Promise.race([all, pause(STALL_MS / 5)])
  isOver = true
  outcomes.tell()
  return { signed: signal.aborted ? [] : signed.filter(workList.isCurrent), late: [...waiting] }
}

/** The exit, and the deposit where one is wanted. */
async function sign(
  { keystore, policy }: SignParts,
  { keyShare, wanted }: Job,
  signal: AbortSignal,
): Promise<Signatures> {
  const exit = toHex(await keystore.sign({ ...policy.exit(wanted.validatorIndex), keyShare }, signal))
  if (wanted.deposit === undefined) return { exit }
  const deposit = policy.deposit(keyShare.validatorPublicKey, wanted.deposit)
  return { exit, deposit: toHex(await keystore.sign({ ...deposit, keyShare }, signal)) }
}

/** Gathers what came of jobs, to tell it together: how many signatures were made, and each failure once for what is wanted. */
function createOutcomes({ workList, events }: SignParts, signal: AbortSignal) {
  let made: Job[] = []
  let failures: { job: Job; error: SignerError }[] = []
  return {
    made: (job: Job): void => void made.push(job),
    /** Lets the entry rest. When the sidecar stops, nothing failed. */
    failed(job: Job, error: unknown): void {
      if (signal.aborted) return
      const code = error instanceof SignerError ? error.code : 'OTHER'
      const intervals = IS_ABSENCE.has(code) ? AWAY_INTERVALS : FAILED_INTERVALS
      const isAnswer = error instanceof SignerError && error.fault !== undefined
      const isNews = workList.notSigned(job, performance.now(), intervals, isAnswer ? code : undefined)
      if (!(error instanceof SignerError)) events.loopFailed(error)
      else if (isNews) failures.push({ job, error })
    },
    /** Tells what has come since it was last told. */
    tell(): void {
      if (made.length > 0) events.signed(countKinds(made))
      for (const group of Map.groupBy(failures, ({ error }) => error.code).values()) {
        const [{ error } = { error: undefined }] = group
        if (error?.fault !== undefined)
          events.notSigned(
            error.fault,
            error.message,
            group.map(({ job }) => job.wanted.validatorIndex),
          )
      }
      made = []
      failures = []
    },
  }
}
