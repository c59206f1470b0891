/**
 * Clusters: cluster locks checked and imported at boot. A lock names the threshold, the validators and every node's public key
 * share, so it is what partial signatures are verified against. Replacing one is a deliberate act.
 */

import { readFileSync } from 'node:fs'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
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
import type { Context } from '../../context.ts'

/** Creates the service. `engine` runs on the caller's thread: this is boot. */
export function createClusters({ config, db, logger }: Pick<Context, 'config' | 'db' | 'logger'>, engine: BlsEngine) {
  const { network, clusters } = config

  /** Reads and checks a lock file. @throws {BootError | ClusterLockError} naming file, field and reason */
  function read(file: string): ClusterLock {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      throw new BootError(
        'CLUSTER_LOCK_UNREADABLE',
        `${file}: cannot be read (${reasonOf(error)}); CLUSTER_LOCK_FILES must name files this user may read`,
        { cause: error },
      )
    }
    const lock = parseClusterLock(text, { file })
    const { warnings } = verifyClusterLock(engine, lock, {
      genesisForkVersion: network.genesisForkVersion,
      networkName: network.name,
      file,
    })
    for (const warning of warnings) logger.warn({ file }, warning)
    if (clusters.lockHashes.length > 0 && !isPinnedLock(lock, clusters.lockHashes))
      throw new BootError(
        'CLUSTER_LOCK_NOT_PINNED',
        lock.minor < 5
          ? `${file}: a lock of ${lock.version} cannot be pinned: its lock_hash is not recomputed before v1.5.0, so any contents could stand under it`
          : `${file}: its lock_hash ${toHex(lock.lockHash)} is not one of CLUSTER_LOCK_HASHES`,
      )
    return lock
  }

  /** Imports one lock. Nothing is written when it is there already. */
  async function store(file: string, lock: ClusterLock): Promise<void> {
    const publicKeys = lock.validators.map(({ publicKey }) => publicKey)
    await db.transaction(async (tx) => {
      await lockClusterImport(tx)
      const { isImported, otherLockHashes } = await findClustersOf(tx, lock.lockHash, publicKeys)
      const unnamed = otherLockHashes.find((hash) => !clusters.replaces.some((replaced) => equalBytes(replaced, hash)))
      if (isImported && otherLockHashes.length === 0) return
      if (unnamed !== undefined)
        throw new BootError(
          'CLUSTER_LOCK_REPLACES',
          `${file}: some of its validators belong to the imported lock ${toHex(unnamed)}; to replace that lock on purpose set CLUSTER_LOCK_REPLACES=${toHex(unnamed)}`,
        )
      const clusterId = await insertCluster(tx, { lockHash: lock.lockHash, name: lock.name, threshold: lock.threshold })
      const ids = await assignValidators(
        tx,
        clusterId,
        lock.validators.map(({ publicKey, withdrawalAddress }, position) => ({
          publicKey,
          position,
          withdrawalAddress,
        })),
      )
      await replaceKeyShares(
        tx,
        ids,
        lock.validators.flatMap(({ publicKeyShares }, position) =>
          publicKeyShares.map((publicKeyShare, node) => ({
            validatorId: ids[position] ?? 0,
            shareIndex: node + 1,
            publicKeyShare,
          })),
        ),
        'lock',
      )
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

  return {
    /** Checks every lock of CLUSTER_LOCK_FILES, then imports them. */
    async importLocks(): Promise<void> {
      const locks = clusters.lockFiles.map((file) => ({ file, lock: read(file) }))
      for (const { file, lock } of locks) await store(file, lock)
    },
  }
}
export type Clusters = ReturnType<typeof createClusters>
