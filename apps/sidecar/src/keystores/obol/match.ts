/** Matches a node's keystores to its cluster lock: whose key shares they are, and which node's (docs/protocol.md#11-obol). */

import { hasRealStake } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ClusterLock, LockValidator } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import type { ObolNodeSource } from '../../config/obol.ts'
import type { Events } from '../../events.ts'
import type { HeldShare } from '../held-shares.ts'
import { indexLock, keyShareOf, type LockOptions, onePosition } from './lock.ts'
import type { OpenedKeystore } from './read-keystores.ts'

/** A keystore that stands in the lock. */
interface Matched {
  readonly file: string
  readonly secretKey: Uint8Array
  /** From 0; several only where the threshold is 1. */
  readonly positions: readonly number[]
}

/** The key shares of one node. @throws {BootError} KEYS_NOT_IN_LOCK, NODE_INDEX_MIXED, NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG */
export function matchToLock(
  source: ObolNodeSource,
  lock: ClusterLock,
  keystores: readonly OpenedKeystore[],
  { network, events }: Pick<LockOptions, 'network'> & { events: Events },
): HeldShare[] {
  const dir = source.keystoresDir
  const index = indexLock(lock)
  const found = new Map<LockValidator, Matched>()
  const strangers: string[] = []
  for (const { file, publicKey, secretKey } of keystores) {
    const entry = index.get(toHex(publicKey))
    if (entry === undefined) strangers.push(file)
    else found.set(entry.validator, { file, secretKey, positions: entry.positions })
  }
  if (found.size === 0)
    throw new BootError(
      'KEYS_NOT_IN_LOCK',
      `none of the ${keystores.length} keystores in ${dir} belongs to the cluster lock: are they of another cluster?`,
    )
  const position = positionOf([...found.values()], source, lock.operators.length)
  const weak = keystores.filter(({ isWeak }) => isWeak).length
  const mislabelled = keystores.filter(({ isMislabelled }) => isMislabelled).map(({ file }) => file)
  if (strangers.length > 0) events.keystoresSkipped(dir, strangers)
  if (mislabelled.length > 0) events.keystoresMislabelled(dir, mislabelled)
  if (weak > 0 && hasRealStake(network)) events.keystoresWeak(dir, weak)
  if (found.size < lock.validators.length) events.keysPartial(dir, found.size, lock.validators.length)
  events.nodeFound(dir, position, found.size)
  return Array.from(found, ([validator, { secretKey }]) => ({
    keyShare: keyShareOf(validator, position),
    secretKey,
  }))
}

function positionOf(
  keys: readonly Matched[],
  { keystoresDir: dir, nodeIndex }: ObolNodeSource,
  operators: number,
): number {
  const examples = () =>
    [...new Map(keys.map(({ file, positions }) => [positions[0], `${file} of node ${positions[0]}`])).values()].slice(
      0,
      4,
    )
  return onePosition(
    keys,
    operators,
    {
      mixed: () =>
        `${dir} mixes keystores of several nodes: ${examples().join(', ')}; keep each node's in a folder of its own`,
      ambiguous: () => `with a threshold of 1 all nodes hold the same keys: set OBOL_NODE_INDEX for ${dir}`,
    },
    nodeIndex === undefined
      ? undefined
      : {
          position: nodeIndex,
          wrong: (first) =>
            `the node index is set to ${nodeIndex}, but the keys in ${dir} are those of node ${first}: correct or unset OBOL_NODE_INDEX`,
        },
  )
}
