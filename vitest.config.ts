import { defineConfig } from 'vitest/config'
import { StoriesFirst } from './test/support/runner/stories-first.ts'

export default defineConfig({
  test: {
    include: ['libs/**/*.test.ts', 'apps/**/*.test.ts', 'test/**/*.test.ts'],
    environment: 'node',
    pool: 'forks',
    reporters: ['default', './test/support/runner/summary.ts'],
    globalSetup: ['test/support/runner/global-setup.ts'],
    // One more than CI has cores: many tests wait for blocks, polls and timeouts.
    maxWorkers: 3,
    sequence: { sequencer: StoriesFirst },
    testTimeout: 60_000,
    hookTimeout: 120_000,
    retry: 0,
    isolate: true,
  },
})
