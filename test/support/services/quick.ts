/**
 * What makes relayers under test quick where nobody is to wait, and patient where a busy machine is slow.
 */

import type { Overrides } from '../../../apps/relayer/src/relayer.ts'

/** How often background work comes around: so often that nobody waits for it. */
export const QUICK_MS: NonNullable<Overrides['intervalsMs']> = {
  'oracle set': 500,
  registry: 500,
  checks: 500,
  finishing: 500,
  sweep: 500,
  rotation: 500,
  'ssv clusters': 500,
  retention: 1000,
  'registered validators': 500,
  'nodes seen': 500,
  'nodes gone': 500,
  status: 500,
  attendance: 500,
  workers: 500,
  heartbeat: 1000,
  files: 300,
}

/**
 * A post is answered once all it brought has a verdict, and no request gives up a node that answers, however busy the machine: what a
 * test reads next says the same each time.
 */
export const REQUEST_PATIENCE_MS = 120_000
