/**
 * Makes the signatures of a batch. All its jobs are under way at once, as far as the keystore lets them: keys in memory sign a slice at
 * a time, so that the event loop stays free, a remote signer answers in any order. A job that fails is left out, and one that takes
 * far longer than the others is finished behind their back: neither holds them up.
 */

import { setImmediate } from 'node:timers/promises'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import type { Context } from '../context.ts'
import { SignerError } from '../keystores/remote/error.ts'
import type { Signatures } from '../lists/work-list.ts'
import { countKinds, isCurrent, type Job, type SignedJob } from './job.ts'

/** About 4 ms of signing between two looks at the event loop. */
const SLICE = 8
/** When nothing has come for this long, the batch is over. */
const STALL_MS = 250
/** Poll intervals until a key share is tried again whose signature could not be had: while nobody is there to be asked, and else. */
const AWAY_INTERVALS = 1
const FAILED_INTERVALS = 15
const IS_ABSENCE = new Set(['SIGNER_AWAY', 'SIGNER_STOPPED', 'SIGNER_UNREACHABLE', 'SIGNER_TLS'])

type SignContext = Pick<Context, 'policy'> & {
  readonly config: { readonly relayer: Pick<Context['config']['relayer'], 'pollIntervalMs'> }
  readonly keystore: Pick<Context['keystore'], 'sign'>
  readonly events: Pick<Context['events'], 'signed' | 'notSigned' | 'loopFailed'>
}

/** What became of a batch. */
export interface SignedBatch {
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
  context: SignContext,
  batch: readonly Job[],
  signal: AbortSignal,
  onLate: (job: Job) => void,
): Promise<SignedBatch> {
  const signed: SignedJob[] = []
  const made: Job[] = []
  const failures: { job: Job; error: unknown }[] = []
  const waiting = new Set<Job>()
  let isOver = false
  let last = performance.now()
  let sinceBreak = 0

  async function signOne(job: Job): Promise<void> {
    const { entry } = job
    try {
      const signatures = await sign(context, job, signal)
      made.push(job)
      if (isCurrent(job)) entry.signatures = signatures
      if (isCurrent(job) && !isOver) signed.push({ ...job, signatures })
    } catch (error) {
      failures.push({ job, error })
    } finally {
      entry.triedAt = performance.now()
      last = performance.now()
      waiting.delete(job)
      if (isOver) {
        tell(context, made.splice(0), failures.splice(0), signal)
        onLate(job)
      }
    }
  }

  const work: Promise<void>[] = []
  for (const job of batch) {
    const { entry, wanted } = job
    if (signal.aborted) break
    if (!isCurrent(job) || !entry.isListed) continue
    if (entry.signatures !== undefined) signed.push({ ...job, signatures: entry.signatures })
    else {
      waiting.add(job)
      work.push(signOne(job))
      sinceBreak += wanted.deposit === undefined ? 1 : 2
      if (sinceBreak >= SLICE) {
        sinceBreak = 0
        await setImmediate()
      }
    }
  }
  const all = Promise.all(work)
  // Keys in memory are through by now but for the last one's promise.
  await Promise.race([all, setImmediate()])
  while (waiting.size > 0 && performance.now() - last < STALL_MS && !signal.aborted)
    await Promise.race([all, pause(STALL_MS / 5)])
  isOver = true
  tell(context, made.splice(0), failures.splice(0), signal)
  return { signed: signal.aborted ? [] : signed.filter(isCurrent), late: [...waiting] }
}

/** The exit, and the deposit where one is wanted. */
async function sign(
  { keystore, policy }: SignContext,
  { keyShare, wanted }: Job,
  signal: AbortSignal,
): Promise<Signatures> {
  const exit = toHex(await keystore.sign({ ...policy.exit(wanted.validatorIndex), keyShare }, signal))
  if (wanted.deposit === undefined) return { exit }
  const deposit = policy.deposit(keyShare.validatorPublicKey, wanted.deposit)
  return { exit, deposit: toHex(await keystore.sign({ ...deposit, keyShare }, signal)) }
}

/** Counts what was made, and tells each failure once for what is wanted. */
function tell(
  { config, events }: SignContext,
  made: readonly Job[],
  failures: readonly { job: Job; error: unknown }[],
  signal: AbortSignal,
): void {
  if (made.length > 0) events.signed(countKinds(made))
  if (signal.aborted) return
  const news = new Map<string, { fault: NonNullable<SignerError['fault']>; detail: string; jobs: Job[] }>()
  for (const { job, error } of failures) {
    const code = error instanceof SignerError ? error.code : 'OTHER'
    const intervals = IS_ABSENCE.has(code) ? AWAY_INTERVALS : FAILED_INTERVALS
    if (isCurrent(job)) job.entry.notBefore = performance.now() + intervals * config.relayer.pollIntervalMs
    if (!(error instanceof SignerError)) events.loopFailed(error)
    else if (error.fault !== undefined && isCurrent(job) && job.entry.warned !== code) {
      job.entry.warned = code
      const group = news.get(code)
      if (group === undefined) news.set(code, { fault: error.fault, detail: error.message, jobs: [job] })
      else group.jobs.push(job)
    }
  }
  for (const { fault, detail, jobs } of news.values())
    events.notSigned(
      fault,
      detail,
      jobs.map(({ wanted }) => wanted.validatorIndex),
    )
}
