/** A real Prometheus, in a folder of its own, that asks what it is told several times a second. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { eventually } from '../world/world.ts'

/** An alert as Prometheus has it. */
export interface Alert {
  labels: Readonly<Record<string, string>>
  annotations: Readonly<Record<string, string>>
  state: 'pending' | 'firing'
}

export interface Prometheus extends AsyncDisposable {
  /** What an expression gives now. @throws where it is not understood */
  query(expression: string): Promise<readonly { metric: Readonly<Record<string, string>> }[]>
  /** The names that the targets have told, with their types. */
  metadata(): Promise<ReadonlyMap<string, string>>
  /** The expressions of the rules it has loaded, by their alerts. */
  rules(): Promise<readonly { alert: string; expression: string }[]>
  /** What is pending or fires. */
  alerts(): Promise<readonly Alert[]>
  /** The first alert of this name and these labels that fires. */
  untilFiring(name: string, labels?: Readonly<Record<string, string>>): Promise<Alert>
  /** Resolves when every target has been asked and has answered. */
  untilAsked(): Promise<void>
}

/** The same rules, without the time that they wait before they fire: who tests what makes them fire has no minutes. */
export const impatient = (rules: string): string => rules.replaceAll(/^( +for: ).*$/gm, '$10s')

/** Starts one. `targets` are base URLs by job; `rules` is the text of a file of rules. */
export async function startPrometheus(
  targets: Readonly<Record<string, readonly string[]>>,
  rules: string,
): Promise<Prometheus> {
  await using stack = new AsyncDisposableStack()
  const dir = mkdtempSync(join(tmpdir(), 'prometheus-'))
  stack.defer(() => rmSync(dir, { recursive: true, force: true }))
  const jobs = Object.entries(targets).map(([job, urls]) => ({
    job_name: job,
    static_configs: [{ targets: urls.map((url) => new URL(url).host) }],
  }))
  // JSON is YAML.
  const config = {
    global: { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' },
    rule_files: ['rules.yml'],
    scrape_configs: jobs,
  }
  writeFileSync(join(dir, 'prometheus.yml'), JSON.stringify(config))
  writeFileSync(join(dir, 'rules.yml'), rules)
  const url = await startProcess(dir, stack)
  await eventually('a Prometheus that is ready', async () => ((await fetch(`${url}/-/ready`)).ok ? true : undefined))
  const get = async (path: string): Promise<unknown> => {
    const answer = (await (await fetch(`${url}/api/v1/${path}`)).json()) as {
      status: string
      error?: string
      data: unknown
    }
    if (answer.status !== 'success') throw new Error(`Prometheus at ${path}: ${answer.error}`)
    return answer.data
  }
  const alerts = async () => ((await get('alerts')) as { alerts: Alert[] }).alerts
  const owned = stack.move()
  return {
    query: async (expression) =>
      ((await get(`query?query=${encodeURIComponent(expression)}`)) as { result: { metric: Record<string, string> }[] })
        .result,
    metadata: async () =>
      new Map(
        Object.entries((await get('metadata')) as Record<string, { type: string }[]>).map(([name, [first]]) => [
          name,
          first?.type ?? '',
        ]),
      ),
    rules: async () =>
      ((await get('rules')) as { groups: { rules: { name: string; query: string }[] }[] }).groups.flatMap((group) =>
        group.rules.map(({ name, query }) => ({ alert: name, expression: query })),
      ),
    alerts,
    untilFiring: (name, labels = {}) =>
      eventually(`the alert ${name}`, async () =>
        (await alerts()).find(
          (alert) =>
            alert.state === 'firing' &&
            Object.entries({ ...labels, alertname: name }).every(([label, value]) => alert.labels[label] === value),
        ),
      ),
    untilAsked: async () => {
      await eventually('an answer of every target', async () => {
        const { activeTargets } = (await get('targets')) as { activeTargets: { health: string }[] }
        return activeTargets.length > 0 && activeTargets.every(({ health }) => health === 'up') ? true : undefined
      })
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Starts the process, on a port that is free; returns its base URL. */
async function startProcess(dir: string, stack: AsyncDisposableStack): Promise<string> {
  const args = ['--config.file=prometheus.yml', '--storage.tsdb.path=data', '--web.listen-address=127.0.0.1:0']
  const child = spawn('prometheus', [...args, '--log.format=json'], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'close')
  stack.defer(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const lines: string[] = []
  return new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line)
        // Of 2.42 and before, the address is told by who listens; later under the same words.
        const { msg = '', address } = parse(line)
        if (/^Listening on/.test(msg) && address !== undefined) resolve(`http://${address}`)
      })
    child.once('error', reject)
    void ended.then(() => reject(new Error(`prometheus ended:\n${lines.slice(-10).join('\n')}`)))
  })
}

function parse(line: string): { msg?: string; address?: string } {
  try {
    return JSON.parse(line) as { msg?: string; address?: string }
  } catch {
    return {}
  }
}
