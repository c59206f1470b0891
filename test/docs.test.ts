/** The documentation says what the tree has: generated pages are compared, and what pages name is looked for. */

import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import type { CommandWords } from '@dvt-relayer/common/cli/words.ts'
import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../apps/relayer/src/cli/usage.ts'
import { ERRORS, FAILURES } from '../apps/relayer/src/errors.ts'
import { RELAYER_METRICS } from '../apps/relayer/src/metrics.ts'
import { REASONS } from '../apps/relayer/src/services/explain/reasons.ts'
import { RELAYER_IGNORED, RELAYER_SETTINGS } from '../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../apps/sidecar/src/config.ts'
import { COMMANDS as SIDECAR_COMMANDS } from '../apps/sidecar/src/doctor/usage.ts'
import { SIDECAR_METRICS } from '../apps/sidecar/src/metrics.ts'
import { CHART_SETTINGS, REFERENCE, renderChartSchema, renderEnvExample, renderPage } from './support/docs.ts'
import { anchorsOf, findCitationProblems, findDocProblems, findUndocumented, type Tree } from './support/docs-check.ts'
import { renderMonitoring } from './support/monitoring/dashboards.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8')
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
/** As they are run from the root: `build -w dvt-verify`. */
const scriptsOfWorkspaces = globSync('{apps,libs}/*/package.json', { cwd: root }).flatMap((path) => {
  const { name, scripts: own = {} } = JSON.parse(read(path)) as { name: string; scripts?: Record<string, string> }
  return Object.keys(own).map((script) => `${script} -w ${name}`)
})

const SETTINGS = { ...RELAYER_SETTINGS, ...SIDECAR_SETTINGS }
const settingNames = Object.entries(SETTINGS).flatMap(([name, { secret }]) =>
  secret ? [name, `${name}_FILE`] : [name],
)
/** Words in upper case that are neither settings nor codes of ours, and whose they are. */
const FOREIGN = [
  ...['VOLUNTARY_EXIT', 'DEPOSIT'], // of the remote signing API
  ...['OBOL', 'SSV'], // values of CLUSTER_TYPE
  ...['GET', 'POST'], // HTTP
  ...['RSA_PKCS1_PADDING', 'RSA_NO_PADDING'], // Node's crypto
  ...['LISTEN', 'NOTIFY'], // PostgreSQL
  ...['NODE_USER'], // docker-compose.yml
  ...['CHARON_BIN'], // a test with a real charon
  ...['PGPASSWORD'], // of PostgreSQL's clients
  ...['NODE_EXTRA_CA_CERTS'], // of Node
  ...['MALLOC_ARENA_MAX', 'MALLOC_TRIM_THRESHOLD_'], // of the C library
  ...['SSV_KEYSHARES_FILE'], // of an older sidecar
  ...['PICTURES'], // of the test that takes them
  ...['VALIDATORS_FUNDING_BATCH_SIZE'], // of StakeWise's Operator
  ...['UPPER_CASE'], // this very rule
]
const tree: Tree = {
  has: (path) => existsSync(`${root}${path}`),
  read,
  scripts: new Set([...Object.keys(scripts), ...scriptsOfWorkspaces]),
  words: new Set([
    ...settingNames,
    ...RELAYER_IGNORED,
    ...Object.keys(ERRORS),
    ...Object.keys(FAILURES),
    ...Object.keys(REASONS),
    ...FOREIGN,
  ]),
  metrics: new Set([...Object.keys(RELAYER_METRICS), ...Object.keys(SIDECAR_METRICS)]),
}

