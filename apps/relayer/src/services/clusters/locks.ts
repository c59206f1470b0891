/**
 * Cluster locks, checked and imported at boot. A lock names the threshold, the validators and every node's public key
 * share, so it is what partial signatures are verified against. Replacing one is a deliberate act.
 */

import { isRegistrationAmount } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { LARGE_FILE_BYTES, readTextSync } from '@dvt-relayer/common/files/text-file.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { ClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { parseClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { enrPublicKey } from '@dvt-relayer/crypto/cluster-lock/enr.ts'
import { readDeposits, type WholeDeposit } from '@dvt-relayer/crypto/cluster-lock/lock-deposits.ts'
import { isHashKnown, isPinnedLock, verifyClusterLock } from '@dvt-relayer/crypto/cluster-lock/lock-verify.ts'
import { type NodeKeyRow, storeNodeKeys } from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import {
  assignValidators,
  findClustersOf,
  insertCluster,
  lockClusterImport,
  lockCollecting,
  rejudgePartials,
  replaceKeyShares,
} from '@dvt-relayer/db/queries/clusters.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import {
  bindLockDeposits,
  findLockSigned,
  haveDepositsBeenRead,
  noteDepositsRead,
  storeLockDeposits,
} from '@dvt-relayer/db/queries/messages/lock-deposits.ts'
import { lockValidators } from '@dvt-relayer/db/queries/messages/validators.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'

type Needs = Pick<Context, 'db' | 'logger'> & { config: Pick<RelayerConfig, 'network' | 'clusters'> }

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
  for (const { file, lock } of locks) {
    // Verified once, for locks too that an earlier version has imported.
    const isRead = await haveDepositsBeenRead(context.db, lock.lockHash)
    const deposits = isRead ? undefined : wholeDeposits(context, engine, file, lock)
    await storeLock(context, file, lock, deposits)
    // Of locks too that an earlier version has imported.
    await storeNodeKeys(context.db, nodeKeysOf(lock))
  }
}

/** The key of each node, by its ENR. Locks before v1.7 may hold one that is none: that node has no key to be known by. */
function nodeKeysOf(lock: ClusterLock): NodeKeyRow[] {
  const common = { lockHash: Buffer.from(lock.lockHash), isHashKnown: isHashKnown(lock) }
  return lock.operators.flatMap(({ enr }, position) => {
    const publicKey = enrPublicKey(enr)
    return publicKey === undefined ? [] : [{ ...common, shareIndex: position + 1, publicKey: Buffer.from(publicKey) }]
  })
}

/**
 * The deposits of a lock that a vault can ask for. One whose signature is wrong is not used, and no reason to refuse the lock: its nodes
 * sign that deposit as they sign those that no lock has.
 */
function wholeDeposits(
  { config: { network }, logger }: Needs,
  engine: BlsEngine,
  file: string,
  lock: ClusterLock,
): WholeDeposit[] {
  const { deposits, wrong } = readDeposits(engine, lock, network, isRegistrationAmount)
  if (wrong.length > 0)
    logger.warn(
      { file, wrong: wrong.length, first: wrong[0] },
      "deposit signatures of the lock do not verify under the validator's key and are ignored: the nodes sign these deposits",
    )
  const elsewhere = deposits.filter(({ position, vault }) => {
    const own = lock.validators[position]?.withdrawalAddress
    return own !== undefined && !equalBytes(own, vault)
  })
  if (elsewhere.length > 0)
    logger.warn(
      { file, deposits: elsewhere.length, first: elsewhere[0]?.position },
      'deposits of the lock go to another address than the withdrawal address it names: no vault gets these keys',
    )
  return deposits
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

/** Imports one lock, and the deposits it carries unless they were read before. Nothing is written when all is there already. */
async function storeLock(
  { config, db, logger }: Needs,
  file: string,
  lock: ClusterLock,
  deposits: readonly WholeDeposit[] | undefined,
): Promise<void> {
  const { replaces } = config.clusters
  const publicKeys = lock.validators.map(({ publicKey }) => publicKey)
  await db.transaction(async (tx) => {
    await lockClusterImport(tx)
    const { isImported, otherLockHashes } = await findClustersOf(tx, lock.lockHash, publicKeys)
    const unnamed = otherLockHashes.find((hash) => !replaces.some((replaced) => equalBytes(replaced, hash)))
    if (isImported && otherLockHashes.length === 0) {
      if (deposits === undefined) return
      const idOf = new Map((await lockValidators(tx, publicKeys)).map(({ id, publicKey }) => [toHex(publicKey), id]))
      const ids = publicKeys.map((key) => idOf.get(toHex(key)) ?? 0)
      const given = await storeDeposits(tx, lock, ids, deposits)
      await announceMessages(tx, await lockMessages(tx, given))
      logger.info({ file, deposits: deposits.length }, 'deposits of an imported lock read')
      return
    }
    if (unnamed !== undefined)
      throw new BootError(
        'CLUSTER_LOCK_REPLACES',
        `${file}: some of its validators belong to the imported lock ${toHex(unnamed)}; to replace that lock on purpose set CLUSTER_LOCK_REPLACES=${toHex(unnamed)}`,
      )
    const ids = await storeCluster(tx, lock)
    const given = deposits === undefined ? [] : await storeDeposits(tx, lock, ids, deposits)
    const messages = await lockCollecting(tx, ids)
    await rejudgePartials(tx, messages, lock.threshold)
    await announceMessages(tx, await lockMessages(tx, [...new Set([...messages, ...given])]))
    logger.info(
      {
        file,
        lock_hash: toHex(lock.lockHash).slice(0, 18),
        validators: publicKeys.length,
        threshold: lock.threshold,
        deposits: deposits?.length ?? 0,
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

/**
 * Stores the deposits that a lock carries, and binds each key to the vault that its deposit goes to. The caller has locked the validators,
 * so that whoever gives one of them a message has done so before, or sees the deposits. Returns the live messages they are of.
 */
async function storeDeposits(
  tx: Sql,
  lock: ClusterLock,
  validatorIds: readonly number[],
  deposits: readonly WholeDeposit[],
): Promise<number[]> {
  const found = deposits.flatMap(({ position, type, vault, amountGwei, signature }) => {
    const validatorId = validatorIds[position]
    if (validatorId === undefined) return []
    return [{ validatorId, vault, validatorType: type, amountGwei: Number(amountGwei), signature }]
  })
  const ids = [...new Set(found.map(({ validatorId }) => validatorId))]
  await storeLockDeposits(tx, found)
  await bindLockDeposits(tx, ids)
  await noteDepositsRead(tx, lock.lockHash)
  return findLockSigned(tx, ids)
}
