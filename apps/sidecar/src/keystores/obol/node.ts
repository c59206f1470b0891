/** One Obol node's folder: its keystores and its lock, read again only where they have changed (docs/protocol.md#11-obol). */

import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BootError } from '@dvt-relayer/common/errors.ts'
import type { ClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import type { ObolNodeSource } from '../../config/obol.ts'
import type { Events } from '../../events.ts'
import type { HeldShare } from '../held-shares.ts'
import { createKeystoreFiles, type FilesLook } from './keystore-files.ts'
import type { LockOptions } from './lock.ts'
import { matchToLock } from './match.ts'
import { unreadableKeystores } from './read-keystores.ts'

export interface ObolNodeOptions extends LockOptions {
  events: Events
  readLock(file: string): Promise<ClusterLock>
}

/** Before a node has any key, so many keystores that cannot be opened are enough: the password of all is wrong, as a rule. */
const MOST_PROBLEMS_AT_FIRST = 5

/** A node's files, looked at but not decrypted. */
export interface NodeLook extends FilesLook {
  readonly lock: ClusterLock
}

/** Creates a node that holds no key. */
export function createObolNode(source: ObolNodeSource, options: ObolNodeOptions) {
  const files = createKeystoreFiles(options.engine)
  let lock: ClusterLock | undefined
  let held: readonly HeldShare[] = []
  /** Why the keystores and the lock that are there now do not go together; those before did. */
  let mismatch: BootError | undefined

  const secrets = () => [...files.keystores(), ...held].map(({ secretKey }) => secretKey)

  /** Overwrites secrets that are held no more. */
  function wipe(before: readonly Uint8Array[]): void {
    const kept = new Set(secrets())
    for (const secretKey of before) if (!kept.has(secretKey)) secretKey.fill(0)
  }

  /** What does not fit takes nothing away. */
  function match(newLock: ClusterLock): void {
    lock = newLock
    try {
      held = matchToLock(source, newLock, files.keystores(), options)
      mismatch = undefined
    } catch (error) {
      if (!(error instanceof BootError)) throw error
      mismatch = error
    }
  }

  return {
    /** Every key share it can sign with; the same list until it changes. */
    get held(): readonly HeldShare[] {
      return held
    },
    /** Looks at files and lock. @throws {BootError} KEYSTORES_MISSING, LOCK_MISSING, LOCK_INVALID, LOCK_NOT_PINNED */
    async look(): Promise<NodeLook> {
      const dir = await keystoresFolder(source.keystoresDir)
      const look = await files.look(dir)
      return { ...look, lock: await options.readLock(source.lockFile ?? (await findLock(dir))) }
    },
    /**
     * Decrypts what is new, matches all to the lock, and takes the result over.
     *
     * @throws {BootError} KEYSTORE_UNREADABLE (the other keystores are taken over all the same); KEYS_NOT_IN_LOCK, NODE_INDEX_MIXED,
     * NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG (what was held stays)
     */
    async open(look: NodeLook, signal: AbortSignal, onOpened: () => void): Promise<void> {
      const before = secrets()
      const mostProblems = held.length === 0 ? MOST_PROBLEMS_AT_FIRST : Number.POSITIVE_INFINITY
      const { isChanged, problems, isGivenUp } = await files.open(look, { mostProblems, signal, onOpened })
      const unreadable = problems.size === 0 ? undefined : unreadableKeystores(problems, isGivenUp)
      // Of a node without any key that works, the keystores are what is wrong, not how they fit the lock.
      const isMatchable = unreadable === undefined || held.length > 0
      if (isMatchable && (isChanged || look.lock !== lock)) match(look.lock)
      wipe(before)
      const problem = unreadable ?? mismatch
      if (problem !== undefined) throw problem
    },
    /** Forgets every key. */
    close(): void {
      const before = secrets()
      files.forget()
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
