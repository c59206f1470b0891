import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/runner/longest-first.ts'

/**
 * unit         beside the source: nothing is started, seconds for all of it
 * integration  on a real PostgreSQL, with chains and relayers in the test's process
 * e2e          whole stories of processes as a user runs them
 */
export default defineConfig({
  test: {
    environment: 'node',
    pool: 'forks',
    reporters: ['default', './test/support/runner/summary.ts'],
    // Twice as many as CI has cores: most tests wait for blocks, polls and timeouts most of the time.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    // For a machine on which much else runs; a test that waits for an event ends with the event.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    teardownTimeout: 60_000,
    expect: { poll: { timeout: 120_000, interval: 20 } },
    retry: 0,
    projects: [
      // One module graph for all files: there is no state in it, and noble, blst and viem load once.
      { extends: true, test: { name: 'unit', include: ['libs/**/*.test.ts', 'apps/**/*.test.ts'], isolate: false } },
      {
        extends: true,
        test: {
          name: 'integration',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**'],
          globalSetup: ['test/support/runner/global-setup.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          isolate: false,
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/support/runner/global-setup.ts', 'test/support/runner/make-programs.ts'],
        },
      },
    ],
  },
})
