/** The pages of docs/reference, .env.example, the charts' lists of settings and Grafana's dashboards are written from the code: `npm run docs`. A test compares. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { metricsTable } from '@dvt-relayer/common/metrics.ts'
import { envExample, settingsTable } from '@dvt-relayer/common/settings.ts'
import { ERRORS, FAILURES } from '../../apps/relayer/src/errors.ts'
import { RELAYER_METRICS } from '../../apps/relayer/src/metrics.ts'
import { REASONS } from '../../apps/relayer/src/services/explain/reasons.ts'
import { RELAYER_SETTINGS } from '../../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../../apps/sidecar/src/config.ts'
import { REFUSALS, SIDECAR_METRICS, SIGNER_OUTCOMES } from '../../apps/sidecar/src/metrics.ts'
import { renderMonitoring } from './monitoring/dashboards.ts'

const ROOT = new URL('../../', import.meta.url)
const ENV_EXAMPLE = '.env.example'

const errorsTable = [
  '| code | status | retry | meaning |',
  '|---|---|---|---|',
  ...Object.entries(ERRORS).map(
    ([code, { status, retry, meaning }]) => `| \`${code}\` | ${status} | ${retry ? 'yes' : 'no'} | ${meaning} |`,
  ),
].join('\n')

/** Why a validator stands as it does, each reason with its place in the runbook. */
const reasonsTable = [
  '| code | who has to act | what is the case | what to do |',
  '|---|---|---|---|',
  ...Object.entries(REASONS).map(
    ([code, { who, anchor, sentence, remedy }]) =>
      `| [\`${code}\`](../operating/runbook.md#${anchor}) | ${who.replace('_', ' ')} | ${sentence} | ${remedy} |`,
  ),
].join('\n')

/** A table of words and what they mean. */
const wordsTable = (title: string, words: Readonly<Record<string, string>>): string =>
  [
    `| ${title} | meaning |`,
    '|---|---|',
    ...Object.entries(words).map(([word, meaning]) => `| \`${word}\` | ${meaning} |`),
  ].join('\n')

/** Which tables stand on which page. Each has its place between `<!-- name -->` and `<!-- end -->`. */
export const REFERENCE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'docs/reference/settings.md': {
    'relayer settings': settingsTable(RELAYER_SETTINGS),
    'sidecar settings': settingsTable(SIDECAR_SETTINGS),
  },
  'docs/reference/errors.md': {
    errors: errorsTable,
    failures: wordsTable('code', FAILURES),
    refusals: wordsTable('reason', REFUSALS),
    'signer outcomes': wordsTable('outcome', SIGNER_OUTCOMES),
  },
  'docs/reference/reasons.md': { reasons: reasonsTable },
  'docs/reference/metrics.md': {
    'relayer metrics': metricsTable(RELAYER_METRICS),
    'sidecar metrics': metricsTable(SIDECAR_METRICS),
  },
}

/** A page with every table of it written anew. @throws when the place of a table is missing */
export function renderPage(page: string, text: string): string {
  return Object.entries(REFERENCE[page] ?? {}).reduce((rendered, [name, table]) => {
    const position = new RegExp(`<!-- ${name} -->\\n[\\s\\S]*?<!-- end -->`)
    if (!position.test(rendered)) throw new Error(`${page} has no place for: ${name}`)
    return rendered.replace(position, () => `<!-- ${name} -->\n${table}\n<!-- end -->`)
  }, text)
}

/** `.env.example` */
export function renderEnvExample(): string {
  return [
    '# The relayer. Settings in front of which no # stands are required.',
    '',
    envExample(RELAYER_SETTINGS),
    '',
    '# ---------------------------------------------------------------------------------------------',
    '# A sidecar. It runs beside a node, usually on another machine, with an environment of its own.',
    '',
    envExample(SIDECAR_SETTINGS)
      .split('\n')
      .map((line) => (line === '' || line.startsWith('#') ? line : `# ${line}`))
      .join('\n'),
    '',
  ].join('\n')
}

/** What a chart sets itself, so that its values may not. */
const SET_BY_CHARTS = [
  ...[
    'ROLE',
    'RELAYER_HOST',
    'RELAYER_PORT',
    'METRICS_HOST',
    'METRICS_PORT',
    'DATA_DIR',
    'DATABASE_URL_FILE',
    'SEALING_KEY_FILE',
    'AUTH_TOKENS_FILE',
  ],
  ...['RELAYER_ENDPOINT_FILE', 'JOURNAL_FILE', 'SSV_STATE_FILE', 'SIDECAR_HOST', 'SIDECAR_PORT'],
]

/** The schemas of the charts' values, and the settings that may stand there: of a secret only the name of its file. */
export const CHART_SETTINGS: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  Object.entries({ relayer: RELAYER_SETTINGS, sidecar: SIDECAR_SETTINGS }).map(([chart, settings]) => [
    `deploy/helm/${chart}/values.schema.json`,
    Object.entries(settings)
      .map(([name, { secret }]) => (secret ? `${name}_FILE` : name))
      .filter((name) => !SET_BY_CHARTS.includes(name)),
  ]),
)

/** The schema of a chart's values with its list of settings written anew. @throws when the place of the list is missing */
export function renderChartSchema(path: string, text: string): string {
  const position = /("setting": \{\s*"enum": )\[[^\]]*\]/
  if (!position.test(text)) throw new Error(`${path} has no place for the settings`)
  const names = (CHART_SETTINGS[path] ?? []).map((name) => `        "${name}"`)
  return text.replace(position, (_, before: string) => `${before}[\n${names.join(',\n')}\n      ]`)
}

if (import.meta.main) {
  for (const path of Object.keys(CHART_SETTINGS)) {
    const file = new URL(path, ROOT)
    writeFileSync(file, renderChartSchema(path, readFileSync(file, 'utf8')))
  }
  for (const page of Object.keys(REFERENCE)) {
    const file = new URL(page, ROOT)
    writeFileSync(file, renderPage(page, readFileSync(file, 'utf8')))
  }
  writeFileSync(new URL(ENV_EXAMPLE, ROOT), renderEnvExample())
  for (const [path, text] of Object.entries(renderMonitoring())) {
    mkdirSync(new URL('.', new URL(path, ROOT)), { recursive: true })
    writeFileSync(new URL(path, ROOT), text)
  }
}
