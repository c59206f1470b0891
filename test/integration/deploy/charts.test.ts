/** The charts as helm reads them, and what they make as Kubernetes reads it. */

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { RELAYER_SETTINGS } from '../../../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../../../apps/sidecar/src/config.ts'
import { hasDeployTools, ROOT, runTool } from '../../support/services/deploy-tools.ts'

const read = (path: string): string => readFileSync(`${ROOT}${path}`, 'utf8')
const { version } = JSON.parse(read('package.json')) as { version: string }

/** The oldest that charts name, one between, and the newest whose schemas are here. */
const KUBERNETES = ['1.27', '1.32', '1.37']
/** Of the Prometheus operator, whose schema is not among those of Kubernetes: tests of the chart itself hold it. */
const FOREIGN = 'monitoring.coreos.com/'

const CHARTS = [
  ['relayer', RELAYER_SETTINGS],
  ['sidecar', SIDECAR_SETTINGS],
] as const

const valuesOf = (chart: string): string => `test/integration/deploy/values/${chart}.yaml`
const template = (chart: string, set: readonly string[] = []) =>
  runTool('helm', [
    ...['template', 'release', `deploy/helm/${chart}`, '--namespace', 'staking', '--values', valuesOf(chart)],
    ...set.flatMap((one) => ['--set-string', one]),
  ])

/** The documents a chart makes. */
function documentsOf(chart: string): string[] {
  const { status, stdout, stderr } = template(chart)
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return stdout.split(/^---$/m).filter((document) => /^kind:/m.test(document))
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
      const { status, stdout } = runTool('helm', ['lint', '--strict', `deploy/helm/${chart}`, '--values', valuesOf(chart)])
      expect(stdout).not.toMatch(/\[(?:WARNING|ERROR)\]/)
      expect(status).toBe(0)
    })

    it('passes the tests of the chart', () => {
      const { status, stdout } = runTool('helm-unittest', [`deploy/helm/${chart}`])
      expect(stdout).toMatch(/Tests: +\d+ passed, \d+ total/)
      expect(status, stdout).toBe(0)
    })

    it.each(KUBERNETES)('makes what Kubernetes %s takes', (kubernetes) => {
      const documents = documentsOf(chart).filter((document) => !document.includes(FOREIGN))
      expect(documents.length).toBeGreaterThan(2)
      const { status, stdout, stderr } = runTool(
        'kubernetes-validate',
        ['--strict', '--no-warn', '-k', kubernetes, '/dev/stdin'],
        { input: documents.join('\n---\n') },
      )
      expect(`${stdout}${stderr}`).not.toMatch(/ERROR/)
      expect(status).toBe(0)
    })

    it('has no secret in what it makes', () => {
      expect(documentsOf(chart).filter((document) => /^kind: Secret$/m.test(document))).toEqual([])
    })

    it.each(Object.entries(settings).flatMap(([name, { secret }]) => (secret ? [name] : [])))(
      'takes no %s in its values',
      (name) => {
        const { status, stderr } = template(chart, [`settings.${name}=x`])
        expect(status).not.toBe(0)
        expect(stderr).toContain(name)
      },
    )

    it.each([
      ['a setting that there is not', 'settings.NO_SUCH_SETTING=x', 'NO_SUCH_SETTING'],
      ['a setting of the chart itself', chart === 'relayer' ? 'settings.ROLE=all' : 'settings.JOURNAL_FILE=x', 'ROLE|JOURNAL_FILE'],
      ['a password in a URL', 'settings.CONSENSUS_ENDPOINT=https://user:password@node.example', 'CONSENSUS_ENDPOINT'],
      ['a Secret without a name', 'secret.name=', 'name'],
      ['a value that nobody reads', 'replicaCount=3', 'replicaCount'],
      ['no image', 'image.repository=', 'repository'],
    ])('refuses %s', (_, set, message) => {
      const { status, stderr } = template(chart, [set])
      expect(status).not.toBe(0)
      expect(stderr).toMatch(new RegExp(message))
    })
  })

  it('refuses keys from two places, and root', () => {
    expect(template('sidecar', ['keys.secret=keystores']).status).not.toBe(0)
    const root = runTool('helm', ['template', 'x', 'deploy/helm/sidecar', '-f', valuesOf('sidecar'), '--set', 'user=0'])
    expect(root.status).not.toBe(0)
  })

  it('gives a sidecar one replica, and its journal a volume that stays', () => {
    const [statefulSet = ''] = documentsOf('sidecar').filter((document) => /^kind: StatefulSet$/m.test(document))
    expect(statefulSet).toMatch(/^ {2}replicas: 1$/m)
    expect(statefulSet).toMatch(/whenDeleted: Retain\n\s+whenScaled: Retain/)
  })
})
