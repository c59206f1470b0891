/**
 * The arrows of the house: an import never runs in a circle nor back up. `ORDER` (test/support/arrows.ts) says what stands above
 * what, and the tree is held against it. Every arrow that it forbids is a lint rule too (`biome.arrows.json`, written from it), so
 * that an editor shows it: one forbidden import for each is written into a probe and must be caught.
 */

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { isFolder, ORDER, renderArrows } from './support/arrows.ts'

/** The order by the names that paths have; undefined for what is no part of the house. */
const parts: Readonly<Record<string, readonly string[]>> = ORDER

const root = fileURLToPath(new URL('..', import.meta.url))
const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')

/** Files beside each other that one still takes in, tests beside the source not counted. */
const MOST_FILES = 12

const isSource = (path: string) => path.endsWith('.ts') && !path.endsWith('.test.ts')

/** Files below a folder, by their path from the root; not the snippets that another test has the compiler refuse meanwhile. */
const filesIn = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !/(^|\/)(node_modules|dist|fixtures|\.probe-[^/]*)\//.test(path))

const sources = [...filesIn('apps'), ...filesIn('libs')].filter((path) => isSource(path) && path.includes('/src/'))

/** The files of the house that a file imports, at once or later, for values or for types. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8')
  const specifiers = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+\.ts)'/g)].map(([, name]) => name ?? '')
  return specifiers.flatMap((specifier) => {
    const [, lib, path] = /^@dvt-relayer\/(\w+)\/(.+)$/.exec(specifier) ?? []
    if (lib !== undefined) return [`libs/${lib}/src/${path}`]
    return specifier.startsWith('.') ? [posix.join(dirname(file), specifier)] : []
  })
}
const imports = new Map(sources.map((file) => [file, importsOf(file)]))

/** The part of the house that a file is in, and its entry in the part's order; no entry when it has none. */
function placeOf(file: string): { part: string; entry: string | undefined } {
  const part = file.slice(0, file.indexOf('/src/') + '/src'.length)
  const path = file.slice(part.length + 1)
  return { part, entry: parts[part]?.find((entry) => path === entry || path.startsWith(`${entry}/`)) }
}

/** The arrow of an import between two entries of one part, where it runs up. */
function upward(from: string, to: string): string[] {
  const [above, below] = [placeOf(to), placeOf(from)]
  const order = parts[below.part] ?? []
  if (above.part !== below.part || above.entry === undefined || below.entry === undefined) return []
  return order.indexOf(above.entry) < order.indexOf(below.entry)
    ? [`${below.part}: ${below.entry} -> ${above.entry}`]
    : []
}

describe('the imports of the house', () => {
  it('lead to files that exist', () => {
    const known = new Set(sources)
    expect([...imports].flatMap(([file, list]) => list.filter((to) => !known.has(to)).map((to) => [file, to]))).toEqual(
      [],
    )
    expect([...imports.values()].flat().length).toBeGreaterThan(500)
  })

  it('never run in a circle', () => {
    const done = new Set<string>()
    const walk = (file: string, way: readonly string[]): string[] | undefined => {
      if (way.includes(file)) return [...way.slice(way.indexOf(file)), file]
      if (done.has(file)) return undefined
      for (const to of imports.get(file) ?? []) {
        const circle = walk(to, [...way, file])
        if (circle !== undefined) return circle
      }
      done.add(file)
      return undefined
    }
    expect(sources.map((file) => walk(file, [])).find((circle) => circle !== undefined)).toBeUndefined()
  })

  it('never run back up', () => {
    expect(sources.filter((file) => placeOf(file).entry === undefined)).toEqual([])
    const arrows = [...imports].flatMap(([file, list]) => list.flatMap((to) => upward(file, to)))
    expect([...new Set(arrows)].sort()).toEqual([])
  })

  it('are of files in an order that knows no file which is gone', () => {
    const known = new Set(sources.map((file) => `${placeOf(file).part} ${placeOf(file).entry}`))
    const listed = Object.entries(parts).flatMap(([part, entries]) => entries.map((entry) => `${part} ${entry}`))
    expect(listed.filter((entry) => !known.has(entry))).toEqual([])
  })
})

