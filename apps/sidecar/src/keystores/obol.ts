/** Key shares of Obol nodes: keystores and cluster lock as charon leaves them (protocol section 11). */

import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls.ts'
import type { ClusterLock, LockValidator } from '@dvt-relayer/crypto/cluster-lock.ts'
import type { ObolNodeSource } from '../config.ts'
import type { Events } from '../events.ts'
import type { KeyShare, Keystore } from './keystore.ts'
import { createLockReader, indexLock, keyShareOf, type LockOptions, placesOfAll } from './obol-lock.ts'
import { listKeystores, type OpenedKeystore, openKeystores } from './read-keystores.ts'

export interface ObolOptions extends LockOptions {
  nodes: readonly ObolNodeSource[]
  events: Events
  signal: AbortSignal
}

const PROGRESS_MS = 3000
/** Networks where real money is at stake. */
const REAL_MONEY = ['mainnet', 'gnosis']
/** libuv has four threads for key derivation unless told otherwise; scrypt needs 256 MiB for each at once. */
const MAX_CONCURRENCY = 4

/** One key share with its secret. */
interface HeldShare extends KeyShare {
  readonly secretKey: Uint8Array
}

/** One node's files, looked at but not decrypted. */
interface Node {
  source: ObolNodeSource
  lock: ClusterLock
  files: string[]
}

/**
 * Opens the key shares of one or several nodes: every lock is verified, every keystore decrypted once and matched to the lock by the
 * public key derived from its secret key; the node's place in the lock is the one all its keys stand at.
 *
 * @throws {BootError} KEYSTORES_MISSING, KEYSTORE_UNREADABLE, LOCK_MISSING, LOCK_INVALID, LOCK_NOT_PINNED, KEYS_NOT_IN_LOCK,
 * NODE_INDEX_MIXED, NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG
 */
export async function openObolKeystore(options: ObolOptions): Promise<Keystore> {
  const { events, engine, signal } = options
  const readLock = createLockReader(options)
  const nodes: Node[] = []
  // Everything cheap is checked for all nodes before the minutes of decryption begin.
  for (const source of options.nodes) {
    const dir = await keystoresFolder(source.keystoresDir)
    const files = await listKeystores(dir)
    nodes.push({ source, files, lock: await readLock(source.lockFile ?? (await findLock(dir))) })
  }
  const total = nodes.reduce((sum, { files }) => sum + files.length, 0)
  const progress = startProgress(total, events)
  const held = new Map<string, HeldShare>()
  try {
    for (const node of nodes) {
      const concurrency = Math.min(MAX_CONCURRENCY, availableParallelism(), node.files.length)
      const keystores = await openKeystores(node.files, engine, { concurrency, signal, onOpened: progress.step })
      if (signal.aborted) throw new BootError('STOPPED', 'stopped while keystores were decrypted')
      for (const share of matchToLock(node, keystores, options)) held.set(idOf(share), share)
    }
  } finally {
    progress.stop()
  }
  events.keysLoaded(held.size, options.nodes.length, progress.seconds())
  return createMemoryKeystore([...held.values()], engine)
}

const idOf = ({ shareIndex, validatorPublicKey }: Pick<KeyShare, 'shareIndex' | 'validatorPublicKey'>) =>
  `${shareIndex}:${validatorPublicKey}`
const withoutSecret = ({ secretKey: _, ...share }: HeldShare): KeyShare => share

/** A keystore over decrypted secret keys. */
function createMemoryKeystore(shares: readonly HeldShare[], engine: BlsEngine): Keystore {
  const secrets = new Map(shares.map((share) => [idOf(share), share.secretKey]))
  return {
    keyShares: shares.map(withoutSecret),
    async sign({ signingRoot, keyShare }) {
      const secretKey = secrets.get(idOf(keyShare))
      if (secretKey === undefined) throw new TypeError('asked to sign with a key share that is not held')
      return engine.sign(secretKey, signingRoot)
    },
    reload: async () => false,
    async [Symbol.asyncDispose]() {
      for (const secretKey of secrets.values()) secretKey.fill(0)
      secrets.clear()
    },
  }
}

