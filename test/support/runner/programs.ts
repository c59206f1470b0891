/**
 * The programs that tests start, each in one file, as images run them: a start from the sources loads 1,800 modules, and takes four times
 * as much of the processor. Made once per test run; without a run's set-up, as in a bench, programs are started from the sources.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

/** The variable by which the folder of a run's programs is handed to its workers; empty: everything is started from the sources. */
export const TEST_PROGRAMS = 'DVT_TEST_PROGRAMS'

/** Programs of tests that take part in stories alone, from end to end. */
export const OF_STORIES = [
  'test/attack/honest.ts',
  'test/demo/actors/hostile-sidecar.ts',
  'test/demo/main.ts',
  'test/support/services/hostile-node.ts',
] as const

/** Where a program lies in that folder, by its source. */
const BUNDLED: Readonly<Record<string, string>> = {
  'apps/relayer/src/main.ts': 'apps/relayer/dist/main.js',
  'apps/sidecar/src/main.ts': 'apps/sidecar/dist/main.js',
  'test/support/services/quick-relayer.ts': 'apps/relayer/dist/quick-relayer.js',
  'test/support/oracle/main.ts': 'test/support/oracle/main.js',
  ...Object.fromEntries(OF_STORIES.map((source) => [source, source.replace(/ts$/, 'js')])),
}

/** The file to start a program by, whose source this is, from the root: one that the run has made, or the source. */
export function programFile(source: string): string {
  const [folder, bundled] = [process.env[TEST_PROGRAMS] ?? '', BUNDLED[source]]
  const made = folder === '' || bundled === undefined ? undefined : join(folder, bundled)
  return made !== undefined && existsSync(made) ? made : join(ROOT, source)
}
