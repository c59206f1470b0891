/** What `doctor` finds of cluster locks, keyshares files and the key list: whether a start would take them, and whether locks are pinned. */

import { hasRealStake } from '@dvt-relayer/chain/networks.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { readAsciiSync } from '@dvt-relayer/common/files/text-file.ts'
import { count, finding } from '@dvt-relayer/common/findings.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { isPinnedLock } from '@dvt-relayer/crypto/cluster-lock/lock-verify.ts'
import type { RelayerConfig } from '../config.ts'
import { parseKeyList } from '../services/clusters/key-list.ts'
import { readLock } from '../services/clusters/locks.ts'
import { newestItems, readKeysharesFiles } from '../services/clusters/ssv-files.ts'
import { type Finding, firstOf } from './findings.ts'

/** 100,000 keys with a few words each, three times. */
const MAX_LIST_BYTES = 64 << 20

/** The files of CLUSTER_LOCK_FILES, SSV_KEYSHARES_FILES and PUBLIC_KEYS_FILE, each read as at a start. */
export async function examineClusters(config: RelayerConfig): Promise<Finding> {
  const engine = createBlstEngine()
  const locks = lookAtLocks(config, engine)
  const words = locks.good.map(({ words: of }) => of)
  const problems = [...locks.problems]
  const { clusters, ssv } = config
  if (ssv.keysharesFiles.length > 0)
    try {
      const { items, otherOwners } = await readKeysharesFiles(ssv)
      words.push(`${count(newestItems(items).length, 'validator')} in keyshares files`)
      if (otherOwners > 0) locks.doubts.push(`${otherOwners} of other owners than SSV_OWNERS are left out`)
    } catch (error) {
      problems.push(`${messageOf(error)} (SSV_KEYSHARES_FILES)`)
    }
  if (clusters.publicKeysFile !== undefined)
    try {
      const text = readAsciiSync(clusters.publicKeysFile, MAX_LIST_BYTES)
      const keys = parseKeyList(text, clusters.publicKeysFile, (key) => engine.isPublicKey(key))
      words.push(`${count(keys.length, 'key')} in PUBLIC_KEYS_FILE`)
    } catch (error) {
      problems.push(`${messageOf(error)} (PUBLIC_KEYS_FILE)`)
    }
  const facts = { locks: locks.good.map(({ facts: of }) => of) }
  if (problems.length > 0)
    return finding('clusters', 'problem', problems.join('\n'), { details: firstOf(locks.doubts), facts })
  const status = locks.doubts.length > 0 ? 'warning' : 'good'
  const message = words.length > 0 ? words.join('; ') : `no file: ${elsewhere(config)}`
  return finding('clusters', status, message, { details: firstOf(locks.doubts), facts })
}

const elsewhere = ({ ssv, clusters: { signatureThreshold } }: RelayerConfig) =>
  ssv.owners.length > 0
    ? `SSV registrations of ${count(ssv.owners.length, 'owner')} are followed on the chain`
    : `SIGNATURE_THRESHOLD=${signatureThreshold} counts for every key`

function lookAtLocks(config: RelayerConfig, engine: BlsEngine) {
  const { lockFiles, lockHashes } = config.clusters
  const problems: string[] = []
  const doubts: string[] = []
  const good: { words: string; facts: Record<string, string | number | boolean> }[] = []
  const hashes: Uint8Array[] = []
  for (const file of lockFiles)
    try {
      const { lock, warnings } = readLock(config, engine, file)
      const isPinned = isPinnedLock(lock, lockHashes)
      const hash = toHex(lock.lockHash)
      hashes.push(lock.lockHash)
      doubts.push(...warnings.map((warning) => `${file}: ${warning}`))
      if (!isPinned && hasRealStake(config.network))
        doubts.push(
          `the cluster lock ${hash} of ${file} is not pinned, and a lock can be forged: ask whoever made it for its lock_hash, and set CLUSTER_LOCK_HASHES`,
        )
      const [validators, nodes] = [lock.validators.length, lock.operators.length]
      good.push({
        words: `cluster lock ${hash}, ${lock.threshold} of ${nodes} nodes, ${count(validators, 'validator')}${isPinned ? ', pinned' : ''}`,
        facts: { file, lock_hash: hash, validators, threshold: lock.threshold, nodes, pinned: isPinned },
      })
    } catch (error) {
      problems.push(`${messageOf(error)} (CLUSTER_LOCK_FILES)`)
    }
  // A file that cannot be read may be the one that is pinned.
  if (problems.length === 0)
    for (const pin of lockHashes.filter((wanted) => !hashes.some((hash) => equalBytes(hash, wanted))))
      doubts.push(
        `CLUSTER_LOCK_HASHES pins the cluster lock ${toHex(pin)}, which no file is: take it out, or add the file`,
      )
  return { problems, doubts, good }
}
