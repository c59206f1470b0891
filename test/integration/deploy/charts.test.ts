/** The charts as helm reads them, and what they make as Kubernetes reads it. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { RELAYER_SETTINGS } from '../../../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../../../apps/sidecar/src/config.ts'
import { hasDeployTools, ROOT, runTool } from '../../support/deploy/tools.ts'

const read = (path: string): string => readFileSync(`${ROOT}${path}`, 'utf8')
const { version } = JSON.parse(read('package.json')) as { version: string }

/** The oldest that charts name, one between, and the newest whose schemas are here. */
const KUBERNETES = ['1.27', '1.32', '1.37']
/** Of the Prometheus operator, whose schema is not among those of Kubernetes: tests of the chart itself hold it. */
const FOREIGN = 'monitoring.coreos.com/'

/** What helm says where values do not fit the chart's schema. */
const REFUSED = /values don't meet the specifications of the schema/
/** A setting that the chart sets itself. */
const OWN = { relayer: 'ROLE', sidecar: 'JOURNAL_FILE' } as const

const CHARTS = [
  ['relayer', RELAYER_SETTINGS],
  ['sidecar', SIDECAR_SETTINGS],
] as const

const valuesOf = (chart: string): string => `test/integration/deploy/values/${chart}.yaml`
const template = (chart: string, set: readonly string[] = [], kubernetes = '1.32') =>
  runTool('helm', [
    ...['template', 'release', `deploy/helm/${chart}`, '--namespace', 'staking', '--values', valuesOf(chart)],
    ...['--kube-version', kubernetes],
    ...set.flatMap((one) => ['--set-json', one]),
  ])

/** The documents a chart makes. */
function documentsOf(chart: string, kubernetes?: string): string[] {
  const { status, stdout, stderr } = template(chart, [], kubernetes)
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return stdout.split(/^---$/m).filter((document) => /^kind:/m.test(document))
}

