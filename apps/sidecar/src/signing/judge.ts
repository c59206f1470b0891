/** Decides which jobs may be signed: what the policy says, and for deposits what the journal binds. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { untilAborted } from '@dvt-relayer/common/flow/until-aborted.ts'
import type { Job } from '../lists/work-entry.ts'
import type { WorkList } from '../lists/work-list.ts'
import type { Refusal } from '../metrics.ts'
import { bindVaults } from './bind.ts'
import type { SigningParts } from './parts.ts'
import { type Refused, refuse } from './refuse.ts'

type JudgeParts = Pick<SigningParts, 'config' | 'policy' | 'journal' | 'keystore' | 'workLists' | 'events' | 'health'>

/**
 * Which of these jobs may be signed or, where they are signed already, posted again. Validators of deposits that may be signed are
 * bound to their vault on disk. Jobs that are refused have ended; those that could not be judged have not.
 *
 * @returns `isJudged` false when the consensus node cannot be asked, or what holds the keys is away
 */
export async function judge(
  parts: JudgeParts,
  workList: WorkList,
  jobs: readonly Job[],
  signal: AbortSignal,
): Promise<{ willing: Job[]; isJudged: boolean }> {
  const fresh = jobs.filter(({ entry }) => entry.signatures === undefined)
  const signed = jobs.filter(({ entry }) => entry.signatures !== undefined)
  if (fresh.length === 0) return { willing: signed, isJudged: true }
  // Nobody is bound to a vault by a deposit that cannot be signed now.
  if (parts.keystore.isAway === true) return { willing: signed, isJudged: false }
  const verdicts = await askPolicy(parts, fresh, signal)
  if (verdicts === undefined) return { willing: signed, isJudged: false }
  const now = performance.now()
  const refused = fresh.flatMap((job, position): Refused[] => {
    const reason = verdicts[position]
    return reason === undefined ? [] : [{ job, reason }]
  })
  const allowed = fresh.filter((_, position) => verdicts[position] === undefined)
  for (const job of allowed) workList.judged(job, now)
  refuse(parts, workList, refused, now)
  return { willing: [...signed, ...(await bindVaults(parts, workList, allowed, signal))], isJudged: true }
}

/** The policy's verdict on each job; undefined when there is none, because the consensus node cannot be asked. */
async function askPolicy(
  { config, policy, events, health }: JudgeParts,
  jobs: readonly Job[],
  signal: AbortSignal,
): Promise<readonly (Refusal | undefined)[] | undefined> {
  try {
    if (config.consensus !== undefined && !health.isGood('consensus'))
      throw new Error('see the check of the consensus node')
    return await untilAborted(policy.judge(jobs), signal)
  } catch (error) {
    if (signal.aborted) return undefined
    if (health.isGood('consensus')) health.report('consensus', messageOf(error))
    events.policyUnavailable(jobs.length)
    return undefined
  }
}
