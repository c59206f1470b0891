/** What `doctor` finds of the sealing key: whether it opens what this database holds. */

import { finding } from '@dvt-relayer/common/findings.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { countTables } from '@dvt-relayer/db/queries/doctor/contents.ts'
import type { RelayerConfig } from '../config.ts'
import { keyFileOf, proveSealingKey } from '../services/sealing/sealing.ts'
import type { Finding } from './findings.ts'

/** The key of the settings on a database: does it fit? */
export async function examineSealing(config: RelayerConfig, db: Database): Promise<Finding> {
  const counts = await countTables(db, ['sealing_checks'])
  if (counts.get('sealing_checks') === undefined)
    return finding(
      'sealing',
      'unused',
      'the database has no tables yet: the first start takes the key that is set then',
    )
  const proof = await proveSealingKey(config, db, silentLogger)
  if (proof.outcome === 'fits')
    return proof.isCurrent
      ? finding('sealing', 'good', 'the sealing key fits the database')
      : finding(
          'sealing',
          'warning',
          'the database is sealed with SEALING_KEY_PREVIOUS: the next start seals it anew; keep that key until then',
        )
  if (proof.outcome === 'no key')
    return finding(
      'sealing',
      'problem',
      `there is no sealing key: set SEALING_KEY or SEALING_KEY_FILE, or put ${keyFileOf(config.storage)} back`,
    )
  if (proof.outcome === 'no check')
    return finding('sealing', 'unused', 'nothing is sealed yet: the next start takes the key that is set then')
  return finding(
    'sealing',
    'problem',
    'the sealing key does not fit the database: its values were sealed with another key. Set SEALING_KEY to the right one; after a change of keys set SEALING_KEY_PREVIOUS to the old one',
  )
}
