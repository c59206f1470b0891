/** Which tests judge a mutant of a file, those first that are likely to notice it soon. */

import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Group } from './groups.ts'

/** One run of vitest: its arguments, and in which order files are taken where that matters. */
export interface TestRun {
  args: readonly string[]
  order: readonly string[]
}

/** Unit tests of the file's own folder, what is nearest on a database or a chain, and then all others that hold the file. */
export async function runsOf(root: string, group: Group, file: string, seconds: Seconds): Promise<TestRun[]> {
  const beside = nearestFirst(file, await testsIn(root, [dirname(file)], false))
  const importing = group.hasOwnTests === true ? [] : await importersOf(root, file)
  const wide = new Set([...(await testsIn(root, group.tests(file), true)), ...importing])
  const far = nearestFirst(file, [...wide], { importing, seconds })
  // What is likely to notice is a run of its own: whether it passes without the change is soon known.
  const near = far.filter((test) => (seconds[test] ?? 0) <= QUICK_SECONDS).slice(0, MOST_NEAR)
  const rest = far.filter((test) => !near.includes(test))
  return [
    ...(beside.length === 0 ? [] : [{ args: ['run', '--project=unit', ...beside], order: beside }]),
    ...(near.length === 0 ? [] : [{ args: ['run', '--project=integration', ...near], order: near }]),
    ...(group.hasOwnTests === true ? [] : [{ args: ['related', file, '--project=unit'], order: beside }]),
    ...(rest.length === 0 ? [] : [{ args: ['run', '--project=integration', ...rest], order: rest }]),
  ]
}

/** Test files of the first run on a database or a chain, and how long each of them may take. */
const MOST_NEAR = 3
const QUICK_SECONDS = 8

/** How long each test file took when the whole suite last ran. */
export type Seconds = Readonly<Record<string, number>>

export const secondsOf = async (root: string): Promise<Seconds> =>
  JSON.parse(await readFile(join(root, 'test/support/runner/seconds.json'), 'utf8')) as Seconds

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

/** Tests on a database, a chain or processes that import the file itself. */
async function importersOf(root: string, file: string): Promise<string[]> {
  const imported = `/${file.replace(/^libs\/[^/]+\/src\//, '')}'`
  const tests = await testsIn(root, ['test/integration'], true)
  const texts = await Promise.all(tests.map((test) => readFile(join(root, test), 'utf8')))
  return tests.filter((_, i) => texts[i]?.includes(imported))
}

interface Known {
  importing?: readonly string[]
  seconds?: Seconds
}

/** Tests that import the file, then those that share the most words of its name, then the quick ones. */
function nearestFirst(file: string, tests: readonly string[], { importing = [], seconds = {} }: Known = {}): string[] {
  const own = wordsOf(file)
  const ranked = tests.map((test) => ({
    test,
    near:
      (importing.includes(test) ? 100 : 0) +
      wordsOf(test).filter((word) => own.some((other) => isKin(word, other))).length,
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
