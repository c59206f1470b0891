/** What nobody uses fails CI: a small tree with one dead thing of each kind, under the repository's own configuration. */

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const tree = mkdtempSync(join(tmpdir(), 'dvt-dead-code-'))
const manifest = (name: string, more: object = {}) => JSON.stringify({ name, version: '0.1.0', private: true, ...more })

const FILES: Readonly<Record<string, string>> = {
  'package.json': manifest('house', {
    type: 'module',
    workspaces: ['apps/*', 'libs/*'],
    scripts: { test: 'vitest run' },
    devDependencies: { vitest: '1.0.0' },
  }),
  'libs/tools/package.json': manifest('@house/tools', { type: 'module', exports: { './*': './src/*' } }),
  'libs/tools/src/used.ts': [
    'export const used = 1',
    'export const dead = 2',
    'export const tested = 3',
    '/** @internal */',
    'export const marked = 4',
  ].join('\n'),
  'libs/tools/src/used.test.ts': "import { marked, tested } from './used.ts'\n\nconsole.log(marked, tested)\n",
  'apps/program/package.json': manifest('@house/program', {
    type: 'module',
    dependencies: { '@house/tools': '0.1.0', 'left-over': '1.0.0' },
  }),
  'apps/program/src/main.ts': "import { used } from '@house/tools/used.ts'\n\nconsole.log(used)\n",
  'apps/program/src/forgotten.ts': 'console.log(1)\n',
}

interface Found {
  issues: Record<'files' | 'exports' | 'dependencies', { name: string }[]>[]
}

/** The names of what the tool finds, and whether it fails. */
function knip(...options: readonly string[]): { names: string[]; failed: boolean } {
  const bin = join(root, 'node_modules/knip/bin/knip.js')
  const read = (stdout: string) => {
    const { issues } = JSON.parse(stdout) as Found
    return issues
      .flatMap(({ files, exports, dependencies }) => [...files, ...exports, ...dependencies])
      .map(({ name }) => name)
      .sort()
  }
  try {
    const args = [bin, '--reporter=json', '--no-config-hints', ...options]
    return { names: read(execFileSync(process.execPath, args, { cwd: tree, stdio: 'pipe' }).toString()), failed: false }
  } catch (error) {
    return { names: read(String((error as { stdout: Buffer }).stdout)), failed: true }
  }
}

beforeAll(() => {
  for (const [path, text] of Object.entries(FILES)) {
    mkdirSync(join(tree, dirname(path)), { recursive: true })
    writeFileSync(join(tree, path), text)
  }
  cpSync(join(root, 'knip.config.ts'), join(tree, 'knip.config.ts'))
})
afterAll(() => rmSync(tree, { recursive: true, force: true }))

it('is found: exports, files, dependencies', () => {
  expect(knip()).toEqual({ names: ['apps/program/src/forgotten.ts', 'dead', 'left-over'], failed: true })
})

it('is found where only tests use it, but what is marked', () => {
  expect(knip('--production')).toEqual({
    names: ['apps/program/src/forgotten.ts', 'dead', 'left-over', 'tested'],
    failed: true,
  })
})
