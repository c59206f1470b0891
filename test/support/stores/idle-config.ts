/** Settings of a relayer that asks nobody: for services that a test creates by themselves. */

import { readConfig } from '../../../apps/relayer/src/config.ts'

export const { config: idleConfig } = readConfig({
  NETWORK: 'hoodi',
  EXECUTION_ENDPOINT: 'http://127.0.0.1:1',
  CONSENSUS_ENDPOINT: 'http://127.0.0.1:1',
  SIGNATURE_THRESHOLD: '3',
  DATABASE_URL: 'postgres://127.0.0.1/none',
  SEALING_KEY: '01'.repeat(32),
})
