/** How often the background work of relayers under test comes around: so often that nobody waits for it. */

import type { Overrides } from '../../../apps/relayer/src/relayer.ts'

export const QUICK_MS: NonNullable<Overrides['intervalsMs']> = {
  sweep: 500,
  checks: 500,
  retention: 1000,
  oracleSet: 500,
  registry: 500,
  ssv: 500,
  rotation: 500,
  registered: 500,
}
