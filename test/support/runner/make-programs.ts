/** Makes the programs that tests start, where `programs.ts` finds them. */

import { readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { bundleApps, bundleOptions } from '../../../deploy/bundle.ts'
import { ROOT } from '../deploy/tools.ts'
import { OF_STORIES, TEST_PROGRAMS } from './programs.ts'

/** Makes those that all tests may start in a folder, with what they expect around them. */
export async function makePrograms(folder: string): Promise<void> {
  // Beside the relayer, whose threads it has.
  const quick = { 'quick-relayer': join(ROOT, 'test/support/services/quick-relayer.ts') }
  await Promise.all([bundleApps(folder, { relayer: quick }), makeOwn(folder, ['test/support/oracle/main.ts'])])
  for (const name of ['package.json', 'migrations', 'node_modules']) symlinkSync(join(ROOT, name), join(folder, name))
}

/** Vitest calls this before the first story, once the others are made. */
export default async function setup(): Promise<void> {
  const folder = process.env[TEST_PROGRAMS] ?? ''
  if (folder !== '') await makeOwn(folder, OF_STORIES)
}

async function makeOwn(folder: string, sources: readonly string[]): Promise<void> {
  const entries = Object.fromEntries(sources.map((source) => [source.replace(/\.ts$/, ''), source]))
  // They share most of what they are made of.
  const shared = { splitting: true, chunkNames: 'test/[name]-[hash]' }
  await build({ ...bundleOptions('.', entries, folder), ...shared, sourcemap: false, plugins: [whereSourcesLie] })
}

/** Fixtures, contracts and the like are found from where a source lies, not from where its bundle does; and only one of a bundle is started. */
const whereSourcesLie: Plugin = {
  name: 'where-sources-lie',
  setup(esbuild) {
    esbuild.onLoad({ filter: /\/(?:test|libs|apps)\/.*\.ts$/ }, ({ path }) => {
      if (path.includes('/node_modules/')) return undefined
      const meta = { url: pathToFileURL(path).href, dirname: dirname(path), main: false }
      const contents = readFileSync(path, 'utf8').replaceAll(
        /\bimport\.meta\.(url|dirname|main)\b/g,
        (_, name: keyof typeof meta) => JSON.stringify(meta[name]),
      )
      return { contents, loader: 'ts' }
    })
  },
}
