/** A reporter that closes a run with one plain line: "N passed, N failed, N skipped". */

import type { Reporter, TestModule } from 'vitest/node'

export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed += module.errors().length
      for (const test of module.children.allTests()) counts[test.result().state]++
    }
    // After the other reporters' last words.
    process.on('exit', () =>
      console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped + counts.pending} skipped`),
    )
  }
}
