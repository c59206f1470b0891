/** The main job: what is due is judged by the policy, signed in slices that leave the event loop free, and posted in batches. */

import { setImmediate } from 'node:timers/promises'
import type { SharesResponse } from '@dvt-relayer/api/schemas.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { HttpError } from '@dvt-relayer/common/http-client.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { createBackoff } from './backoff.ts'
import type { Context } from './context.ts'
import type { Entry } from './exit-book.ts'
import type { Refusal } from './metrics.ts'
import type { WantedExit } from './policy.ts'
import { untilAborted } from './until-aborted.ts'

/** Items of one post; the first of a round is small so that it leaves early. */
const FIRST_BATCH = 64
const BATCH = 500
/** Posts on their way at once. */
const MAX_POSTS = 4
/** About 4 ms of signing between two looks at the event loop. */
const SLICE = 8
/** What the policy refused is judged again, and what the relayer rejected posted again, after this many poll intervals. */
const REFUSED_INTERVALS = 5
const MOST_BACKOFF_MS = 10_000

type SignContext = Pick<Context, 'config' | 'keystore' | 'relayer' | 'policy' | 'book' | 'events' | 'health'>

/** Starts the loop. `wake` is to be called when the book has changed, `isBack` where the relayer was away before. */
export function startSigning(context: SignContext): AsyncDisposable & { wake(isBack: boolean): void } {
  const { config, book, events, health } = context
  const { pollIntervalMs } = config.relayer
  const stop = new AbortController()
  const { signal } = stop
  const backoff = createBackoff({ firstMs: Math.min(1000, pollIntervalMs), mostMs: MOST_BACKOFF_MS })
  const posts = new Set<Promise<void>>()
  let changed = Promise.withResolvers<void>()
  let isReachable = true
  let notBefore = 0

  /** Waits until something may be due: the book has changed or a time has come. */
  async function waitForWork(): Promise<void> {
    const now = performance.now()
    const next = health.isGood('network') ? Math.max(book.nextDueAt(), notBefore) : Number.POSITIVE_INFINITY
    if (next <= now) return
    const ended = new AbortController()
    const timer = pause(Math.min(next - now, pollIntervalMs), AbortSignal.any([signal, ended.signal]))
    await Promise.race([changed.promise, timer])
    ended.abort()
  }

  /** Failures at about the same time are one: the next round waits longer. */
  function failed(): void {
    if (performance.now() >= notBefore) notBefore = performance.now() + backoff.fail()
  }

  /** Sends a batch; does not wait for the answer, which a busy relayer gives after seconds, unless too many are on their way. */
  async function send(shareIndex: number, batch: readonly SignedJob[], start: number): Promise<void> {
    for (const { entry } of batch) entry.isPosting = true
    const sent = post(context, shareIndex, batch, signal).then((outcome) => {
      for (const job of batch) if (isCurrent(job)) job.entry.isPosting = false
      posts.delete(sent)
      if (outcome === 'taken') backoff.reset()
      else failed()
      if (outcome === 'unreachable') isReachable = false
      events.batchAnswered((performance.now() - start) / 1000)
      changed.resolve()
    })
    posts.add(sent)
    if (posts.size >= MAX_POSTS) await Promise.race(posts)
  }

  /** One round: judges, signs and sends what is due. */
  async function round(due: readonly Entry[], start: number): Promise<void> {
    isReachable = true
    const { willing, isJudged } = await admit(context, due.map(toJob), signal)
    if (!isJudged) failed()
    let size = FIRST_BATCH
    for (const [shareIndex, jobs] of Map.groupBy(willing, (job) => job.shareIndex))
      for (let from = 0; from < jobs.length; ) {
        const batch = jobs.slice(from, from + size)
        from += batch.length
        size = BATCH
        if (!isReachable || signal.aborted || !health.isGood('network')) return
        const signed = await signBatch(context, batch, signal)
        if (signed.length > 0) await send(shareIndex, signed, start)
      }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await waitForWork()
      changed = Promise.withResolvers()
      const start = performance.now()
      const due = start < notBefore || !health.isGood('network') ? [] : book.due(start)
      if (due.length === 0 || signal.aborted) continue
      try {
        await round(due, start)
      } catch (error) {
        events.loopFailed(error)
        // Whatever it was, the same entries must not come back in a tight loop.
        for (const entry of due) entry.notBefore = performance.now() + pollIntervalMs
      }
    }
  }

  const running = run()
  return {
    wake(isBack) {
      if (isBack) notBefore = 0
      changed.resolve()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      changed.resolve()
      await running
      await Promise.all(posts)
    },
  }
}

/** An entry for the index that was due. The list may name another one meanwhile: then the job is dropped. */
interface Job extends WantedExit {
  entry: Entry
  shareIndex: number
}
interface SignedJob extends Job {
  signature: string
}
const isCurrent = ({ entry, validatorIndex }: Job) => entry.validatorIndex === validatorIndex

function toJob(entry: Entry): Job {
  const { validatorPublicKey, shareIndex } = entry.keyShare
  return { entry, shareIndex, validatorPublicKey, validatorIndex: entry.validatorIndex }
}

