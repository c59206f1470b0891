/** The licences of what is bundled, to be handed on with it. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Metafile } from 'esbuild'

/** The licences of all packages in a bundle, as comments. @throws when one has none: it could not be handed on */
export function licencesOf({ inputs }: Metafile, home: string): string {
  const folders = Object.keys(inputs).flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? [])
  return [...new Set(folders)]
    .sort()
    .map((folder) => licenceOf(join(home, folder)))
    .join('\n')
}

function licenceOf(folder: string): string {
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name))
  if (file === undefined) throw new Error(`${folder} has no licence file`)
  const name = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length)
  const text = readFileSync(join(folder, file), 'utf8').trim().replaceAll('*/', '* /')
  return `/*\n${name}\n\n${text}\n*/\n`
}
