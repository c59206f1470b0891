/**
 * Bundles the library into `dist/index.js`, which needs Node and typebox, and writes its types: run before `npm pack`. Not minified; licences of
 * what is bundled stand at its end.
 */

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { licencesOf } from '../../deploy/licences.ts'

const HOME = fileURLToPath(new URL('.', import.meta.url))
const LIBS = join(HOME, '..')
const TYPES = join(HOME, 'dist/types')
/** The libraries whose types the client's own name. */
const NAMED = ['api', 'client', 'common', 'crypto']

rmSync(join(HOME, 'dist'), { recursive: true, force: true })
const outfile = join(HOME, 'dist/index.js')
const { metafile } = await build({
  absWorkingDir: HOME,
  entryPoints: ['src/index.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node22',
  external: ['typebox'],
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
})
writeFileSync(outfile, `${readFileSync(outfile, 'utf8')}\n${licencesOf(metafile, HOME)}`)

/** The types, as TypeScript writes them, file by file: those that the client's own name are kept. */
const options = {
  extends: join(LIBS, '../tsconfig.json'),
  compilerOptions: { noEmit: false, declaration: true, emitDeclarationOnly: true, rootDir: LIBS, outDir: TYPES },
  include: NAMED.map((library) => join(LIBS, library, 'src')),
  exclude: [join(LIBS, '*/src/**/*.test.ts')],
}
const config = join(HOME, 'dist/tsconfig.json')
writeFileSync(config, JSON.stringify(options))
const { status, stdout, stderr } = spawnSync('npx', ['tsc', '-p', config], { cwd: HOME, encoding: 'utf8' })
if (status !== 0) throw new Error(`tsc: ${stdout}${stderr}`)
rmSync(config)

const kept = new Set<string>()
keep(join(TYPES, 'client/src/index.d.ts'))
for (const name of readdirSync(TYPES, { recursive: true, encoding: 'utf8' })) {
  const file = join(TYPES, name)
  if (file.endsWith('.d.ts') && !kept.has(file)) rmSync(file)
}

/** Keeps a file of types and those it names. */
function keep(file: string): void {
  if (kept.has(file)) return
  kept.add(file)
  const text = withOwnPaths(readFileSync(file, 'utf8'), dirname(file))
  writeFileSync(file, text)
  for (const [, path = ''] of text.matchAll(/'(\.{1,2}\/.+?)\.js'/g)) keep(resolve(dirname(file), `${path}.d.ts`))
}

/** Imports of our own libraries by path: installed elsewhere there is this package alone. */
function withOwnPaths(text: string, folder: string): string {
  const named = new RegExp(`'@dvt-relayer/(${NAMED.join('|')})/(.+?)\\.ts'`, 'g')
  return text
    .replaceAll(
      named,
      (_, library: string, path: string) => `'${relativePath(folder, join(TYPES, library, 'src', path))}.js'`,
    )
    .replaceAll(/'(\.{1,2}\/.+?)\.ts'/g, "'$1.js'")
}

function relativePath(from: string, to: string): string {
  const path = relative(from, to)
  return path.startsWith('.') ? path : `./${path}`
}
