/** What `doctor` and `check-backup` look at. */

import type { Finding as AnyFinding } from '@dvt-relayer/common/findings.ts'

export type Check =
  | 'settings'
  | 'files'
  | 'clusters'
  | 'tokens'
  | 'database'
  | 'sealing'
  | 'queue'
  | 'execution'
  | 'consensus'
  | 'ipfs'
  | 'oracle_set'
  | 'ssv'
  | 'registry'
  | 'clock'
  | 'workers'
  | 'manager'
  | 'keys'
  | 'rotation'
  | 'contents'
  | 'live'
  | 'relayers'
export type Finding = AnyFinding<Check>

/** How many of many things are named one by one. */
const SHOWN = 10

/** The first of many, and how many more there are. */
export const firstOf = (lines: readonly string[]): string[] =>
  lines.length <= SHOWN ? [...lines] : [...lines.slice(0, SHOWN), `and ${lines.length - SHOWN} more`]
