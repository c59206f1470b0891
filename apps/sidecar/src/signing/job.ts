/** One thing to do for the relayer: a key share and what is wanted of it, as it was when the job began. */

import type { KeyShare } from '../keystores/obol/keystore.ts'
import type { Entry, Signatures, Wanted } from '../lists/work-list.ts'
import type { KindCounts } from '../metrics.ts'

export interface Job {
  readonly entry: Entry
  readonly keyShare: KeyShare
  readonly wanted: Wanted
}
export interface SignedJob extends Job {
  readonly signatures: Signatures
}

/** The job of an entry that is due; undefined for one that was never listed. */
export function jobOf(entry: Entry): Job | undefined {
  const { keyShare, wanted } = entry
  return wanted === undefined ? undefined : { entry, keyShare, wanted }
}

/** Whether the list still wants the same: what another answer has changed meanwhile is dropped. */
export const isCurrent = ({ entry, wanted }: Job): boolean => entry.wanted === wanted

/** How many signatures these jobs bring. */
export function countKinds(jobs: readonly Job[]): KindCounts {
  return { exit: jobs.length, deposit: jobs.filter(({ wanted }) => wanted.deposit !== undefined).length }
}
