/** Verification of a cluster lock before anything in it is used. */

import { equalBytes, parseHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '../bls/bls.ts'
import { publicKeySharesFit } from '../threshold/threshold.ts'
import { type ClusterLock, ClusterLockError, type ClusterLockErrorCode } from './cluster-lock.ts'
import { enrPublicKey } from './enr.ts'
import { configHash, definitionHash, lockHash } from './lock-hash.ts'
import { recoverNodeKey } from './node-signature.ts'

/** What a lock is compared with, and how errors name it. */
export interface LockExpectation {
  /** 4 bytes. */
  genesisForkVersion: Uint8Array
  networkName: string
  file: string
}

type Fault = (code: ClusterLockErrorCode, field: string, reason: string) => ClusterLockError

/** Networks of Obol clusters by genesis fork version, to name the one a wrong lock is for. */
const NETWORK_NAMES: Readonly<Record<string, string>> = {
  '0x00000000': 'mainnet',
  '0x00000064': 'gnosis',
  '0x0000006f': 'chiado',
  '0x00001020': 'goerli',
  '0x01017000': 'holesky',
  '0x10000910': 'hoodi',
  '0x90000069': 'sepolia',
}

function assertNetwork(lock: ClusterLock, { genesisForkVersion, networkName }: LockExpectation, fault: Fault): void {
  if (equalBytes(lock.forkVersion, genesisForkVersion)) return
  const stated = toHex(lock.forkVersion)
  const name = NETWORK_NAMES[stated]
  const reason = `is ${stated}${name === undefined ? '' : ` (${name})`}, but the network is ${networkName} (${toHex(genesisForkVersion)})`
  throw fault('LOCK_NETWORK_WRONG', 'cluster_definition.fork_version', reason)
}

function assertCounts(lock: ClusterLock, fault: Fault): void {
  const nodes = lock.operators.length
  const stated = lock.numValidators
  const assertCount = (field: string, found: number, expected: number, as: string) => {
    if (found !== expected) throw fault('LOCK_COUNT_MISMATCH', field, `has ${found} items, but ${as} ${expected}`)
  }
  if (nodes === 0) throw fault('LOCK_COUNT_MISMATCH', 'cluster_definition.operators', 'is empty')
  if (lock.threshold > nodes)
    throw fault(
      'LOCK_THRESHOLD_INVALID',
      'cluster_definition.threshold',
      `is ${lock.threshold}, but there are ${nodes} operators`,
    )
  assertCount('distributed_validators', lock.validators.length, stated, 'num_validators is')
  if (lock.minor >= 5) assertCount('cluster_definition.validators', lock.addresses.length, stated, 'num_validators is')
  if (lock.minor >= 7) assertCount('node_signatures', lock.nodeSignatures.length, nodes, 'the number of operators is')
  lock.validators.forEach(({ publicKeyShares }, position) => {
    const field = `distributed_validators[${position}].public_shares`
    assertCount(field, publicKeyShares.length, nodes, 'the number of operators is')
  })
}

/** Every validator key and public key share is a valid point and stands in the lock once. */
function assertKeys(engine: BlsEngine, lock: ClusterLock, fault: Fault): void {
  const seen = new Map<string, { field: string; validator: number }>()
  const assertKey = (key: Uint8Array, field: string, validator: number) => {
    const text = toHex(key)
    const earlier = seen.get(text)
    // With threshold 1 the polynomial is constant: all shares of a validator are its key.
    if (earlier !== undefined && lock.threshold === 1 && earlier.validator === validator) return
    if (earlier !== undefined) throw fault('LOCK_DUPLICATE', field, `is the same key as ${earlier.field}`)
    seen.set(text, { field, validator })
    if (!engine.isPublicKey(key)) throw fault('LOCK_POINT_INVALID', field, 'is not a valid BLS public key')
  }
  lock.validators.forEach(({ publicKey, publicKeyShares }, position) => {
    assertKey(publicKey, `distributed_validators[${position}].distributed_public_key`, position)
    publicKeyShares.forEach((share, node) => {
      assertKey(share, `distributed_validators[${position}].public_shares[${node}]`, position)
    })
  })
}

/** Whether the version's hashes are recomputed: from v1.5 on. An older lock, or one that claims to be older, may state any. */
export const isHashKnown = ({ minor }: ClusterLock): boolean => minor >= 5

/**
 * Whether a verified lock is one of those that were pinned by their `lock_hash`. False for a lock older than v1.5, whatever it states: its
 * hash is not recomputed, so a pin would let pass any content under it.
 */
export function isPinnedLock(lock: ClusterLock, pins: readonly Uint8Array[]): boolean {
  return isHashKnown(lock) && pins.some((pin) => equalBytes(pin, lock.lockHash))
}

/** The bytes of a pin, as a setting has it. @throws {Error} with a message that completes "NAME …" */
export function parseLockHash(text: string): Uint8Array {
  const bytes = parseHex(text, 32)
  if (bytes === undefined) throw new Error('must be a lock_hash: hex of 32 bytes')
  return bytes
}

function assertHashes(lock: ClusterLock, fault: Fault): void {
  const hashes: [string, Uint8Array, Uint8Array][] = [
    ['cluster_definition.config_hash', lock.configHash, configHash(lock)],
    ['cluster_definition.definition_hash', lock.definitionHash, definitionHash(lock)],
    ['lock_hash', lock.lockHash, lockHash(lock)],
  ]
  for (const [field, stated, computed] of hashes)
    if (!equalBytes(stated, computed))
      throw fault(
        'LOCK_HASH_MISMATCH',
        field,
        'does not fit the contents: the file was changed after it was made, or is damaged',
      )
}

function assertShares(engine: BlsEngine, lock: ClusterLock, fault: Fault): void {
  lock.validators.forEach(({ publicKey, publicKeyShares }, position) => {
    const shares = publicKeyShares.map((point, node) => ({ index: BigInt(node + 1), point }))
    if (publicKeySharesFit(engine, { publicKey, threshold: lock.threshold, shares, exactDegree: true })) return
    const reason = `do not belong to the validator key with threshold ${lock.threshold}`
    throw fault('LOCK_SHARES_UNFIT', `distributed_validators[${position}].public_shares`, reason)
  })
}

function assertAggregate(engine: BlsEngine, lock: ClusterLock, fault: Fault): void {
  // Checked to be missing only where the format allows it when the lock was read.
  if (lock.signatureAggregate.length === 0) return
  const shares = lock.validators.flatMap(({ publicKeyShares }) => publicKeyShares)
  if (!engine.verifyAggregate(shares, lock.lockHash, lock.signatureAggregate))
    throw fault(
      'LOCK_SIGNATURE_INVALID',
      'signature_aggregate',
      'is not the signature of all key shares over lock_hash',
    )
}

function assertNodeSignatures(lock: ClusterLock, fault: Fault): void {
  lock.nodeSignatures.forEach((signature, node) => {
    const key = enrPublicKey(lock.operators[node]?.enr ?? '')
    if (key === undefined) {
      const reason = 'is not an Ethereum node record with a secp256k1 key'
      throw fault('LOCK_MALFORMED', `cluster_definition.operators[${node}].enr`, reason)
    }
    const signer = recoverNodeKey(signature, lock.lockHash)
    if (signer === undefined || !equalBytes(signer, key))
      throw fault(
        'LOCK_SIGNATURE_INVALID',
        `node_signatures[${node}]`,
        `is not operator ${node}'s signature over lock_hash`,
      )
  })
}

/**
 * Verifies everything a cluster lock can be verified by: network, counts, keys, hashes (v1.5 and later), threshold,
 * shares on one polynomial of degree threshold − 1 through the validator key, and the signatures over the lock hash.
 *
 * A lock that passes is whole and consistent; it is evidence of its origin to nobody: `signature_aggregate` has no
 * proof of possession and the node keys are the lock's own. Who trusts a lock pins its `lockHash`: {@link isPinnedLock}.
 *
 * @returns what is worth a warning all the same
 * @throws {ClusterLockError} the first fault found, the most telling checks first
 * @see docs/protocol.md#11-obol
 */
export function verifyClusterLock(
  engine: BlsEngine,
  lock: ClusterLock,
  expected: LockExpectation,
): { warnings: string[] } {
  const fault: Fault = (code, field, reason) => new ClusterLockError(code, expected.file, field, reason)
  const warnings: string[] = []
  assertNetwork(lock, expected, fault)
  assertCounts(lock, fault)
  assertKeys(engine, lock, fault)
  if (isHashKnown(lock)) assertHashes(lock, fault)
  else warnings.push(`${expected.file}: lock_hash was not recomputed: version ${lock.version} is older than v1.5.0`)
  assertShares(engine, lock, fault)
  assertAggregate(engine, lock, fault)
  if (lock.signatureAggregate.length === 0)
    warnings.push(`${expected.file}: signature_aggregate is empty: nothing shows that the nodes signed this lock`)
  assertNodeSignatures(lock, fault)
  return { warnings }
}