/** What the schemas of a version of Kubernetes say about documents. */
function judge(documents: readonly string[], kubernetes: string) {
  const folder = mkdtempSync(join(tmpdir(), 'charts-'))
  try {
    const file = join(folder, 'all.yaml')
    writeFileSync(file, documents.join('\n---\n'))
    const args = ['--strict', '-k', kubernetes, file]
    const { status, stdout, stderr } = runTool('kubernetes-validate', args)
    const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '')
    return { status, problems: lines.filter((line) => !line.startsWith('INFO')) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe.each(CHARTS)('the chart %s', (chart, settings) => {
  it('has the version of the sources', () => {
    const text = read(`deploy/helm/${chart}/Chart.yaml`)
    expect(/^version: (.*)$/m.exec(text)?.[1]).toBe(version)
    expect(/^appVersion: (.*)$/m.exec(text)?.[1]).toBe(version)
  })

  it('names only settings that there are', () => {
    const names = Object.entries(settings).flatMap(([name, { secret }]) => (secret ? [name, `${name}_FILE`] : [name]))
    const text = [
      read(`deploy/helm/${chart}/values.yaml`),
      read(`deploy/helm/${chart}/templates/${chart === 'relayer' ? 'deployments' : 'statefulset'}.yaml`),
      read(valuesOf(chart)),
    ].join('\n')
    const named = Array.from(text.matchAll(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g), ([name]) => name)
    expect(named.length).toBeGreaterThan(10)
    expect([...new Set(named)].filter((name) => !names.includes(name))).toEqual([])
  })
})

describe.skipIf(!hasDeployTools())('helm', () => {
  describe.each(CHARTS)('and the chart %s', (chart, settings) => {
    it('finds nothing to complain about', () => {
      const { status, stdout } = runTool('helm', [
        'lint',
        '--strict',
        `deploy/helm/${chart}`,
        '--values',
        valuesOf(chart),
      ])
      expect(stdout).not.toMatch(/\[(?:WARNING|ERROR)\]/)
      expect(status).toBe(0)
    })

    it('passes the tests of the chart', () => {
      const { status, stdout } = runTool('helm-unittest', [`deploy/helm/${chart}`])
      expect(stdout).toMatch(/Tests: +\d+ passed, \d+ total/)
      expect(status, stdout).toBe(0)
    })

    it.each(KUBERNETES)('makes what Kubernetes %s takes', (kubernetes) => {
      const documents = documentsOf(chart, kubernetes).filter((document) => !document.includes(FOREIGN))
      expect(documents.length).toBeGreaterThan(2)
      expect(judge(documents, kubernetes)).toEqual({ status: 0, problems: [] })
    })

    it('brings alerts and dashboard as they are, whatever templates stand in them', () => {
      const documents = documentsOf(chart)
      const of = (kind: string) => documents.filter((document) => new RegExp(`^kind: ${kind}$`, 'm').test(document))
      /** What stands below a key, without its indent. */
      const below = (document: string, key: RegExp, indent: number) =>
        (document.split(key)[1] ?? '').replaceAll(new RegExp(`^ {${indent}}`, 'gm'), '').trim()
      const [rules = ''] = of('PrometheusRule')
      expect(below(rules, /^spec:\n/m, 2)).toBe(read(`deploy/helm/${chart}/files/rules.yaml`).trim())
      const [dashboard = ''] = of('ConfigMap')
      const json = below(dashboard, /^ {2}dvt-\w+\.json: \|-\n/m, 4)
      expect(JSON.parse(json)).toEqual(JSON.parse(read(`deploy/grafana/${chart}.json`)))
    })

    it('has no secret in what it makes', () => {
      expect(documentsOf(chart).filter((document) => /^kind: Secret$/m.test(document))).toEqual([])
    })

    it.each(Object.entries(settings).flatMap(([name, { secret }]) => (secret ? [name] : [])))(
      'takes no %s in its values',
      (name) => {
        const { status, stderr } = template(chart, [`settings.${name}="x"`])
        expect(status).not.toBe(0)
        expect(stderr).toMatch(REFUSED)
        expect(stderr).toContain(name)
      },
    )

    it.each([
      ['a setting that there is not', 'settings.NO_SUCH_SETTING="x"', 'NO_SUCH_SETTING'],
      ['a setting of the chart itself', `settings.${OWN[chart]}="x"`, OWN[chart]],
      ['a setting of the chart itself from a Secret', `settingsFromSecret.${OWN[chart]}="x"`, OWN[chart]],
      ['a number that YAML would write otherwise', 'settings.EXECUTION_TIMEOUT=16777216', 'EXECUTION_TIMEOUT'],
      ['a password in a URL', 'settings.CONSENSUS_ENDPOINT="https://user:password@node.example"', 'CONSENSUS_ENDPOINT'],
      ['a Secret without a name', 'secret.name=""', '/secret/name'],
      ['a value that nobody reads', 'replicaCount=3', 'replicaCount'],
      ['no image', 'image.repository=""', '/image/repository'],
    ])('refuses %s', (_, set, place) => {
      const { status, stderr } = template(chart, [set])
      expect(status).not.toBe(0)
      expect(stderr).toMatch(REFUSED)
      expect(stderr).toContain(place)
    })
  })

  it.each([
    ['relayer', 'files from two places', 'files.persistentVolumeClaim="locks"', '/files'],
    ['relayer', 'a token for metrics, which want none', 'serviceMonitor.tokenSecret.name="a"', 'tokenSecret'],
    ['relayer', 'no worker, without whom nothing is finished', 'worker.replicas=0', '/worker/replicas'],
    ['sidecar', 'keys from two places', 'keys.secret="keystores"', '/keys'],
    ['sidecar', 'root', 'user=0', '/user'],
    ['sidecar', 'a second replica', 'replicas=2', 'replicas'],
    ['sidecar', 'a journal that many pods may write', 'journal.accessMode="ReadWriteMany"', '/journal/accessMode'],
  ])('and the chart %s refuse %s', (chart, _, set, place) => {
    const { status, stderr } = template(chart, [set])
    expect(status).not.toBe(0)
    expect(stderr).toMatch(REFUSED)
    expect(stderr).toContain(place)
  })

  it('is judged by schemas that know a wrong field', () => {
    const [statefulSet = ''] = documentsOf('sidecar').filter((document) => /^kind: StatefulSet$/m.test(document))
    const wrong = statefulSet.replace('whenDeleted:', 'whenRemoved:')
    expect(judge([wrong], '1.32').status).not.toBe(0)
  })

  it('gives a sidecar one replica, and its journal a volume that stays', () => {
    const [statefulSet = ''] = documentsOf('sidecar').filter((document) => /^kind: StatefulSet$/m.test(document))
    expect(statefulSet).toMatch(/^ {2}replicas: 1$/m)
    expect(statefulSet).toMatch(/whenDeleted: Retain\n\s+whenScaled: Retain/)
  })
})
