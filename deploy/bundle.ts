/**
 * `npm run bundle`: each app in one file, for images; `npm run bundle -- FOLDER` writes into that folder instead. `apps/relayer/dist/main.js` (beside it what its threads
 * run) and `apps/sidecar/dist/main.js`. A start loads one file instead of 1,800. Names stay as they are, and there is a source map, so that a
 * stack trace under `--enable-source-maps` names the lines one reads. What is native stays outside, in `node_modules`.
 */

import { cpSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** What threads run lies beside the program. */
const APPS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  relayer: {
    main: 'src/main.ts',
    worker: 'src/crypto-workers/worker.ts',
    'import-worker': 'src/services/clusters/import-worker.ts',
  },
  sidecar: { main: 'src/main.ts' },
}

/** What the relayer's status page is made of besides: from the root, and its place beside the bundle. */
const BESIDE = { 'apps/relayer/src/http/status/assets': 'assets', 'docs/operating/runbook.md': 'runbook.md' }

/**
 * How a file is made of each entry (name: path from `home`) in a folder.
 *
 * @param home the folder, from the root, whose packages they import
 */
export function bundleOptions(home: string, entries: Readonly<Record<string, string>>, outdir: string) {
  return {
    absWorkingDir: join(ROOT, home),
    entryPoints: entries,
    outdir,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    sourcemap: 'linked',
    // Where a line is, not the line itself: the map is a third of the size, and the image has no sources beside it.
    sourcesContent: false,
    legalComments: 'none',
    // A process keeps the text of its program: without blanks and comments it is a third shorter, and ASCII, which takes one byte a character
    // where a single other one makes it two.
    minifyWhitespace: true,
    // The line in a stack trace still says where.
    lineLimit: 120,
    // Packages of the older kind ask for Node's own modules by `require`, which an ES module does not have.
    banner: {
      js: "import { createRequire as requireOfBundle } from 'node:module'\nconst require = requireOfBundle(import.meta.url)",
    },
    logLevel: 'warning',
  } satisfies BuildOptions
}

/**
 * Makes the apps in `<folder>/apps`.
 *
 * @param more further programs of an app, by name, which lie beside its own
 */
export async function bundleApps(folder: string, more: typeof APPS = {}): Promise<void> {
  for (const [app, entries] of Object.entries(APPS)) {
    const outdir = resolve(folder, 'apps', app, 'dist')
    rmSync(outdir, { recursive: true, force: true })
    await build(bundleOptions(`apps/${app}`, { ...entries, ...more[app] }, outdir))
  }
  for (const [from, to] of Object.entries(BESIDE))
    cpSync(join(ROOT, from), resolve(folder, 'apps/relayer/dist', to), { recursive: true })
}

if (import.meta.main) await bundleApps(process.argv[2] ?? ROOT)
