/** What the files of the settings say of clusters and keys, brought into the database before anything is served. */

import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { findThresholds } from '@dvt-relayer/db/queries/clusters.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'
import { startNativeThreads } from '../../crypto-workers/native-threads.ts'
import { createLockDeposits } from '../registrations/lock-deposits.ts'
import { importKeyList } from './key-list.ts'
import { importClusterLocks } from './locks.ts'
import { findSsvState } from './ssv-checkpoint.ts'
import { importSsvFiles } from './ssv-file-import.ts'
import { createSsvFollower, type SsvFollower, scopeOf } from './ssv-follow.ts'

/**
 * Imports cluster locks, SSV keyshares files and the key list. Returns what follows the registrations of the SSV contract, which the
 * files are compared with; undefined where they are not followed.
 *
 * @throws {BootError} naming the file, and what is wrong with it
 */
export async function importClusters(context: Context): Promise<SsvFollower> {
  const { config, logger } = context
  const engine = createBlstEngine()
  const isVerifying = config.clusters.lockFiles.length + config.ssv.keysharesFiles.length > 0
  if (isVerifying) await startNativeThreads(context.crypto, engine)
  const ssv = createSsvFollower(context, engine)
  if (ssv === undefined && config.ssv.keysharesFiles.length > 0)
    logger.info('SSV_OWNERS is not set: registrations of the SSV contract are not followed')
  await importFiles(context, engine, 'first')
  await compareThreshold(context)
  await createLockDeposits(context).complete(null)
  return ssv
}

/** What the import of files needs of a relayer. */
type Needs = Pick<Context, 'db' | 'logger'> & {
  config: Pick<RelayerConfig, 'network' | 'role' | 'clusters' | 'ssv'>
  events: Pick<Context['events'], 'ssvImported'>
}

/**
 * Reads the files: locks, then keyshares, then the key list. Each that is refused changes nothing. At a start the first refusal ends it; with
 * `all` the others are taken over all the same, and what was refused is returned.
 */
export async function importFiles(needs: Needs, engine: BlsEngine, upTo: 'first' | 'all'): Promise<unknown[]> {
  const failures: unknown[] = []
  for (const step of [
    () => importClusterLocks(needs, engine),
    async () => importSsvFiles(needs, engine, await findSsvState(needs.db, scopeOf(needs.config))),
    () => importKeyList(needs, engine),
  ])
    await step().catch((error: unknown) => {
      if (upTo === 'first') throw error
      failures.push(error)
    })
  return failures
}

/** The setting counts for keys of no known cluster only; where it is that of none of those that are known, it may be a mistake. */
async function compareThreshold({ config, db, logger }: Pick<Context, 'config' | 'db' | 'logger'>): Promise<void> {
  const { signatureThreshold: threshold } = config.clusters
  const known = threshold === undefined ? [] : await findThresholds(db)
  if (threshold !== undefined && known.length > 0 && !known.includes(threshold))
    logger.warn(
      { threshold, thresholds_of_clusters: known },
      'SIGNATURE_THRESHOLD is not the threshold of any imported cluster: keys of no cluster wait for that many signatures',
    )
}
