/** Ends jobs that are refused, tells of each refusal once for each reason and what was wanted, and how many there are now. */

import type { KeyShare } from '../keystores/keystore.ts'
import { isOpen, type Job } from '../lists/work-entry.ts'
import type { WorkList } from '../lists/work-list.ts'
import { DEPOSIT_REFUSALS, REFUSALS, type Refusal } from '../metrics.ts'
import type { SigningParts } from './parts.ts'

/** A job that is refused, and the line of the journal that stands against it. */
export interface Refused {
  readonly job: Job
  readonly reason: Refusal
  readonly line?: number
}

/** Ends these jobs, and tells what is new of them. */
export function refuse(
  parts: Pick<SigningParts, 'workLists' | 'journal' | 'events'>,
  workList: WorkList,
  refused: readonly Refused[],
  now: number,
): void {
  if (refused.length === 0) return
  tellNews(parts, workList, refused, now)
  countRefused(parts)
}

/** Counts the key shares of which something is refused now, in whichever list: until it is allowed, or wanted no more. */
export function countRefused({ workLists, events }: Pick<SigningParts, 'workLists' | 'events'>): void {
  const keyShares = new Map<string, Set<KeyShare>>(Object.keys(REFUSALS).map((reason) => [reason, new Set()]))
  for (const workList of Object.values(workLists))
    for (const { refusal = '', keyShare } of workList.refusedNow()) keyShares.get(refusal)?.add(keyShare)
  events.refusedNow(new Map([...keyShares].map(([reason, { size }]) => [reason, size])))
}

function tellNews(
  { workLists, journal, events }: Pick<SigningParts, 'workLists' | 'journal' | 'events'>,
  workList: WorkList,
  refused: readonly Refused[],
  now: number,
): void {
  const news = refused.filter(({ job, reason }) => workList.refused(job, reason, now))
  for (const [reason, group] of Map.groupBy(news, (item) => item.reason)) {
    const told = DEPOSIT_REFUSALS.has(reason) ? group : group.filter(({ job }) => !isToldByExits(job, workLists.exits))
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
function isToldByExits({ keyShare, wanted }: Job, exits: WorkList): boolean {
  if (wanted.deposit === undefined) return false
  const twin = exits.find(keyShare)
  return twin?.wanted?.validatorIndex === wanted.validatorIndex && isOpen(twin)
}
