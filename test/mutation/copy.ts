/** A copy of the tree in which sources are changed and tests run: nothing of the tree itself is touched. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { TEST_PROGRAMS } from '../support/runner/programs.ts'
import type { TestRun } from './runs.ts'

export interface Copy extends AsyncDisposable {
  /** Runs tests with a file of this content; the file is as it was afterwards. */
  testWith(file: string, content: string, run: TestRun, timeoutMs: number): Promise<Outcome>
  /** Checks the types of everything with a file of this content. */
  checkWith(file: string, content: string, timeoutMs: number): Promise<Outcome>
}
export type Outcome = 'passed' | 'failed' | 'timed out'

/** Makes a copy in a temporary folder, gone when disposed. */
export async function makeCopy(root: string): Promise<Copy> {
  const folder = await mkdtemp(join(tmpdir(), 'dvt-mutation-'))
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: root, encoding: 'utf8' })
  for (const file of new Set(files.split('\0').filter((name) => name !== ''))) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await cp(join(root, file), join(folder, file)).catch((error: unknown) => {
      // Removed, but still in the index.
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    })
  }
  await linkModules(join(root, 'node_modules'), join(folder, 'node_modules'))
  // Also where the run is stopped in the middle.
  const end = () => {
    stopRun?.()
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', end)
  const changed = async (file: string, content: string, run: () => Promise<Outcome>) => {
    const path = join(folder, file)
    const before = await readFile(path, 'utf8')
    await writeFile(path, content)
    try {
      return await run()
    } finally {
      await writeFile(path, before)
    }
  }
  return {
    async testWith(file, content, { args, order }, timeoutMs) {
      // What takes longest is run first, and in this copy "long" means near.
      const ranks = order.map((test, index) => [test, order.length - index])
      await writeFile(join(folder, 'test/support/runner/seconds.json'), JSON.stringify(Object.fromEntries(ranks)))
      const all = [
        'node_modules/vitest/vitest.mjs',
        ...args,
        '--run',
        '--bail=1',
        '--maxWorkers=1',
        '--passWithNoTests',
      ]
      return changed(file, content, () => runIn(folder, all, timeoutMs))
    },
    checkWith: (file, content, timeoutMs) =>
      changed(file, content, () => runIn(folder, ['node_modules/typescript/bin/tsc', '--noEmit'], timeoutMs)),
    async [Symbol.asyncDispose]() {
      process.off('exit', end)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Links to every package; those of the house must be the copy's own. */
async function linkModules(from: string, to: string): Promise<void> {
  await mkdir(join(to, '@dvt-relayer'), { recursive: true })
  for (const name of await readdir(from)) {
    if (name !== '@dvt-relayer') await symlink(await realpath(join(from, name)), join(to, name))
  }
  for (const name of await readdir(join(from, '@dvt-relayer')))
    await symlink(join('../../libs', name), join(to, '@dvt-relayer', name))
}

/** Ends what runs, where something does. */
let stopRun: (() => void) | undefined

/** One run of a program of Node in the folder. A group of processes, so that what hangs is ended whole. */
async function runIn(folder: string, args: readonly string[], timeoutMs: number): Promise<Outcome> {
  const child = spawn(process.execPath, args, {
    cwd: folder,
    // The few programs that a few tests start need no bundles, which each run would make.
    env: { ...process.env, [TEST_PROGRAMS]: '' },
    stdio: 'ignore',
    detached: true,
  })
  const stop = () => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }
  stopRun = stop
  let hasTimedOut = false
  const timer = setTimeout(() => {
    hasTimedOut = true
    stop()
  }, timeoutMs)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  stopRun = undefined
  return hasTimedOut ? 'timed out' : code === 0 ? 'passed' : 'failed'
}
