/** One Obol node's folder: its keystores and its lock, read again only where they have changed (docs/protocol.md#11-obol). */

import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ClusterLock, LockValidator } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import type { ObolNodeSource } from '../../config.ts'
import type { Events } from '../../events.ts'
import { stampOf } from '../file-stamp.ts'
import type { HeldShare } from '../held-shares.ts'
import { indexLock, keyShareOf, type LockOptions, placesOfAll } from './lock.ts'
import { listKeystores, type OpenedKeystore, openKeystores, unreadableKeystores } from './read-keystores.ts'

export interface ObolNodeOptions extends LockOptions {
  events: Events
  readLock(file: string): Promise<ClusterLock>
}

/** Networks where real money is at stake. */
const REAL_MONEY = ['mainnet', 'gnosis']
/** libuv has four threads for key derivation unless told otherwise; scrypt needs 256 MiB for each at once. */
const MAX_CONCURRENCY = 4
/** Before a node has any key, so many keystores that cannot be opened are enough: the password of all is wrong, as a rule. */
const MOST_PROBLEMS_AT_FIRST = 5

/** One keystore file when it was last looked at. */
interface KnownFile {
  readonly stamp: string
  /** What it held when it could last be opened. */
  readonly keystore: OpenedKeystore | undefined
  /** Why it cannot be opened now, and the password file that was tried. */
  readonly problem: { readonly text: string; readonly passwordStamp: string | undefined } | undefined
}

/** A node's files, looked at but not decrypted. */
export interface NodeLook {
  readonly lock: ClusterLock
  /** By path. */
  readonly stamps: ReadonlyMap<string, string>
  /** Those that are to be decrypted. */
  readonly fresh: readonly string[]
}

const passwordFileOf = (file: string) => file.replace(/\.json$/, '.txt')