/** Files below a folder, without what npm or a build put there. */
const filesOf = (folder: string): string[] =>
  (readdirSync(`${root}${folder}`, { recursive: true }) as string[])
    .map((path) => `${folder}/${path}`)
    .filter((path) => !/\/(node_modules|dist)\//.test(path) && statSync(`${root}${path}`).isFile())

/** What runs at users'. */
const programSources = ['apps', 'libs']
  .flatMap(filesOf)
  .filter((path) => /(?<!\.test)\.ts$/.test(path) && path.includes('/src/'))
/** A command as it is told: its script, for a program its command, and the options of that. */
const NEXT_STEP = /\bnpm run (?:-s )?([a-z][\w:-]*)(?: -- ([a-z][\w-]*)((?: --[\w-]+(?: (?!--)[^\s`';:,)]+)?)*))?/g
/** Where texts for people are made: doctors, commands, status page and explanations. */
const TOLD = [
  ...['apps/relayer/src/doctor/', 'apps/relayer/src/cli/', 'apps/relayer/src/services/status/'],
  ...['apps/relayer/src/services/explain/', 'apps/relayer/src/http/status/', 'apps/sidecar/src/doctor/'],
  ...['apps/sidecar/src/summary.ts', 'apps/sidecar/src/lists/', 'apps/sidecar/src/events.ts'],
]

const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'apps/verify/README.md', 'libs/client/README.md'],
  ...filesOf('docs').filter((path) => path.endsWith('.md')),
]
/** Where comments cite pages. The probes of this file are no citations. */
const sources = [
  ...['apps', 'libs', 'test'].flatMap(filesOf).filter((path) => path.endsWith('.ts') && !path.startsWith('test/docs')),
  ...filesOf('deploy'),
  ...['docker-compose.yml', 'Dockerfile'],
].filter((path) => !path.startsWith('test/support/docs'))

describe('what is written from the code', () => {
  it.each(Object.keys(REFERENCE))('%s has the tables of the code', (page) => {
    const text = read(page)
    expect(renderPage(page, text)).toBe(text)
  })

  it('.env.example has the settings of the code', () => {
    expect(read('.env.example')).toBe(renderEnvExample())
  })

  it.each(Object.keys(CHART_SETTINGS))('%s has the settings of the code', (path) => {
    const text = read(path)
    expect(renderChartSchema(path, text)).toBe(text)
  })

  it.each(Object.entries(renderMonitoring()))('%s is what the code makes', (path, text) => {
    expect(read(path)).toBe(text)
  })

  it('every setting is documented', () => {
    expect(findUndocumented(settingNames, read('docs/reference/settings.md'))).toEqual([])
  })

  it('every command of the relayer is documented', () => {
    const page = read('docs/reference/commands.md')
    for (const name of Object.keys(COMMANDS)) expect(page).toContain(`| \`npm run relayer -- ${name} `)
  })

  it('every script is documented', () => {
    const page = read('docs/reference/commands.md')
    for (const name of Object.keys(scripts)) expect(page).toMatch(new RegExp(`npm (run )?${name}(?![\\w:-])`))
  })
})

describe('what is named', () => {
  it.each(pages)('%s names only what is there', (page) => {
    expect(findDocProblems(page, read(page), tree)).toEqual([])
  })

  it('comments cite pages and sections that are there', () => {
    const problems = sources.flatMap((path) =>
      findCitationProblems(read(path), tree).map((problem) => `${path}: ${problem}`),
    )
    expect(problems).toEqual([])
  })

  it('what programs say names commands, options and scripts that are there', () => {
    const programs: Readonly<Record<string, Readonly<Record<string, CommandWords>>>> = {
      relayer: COMMANDS,
      sidecar: SIDECAR_COMMANDS,
    }
    const said = programSources.flatMap((path) =>
      Array.from(read(path).matchAll(NEXT_STEP), ([text, script = '', command, options = '']) => ({
        ...{ path, text, script, command },
        options: Array.from(options.matchAll(/--([\w-]+)/g), ([, name = '']) => name),
      })),
    )
    expect(said.length).toBeGreaterThan(40)
    const wrong = said.filter(({ script, command, options }) => {
      if (command === undefined) return !Object.hasOwn(scripts, script)
      const known = programs[script]?.[command]
      return known === undefined || options.some((name) => name !== 'help' && !Object.hasOwn(known.options, name))
    })
    expect(wrong).toEqual([])
  })

  it('what programs tell a tired person names settings that are there', () => {
    const strange = programSources
      .filter((path) => TOLD.some((folder) => path.startsWith(folder)))
      .flatMap((path) =>
        Array.from(read(path).matchAll(/'[^'\n]*'|"[^"\n]*"|`[^`]*`/g), ([text]) => text)
          // A code by itself is no text.
          .filter((text) => text.includes(' '))
          .flatMap((text) => text.replaceAll(/\$\{[^}]*\}/g, '').match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? [])
          .filter((word) => !tree.words.has(word))
          .map((word) => `${path}: ${word}`),
      )
    expect(strange).toEqual([])
  })

  it('CODEOWNERS names only what is there', () => {
    const paths = read('CODEOWNERS')
      .split('\n')
      .flatMap((line) => /^\/(\S+)/.exec(line)?.[1] ?? [])
    expect(paths.length).toBeGreaterThan(0)
    expect(paths.filter((path) => !tree.has(path))).toEqual([])
  })

  it('the network file of the deploy page is one', () => {
    const [, json] =
      /```json\n(.*?)```/s.exec(read('docs/operating/deploy.md').split('## A network of your own')[1] ?? '') ?? []
    const folder = mkdtempSync(join(tmpdir(), 'dvt-docs-'))
    try {
      writeFileSync(join(folder, 'network.json'), json ?? '')
      expect(parseNetwork(join(folder, 'network.json'))).toMatchObject({ name: 'devnet', chainId: 31337 })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('every page of docs can be reached from the README', () => {
    const reached = new Set<string>()
    const visit = (page: string): void => {
      if (reached.has(page)) return
      reached.add(page)
      const folder = page.split('/').slice(0, -1)
      for (const [, target = ''] of read(page).matchAll(/\]\(([^()\s#]+\.md)(?:#[^()\s]*)?\)/g)) {
        const path = new URL(target, `file:///${[...folder, 'x'].join('/')}`).pathname.slice(1)
        if (tree.has(path)) visit(path)
      }
    }
    visit('README.md')
    expect(pages.filter((page) => !reached.has(page))).toEqual([])
  })

  it('the README is short', () => {
    expect(read('README.md').split('\n').length).toBeLessThan(200)
  })
})

describe('the check itself', () => {
  const problemsOf = (text: string) => findDocProblems('docs/architecture.md', text, tree)

  it.each([
    ['a dead link', '[x](no-such-page.md)', 'dead link: docs/no-such-page.md is not there'],
    ['a dead anchor', '[x](protocol.md#99-nothing)', 'dead link: docs/protocol.md has no heading #99-nothing'],
    [
      'a dead anchor of the page',
      '[x](#no-such-place)',
      'dead link: docs/architecture.md has no heading #no-such-place',
    ],
    ['a missing path', 'see `libs/crypto/src/gone.ts`', 'missing path: libs/crypto/src/gone.ts is not there'],
    ['a missing page', 'see `GONE.md`', 'missing path: GONE.md is not there'],
    ['an unknown command', '```sh\nnpm run no-such-script\n```\n', 'unknown command: npm run no-such-script'],
    ['a command of no package', '`npm run build -w dvt-none`', 'unknown command: npm run build -w dvt-none'],
    ['an unknown command in the text', '`npm run -s nothing -- --x`', 'unknown command: npm run nothing'],
    ['an unknown setting', 'set `NO_SUCH_SETTING=1`', 'unknown setting: NO_SUCH_SETTING'],
    ['an unknown setting in a shell', '```sh\nexport NO_SUCH=1\n```\n', 'unknown setting: NO_SUCH'],
    ['an unknown metric', '`dvt_relayer_nothing_total`', 'unknown metric: dvt_relayer_nothing_total'],
  ])('finds %s', (_, text, problem) => {
    expect(problemsOf(text)).toEqual([problem])
  })

  it('finds nothing where all is there', () => {
    const text =
      '[a](protocol.md#7-oracle-set) [b](../README.md) [c](https://example.org/x) `libs/crypto/src/` `README.md` ' +
      '`apps/*/src` `npm run sidecar -- doctor` `NETWORK` `SEALING_KEY_FILE=./key` `INDEX_USED` `dvt_sidecar_keys`'
    expect(problemsOf(text)).toEqual([])
  })

  it('finds a setting that no page documents', () => {
    const page = read('docs/reference/settings.md')
    expect(findUndocumented(['NETWORK', 'NOT_DOCUMENTED'], page)).toEqual(['NOT_DOCUMENTED'])
  })

  it('finds dead citations, and sections without their page', () => {
    expect(findCitationProblems('/** See docs/protocol.md#7-oracle-set. */', tree)).toEqual([])
    expect(findCitationProblems('/** See docs/protocol.md#70-oracles. */', tree)).toHaveLength(1)
    expect(findCitationProblems('/** See docs/gone.md. */', tree)).toHaveLength(1)
    expect(findCitationProblems('/** As (protocol,\n * section 7) says. */', tree)).toHaveLength(1)
  })

  it('makes anchors as GitHub does', () => {
    const page = '# The `x` of y, again!\n## Same\n## Same\n```\n# no heading\n```\n'
    expect([...anchorsOf(page)]).toEqual(['the-x-of-y-again', 'same', 'same-1'])
  })
})
