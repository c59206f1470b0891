/**
 * The runbook has a section for everything that leads to it: alerts, reasons why a validator is not ready, checks of `/ready`, errors that
 * end a start, exit codes. And it has no other: what the code does not know any more goes.
 */

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { RUNBOOK, sectionOf, seeRunbook } from '@dvt-relayer/common/runbook.ts'
import { describe, expect, it } from 'vitest'
import { DEPENDENCIES } from '../apps/relayer/src/metrics.ts'
import { REASONS } from '../apps/relayer/src/services/explain/reasons.ts'
import { ANCHORS } from '../apps/relayer/src/services/status/problems.ts'
import { CHECKS } from '../apps/sidecar/src/metrics.ts'
import { anchorsOf } from './support/docs-check.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8')
const sources = ['apps/relayer/src', 'apps/sidecar/src', 'libs']
  .flatMap((folder) =>
    (readdirSync(`${root}${folder}`, { recursive: true }) as string[]).map((path) => `${folder}/${path}`),
  )
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts') && !path.includes('/node_modules/'))
  .filter((path) => statSync(`${root}${path}`).isFile())

/** The alerts of the rules, each with where it leads. */
const ALERTS = Array.from(
  read('deploy/prometheus/rules.yml').matchAll(/- alert: (\w+)\n(?: {8}.*\n)+? {10}runbook_url: (\S+)\n/g),
  ([, name = '', url = '']) => ({ name, url }),
)

/** The unions of codes of errors that end a start as they are, or that one is made of. */
const UNIONS = [
  'DatabaseErrorCode',
  'QueueErrorCode',
  'ClusterLockErrorCode',
  'KeysharesErrorCode',
  'KeysErrorCode',
  'JournalErrorCode',
]
/** Where the code of a `BootError` does not stand beside it, and what it is: that of another error, or one that the caller gives. */
const PASSED_ON: Readonly<Record<string, readonly string[]>> = {
  'apps/relayer/src/services/registrations/wallet-key.ts': ['MANAGER_KEY_INVALID', 'ROTATION_WALLET_INVALID'],
  'apps/sidecar/src/keystores/ssv/ssv.ts': [],
  'apps/sidecar/src/watch/journal.ts': [],
  'libs/chain/src/ssv/keyshares-files.ts': [],
}

const codesOf = (text: string): string[] => Array.from(text.matchAll(/'([A-Z][A-Z0-9_]+)'/g), ([, code = '']) => code)

/** Every code that the last line of a start may name. */
function findCodes(): string[] {
  const found = new Set<string>()
  for (const path of sources) {
    const text = read(path)
    for (const [, literal] of text.matchAll(/new BootError\(\s*(?:'([A-Z0-9_]+)')?/g))
      if (literal !== undefined) found.add(literal)
      else if (PASSED_ON[path] === undefined) throw new Error(`${path} makes a BootError whose code cannot be seen`)
    for (const [, name = '', union = ''] of text.matchAll(
      /type (\w+ErrorCode) =((?:\s*(?:\/\*\*[^*]*\*\/)?\s*\|? *'[A-Z0-9_]+')+)/g,
    ))
      if (UNIONS.includes(name)) for (const code of codesOf(union)) found.add(code)
  }
  for (const code of Object.values(PASSED_ON).flat()) found.add(code)
  return [...found].sort()
}
const CODES = findCodes()

/** What both programs end with. */
const EXIT_CODES = ['0', '1', '75']

const WANTED: Readonly<Record<string, readonly string[]>> = {
  alerts: ALERTS.map(({ name }) => name.toLowerCase()),
  reasons: Object.values(REASONS).map(({ anchor }) => anchor),
  checks: [...DEPENDENCIES.map((name) => `relayer-check-${name}`), ...CHECKS.map((name) => `sidecar-check-${name}`)],
  'problems of the status page': Object.values(ANCHORS),
  'errors of a start': CODES.map(sectionOf),
  'exit codes': EXIT_CODES.map((code) => `exit-code-${code}`),
}
const page = read(RUNBOOK)
const anchors = anchorsOf(page)

describe('the runbook', () => {
  it.each(Object.entries(WANTED))('has a section for each of the %s', (_, wanted) => {
    expect(wanted.length).toBeGreaterThan(2)
    expect(wanted.filter((anchor) => !anchors.has(anchor))).toEqual([])
  })

  it('has no section that nothing leads to', () => {
    const wanted = new Set(Object.values(WANTED).flat())
    const headings = Array.from(page.matchAll(/^(#{2,}) .*$/gm), ([line, marks = '']) => ({
      level: marks.length,
      anchor: [...anchorsOf(line)][0] ?? '',
    }))
    const orphans = headings.filter(
      ({ level, anchor }, position) =>
        !wanted.has(anchor) &&
        // One that only holds those below it.
        !(level === 2 && (headings[position + 1]?.level ?? 0) > 2),
    )
    expect(orphans).toEqual([])
    // Two of one name would be two anchors, of which only one is led to.
    expect(new Set(headings.map(({ anchor }) => anchor)).size).toBe(headings.length)
  })

  it('says something in every section', () => {
    for (const section of page.split(/^(?=#{3} )/m).slice(1)) {
      const [heading = '', ...body] = section.split('\n')
      expect(body.join(' ').trim().length, heading).toBeGreaterThan(20)
    }
  })
})

describe('what leads to the runbook', () => {
  it('is each alert, by its own name', () => {
    const text = read('deploy/prometheus/rules.yml')
    expect(ALERTS).toHaveLength(text.split('- alert: ').length - 1)
    for (const { name, url } of ALERTS) expect(url).toBe(`${RUNBOOK}#${name.toLowerCase()}`)
  })

  it('has a summary, a description and a severity in each alert', () => {
    const rules = read('deploy/prometheus/rules.yml').split('- alert: ').slice(1)
    for (const rule of rules)
      for (const field of [/severity: (critical|warning|info)\b/, /^ +summary: \S/m, /^ +description: \S/m])
        expect(rule).toMatch(field)
  })

  it('is every alert that there should be', () => {
    const wanted =
      'NoWorker NotReady ExitStuck NodeMissing SharesRejected SidecarRefuses JournalBroken OracleSetStale ForceExitSoon RotationStuck DailyLimit80 KeysRunningOut AuthRefusedBurst VersionSkew'
    expect([...new Set(ALERTS.map(({ name }) => name))].sort()).toEqual(wanted.split(' ').sort())
  })

  it('is the last line of a start that fails', () => {
    expect(seeRunbook('SEALING_KEY_WRONG')).toBe('see docs/operating/runbook.md#sealing_key_wrong')
    expect(seeRunbook('DATABASE_UNIQUE_VIOLATION')).toBe('see docs/operating/runbook.md#database_failed')
    expect(CODES).toContain('DATABASE_FROM_THE_FUTURE')
    expect(CODES).toContain('JOURNAL_IN_USE')
    expect(CODES).toContain('LOCK_HASH_MISMATCH')
    expect(CODES.length).toBeGreaterThan(70)
  })

  it('finds codes that are not beside their error where they are named, and nowhere else', () => {
    for (const path of Object.keys(PASSED_ON)) expect(read(path)).toMatch(/new BootError\(\s*[a-z]/)
  })
})