/** Creates a node that holds no key. */
export function createObolNode(source: ObolNodeSource, options: ObolNodeOptions) {
  let known: ReadonlyMap<string, KnownFile> = new Map()
  let lock: ClusterLock | undefined
  let held: readonly HeldShare[] = []
  /** Why the keystores and the lock that are there now do not go together; those before did. */
  let mismatch: BootError | undefined

  async function isFresh(file: string, stamp: string): Promise<boolean> {
    const before = known.get(file)
    if (before?.stamp !== stamp) return true
    return before.problem !== undefined && before.problem.passwordStamp !== (await stampOf(passwordFileOf(file)))
  }

  /** What is known of each file after these were tried; a file that cannot be opened any more keeps what it held. */
  async function openFiles({ stamps, fresh }: NodeLook, signal: AbortSignal, onOpened: () => void) {
    const mostProblems = held.length === 0 ? MOST_PROBLEMS_AT_FIRST : Number.POSITIVE_INFINITY
    const concurrency = Math.min(MAX_CONCURRENCY, availableParallelism(), fresh.length)
    const outcomes = await openKeystores(fresh, options.engine, { concurrency, mostProblems, signal, onOpened })
    const next = new Map<string, KnownFile>()
    for (const [file, stamp] of stamps) {
      const before = known.get(file)
      const outcome = outcomes.get(file)
      if (outcome === undefined) {
        if (before !== undefined) next.set(file, before)
      } else if ('keystore' in outcome) next.set(file, { stamp, keystore: outcome.keystore, problem: undefined })
      else {
        const problem = { text: outcome.problem, passwordStamp: await stampOf(passwordFileOf(file)) }
        next.set(file, { stamp, keystore: before?.keystore, problem })
      }
    }
    return { next, isGivenUp: outcomes.size < fresh.length }
  }

  const keystoresOf = (files: ReadonlyMap<string, KnownFile>) =>
    [...files.values()].flatMap(({ keystore }) => keystore ?? [])

  /** Overwrites secrets that are held no more. */
  function wipe(before: readonly { readonly secretKey: Uint8Array }[]): void {
    const kept = new Set([...keystoresOf(known), ...held].map(({ secretKey }) => secretKey))
    for (const { secretKey } of before) if (!kept.has(secretKey)) secretKey.fill(0)
  }

  return {
    /** Every key share it can sign with; the same list until it changes. */
    get held(): readonly HeldShare[] {
      return held
    },
    /** Looks at files and lock. @throws {BootError} KEYSTORES_MISSING, LOCK_MISSING, LOCK_INVALID, LOCK_NOT_PINNED */
    async look(): Promise<NodeLook> {
      const dir = await keystoresFolder(source.keystoresDir)
      const stamps = new Map<string, string>()
      const fresh: string[] = []
      for (const file of await listKeystores(dir)) {
        const stamp = (await stampOf(file)) ?? 'gone'
        stamps.set(file, stamp)
        if (await isFresh(file, stamp)) fresh.push(file)
      }
      return { stamps, fresh, lock: await options.readLock(source.lockFile ?? (await findLock(dir))) }
    },
    /**
     * Decrypts what is new, matches all to the lock, and takes the result over.
     *
     * @throws {BootError} KEYSTORE_UNREADABLE (the other keystores are taken over all the same); KEYS_NOT_IN_LOCK, NODE_INDEX_MIXED,
     * NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG (what was held stays)
     */
    async open(look: NodeLook, signal: AbortSignal, onOpened: () => void): Promise<void> {
      const { next, isGivenUp } = await openFiles(look, signal, onOpened)
      if (signal.aborted) throw new BootError('STOPPED', 'stopped while keystores were decrypted')
      const before = [...keystoresOf(known), ...held]
      const isNew = look.lock !== lock || look.fresh.length > 0 || next.size !== known.size
      known = next
      const problems = new Map([...next].flatMap(([file, { problem }]) => (problem ? [[file, problem.text]] : [])))
      const unreadable = problems.size === 0 ? undefined : unreadableKeystores(problems, isGivenUp)
      // Of a node without any key that works, the keystores are what is wrong, not how they fit the lock.
      if (isNew && (unreadable === undefined || held.length > 0)) {
        lock = look.lock
        try {
          held = matchToLock(source, look.lock, keystoresOf(next), options)
          mismatch = undefined
        } catch (error) {
          if (!(error instanceof BootError)) throw error
          mismatch = error
        }
      }
      wipe(before)
      const problem = unreadable ?? mismatch
      if (problem !== undefined) throw problem
    },
    /** Forgets every key. */
    close(): void {
      const before = [...keystoresOf(known), ...held]
      known = new Map()
      held = []
      wipe(before)
    },
  }
}
export type ObolNode = ReturnType<typeof createObolNode>

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
  source: ObolNodeSource,
  lock: ClusterLock,
  keystores: readonly OpenedKeystore[],
  { network, events }: Pick<ObolNodeOptions, 'network' | 'events'>,
): HeldShare[] {
  const dir = source.keystoresDir
  const index = indexLock(lock)
  const found = new Map<LockValidator, { file: string; secretKey: Uint8Array; positions: readonly number[] }>()
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
  const position = nodePlace([...found.values()], source, lock.operators.length)
  const weak = keystores.filter(({ isWeak }) => isWeak).length
  const mislabelled = keystores.filter(({ isMislabelled }) => isMislabelled).map(({ file }) => file)
  if (strangers.length > 0) events.keystoresSkipped(dir, strangers)
  if (mislabelled.length > 0) events.keystoresMislabelled(dir, mislabelled)
  if (weak > 0 && REAL_MONEY.includes(network.name)) events.keystoresWeak(dir, weak)
  if (found.size < lock.validators.length) events.keysPartial(dir, found.size, lock.validators.length)
  events.nodeFound(dir, position, found.size)
  return Array.from(found, ([validator, { secretKey }]) => ({
    keyShare: keyShareOf(validator, position),
    secretKey,
  }))
}

/** The one place of the lock's operators that all these keys stand at, from 0. */
function nodePlace(
  keys: readonly { file: string; positions: readonly number[] }[],
  { keystoresDir: dir, nodeIndex: stated }: ObolNodeSource,
  operators: number,
): number {
  const common = placesOfAll(keys, operators)
  const [first] = common
  if (first === undefined) {
    const example = [
      ...new Map(keys.map(({ file, positions }) => [positions[0], `${file} of node ${positions[0]}`])).values(),
    ]
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
