/** The parts of README.md and .env.example that are written from the code. `node test/support/docs.ts` writes them. */

import { readFileSync, writeFileSync } from 'node:fs'
import { metricsTable } from '@dvt-relayer/common/metrics.ts'
import { envExample, settingsTable } from '@dvt-relayer/common/settings.ts'
import { ERRORS, FAILURES } from '../../apps/relayer/src/errors.ts'
import { RELAYER_METRICS } from '../../apps/relayer/src/metrics.ts'
import { RELAYER_SETTINGS } from '../../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../../apps/sidecar/src/config.ts'
import { SIDECAR_METRICS } from '../../apps/sidecar/src/events.ts'

const README = new URL('../../README.md', import.meta.url)
const ENV_EXAMPLE = new URL('../../.env.example', import.meta.url)

const errorsTable = [
  '| code | status | retry | meaning |',
  '|---|---|---|---|',
  ...Object.entries(ERRORS).map(
    ([code, { status, retry, meaning }]) => `| \`${code}\` | ${status} | ${retry ? 'yes' : 'no'} | ${meaning} |`,
  ),
].join('\n')
const failuresTable = [
  '| code | meaning |',
  '|---|---|',
  ...Object.entries(FAILURES).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`),
].join('\n')

const PARTS: Readonly<Record<string, string>> = {
  'relayer settings': settingsTable(RELAYER_SETTINGS),
  'sidecar settings': settingsTable(SIDECAR_SETTINGS),
  errors: errorsTable,
  failures: failuresTable,
  'relayer metrics': metricsTable(RELAYER_METRICS),
  'sidecar metrics': metricsTable(SIDECAR_METRICS),
}

/** The README with every part written anew. @throws when a part's place is missing */
export function renderReadme(text: string): string {
  return Object.entries(PARTS).reduce((readme, [name, table]) => {
    const position = new RegExp(`<!-- ${name} -->\\n[\\s\\S]*?<!-- end -->`)
    if (!position.test(readme)) throw new Error(`README.md has no place for: ${name}`)
    return readme.replace(position, () => `<!-- ${name} -->\n${table}\n<!-- end -->`)
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

if (import.meta.main) {
  writeFileSync(README, renderReadme(readFileSync(README, 'utf8')))
  writeFileSync(ENV_EXAMPLE, renderEnvExample())
}
