/** How often the background work of relayers under test comes around: so often that nobody waits for it. */

import type { Overrides } from '../../../apps/relayer/src/relayer.ts'

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