/** The folder itself, or the `validator_keys` in it where a whole node folder was named. */
async function keystoresFolder(dir: string): Promise<string> {
  const inner = join(dir, 'validator_keys')
  return (await exists(inner)) ? inner : dir
}

async function findLock(dir: string): Promise<string> {
  for (const folder of [dir, dirname(dir)]) {
    const file = join(folder, 'cluster-lock.json')
    if (await exists(file)) return file
  }
  throw new BootError(
    'LOCK_MISSING',
    `there is no cluster-lock.json in ${dir} or the folder above: name it with OBOL_CLUSTER_LOCK_FILE`,
  )
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** The key shares of one node. */
function matchToLock(
  { source, lock }: Node,
  keystores: readonly OpenedKeystore[],
  { network, events }: ObolOptions,
): HeldShare[] {
  const dir = source.keystoresDir
  const index = indexLock(lock)
  const found = new Map<LockValidator, { file: string; secretKey: Uint8Array; places: readonly number[] }>()
  const strangers: string[] = []
  for (const { file, publicKey, secretKey } of keystores) {
    const entry = index.get(toHex(publicKey))
    if (entry === undefined) strangers.push(file)
    else found.set(entry.validator, { file, secretKey, places: entry.places })
  }
  if (found.size === 0)
    throw new BootError(
      'KEYS_NOT_IN_LOCK',
      `none of the ${keystores.length} keystores in ${dir} belongs to the cluster lock: are they of another cluster?`,
    )
  const place = nodePlace([...found.values()], source, lock.operators.length)
  const weak = keystores.filter(({ isWeak }) => isWeak).length
  const mislabelled = keystores.filter(({ isMislabelled }) => isMislabelled).map(({ file }) => file)
  if (strangers.length > 0) events.keystoresSkipped(dir, strangers)
  if (mislabelled.length > 0) events.keystoresMislabelled(dir, mislabelled)
  if (weak > 0 && REAL_MONEY.includes(network.name)) events.keystoresWeak(dir, weak)
  if (found.size < lock.validators.length) events.keysPartial(dir, found.size, lock.validators.length)
  events.nodeFound(dir, place, found.size)
  return Array.from(found, ([validator, { secretKey }]) => ({ ...keyShareOf(validator, place), secretKey }))
}

/** The one place of the lock's operators that all these keys stand at, from 0. */
function nodePlace(
  keys: readonly { file: string; places: readonly number[] }[],
  { keystoresDir: dir, nodeIndex: stated }: ObolNodeSource,
  operators: number,
): number {
  const common = placesOfAll(keys, operators)
  const [first] = common
  if (first === undefined) {
    const example = [...new Map(keys.map(({ file, places }) => [places[0], `${file} of node ${places[0]}`])).values()]
    throw new BootError(
      'NODE_INDEX_MIXED',
      `${dir} mixes keystores of several nodes: ${example.slice(0, 4).join(', ')}; keep each node's in a folder of its own`,
    )
  }
  if (stated !== undefined && !common.includes(stated))
    throw new BootError(
      'NODE_INDEX_WRONG',
      `the node index is set to ${stated}, but the keys in ${dir} are those of node ${first}: correct or unset OBOL_NODE_INDEX`,
    )
  if (stated === undefined && common.length > 1)
    throw new BootError(
      'NODE_INDEX_UNKNOWN',
      `with a threshold of 1 all nodes hold the same keys: set OBOL_NODE_INDEX for ${dir}`,
    )
  return stated ?? first
}

/** A line every few seconds while keystores are decrypted. */
function startProgress(total: number, events: Events) {
  const start = performance.now()
  const seconds = () => (performance.now() - start) / 1000
  let done = 0
  const timer = setInterval(() => events.decrypting(done, total, seconds()), PROGRESS_MS)
  return {
    step: () => {
      done++
    },
    stop: () => clearInterval(timer),
    seconds,
  }
}
