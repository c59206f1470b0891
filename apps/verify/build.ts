/**
 * Bundles the program into `dist/dvt-verify.js`, which needs nothing but Node: run by `npm pack`.
 * Not minified, so that whoever runs it beside a key can read it. Licences of what is bundled stand at its end.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const HOME = fileURLToPath(new URL('.', import.meta.url))
const OUTPUT = join(HOME, 'dist/dvt-verify.js')

/** The folders of the packages that the bundled files come from. */
function packagesOf(files: readonly string[]): string[] {
  const folders = files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [])
  return [...new Set(folders)].sort()
}

/** The licence of a package, as a comment. @throws when it has none: it could not be handed on */
function licenceOf(folder: string): string {
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name))
  if (file === undefined) throw new Error(`${folder} has no licence file`)
  const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length)
  const text = readFileSync(join(folder, file), 'utf8').trim().replaceAll('*/', '* /')
  return `/*\n${name}\n\n${text}\n*/\n`
}

const { metafile } = await build({
  absWorkingDir: HOME,
  entryPoints: ['src/main.ts'],
  outfile: OUTPUT,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node22',
  banner: { js: '#!/usr/bin/env node' },
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
})
const licences = packagesOf(Object.keys(metafile.inputs)).map((folder) => licenceOf(join(HOME, folder)))
writeFileSync(OUTPUT, `${readFileSync(OUTPUT, 'utf8')}\n${licences.join('\n')}`, { mode: 0o755 })
