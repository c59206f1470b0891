/** The cluster lock as the source of key shares: whose they are, and which node's (docs/protocol.md#11-obol). */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { LARGE_FILE_BYTES, readText } from '@dvt-relayer/common/files/text-file.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { ClusterLock, LockValidator } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { ClusterLockError, parseClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import { isPinnedLock, verifyClusterLock } from '@dvt-relayer/crypto/cluster-lock/lock-verify.ts'
import type { Events } from '../../events.ts'
import type { KeyShare } from '../keystore.ts'

/** Locks a reader remembers: those of all nodes, and what some of them were before. */
const MOST_KNOWN = 32

export interface LockOptions {
  /** Empty: any lock that verifies. */
  lockHashes: readonly Uint8Array[]
  network: Pick<Network, 'name' | 'genesisForkVersion' | 'chainId'>
  engine: BlsEngine
  events: Pick<Events, 'lockDoubtful' | 'lockRead'>
}

/**
 * Reads and verifies locks; the copies that the nodes of one cluster have, and one that is read again, are verified once.
 *
 * @throws {BootError} LOCK_MISSING, LOCK_INVALID, LOCK_NOT_PINNED
 */
export function createLockReader({ network, engine, lockHashes, events }: LockOptions) {
  const known: { text: string; lock: ClusterLock | BootError }[] = []

  function verify(text: string, file: string): ClusterLock | BootError {
    try {
      const lock = parseClusterLock(text, { file })
      const expected = { genesisForkVersion: network.genesisForkVersion, networkName: network.name, file }
      for (const warning of verifyClusterLock(engine, lock, expected).warnings) events.lockDoubtful(warning)
      assertPinned(lock, lockHashes, file)
      events.lockRead(lock, file, lockHashes.length > 0)
      return lock
    } catch (error) {
      if (error instanceof BootError) return error
      if (error instanceof ClusterLockError)
        return new BootError('LOCK_INVALID', `the cluster lock is refused: ${error.message}`, { cause: error })
      throw error
    }
  }

  return async (file: string): Promise<ClusterLock> => {
    const text = await readText(file, LARGE_FILE_BYTES).catch((error: unknown) => {
      throw new BootError(
        'LOCK_MISSING',
        `the cluster lock ${file} cannot be read (${reasonOf(error)}); OBOL_CLUSTER_LOCK_FILE must name a file this user may read`,
        { cause: error },
      )
    })
    let found = known.find((other) => other.text === text)
    if (found === undefined) {
      found = { text, lock: verify(text, file) }
      known.push(found)
      if (known.length > MOST_KNOWN) known.shift()
    }
    if (found.lock instanceof BootError) throw found.lock
    return found.lock
  }
}

function assertPinned(lock: ClusterLock, pins: readonly Uint8Array[], file: string): void {
  if (pins.length === 0 || isPinnedLock(lock, pins)) return
  throw new BootError(
    'LOCK_NOT_PINNED',
    lock.minor < 5
      ? `${file} is a lock of ${lock.version}, which CLUSTER_LOCK_HASHES cannot pin: its lock_hash is not recomputed before v1.5.0`
      : `${file} has the lock_hash ${toHex(lock.lockHash)}, which is not one of CLUSTER_LOCK_HASHES`,
  )
}

/** Where a public key share stands: its validator, and its positions (several only where the threshold is 1). */
interface LockPositions {
  validator: LockValidator
  positions: number[]
}

/** A lock's public key shares, by lower-case hex. */
export function indexLock(lock: ClusterLock): Map<string, LockPositions> {
  const index = new Map<string, LockPositions>()
  for (const validator of lock.validators)
    for (const [position, share] of validator.publicKeyShares.entries()) {
      const entry = index.get(toHex(share))
      if (entry === undefined) index.set(toHex(share), { validator, positions: [position] })
      else entry.positions.push(position)
    }
  return index
}

/** What a lock says of one node's key share. */
export function keyShareOf(
  { publicKey, publicKeyShares, withdrawalAddress }: LockValidator,
  position: number,
): KeyShare {
  const isNamed = withdrawalAddress?.some((byte) => byte !== 0) === true
  return {
    validatorPublicKey: toHex(publicKey),
    shareIndex: position + 1,
    publicKeyShares: publicKeyShares.map((share, other) => ({
      share_index: other + 1,
      public_key_share: toHex(share),
    })),
    // No vault is at the zero address, which locks of test networks may carry for want of another.
    withdrawalAddress: isNamed ? toHex(withdrawalAddress) : undefined,
  }
}

/**
 * The one position of the lock's operators, from 0, that all these keys stand at.
 *
 * @param stated the position that the settings name
 * @throws {BootError} NODE_INDEX_MIXED, NODE_INDEX_WRONG, NODE_INDEX_UNKNOWN
 */
export function onePosition(
  keys: readonly { readonly positions: readonly number[] }[],
  operators: number,
  messages: { mixed(): string; ambiguous(): string },
  stated?: { readonly position: number; wrong(first: number): string },
): number {
  const common = Array.from({ length: operators }, (_, position) => position).filter((position) =>
    keys.every(({ positions }) => positions.includes(position)),
  )
  const [first] = common
  if (first === undefined) throw new BootError('NODE_INDEX_MIXED', messages.mixed())
  if (stated !== undefined) {
    if (common.includes(stated.position)) return stated.position
    throw new BootError('NODE_INDEX_WRONG', stated.wrong(first))
  }
  if (common.length > 1) throw new BootError('NODE_INDEX_UNKNOWN', messages.ambiguous())
  return first
}
