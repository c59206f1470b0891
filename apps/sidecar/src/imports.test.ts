import { readdirSync, readFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
/** What a program that stands next to keys may load. */
const ALLOWED = ['@chainsafe/blst', '@noble/curves', '@noble/hashes', 'pino', 'prom-client', 'typebox']
/** What it may load besides when it is first needed: to speak to remote signers, and to decode the events of the SSV contract. */
const ALLOWED_LATER = ['undici', 'viem']
/** The rooms, from the door down: each imports from itself and from those below it. A file is in the first room that names it. */
const ROOMS = [
  'main.ts',
  'doctor/',
  'sidecar.ts',
  'summary.ts',
  'watch/',
  'signing/',
  'lists/',
  'policy/',
  'open-keystore.ts',
  'keystores/remote/',
  'keystores/ssv/',
  'keystores/obol/',
  'keystores/',
  'http.ts',
  'health.ts',
  'events.ts',
  'metrics.ts',
  'findings.ts',
  'config.ts',
  'config/',
]

/** The packages that the files reachable from `entry` import at once or `later`, and those files. `import type` loads nothing. */
function walk(entry: string): { packages: Set<string>; later: Set<string>; files: Set<string> } {
  const packages = new Set<string>()
  const later = new Set<string>()
  const files = new Set<string>()
  const open = [entry]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (files.has(file)) continue
    files.add(file)
    const source = readFileSync(file, 'utf8')
    const imports = source.matchAll(
      /^(?:import|export)(?!\s+type\b)(?:[^'"`;]*?\sfrom)?\s*'([^']+)'|\b(?:import|require)\(\s*'([^']+)'/gm,
    )
    for (const [, fixed, dynamic] of imports) {
      const name = fixed ?? dynamic ?? ''
      if (isBuiltin(name)) continue
      if (name.startsWith('.') || name.startsWith('@dvt-relayer/')) open.push(resolveFrom(file, name))
      else (fixed === undefined ? later : packages).add(name.split('/', name.startsWith('@') ? 2 : 1).join('/'))
    }
  }
  return { packages, later, files }
}

function resolveFrom(file: string, name: string): string {
  if (name.startsWith('.')) return fileURLToPath(new URL(name, `file://${file}`))
  return createRequire(file).resolve(name)
}

it('reaches a few packages only: no relayer, database, queue or web framework, and a chain library only when it is needed', () => {
  const { packages, later, files } = walk(MAIN)
  expect([...packages].filter((name) => !ALLOWED.includes(name))).toEqual([])
  expect([...later].filter((name) => !ALLOWED.includes(name)).toSorted()).toEqual(ALLOWED_LATER)
  expect([...packages, ...later]).toContain('@chainsafe/blst')
  expect([...files].filter((file) => /apps\/relayer|libs\/(db|queue)\//.test(file))).toEqual([])
  // The walk has seen the program, not a corner of it.
  const home = fileURLToPath(new URL('.', import.meta.url))
  const own = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /^(?!.*boundary-probe)(?!.*\.test\.ts$).*\.ts$/.test(name),
  )
  // Files of types alone are erased before they are loaded.
  const ofTypes = (name: string) =>
    !/^export (const|function|async|class|\{)|^await /m.test(readFileSync(home + name, 'utf8'))
  expect(own.filter((name) => !files.has(home + name) && !ofTypes(name))).toEqual([])
})

it('reads process.env in main.ts only', () => {
  const { files } = walk(MAIN)
  const code = (file: string) => readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  const readers = [...files].filter((file) => code(file).includes('process.env'))
  expect(readers).toEqual([MAIN])
})

it('keeps main.ts to 30 lines', () => {
  expect(readFileSync(MAIN, 'utf8').split('\n').length).toBeLessThanOrEqual(31)
})

/** What each file of the sidecar imports from the sidecar, types too. Paths from `src/`. */
function ownImports(): Map<string, string[]> {
  const home = new URL('.', import.meta.url)
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && !name.includes('boundary-probe'),
  )
  const importsOf = (file: string) => {
    const specifiers = readFileSync(new URL(file, home), 'utf8').matchAll(/(?:\bfrom|\bimport\()\s*'(\.[^']+)'/g)
    return Array.from(specifiers, ([, specifier = '']) =>
      new URL(specifier, new URL(file, home)).href.slice(home.href.length),
    )
  }
  return new Map(files.map((file) => [file, importsOf(file)]))
}

it('has rooms that import downward only, and no circle of files', () => {
  const imports = ownImports()
  const roomOf = (file: string) =>
    ROOMS.findIndex((room) => file === room || (room.endsWith('/') && file.startsWith(room)))
  expect([...imports.keys()].filter((file) => roomOf(file) === -1)).toEqual([])
  const upward = [...imports].flatMap(([file, targets]) =>
    targets.filter((target) => roomOf(target) < roomOf(file)).map((target) => `${file} -> ${target}`),
  )
  expect(upward).toEqual([])
  // Whoever imports only files that are done is done: what is left runs in a circle.
  const open = new Map(imports)
  for (let before = -1; before !== open.size; ) {
    before = open.size
    for (const [file, targets] of open) if (!targets.some((target) => open.has(target))) open.delete(file)
  }
  expect([...open.keys()]).toEqual([])
  expect(imports.size).toBeGreaterThan(50)
})
