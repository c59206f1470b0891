/** Binds the validators of deposits to their vaults in the journal, before anything is signed for them. */

import { messageOf } from '@dvt-relayer/common/errors.ts'
import { untilAborted } from '@dvt-relayer/common/flow/until-aborted.ts'
import type { Job } from '../lists/work-entry.ts'
import type { WorkList } from '../lists/work-list.ts'
import type { SigningParts } from './parts.ts'
import { type Refused, refuse } from './refuse.ts'

/** Poll intervals until the journal is tried again after it could not be written to. */
const JOURNAL_INTERVALS = 5

type BindParts = Pick<SigningParts, 'journal' | 'workLists' | 'events' | 'health'>

/** Binds all of them in one write, and returns those that may be signed. Where the write fails these are the jobs without a deposit. */
export async function bindVaults(
  parts: BindParts,
  workList: WorkList,
  jobs: readonly Job[],
  signal: AbortSignal,
): Promise<Job[]> {
  const { journal, health } = parts
  const deposits = jobs.flatMap((job) => (job.wanted.deposit ? [{ job, vault: job.wanted.deposit.vault }] : []))
  const stopped = new Set<Job>()
  if (deposits.length > 0)
    try {
      const bindings = deposits.map(({ job, vault }) => ({ publicKey: job.keyShare.validatorPublicKey, vault }))
      const lines = await untilAborted(journal.bind(bindings), signal)
      const refused = deposits.flatMap(({ job }, position): Refused[] => {
        const line = lines[position]
        return line === undefined ? [] : [{ job, reason: 'vault_changed', line }]
      })
      for (const { job } of refused) stopped.add(job)
      refuse(parts, workList, refused, performance.now())
    } catch (error) {
      if (!signal.aborted) health.report('journal', messageOf(error))
      const now = performance.now()
      for (const { job } of deposits) {
        stopped.add(job)
        workList.defer(job, now, JOURNAL_INTERVALS)
      }
    }
  const willing = jobs.filter((job) => !stopped.has(job))
  for (const job of willing) workList.bound(job)
  return willing
}
