/** The keystore files of one folder: each is decrypted once, and again only where it or its password has changed. */

import { availableParallelism } from 'node:os'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { stampOf } from '@dvt-relayer/common/files/file-stamp.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import {
  type KeystoreOutcome,
  listKeystores,
  type OpenedKeystore,
  openKeystores,
  passwordFileOf,
} from './read-keystores.ts'

/** libuv has four threads for key derivation unless told otherwise; scrypt needs 256 MiB for each at once. */
const MAX_CONCURRENCY = 4

/** One keystore file when it was last looked at. */
interface KnownFile {
  readonly stamp: string
  /** What it held when it could last be opened. */
  readonly keystore: OpenedKeystore | undefined
  /** Why it cannot be opened now, and the password file that was tried. */
  readonly problem: { readonly text: string; readonly passwordStamp: string | undefined } | undefined
}

/** The files of a folder, looked at but not decrypted. */
export interface FilesLook {
  /** By path. */
  readonly stamps: ReadonlyMap<string, string>
  /** Those that are to be decrypted. */
  readonly fresh: readonly string[]
}

/** What came of opening files. */
interface OpenedFiles {
  /** Whether anything is new: a file, its content or its password, or a file has gone. */
  readonly isChanged: boolean
  /** By path: why a file cannot be opened now. */
  readonly problems: ReadonlyMap<string, string>
  /** After many problems the other files were not tried. */
  readonly isGivenUp: boolean
}

/** Creates files of which nothing is known. */
export function createKeystoreFiles(engine: BlsEngine) {
  let known: ReadonlyMap<string, KnownFile> = new Map()

  async function isFresh(file: string, stamp: string): Promise<boolean> {
    const before = known.get(file)
    if (before?.stamp !== stamp) return true
    return before.problem !== undefined && before.problem.passwordStamp !== (await stampOf(passwordFileOf(file)))
  }

  return {
    /** What each file holds, or held when it could last be opened. */
    keystores: (): OpenedKeystore[] => [...known.values()].flatMap(({ keystore }) => keystore ?? []),
    /** Forgets all. */
    forget(): void {
      known = new Map()
    },
    /** Looks at the files of a folder. @throws {BootError} KEYSTORES_MISSING */
    async look(dir: string): Promise<FilesLook> {
      const stamps = new Map<string, string>()
      const fresh: string[] = []
      for (const file of await listKeystores(dir)) {
        const stamp = (await stampOf(file)) ?? 'gone'
        stamps.set(file, stamp)
        if (await isFresh(file, stamp)) fresh.push(file)
      }
      return { stamps, fresh }
    },
    /** Decrypts what is new. A file that cannot be opened any more keeps what it held. @throws {BootError} STOPPED */
    async open(
      { stamps, fresh }: FilesLook,
      options: { mostProblems: number; signal: AbortSignal; onOpened(): void },
    ): Promise<OpenedFiles> {
      const concurrency = Math.min(MAX_CONCURRENCY, availableParallelism(), fresh.length)
      const outcomes = await openKeystores(fresh, engine, { ...options, concurrency })
      const next = new Map<string, KnownFile>()
      for (const [file, stamp] of stamps) {
        const now = await afterwards(file, stamp, known.get(file), outcomes.get(file))
        if (now !== undefined) next.set(file, now)
      }
      if (options.signal.aborted) throw new BootError('STOPPED', 'stopped while keystores were decrypted')
      const isChanged = fresh.length > 0 || next.size !== known.size
      known = next
      const problems = new Map([...next].flatMap(([file, { problem }]) => (problem ? [[file, problem.text]] : [])))
      return { isChanged, problems, isGivenUp: outcomes.size < fresh.length }
    },
  }
}

/** What is known of a file after it was tried; `outcome` undefined: it was not. */
async function afterwards(
  file: string,
  stamp: string,
  before: KnownFile | undefined,
  outcome: KeystoreOutcome | undefined,
): Promise<KnownFile | undefined> {
  if (outcome === undefined) return before
  if ('keystore' in outcome) return { stamp, keystore: outcome.keystore, problem: undefined }
  const problem = { text: outcome.problem, passwordStamp: await stampOf(passwordFileOf(file)) }
  return { stamp, keystore: before?.keystore, problem }
}
