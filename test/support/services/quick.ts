/**
 * What makes relayers under test quick where nobody is to wait, and patient where a busy machine is slow.
 */

import type { Overrides } from '../../../apps/relayer/src/relayer.ts'

/**
 * How often background work comes around. What tests wait for again and again comes so often that nobody waits for it; the rest less often,
 * since several relayers at a time look in vain for most of a run.
 */
export const QUICK_MS: NonNullable<Overrides['intervalsMs']> = {
  'oracle set': 1000,
  registry: 500,
  checks: 1000,
  finishing: 500,
  sweep: 1000,
  rotation: 500,
  'ssv clusters': 500,
  retention: 1000,
  'registered validators': 1000,
  'nodes seen': 500,
  'nodes gone': 500,
  status: 1000,
  attendance: 1000,
  workers: 500,
  heartbeat: 1000,
  files: 300,
}

/**
 * A post is answered once all it brought has a verdict, and no request gives up a node that answers, however busy the machine: what a
 * test reads next says the same each time.
 */
export const REQUEST_PATIENCE_MS = 120_000
