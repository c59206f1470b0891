/**
 * Rules and dashboards on a real Prometheus that asks real relayers and real sidecars: every expression is understood and names what there
 * is, and alerts fire for what is really broken. What each alert takes for broken is held by promtool (deploy/prometheus/rules.test.yml).
 */

import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { exitSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { RELAYER_METRICS } from '../../../apps/relayer/src/metrics.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { readConfig } from '../../../apps/sidecar/src/config.ts'
import { SIDECAR_METRICS } from '../../../apps/sidecar/src/metrics.ts'
import { type Sidecar, startSidecar } from '../../../apps/sidecar/src/sidecar.ts'
import { hasProgram, ROOT, run } from '../../support/deploy/tools.ts'
import { loadFixtureCluster } from '../../support/keys/fixtures.ts'
import { DASHBOARDS, RULES } from '../../support/monitoring/dashboards.ts'
import { expressionsOf } from '../../support/monitoring/panels.ts'
import { impatient, type Prometheus, startPrometheus } from '../../support/monitoring/prometheus.ts'
import { engine, getExits, postValidators, untilOracleSet } from '../../support/world/nodes.ts'
import { ask, eventually, startWorld, type World } from '../../support/world/world.ts'
import { startStandInRelayer, VAULT } from '../sidecar/stand-in.ts'
import { configOf, first, journalFolder, keysOf } from '../sidecar/support.ts'

const METRICS: Readonly<Record<string, { type: string; labels?: Readonly<Record<string, readonly string[]>> }>> = {
  ...RELAYER_METRICS,
  ...SIDECAR_METRICS,
}
/** What a scrape adds, and what a histogram has. */
const FOREIGN_LABELS = ['namespace', 'instance', 'le']
const rules = readFileSync(`${ROOT}${RULES}`, 'utf8')
const PANELS = [...expressionsOf(DASHBOARDS.relayer), ...expressionsOf(DASHBOARDS.sidecar)]

/** The metric of a series: a histogram has three of them. */
const metricOf = (series: string): string =>
  METRICS[series] === undefined ? series.replace(/_(bucket|sum|count)$/, '') : series

/** What an expression names that there is not: metrics, labels, and values of labels that are of a closed set. */
function unknownIn(expression: string): string[] {
  const problems: string[] = []
  for (const [, series = '', matchers = ''] of expression.matchAll(/\b(dvt_\w+)(?:\{([^}]*)\})?/g)) {
    const metric = METRICS[metricOf(series)]
    if (metric === undefined) problems.push(series)
    for (const [, label = '', value = ''] of matchers.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)) {
      if (FOREIGN_LABELS.includes(label)) continue
      const values = metric?.labels?.[label]
      if (values === undefined) problems.push(`${series}{${label}}`)
      else if (values.length > 0)
        problems.push(
          ...value.split('|').flatMap((one) => (values.includes(one) ? [] : [`${series}{${label}="${one}"}`])),
        )
    }
  }
  const labels = new Set(
    Array.from(expression.matchAll(/\b(dvt_\w+)/g), ([, series = '']) =>
      Object.keys(METRICS[metricOf(series)]?.labels ?? {}),
    ).flat(),
  )
  for (const [, list = ''] of expression.matchAll(/\b(?:by|on) \(([^)]*)\)/g))
    for (const label of list.split(', '))
      if (!labels.has(label) && !FOREIGN_LABELS.includes(label)) problems.push(`by (${label})`)
  return problems
}

describe('expressions', () => {
  const inRules = Array.from(rules.matchAll(/^ +expr: (.*)$/gm), ([, expression = '']) => expression)

  it.each([...inRules, ...PANELS])('%s names only what there is', (expression) => {
    expect(unknownIn(expression)).toEqual([])
  })

  it.each([
    ['dvt_relayer_nothing', ['dvt_relayer_nothing']],
    ['sum by (le) (rate(dvt_relayer_finish_seconds_bucket[5m]))', []],
    ['dvt_relayer_dependency_up{dependency=~"database|moon"}', ['dvt_relayer_dependency_up{dependency="moon"}']],
    ['dvt_relayer_workers{vault="0x"}', ['dvt_relayer_workers{vault}']],
    ['max by (vault) (dvt_relayer_workers)', ['by (vault)']],
  ])('the check finds what %s lacks', (expression, problems) => {
    expect(unknownIn(expression)).toEqual(problems)
  })
})

