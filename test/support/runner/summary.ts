/** A reporter that closes a run with one plain line: "N passed, N failed, N skipped". */

import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'
import { SECONDS_FILE } from './longest-first.ts'

/** Shorter files need no place in the order. */
const SHORT_MS = 3_000

export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed += module.errors().length
      for (const test of module.children.allTests()) counts[test.result().state]++
    }
    if (process.env['TEST_SECONDS'] === 'write') writeSeconds(modules)
    // After the other reporters' last words.
    process.on('exit', () =>
      console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped + counts.pending} skipped`),
    )
  }
}

/** Notes how long the long files took, for the order of the next runs. */
function writeSeconds(modules: readonly TestModule[]): void {
  const seconds = modules
    .map((module): [string, number] => [module.relativeModuleId, module.diagnostic().duration])
    .filter(([, durationMs]) => durationMs >= SHORT_MS)
    .sort(([, a], [, b]) => b - a)
    .map(([file, durationMs]) => [file, Math.round(durationMs / 1000)])
  writeFileSync(SECONDS_FILE, `${JSON.stringify(Object.fromEntries(seconds), undefined, 2)}\n`)
}
