import { readdirSync, readFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
/** What a program that stands next to keys may load. */
const ALLOWED = ['@chainsafe/blst', '@noble/curves', '@noble/hashes', 'pino', 'prom-client', 'typebox']
/** What it may load besides when it is first needed: to speak to remote signers, and to decode the events of the SSV contract. */
const ALLOWED_LATER = ['undici', 'viem']

/**
 * The packages that the files reachable from `entry` import at once or `later`, and those files. What a file that comes later imports comes
 * later. `import type` loads nothing.
 */
function walk(entry: string): { packages: Set<string>; later: Set<string>; files: Set<string> } {
  const packages = new Set<string>()
  const later = new Set<string>()
  const files = new Set<string>()
  const [open, openLater] = [[entry], [] as string[]]
  const next = () => ({ isLater: open.length === 0, file: open.pop() ?? openLater.pop() })
  for (let { file, isLater } = next(); file !== undefined; { file, isLater } = next()) {
    if (files.has(file)) continue
    files.add(file)
    const source = readFileSync(file, 'utf8')
    const imports = source.matchAll(
      /^(?:import|export)(?!\s+type\b)(?:[^'"`;]*?\sfrom)?\s*'([^']+)'|\b(?:import|require)\(\s*'([^']+)'/gm,
    )
    for (const [, fixed, dynamic] of imports) {
      const name = fixed ?? dynamic ?? ''
      const isAtOnce = fixed !== undefined && !isLater
      if (isBuiltin(name)) continue
      if (name.startsWith('.') || name.startsWith('@dvt-relayer/'))
        (isAtOnce ? open : openLater).push(resolveFrom(file, name))
      else (isAtOnce ? packages : later).add(name.split('/', name.startsWith('@') ? 2 : 1).join('/'))
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

it('asks the relayer by the client library alone', () => {
  const own = [...walk(MAIN).files].filter((file) => file.includes('/apps/sidecar/'))
  expect(own.filter((file) => /\b(createHttpClient|fetch)\(/.test(readFileSync(file, 'utf8')))).toEqual([])
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