it('no folder has more files than one takes in', () => {
  const beside = [...filesIn('apps'), ...filesIn('libs')].filter((path) => !path.endsWith('.test.ts'))
  const counts = new Map<string, number>()
  for (const folder of [...beside, ...filesIn('test')].map(dirname)) counts.set(folder, (counts.get(folder) ?? 0) + 1)
  const crowded = [...counts].filter(([, count]) => count > MOST_FILES).map(([folder]) => folder)
  expect(crowded.sort()).toEqual([])
})

type Probe = readonly [folder: string, specifier: string]

/** What the linter makes of each import in a file of its folder. One run over all: starting it is what takes time. */
function verdicts(probes: readonly Probe[]): (probe: Probe) => 'refused' | 'taken' {
  const copy = mkdtempSync(join(tmpdir(), 'dvt-boundaries-'))
  try {
    for (const file of ['biome.json', 'biome.arrows.json']) cpSync(join(root, file), join(copy, file))
    for (const [i, [folder, specifier]] of probes.entries()) {
      mkdirSync(join(copy, folder), { recursive: true })
      writeFileSync(
        join(copy, folder, `probe-${i}.ts`),
        `import * as probe from '${specifier}'\n\nexport const value = probe\n`,
      )
    }
    const refused = new Set([...refusedBy(copy)].map((i) => probes[i]?.join(' ')))
    return (probe) => (refused.has(probe.join(' ')) ? 'refused' : 'taken')
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/** The numbers of the probes with a forbidden import. */
function refusedBy(folder: string): Set<number> {
  const options = [
    '--vcs-enabled=false',
    '--reporter=json',
    '--max-diagnostics=none',
    '--only=style/noRestrictedImports',
  ]
  let text: string
  try {
    text = execFileSync(process.execPath, [biome, 'lint', ...options, '.'], { cwd: folder, stdio: 'pipe' }).toString()
  } catch (error) {
    text = String((error as { stdout: Buffer }).stdout)
  }
  const { diagnostics } = JSON.parse(text) as { diagnostics: { category: string; location: { path: unknown } }[] }
  return new Set(
    diagnostics.map(({ category, location }) => {
      const [, number] = /probe-(\d+)\.ts/.exec(JSON.stringify(location)) ?? []
      if (category !== 'lint/style/noRestrictedImports' || number === undefined) throw new Error(text)
      return Number(number)
    }),
  )
}

const FORBIDDEN: readonly Probe[] = [
  ['libs/common/src', '@dvt-relayer/crypto/bls/bls.ts'],
  ['libs/crypto/src', '@dvt-relayer/chain/networks.ts'],
  ['libs/crypto/src', '@dvt-relayer/db/connect.ts'],
  ['libs/crypto/src', '../../db/src/connect.ts'],
  ['libs/db/src/queries', '../../../crypto/src/bls.ts'],
  ['libs/crypto/src', 'node:fs'],
  ['libs/crypto/src', 'node:http'],
  ['libs/api/src', '@dvt-relayer/crypto/bls/bls.ts'],
  ['libs/client/src', '@dvt-relayer/chain/networks.ts'],
  ['libs/client/src', '@dvt-relayer/db/connect.ts'],
  ['libs/chain/src', '@dvt-relayer/db/connect.ts'],
  ['libs/chain/src', '@dvt-relayer/api/routes.ts'],
  ['libs/db/src', '@dvt-relayer/crypto/bls/bls.ts'],
  ['libs/db/src/queries', '@dvt-relayer/queue/queue.ts'],
  ['libs/queue/src', '@dvt-relayer/db/connect.ts'],
  ['apps/relayer/src', '@dvt-relayer/sidecar/src/main.ts'],
  ['apps/relayer/src', '../../sidecar/src/main.ts'],
  ['apps/relayer/src/services', '../http/app.ts'],
  ['apps/relayer/src/services', '../jobs/worker.ts'],
  ['apps/relayer/src/services', 'fastify'],
  ['apps/relayer/src/http', '@dvt-relayer/db/connect.ts'],
  ['apps/relayer/src/http/routes', 'drizzle-orm'],
  ['apps/relayer/src/http', 'pg'],
  ['apps/relayer/src/jobs', '@dvt-relayer/db/connect.ts'],
  ['apps/sidecar/src', '@dvt-relayer/relayer/src/main.ts'],
  ['apps/sidecar/src', '@dvt-relayer/db/connect.ts'],
  ['apps/sidecar/src', '@dvt-relayer/queue/queue.ts'],
  ['apps/sidecar/src', 'fastify'],
  ['apps/sidecar/src', 'pg'],
  ['apps/sidecar/src', '../../verify/src/cli.ts'],
  ['apps/relayer/src', '../../verify/src/cli.ts'],
  ['apps/relayer/src/services', '../../../verify/src/cli.ts'],
  ['apps/relayer/src/http', '../../../verify/src/cli.ts'],
  ['apps/verify/src', '../../relayer/src/main.ts'],
  ['apps/verify/src', '../../sidecar/src/main.ts'],
  ['apps/verify/src', '@dvt-relayer/db/connect.ts'],
  ['apps/verify/src', '@dvt-relayer/api/client.ts'],
  ['apps/verify/src', '@dvt-relayer/chain/execution/execution.ts'],
  ['apps/verify/src', '@dvt-relayer/crypto/bls/blst.ts'],
  ['apps/verify/src', 'viem'],
]

const ALLOWED: readonly Probe[] = [
  ['libs/crypto/src', '@dvt-relayer/common/hex.ts'],
  ['libs/chain/src', '@dvt-relayer/crypto/bls/bls.ts'],
  ['apps/relayer/src/services', '@dvt-relayer/db/connect.ts'],
  ['apps/sidecar/src', '@dvt-relayer/api/client.ts'],
  ['apps/sidecar/src', '@dvt-relayer/client/authentication.ts'],
  ['libs/client/src', '@dvt-relayer/api/client.ts'],
  ['apps/verify/src', '@dvt-relayer/crypto/bls/noble.ts'],
  ['apps/verify/src', '@dvt-relayer/chain/stakewise/oracle-config.ts'],
]

const rooms = Object.entries(parts).flatMap(([part, entries]) =>
  entries.filter(isFolder).map((room) => ({ part, room, folder: `${part}/${room}` })),
)

/** What is forbidden to a folder stays forbidden in the rooms below it, which have a rule of their own. */
const inherited: readonly Probe[] = rooms.flatMap(({ folder }) =>
  FORBIDDEN.filter(([above, specifier]) => folder.startsWith(`${above}/`) && !specifier.startsWith('.')).map(
    ([, specifier]) => [folder, specifier] as const,
  ),
)

/** How a file of a room writes the import of another one. */
function specifierOf(room: string, file: string): string {
  const path = posix.relative(room, file)
  return path.startsWith('.') ? path : `./${path}`
}

/** For each room the imports of what stands above it, or below. */
const arrows = (which: 'above' | 'below'): Probe[] =>
  rooms.flatMap(({ part, room, folder }) => {
    const order = parts[part] ?? []
    const others = which === 'above' ? order.slice(0, order.indexOf(room)) : order.slice(order.indexOf(room) + 1)
    return others.map((entry): Probe => [folder, specifierOf(room, isFolder(entry) ? `${entry}/any.ts` : entry)])
  })

describe('the linter', () => {
  it('has the rules of the order (npm run arrows)', () => {
    expect(readFileSync(join(root, 'biome.arrows.json'), 'utf8')).toBe(renderArrows())
  })

  const [above, below] = [arrows('above'), arrows('below')]
  let verdict: (probe: Probe) => 'refused' | 'taken'
  beforeAll(() => {
    verdict = verdicts([...FORBIDDEN, ...ALLOWED, ...inherited, ...above, ...below])
  })
  const takes = (probes: readonly Probe[], folder: string) =>
    probes.filter((probe) => probe[0] === folder && verdict(probe) === 'taken').map(([, specifier]) => specifier)
  const refuses = (probes: readonly Probe[], folder: string) =>
    probes.filter((probe) => probe[0] === folder && verdict(probe) === 'refused').map(([, specifier]) => specifier)

  it.each(FORBIDDEN)('keeps %s from %s', (folder, specifier) => {
    expect(verdict([folder, specifier])).toBe('refused')
  })

  it.each(ALLOWED)('lets %s import %s', (folder, specifier) => {
    expect(verdict([folder, specifier])).toBe('taken')
  })

  it.each(rooms)('keeps $folder from what stands above it, and from nothing below', ({ folder }) => {
    expect(takes([...inherited, ...above], folder)).toEqual([])
    expect(refuses(below, folder)).toEqual([])
  })
})
