/**
 * Bundles the program into `dist/dvt-verify.js`, which needs nothing but Node: run before `npm pack`.
 * Not minified, so that whoever runs it beside a key can read it. Licences of what is bundled stand at its end.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { licencesOf } from '../../deploy/licences.ts'

const HOME = fileURLToPath(new URL('.', import.meta.url))
const OUTPUT = join(HOME, 'dist/dvt-verify.js')

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
writeFileSync(OUTPUT, `${readFileSync(OUTPUT, 'utf8')}\n${licencesOf(metafile, HOME)}`, { mode: 0o755 })
