/** Which tests judge a mutant of a file, those first that are likely to notice it soon. */

import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Group } from './groups.ts'

/** One run of vitest: its arguments, and in which order files are taken where that matters. */
export interface TestRun {
  args: readonly string[]
  order: readonly string[]
}

/** Unit tests of the file's own folder, all that import it, and then what runs on a database or a chain. */
export async function runsOf(root: string, group: Group, file: string): Promise<TestRun[]> {
  const beside = nearestFirst(file, await testsIn(root, [dirname(file)], false))
  const wide = await testsIn(root, group.tests(file), true)
  const seconds = JSON.parse(await readFile(join(root, 'test/support/runner/seconds.json'), 'utf8')) as Seconds
  const far = nearestFirst(file, wide, seconds)
  return [
    ...(beside.length === 0 ? [] : [{ args: ['run', '--project=unit', ...beside], order: beside }]),
    ...(group.hasOwnTests === true ? [] : [{ args: ['related', file, '--project=unit'], order: beside }]),
    ...(far.length === 0 ? [] : [{ args: ['run', '--project=integration', ...far], order: far }]),
  ]
}

type Seconds = Readonly<Record<string, number>>

async function testsIn(root: string, paths: readonly string[], recursive: boolean): Promise<string[]> {
  const found = await Promise.all(
    paths.map(async (path) =>
      path.endsWith('.ts')
        ? [path]
        : (await readdir(join(root, path), { recursive, encoding: 'utf8' })).map((name) => join(path, name)),
    ),
  )
  return found.flat().filter((name) => name.endsWith('.test.ts'))
}

/** Tests that share the most words of the file's name, then the quick ones. */
function nearestFirst(file: string, tests: readonly string[], seconds: Seconds = {}): string[] {
  const own = wordsOf(file)
  const ranked = tests.map((test) => ({
    test,
    near: wordsOf(test).filter((word) => own.some((other) => isKin(word, other))).length,
    seconds: seconds[test] ?? 0,
  }))
  return ranked
    .sort((a, b) => b.near - a.near || a.seconds - b.seconds || a.test.localeCompare(b.test))
    .map(({ test }) => test)
}

const wordsOf = (file: string): string[] =>
  basename(file)
    .replace(/(?:\.test)?\.ts$/, '')
    .split('-')

/** `owner` and `owners`, `registration` and `register`. */
const isKin = (a: string, b: string): boolean => a.slice(0, 5) === b.slice(0, 5)
