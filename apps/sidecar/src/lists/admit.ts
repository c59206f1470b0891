/** Decides which jobs may be signed: what the policy says, and for deposits what the journal binds. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { untilAborted } from '@dvt-relayer/common/until-aborted.ts'
import type { Context } from '../context.ts'
import { DEPOSIT_REFUSALS, type Refusal } from '../metrics.ts'
import { isCurrent, type Job } from '../signing/job.ts'

/** What was refused is judged again after this many poll intervals. */
const REFUSED_INTERVALS = 5

type AdmitContext = Pick<Context, 'config' | 'policy' | 'journal' | 'books' | 'events' | 'health'> & {
  readonly keystore: Pick<Context['keystore'], 'isAway'>
}

/** A job that is refused, and the line of the journal that stands against it. */
interface Refused {
  job: Job
  reason: Refusal
  line?: number
}

/**
 * Which jobs may be signed or, already signed, posted again. Validators of admitted deposits are bound to their vault on disk.
 *
 * @returns `isJudged` false when the consensus node cannot be asked, or what holds the keys is away
 */
export async function admit(
  context: AdmitContext,
  due: readonly Job[],
  signal: AbortSignal,
): Promise<{ willing: Job[]; isJudged: boolean }> {
  const { config, policy, events, health } = context
  const fresh = due.filter(({ entry }) => entry.signatures === undefined)
  const signed = due.filter(({ entry }) => entry.signatures !== undefined)
  if (fresh.length === 0) return { willing: signed, isJudged: true }
  // Nobody is bound to a vault by a deposit that cannot be signed now.
  if (context.keystore.isAway === true) return { willing: signed, isJudged: false }
  let verdicts: readonly (Refusal | undefined)[]
  try {
    if (config.consensus !== undefined && !health.isGood('consensus'))
      throw new Error('see the check of the consensus node')
    verdicts = await untilAborted(policy.judge(fresh), signal)
  } catch (error) {
    if (!signal.aborted) {
      if (health.isGood('consensus')) health.report('consensus', messageOf(error))
      events.policyUnavailable(fresh.length)
    }
    return { willing: signed, isJudged: false }
  }
  const now = performance.now()
  for (const job of fresh) if (isCurrent(job)) job.entry.triedAt = now
  const refused = fresh.flatMap((job, position): Refused[] =>
    verdicts[position] ? [{ job, reason: verdicts[position] }] : [],
  )
  const allowed = fresh.filter((_, position) => verdicts[position] === undefined)
  const bound = await bindAll(context, allowed, signal)
  noteRefusals(context, [...refused, ...bound.refused])
  return { willing: [...signed, ...bound.willing], isJudged: true }
}

/** Binds the validators of jobs with a deposit, all in one write; where that fails only jobs without one are left. */
async function bindAll(
  { journal, config, health }: AdmitContext,
  jobs: readonly Job[],
  signal: AbortSignal,
): Promise<{ willing: Job[]; refused: Refused[] }> {
  const deposits = jobs.flatMap((job) => (job.wanted.deposit ? [{ job, vault: job.wanted.deposit.vault }] : []))
  if (deposits.length === 0) return { willing: [...jobs], refused: [] }
  const bindings = deposits.map(({ job, vault }) => ({ publicKey: job.keyShare.validatorPublicKey, vault }))
  try {
    const lines = await untilAborted(journal.bind(bindings), signal)
    const refused = deposits.flatMap(({ job }, position): Refused[] => {
      const line = lines[position]
      return line === undefined ? [] : [{ job, reason: 'vault_changed', line }]
    })
    const isRefused = new Set(refused.map(({ job }) => job))
    return { willing: jobs.filter((job) => !isRefused.has(job)), refused }
  } catch (error) {
    if (!signal.aborted) health.report('journal', messageOf(error))
    waitBeforeNext(
      deposits.map(({ job }) => job),
      config,
    )
    return { willing: jobs.filter(({ wanted }) => wanted.deposit === undefined), refused: [] }
  }
}

function waitBeforeNext(jobs: readonly Job[], { relayer }: AdmitContext['config']): void {
  const notBefore = performance.now() + REFUSED_INTERVALS * relayer.pollIntervalMs
  for (const job of jobs) if (isCurrent(job)) job.entry.notBefore = notBefore
}

/** Remembers and, once for each reason and what was wanted, tells what was refused. */
function noteRefusals({ config, books, journal, events }: AdmitContext, refused: readonly Refused[]): void {
  waitBeforeNext(
    refused.map(({ job }) => job),
    config,
  )
  const news = refused.filter(({ job, reason }) => isCurrent(job) && job.entry.warned !== reason)
  for (const { job, reason } of news) job.entry.warned = reason
  for (const [reason, group] of Map.groupBy(news, (item) => item.reason)) {
    const told = DEPOSIT_REFUSALS.has(reason) ? group : group.filter(({ job }) => !isToldByExits(job, books))
    if (told.length === 0) continue
    const lines = told.flatMap(({ line }) => line ?? [])
    const vaults = new Set(told.flatMap(({ job }) => job.wanted.deposit?.vault ?? []))
    events.refused(
      reason,
      told.map(({ job }) => job.wanted.validatorIndex),
      {
        ...(vaults.size === 0 ? {} : { vaults: [...vaults] }),
        ...(lines.length === 0 ? {} : { journal: journal.path, journalLines: [...new Set(lines)] }),
      },
    )
  }
}

/** An exit that is refused is in both lists as a rule: `GET /exits` is where it is told. */
function isToldByExits({ keyShare, wanted }: Job, { exits }: AdmitContext['books']): boolean {
  if (wanted.deposit === undefined) return false
  const twin = exits.find(keyShare)
  return twin?.isListed === true && twin.wanted?.validatorIndex === wanted.validatorIndex && !twin.isSettled
}