/** Which jobs may be signed or, already signed, posted again. */
async function admit(
  { config, policy, events, health }: SignContext,
  due: readonly Job[],
  signal: AbortSignal,
): Promise<{ willing: Job[]; isJudged: boolean }> {
  const fresh = due.filter(({ entry }) => entry.signature === undefined)
  const signed = due.filter(({ entry }) => entry.signature !== undefined)
  if (fresh.length === 0) return { willing: signed, isJudged: true }
  try {
    if (config.consensus !== undefined && !health.isGood('consensus'))
      throw new Error('see the check of the consensus node')
    const verdicts = await untilAborted(policy.judge(fresh), signal)
    noteRefusals(
      fresh.flatMap((job, place) => (verdicts[place] ? [{ job, reason: verdicts[place] }] : [])),
      config,
      events,
    )
    return { willing: [...signed, ...fresh.filter((_, place) => verdicts[place] === undefined)], isJudged: true }
  } catch (error) {
    if (!signal.aborted) {
      if (health.isGood('consensus')) health.report('consensus', messageOf(error))
      events.policyUnavailable(fresh.length)
    }
    return { willing: signed, isJudged: false }
  }
}

/** Remembers and, once for each exit and reason, tells what the policy refused. */
function noteRefusals(
  refused: readonly { job: Job; reason: Refusal }[],
  { relayer }: SignContext['config'],
  events: SignContext['events'],
): void {
  const notBefore = performance.now() + REFUSED_INTERVALS * relayer.pollIntervalMs
  for (const { job } of refused) job.entry.notBefore = notBefore
  const news = refused.filter(({ job, reason }) => isCurrent(job) && job.entry.warned !== reason)
  for (const { job, reason } of news) job.entry.warned = reason
  for (const [reason, group] of Map.groupBy(news, (item) => item.reason))
    events.exitsRefused(
      reason,
      group.map(({ job }) => job.validatorIndex),
    )
}

/** Signs what has no signature yet, a slice at a time. */
async function signBatch(
  { keystore, policy, events }: SignContext,
  batch: readonly Job[],
  signal: AbortSignal,
): Promise<SignedJob[]> {
  const signed: SignedJob[] = []
  let made = 0
  for (const job of batch) {
    const { entry, validatorIndex } = job
    if (signal.aborted) return []
    if (!isCurrent(job) || !entry.isListed) continue
    if (entry.signature === undefined) {
      const signature = toHex(await keystore.sign(policy.exitRoot(validatorIndex), entry.keyShare))
      entry.signedAt = performance.now()
      if (++made % SLICE === 0) await setImmediate()
      if (!isCurrent(job)) continue
      entry.signature = signature
    }
    signed.push({ ...job, signature: entry.signature })
  }
  if (made > 0) events.exitsSigned(made)
  return signed
}

/** Posts one batch. Whatever comes of it, its entries come up again no sooner than after a poll interval. */
async function post(
  { config, relayer, events }: SignContext,
  shareIndex: number,
  batch: readonly SignedJob[],
  signal: AbortSignal,
): Promise<'taken' | 'refused' | 'unreachable'> {
  const shares = batch.map((job) => ({ public_key: job.validatorPublicKey, exit_signature: job.signature }))
  try {
    const answer = await relayer.postExitSignature({ share_index: shareIndex, shares }, signal)
    const rejected = noteRejections(answer, batch, shareIndex, events)
    const taken = batch.filter((job) => !rejected.has(job))
    const firstTime = taken.filter(({ entry }) => entry.postedAt === undefined).length
    events.signaturesPosted(shareIndex, taken.length, firstTime)
    const now = performance.now()
    for (const job of batch) if (isCurrent(job)) job.entry.postedAt = now
    for (const { entry } of rejected) entry.notBefore = now + REFUSED_INTERVALS * config.relayer.pollIntervalMs
    return 'taken'
  } catch (error) {
    if (signal.aborted) return 'unreachable'
    const notBefore = performance.now() + config.relayer.pollIntervalMs
    for (const { entry } of batch) entry.notBefore = Math.max(entry.notBefore, notBefore)
    events.postFailed(error, shareIndex, batch.length)
    const isAnswer = error instanceof HttpError && error.code === 'HTTP_STATUS'
    return isAnswer ? 'refused' : 'unreachable'
  }
}

/** Remembers and, once for each exit and code, tells what the relayer rejected. Returns those jobs. */
function noteRejections(
  { failures = [] }: SharesResponse,
  batch: readonly SignedJob[],
  shareIndex: number,
  events: SignContext['events'],
): Set<SignedJob> {
  const rejected = new Map<SignedJob, string>()
  for (const { index, code } of failures) {
    const job = batch[index]
    // A code is a word of the relayer's: nothing else of its text reaches the log.
    if (job !== undefined) rejected.set(job, /^[A-Z][A-Z0-9_]{0,39}$/.test(code) ? code : 'OTHER')
  }
  const news = [...rejected].filter(([job, code]) => isCurrent(job) && job.entry.warned !== code)
  for (const [{ entry }, code] of news) entry.warned = code
  if (rejected.size > 0) events.signaturesRejected(rejected.size)
  for (const [code, group] of Map.groupBy(news, ([, said]) => said))
    events.rejectionSeen(
      code,
      shareIndex,
      group.map(([{ validatorIndex }]) => validatorIndex),
    )
  return new Set(rejected.keys())
}
