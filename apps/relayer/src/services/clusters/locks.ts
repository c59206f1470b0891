/**
 * Cluster locks, checked and imported at boot. A lock names the threshold, the validators and every node's public key
 * share, so it is what partial signatures are verified against. Replacing one is a deliberate act.
 */

import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { LARGE_FILE_BYTES, readTextSync } from '@dvt-relayer/common/text-file.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { ClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { parseClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { isPinnedLock, verifyClusterLock } from '@dvt-relayer/crypto/cluster-lock/lock-verify.ts'
import {
  assignValidators,
  findClustersOf,
  insertCluster,
  lockClusterImport,
  lockCollecting,
  rejudgePartials,
  replaceKeyShares,
} from '@dvt-relayer/db/queries/clusters.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'

type Needs = Pick<Context, 'config' | 'db' | 'logger'>

/**
 * Checks every lock of CLUSTER_LOCK_FILES, then imports them.
 *
 * @param engine runs on the caller's thread: this is boot
 * @throws {BootError | ClusterLockError} naming file, field and reason; nothing of a lock that is refused is written
 */
export async function importClusterLocks(context: Needs, engine: BlsEngine): Promise<void> {
  const locks = context.config.clusters.lockFiles.map((file) => {
    const { lock, warnings } = readLock(context.config, engine, file)
    for (const warning of warnings) context.logger.warn({ file }, warning)
    return { file, lock }
  })
  for (const { file, lock } of locks) await storeLock(context, file, lock)
}

/** Reads and checks a lock file. @throws {BootError | ClusterLockError} */
export function readLock(
  { network, clusters }: Pick<RelayerConfig, 'network' | 'clusters'>,
  engine: BlsEngine,
  file: string,
): { lock: ClusterLock; warnings: readonly string[] } {
  const lock = parseClusterLock(readText(file), { file })
  const { warnings } = verifyClusterLock(engine, lock, {
    genesisForkVersion: network.genesisForkVersion,
    networkName: network.name,
    file,
  })
  if (clusters.lockHashes.length > 0 && !isPinnedLock(lock, clusters.lockHashes))
    throw new BootError(
      'CLUSTER_LOCK_NOT_PINNED',
      lock.minor < 5
        ? `${file}: a lock of ${lock.version} cannot be pinned: its lock_hash is not recomputed before v1.5.0, so any contents could stand under it`
        : `${file}: its lock_hash ${toHex(lock.lockHash)} is not one of CLUSTER_LOCK_HASHES`,
    )
  return { lock, warnings }
}

function readText(file: string): string {
  try {
    return readTextSync(file, LARGE_FILE_BYTES)
  } catch (error) {
    throw new BootError(
      'CLUSTER_LOCK_UNREADABLE',
      `${file}: cannot be read (${reasonOf(error)}); CLUSTER_LOCK_FILES must name files this user may read`,
      { cause: error },
    )
  }
}

/** Imports one lock. Nothing is written when it is there already. */
async function storeLock({ config, db, logger }: Needs, file: string, lock: ClusterLock): Promise<void> {
  const { replaces } = config.clusters
  const publicKeys = lock.validators.map(({ publicKey }) => publicKey)
  await db.transaction(async (tx) => {
    await lockClusterImport(tx)
    const { isImported, otherLockHashes } = await findClustersOf(tx, lock.lockHash, publicKeys)
    const unnamed = otherLockHashes.find((hash) => !replaces.some((replaced) => equalBytes(replaced, hash)))
    if (isImported && otherLockHashes.length === 0) return
    if (unnamed !== undefined)
      throw new BootError(
        'CLUSTER_LOCK_REPLACES',
        `${file}: some of its validators belong to the imported lock ${toHex(unnamed)}; to replace that lock on purpose set CLUSTER_LOCK_REPLACES=${toHex(unnamed)}`,
      )
    const ids = await storeCluster(tx, lock)
    const messages = await lockCollecting(tx, ids)
    await rejudgePartials(tx, messages, lock.threshold)
    await announceMessages(tx, messages)
    logger.info(
      {
        file,
        lock_hash: toHex(lock.lockHash).slice(0, 18),
        validators: publicKeys.length,
        threshold: lock.threshold,
        rejudged_messages: messages.length,
      },
      'cluster lock imported',
    )
  })
}

/** Stores what a lock says of its validators and their key shares; returns the ids of the validators. */
async function storeCluster(tx: Sql, lock: ClusterLock): Promise<number[]> {
  const clusterId = await insertCluster(tx, { lockHash: lock.lockHash, name: lock.name, threshold: lock.threshold })
  const ids = await assignValidators(
    tx,
    clusterId,
    lock.validators.map(({ publicKey, withdrawalAddress }, position) => ({ publicKey, position, withdrawalAddress })),
  )
  const keyShares = lock.validators.flatMap(({ publicKeyShares }, position) =>
    publicKeyShares.map((publicKeyShare, node) => ({
      validatorId: ids[position] ?? 0,
      shareIndex: node + 1,
      publicKeyShare,
    })),
  )
  await replaceKeyShares(tx, ids, keyShares, 'lock')
  return ids
}