describe.skipIf(!hasProgram('promtool'))('promtool', () => {
  it('finds nothing to complain about', () => {
    const { status, stdout, stderr } = run('promtool', ['check', 'rules', RULES])
    expect(`${stdout}${stderr}`).toMatch(/SUCCESS: \d+ rules found/)
    expect(status).toBe(0)
  })

  it('sees each alert fire and not fire', () => {
    const { status, stdout, stderr } = run('promtool', ['test', 'rules', 'deploy/prometheus/rules.test.yml'])
    expect(`${stdout}${stderr}`).toContain('SUCCESS')
    expect(status).toBe(0)
  })

  it('is asked about every alert, with what fires and what does not', () => {
    const tests = readFileSync(`${ROOT}deploy/prometheus/rules.test.yml`, 'utf8')
    for (const name of new Set(Array.from(rules.matchAll(/- alert: (\w+)/g), ([, alert = '']) => alert))) {
      const asked = `- alertname: ${name}\\n +eval_time: \\S+\\n +exp_alerts:`
      expect(tests).toMatch(new RegExp(`${asked} \\[\\]\\n`))
      expect(tests).toMatch(new RegExp(`${asked}\\n`))
    }
  })
})

describe.skipIf(!hasProgram('prometheus'))('a real Prometheus', () => {
  const { lockFile, nodes, expected } = loadFixtureCluster('cluster-4')
  const keys = expected.validators.map(({ public_key: key }) => key)
  const tokens = {
    admin: createToken('admin', 'admin', '*'),
    node1: createToken('node-1', 'sidecar', '1'),
    node2: createToken('node-2', 'sidecar', '2'),
  }
  const headers = (name: keyof typeof tokens) => ({ authorization: `Bearer ${tokens[name].token}` })
  const stack = new AsyncDisposableStack()
  let world: World
  let api: Relayer
  let worker: Relayer
  let sidecars: Sidecar[] = []
  let prometheus: Prometheus
  let calm: string[] = []

  /** A sidecar of a node, with its token in the URL, as operators have it. */
  async function start(node: number, token: string, more: Record<string, string> = {}): Promise<Sidecar> {
    const url = new URL(api.url)
    url.username = 'node'
    url.password = token
    const { config } = readConfig({
      NETWORK: expected.network,
      RELAYER_ENDPOINT: url.href,
      OBOL_KEYSTORES_DIR: nodes[node]?.keystoresDir ?? '',
      OBOL_CLUSTER_LOCK_FILE: lockFile,
      POLL_INTERVAL: '1',
      SIDECAR_PORT: '0',
      ...more,
    })
    return stack.use(await startSidecar(config, { logger: silentLogger }))
  }

  beforeAll(async () => {
    world = stack.use(await startWorld({ oracles: 3, threshold: 2 }))
    const file = join(world.dir, 'tokens')
    await writeFile(
      file,
      Object.values(tokens)
        .map(({ line }) => line)
        .join('\n'),
    )
    const settings = { CLUSTER_LOCK_FILES: lockFile, AUTH_TOKENS_FILE: file, METRICS_PORT: '0' }
    api = stack.use(await world.startRelayer({ ...settings, ROLE: 'api' }))
    worker = await world.startRelayer({ ...settings, ROLE: 'worker' })
    stack.defer(() => worker[Symbol.asyncDispose]())
    await untilOracleSet(api.url, headers('admin'))
    // The other nodes have signed before.
    await world.query(
      `insert into share_counts (share_index, verified, rejected) values (2, 1, 0), (3, 1, 0), (4, 1, 0)`,
    )
    sidecars = [await start(0, tokens.node1.token)]
    const urls = {
      relayer: [api.metricsUrl ?? '', worker.metricsUrl ?? ''],
      sidecar: sidecars.map(({ url }) => url ?? ''),
    }
    prometheus = stack.use(await startPrometheus(urls, impatient(rules)))
    await prometheus.untilAsked()
    await eventually('everything as it should be', async () => {
      const seen = await prometheus.query('dvt_relayer_node_last_seen_seconds and on () (dvt_relayer_workers > 0)')
      const ready = await prometheus.query('min(dvt_sidecar_up) == 1 and min(dvt_relayer_dependency_up) == 1')
      return seen.length > 0 && ready.length > 0 ? true : undefined
    })
    await eventually('no alert', async () => {
      calm = (await prometheus.alerts()).map(({ labels }) => labels['alertname'] ?? '')
      return calm.length === 0 ? true : undefined
    })
  })
  afterAll(() => stack.disposeAsync())

  it('has been told of every metric', async () => {
    const told = await prometheus.metadata()
    for (const [name, { type }] of Object.entries(METRICS)) expect([name, told.get(name)]).toEqual([name, type])
  })

  it('understands every rule and every panel', async () => {
    const asked = [...(await prometheus.rules()).map(({ expression }) => expression), ...PANELS]
    expect(asked.length).toBeGreaterThan(50)
    for (const expression of asked) await prometheus.query(expression)
  })

  it('has the same numbers from every process', async () => {
    const same = Object.entries(RELAYER_METRICS).flatMap(([name, { help }]) =>
      help.endsWith('the same in every process') ? [name] : [],
    )
    expect(same.length).toBeGreaterThan(7)
    // Ages go on between two looks, and the queue is what it is at the moment.
    const still = same.filter((name) => !/_seconds$|_jobs$/.test(name))
    for (const name of still)
      await eventually(`${name} the same twice`, async () =>
        (await prometheus.query(`(max without (instance) (${name}) != min without (instance) (${name}))`)).length ===
          0 && (await prometheus.query(`count without (instance) (${name}) != 2`)).length === 0
          ? true
          : undefined,
      )
    expect(
      (await prometheus.query('dvt_relayer_share_signatures_total{share_index="4", outcome="rejected"} == 0')).length,
    ).toBe(2)
  })

  it('knows each process by its role and version', async () => {
    const builds = await prometheus.query('{__name__=~"dvt_(relayer|sidecar)_build_info"} == 1')
    expect(builds.map(({ metric }) => [metric['job'], metric['role'], metric['version']]).sort()).toEqual([
      ['relayer', 'api', VERSION],
      ['relayer', 'worker', VERSION],
      ['sidecar', undefined, VERSION],
    ])
  })

  it('is calm while all is well', () => {
    expect(calm).toEqual([])
  })

  it('raises AuthRefusedBurst when somebody tries tokens', async () => {
    for (let tries = 0; tries < 80; tries++)
      expect((await ask(api.url, '/exits', { headers: { authorization: `Bearer ${'x'.repeat(43)}` } })).status).toBe(
        401,
      )
    const { annotations } = await prometheus.untilFiring('AuthRefusedBurst', { reason: 'unknown' })
    expect(annotations['runbook_url']).toBe('docs/operating/runbook.md#authrefusedburst')
  })

  it('raises SharesRejected for a node that signs with another key', async () => {
    expect((await postValidators(api.url, keys.slice(0, 1), headers('admin'))).status).toBe(200)
    const [exit] = await getExits(api.url, headers('admin'))
    const root = exitSigningRoot(world.network, {
      epoch: world.network.capellaEpoch,
      validatorIndex: exit?.validator_index ?? -1,
    })
    const wrong = toHex(engine.sign(fromHex(`0x${'11'.repeat(32)}`), root))
    const shares = [{ public_key: keys[0], exit_signature: wrong }]
    const answer = await ask(api.url, '/exit-signature', {
      headers: headers('node2'),
      body: { share_index: 2, shares },
    })
    expect(answer.json).toMatchObject({ code: 'SHARES_WRONG' })
    await prometheus.untilFiring('SharesRejected', { share_index: '2' })
  })

  it('raises NoWorker when the last worker has stopped', async () => {
    await worker[Symbol.asyncDispose]()
    await prometheus.untilFiring('NoWorker')
  })

  it('raises NodeMissing for a sidecar that has stopped', async () => {
    for (const sidecar of sidecars) await sidecar[Symbol.asyncDispose]()
    // Minutes go by.
    await eventually('nothing of it', async () => {
      await world.query(
        "update nodes_seen set seen_at = seen_at - interval '5 minutes', listed_at = listed_at - interval '5 minutes', posted_at = posted_at - interval '5 minutes'",
      )
      return (await prometheus.query('dvt_relayer_node_last_seen_seconds{share_index="1"} > 120')).length > 0
        ? true
        : undefined
    })
    await prometheus.untilFiring('NodeMissing', { share_index: '1' })
  })

  it('raises NodeMissing for a node of which nothing has ever come', async () => {
    await world.query('delete from share_counts where share_index = 4')
    // An administrator has looked at the list, who may be any node.
    await world.query('delete from nodes_seen where share_index = 0')
    await prometheus.untilFiring('NodeMissing', { share_index: '4', cause: 'never' })
  })

  it('raises NotReady when the consensus node is gone', async () => {
    await world.beacon[Symbol.asyncDispose]()
    const { labels } = await prometheus.untilFiring('NotReady', { dependency: 'consensus' })
    expect(labels['severity']).toBe('critical')
  })
})

