/**
 * The files of the settings that may change while the relayer runs: tokens, cluster locks, SSV keyshares, the key list. They are read again
 * when they have changed, and all of them on SIGHUP. What is broken changes nothing: what was read before stays in force, and `/ready`
 * (`files`) says which file is wrong and why. The settings themselves, pins among them, are those of the start.
 */

import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { stampOf } from '@dvt-relayer/common/files/file-stamp.ts'
import type { RelayerConfig } from '../config.ts'
import type { Context } from '../context.ts'
import { type KeyedNodes, readTokensFile, type Tokens, type TokensFile } from '../http/auth/tokens.ts'
import { importInThread } from '../services/clusters/import-in-thread.ts'
import { createLockDeposits } from '../services/registrations/lock-deposits.ts'

/** What is read together, and what becomes of it. */
interface Source {
  readonly paths: readonly string[]
  /** Returns why some of it was refused. @throws what may pass: it is tried again */
  load(signal: AbortSignal): Promise<string[]> | string[]
  /** The stamps of what was read last, right or wrong, and of the look before this one. */
  read: string
  seen: string
  problems: readonly string[]
}

/** What the tokens file says now. */
export interface LiveTokens {
  get: Tokens['get']
  /** Whose nodes may call by a key they have. */
  readonly listed: KeyedNodes
  replace(file: TokensFile): void
}

export function createLiveTokens(first: TokensFile): LiveTokens {
  let current = first
  return {
    get: (hash) => current.tokens.get(hash),
    listed: {
      get nodes() {
        return current.listed.nodes
      },
      get operators() {
        return current.listed.operators
      },
    },
    replace(file) {
      current = file
    },
  }
}

/** How the files are now: to be asked before they are read for the first time, so that no change is missed. */
export async function stampFiles({ http, clusters, ssv }: RelayerConfig) {
  const beside = ssv.keysharesFiles.flatMap((file) => [file, join(dirname(file), 'proofs.json')])
  const lists = clusters.publicKeysFile === undefined ? [] : [clusters.publicKeysFile]
  const paths = {
    tokens: http.authTokensFile === undefined ? [] : [http.authTokensFile],
    clusters: [...clusters.lockFiles, ...beside, ...ssv.proofsFiles, ...lists],
  }
  return {
    tokens: { paths: paths.tokens, stamp: await stampsOf(paths.tokens) },
    clusters: { paths: paths.clusters, stamp: await stampsOf(paths.clusters) },
  }
}
export type FileStamps = Awaited<ReturnType<typeof stampFiles>>

/** Another text when one of the files, or of those in a folder, is another one. */
async function stampsOf(paths: readonly string[]): Promise<string> {
  const inFolder = async (path: string) => {
    const names = await readdir(path).catch(() => [])
    return [path, ...names.toSorted().map((name) => join(path, name))]
  }
  const files = (await Promise.all(paths.map(inFolder))).flat()
  return (await Promise.all(files.map(async (file) => `${file}:${await stampOf(file)}`))).join('\n')
}

/** Creates what reads the files again. `tokens` are undefined where there is no file of them. */
export function createReload(
  context: Context,
  stamps: FileStamps,
  tokens: LiveTokens | undefined,
  databaseUrl: string,
) {
  const { config, logger } = context
  const sourceOf = ({ paths, stamp }: FileStamps['tokens'], load: Source['load']): Source => {
    return { paths, load, read: stamp, seen: stamp, problems: [] }
  }
  const sources = [
    sourceOf(stamps.tokens, () => {
      try {
        tokens?.replace(readTokensFile(config.http.authTokensFile ?? ''))
        return []
      } catch (error) {
        return [messageOf(error)]
      }
    }),
    sourceOf(stamps.clusters, async (signal) => {
      const problems = await importInThread(context, databaseUrl, signal)
      await createLockDeposits(context).complete(null)
      context.announced()
      return problems
    }),
  ].filter(({ paths }) => paths.length > 0)
  let isForced = false

  /** A file is taken when two looks have seen the same of it: an editor may be in the middle of it. */
  async function look(source: Source, isAll: boolean, signal: AbortSignal): Promise<void> {
    const stamp = await stampsOf(source.paths)
    const isSettled = stamp === source.seen
    source.seen = stamp
    if (!isAll && (stamp === source.read || !isSettled)) return
    source.problems = await source.load(signal)
    source.read = stamp
    if (source.problems.length === 0) logger.info({ files: source.paths }, 'files were read again')
  }

  return {
    /** One look at all of them; returns what is wrong. */
    async look(signal: AbortSignal): Promise<string | undefined> {
      const isAll = isForced
      isForced = false
      for (const source of sources)
        await look(source, isAll, signal).catch((error: unknown) => {
          signal.throwIfAborted()
          isForced ||= isAll
          source.problems = [messageOf(error)]
        })
      const problems = sources.flatMap((source) => source.problems)
      return problems.length === 0 ? undefined : `${problems.join('; ')}; what was read before stays in force`
    },
    /** The next look reads all of them, changed or not. */
    force(): void {
      isForced = true
    },
  }
}
export type Reload = ReturnType<typeof createReload>
