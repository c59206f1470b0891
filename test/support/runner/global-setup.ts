/**
 * Once per test run, gone after the last file: the PostgreSQL that all test files share, the programs that they start, and a folder for all
 * temporary files, with what one process compiles of our code and the next ones take. Contracts are compiled where no run before has done so.
 */

import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { access, chmod, constants, mkdtemp, readFile, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { prepareTestPostgres, TEST_DATABASE_URL } from '../services/postgres.ts'
import { makePrograms } from './make-programs.ts'
import { TEST_PROGRAMS } from './programs.ts'

const COMPILER = fileURLToPath(new URL('../contracts/compile.ts', import.meta.url))

/** Vitest calls this once for each project that has files to run, and what it returns after the last file of all. */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  // Another project of the run was first.
  if (process.env[TEST_DATABASE_URL] !== undefined) return undefined
  const before = process.env['TMPDIR']
  const folder = await mkdtemp(join((await findRamDisk()) ?? tmpdir(), 'dvt-tests-'))
  // A PostgreSQL that root starts runs as another user.
  await chmod(folder, 0o711)
  // Where a run is broken off nothing is disposed of; PostgreSQL ends by itself once its folder is gone.
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  process.env['TMPDIR'] = folder
  process.env['NODE_COMPILE_CACHE'] ??= join(folder, 'node')
  const programs = join(folder, 'programs')
  const [postgres] = await Promise.all([
    prepareTestPostgres(),
    process.env[TEST_PROGRAMS] === undefined && makePrograms(programs),
    // In a process of its own: the compiler would keep its memory.
    promisify(execFile)(process.execPath, [COMPILER]),
  ])
  process.env[TEST_PROGRAMS] ??= programs
  return async () => {
    await postgres[Symbol.asyncDispose]()
    // A process that is about to end may still write into it.
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
  }
}

/** What a run's temporary files take at most is a quarter of it. */
const ROOM_BYTES = 4 * 2 ** 30

/**
 * Linux's folder in memory, where it has room and programs may be run from it. A database is some 350 files, and tests make hundreds: on a
 * disk the kernel takes longer to make and remove these than PostgreSQL to work on them.
 */
async function findRamDisk(): Promise<string | undefined> {
  const path = '/dev/shm'
  try {
    const mount = (await readFile('/proc/mounts', 'utf8')).split('\n').find((line) => line.split(' ')[1] === path)
    const [, , type, options = ''] = mount?.split(' ') ?? []
    if (type !== 'tmpfs' || options.split(',').includes('noexec')) return undefined
    await access(path, constants.W_OK)
    const { bavail, bsize } = await statfs(path)
    return Math.min(bavail * bsize, process.availableMemory()) < ROOM_BYTES ? undefined : path
  } catch {
    // Not Linux.
    return undefined
  }
}