describe.skipIf(!hasProgram('prometheus'))('a Prometheus of node operators', () => {
  it('raises JournalBroken and NotReady for a sidecar with a broken disk and no relayer', async () => {
    const { lockFile, nodes, expected } = loadFixtureCluster('cluster-3')
    const { config } = readConfig({
      NETWORK: expected.network,
      RELAYER_ENDPOINT: 'http://127.0.0.1:9',
      OBOL_KEYSTORES_DIR: nodes[0]?.keystoresDir ?? '',
      OBOL_CLUSTER_LOCK_FILE: lockFile,
      GENERATION: '4',
      ALLOWED_VAULTS: '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa',
      // No folder can be made there.
      JOURNAL_FILE: '/dev/null/deposits.journal',
      SIDECAR_PORT: '0',
    })
    await using sidecar = await startSidecar(config, { logger: silentLogger })
    await using prometheus = await startPrometheus({ sidecar: [sidecar.url ?? ''] }, impatient(rules))
    await prometheus.untilFiring('JournalBroken')
    await prometheus.untilFiring('NotReady', { check: 'relayer', cause: 'sidecar' })
  })

  it('raises SidecarRefuses when a relayer asks for a deposit to a foreign vault', async () => {
    await using journals = await journalFolder()
    await using relayer = await startStandInRelayer({ generation: 'ours' })
    const config = configOf('cluster-4', 0, relayer.url, {
      ALLOWED_VAULTS: VAULT,
      JOURNAL_FILE: journals.file(),
      SIDECAR_PORT: '0',
    })
    await using sidecar = await startSidecar(config, { logger: silentLogger })
    await using prometheus = await startPrometheus({ sidecar: [sidecar.url ?? ''] }, impatient(rules))
    await eventually('a sidecar that refuses nothing', async () =>
      (await prometheus.query('dvt_sidecar_refusals_total{reason="vault_not_allowed"} == 0')).length > 0
        ? true
        : undefined,
    )
    relayer.addValidator(first(keysOf('cluster-4')), 7, { vault: `0x${'42'.repeat(20)}` })
    await prometheus.untilFiring('SidecarRefuses', { reason: 'vault_not_allowed' })
    // It lasts as long as that is asked for, and no longer.
    relayer.addValidator(first(keysOf('cluster-4')), 7)
    await eventually('a sidecar that refuses nothing any more', async () =>
      (await prometheus.query('dvt_sidecar_refused{reason="vault_not_allowed"} == 0')).length > 0 ? true : undefined,
    )
  })
})
