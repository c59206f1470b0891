/** The processes of a registration from end to end: a relayer with its own PostgreSQL, sidecars, and a hostile node. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { findFreePorts } from '../../demo/ports.ts'
import { killProcessesOf } from '../../demo/processes.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'
import type { FixtureCluster } from '../keys/fixtures.ts'
import { programFile } from '../runner/programs.ts'
import { type AppProcess, startProcess } from '../services/process.ts'
import type { VaultWorld } from './vault-world.ts'

const HOSTILE_NODE = 'test/support/services/hostile-node.ts'

export interface RegistrationProcesses extends AsyncDisposable {
  /** The relayer's, at every start the same. */
  readonly url: string
  /** Where the relayer keeps its PostgreSQL and its sealing key. */
  readonly dataDir: string
  /** Starts the relayer, or starts it again on what it left; resolves when it answers. `settings` are added to its environment. */
  startRelayer(settings?: Record<string, string>): Promise<void>
  /** Starts the sidecar of a share index, or starts it again with its journal; resolves when its keys are open. Returns the URL of its pages. */
  startSidecar(shareIndex: number): Promise<string>
  /** Starts a process that has a node's keys and lies. */
  startHostileNode(shareIndex: number): void
  /** SIGKILL to the relayer or to the sidecar of a share index. */
  kill(who: 'relayer' | number): Promise<void>
  /** Asks all to end as a user would. Returns how each that was running ended: an exit code or a signal. */
  stop(): Promise<Record<string, unknown>>
  /** What relayer, sidecars and PostgreSQL printed, by name and number of the start. */
  logs(): Map<string, string>
  /** What the hostile node made up, one signature a line. */
  hostileLog(): string
}

/** Prepares them in the world's folder; nothing is started yet. Disposed before the world. `program` is how the relayer is started. */
export async function prepareProcesses(
  world: VaultWorld,
  cluster: FixtureCluster,
  vault: string,
  program: 'relayer' | 'quick relayer' = 'relayer',
): Promise<RegistrationProcesses> {
  const dir = join(world.dir, 'run')
  const dataDir = join(dir, 'relayer')
  const [port = 0] = await findFreePorts(1)
  const url = `http://127.0.0.1:${port}`
  const { lock_hash: lockHash } = JSON.parse(readFileSync(cluster.lockFile, 'utf8')) as { lock_hash: string }
  const running = new Map<string, AppProcess>()
  const all: { name: string; process: AppProcess }[] = []
  let hostile: { child: ChildProcess; ended: Promise<unknown> } | undefined
  let hostileLog = ''
  let isOver = false
  const killAll = () => {
    hostile?.child.kill('SIGKILL')
    for (const { child } of running.values()) child.kill('SIGKILL')
    // A PostgreSQL whose relayer was killed goes on without it.
    killProcessesOf(dir)
  }
  // Nothing of ours may outlive us, even when no dispose runs.
  process.once('exit', killAll)

  async function start(app: 'relayer' | 'sidecar', name: string, environment: Record<string, string>) {
    if (isOver) throw new Error('the test is over: nothing is started any more')
    const started = startProcess(app === 'relayer' ? program : app, { LOG_LEVEL: 'debug', ...environment })
    running.set(name, started)
    all.push({ name: `${name}.${all.length}`, process: started })
    return withTimeout(started.logged(`${app} started`), PATIENCE_MS)
  }
  const nameOf = (who: 'relayer' | number) => (who === 'relayer' ? who : `sidecar ${who}`)

  return {
    url,
    dataDir,
    async startRelayer(settings = {}) {
      await start('relayer', 'relayer', {
        ...(world.environment() as Record<string, string>),
        RELAYER_PORT: String(port),
        // A PostgreSQL of its own, and a sealing key that it makes.
        DATABASE_URL: '',
        SEALING_KEY: '',
        DATA_DIR: dataDir,
        CLUSTER_LOCK_FILES: cluster.lockFile,
        CLUSTER_LOCK_HASHES: lockHash,
        VAULTS: vault,
        ...settings,
      })
    },
    async startSidecar(shareIndex) {
      const node = cluster.nodes[shareIndex - 1]
      const line = await start('sidecar', nameOf(shareIndex), {
        NETWORK: world.networkFile,
        RELAYER_ENDPOINT: url,
        POLL_INTERVAL: '1',
        OBOL_KEYSTORES_DIR: node?.keystoresDir ?? '',
        OBOL_CLUSTER_LOCK_FILE: node?.lockFile ?? '',
        CLUSTER_LOCK_HASHES: lockHash,
        CONSENSUS_ENDPOINT: world.beacon.url,
        JOURNAL_FILE: join(dir, `sidecar-${shareIndex}`, 'deposits.journal'),
        SIDECAR_PORT: '0',
      })
      return String(line['url'])
    },
    startHostileNode(shareIndex) {
      const child = spawn(process.execPath, [programFile(HOSTILE_NODE)], {
        env: {
          PATH: process.env['PATH'],
          NETWORK: world.networkFile,
          RELAYER_ENDPOINT: url,
          CLUSTER: cluster.name,
          SHARE_INDEX: String(shareIndex),
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      child.stdout.on('data', (chunk: Buffer) => {
        hostileLog += chunk.toString()
      })
      hostile = { child, ended: once(child, 'close') }
    },
    async kill(who) {
      await running.get(nameOf(who))?.end('SIGKILL')
      running.delete(nameOf(who))
    },
    async stop() {
      hostile?.child.kill('SIGTERM')
      await hostile?.ended
      const ends: Record<string, unknown> = {}
      // Sidecars first, so that none finds its relayer away.
      for (const [name, one] of [...running].sort(([a], [b]) => b.localeCompare(a)))
        ends[name] = await withTimeout(one.end('SIGTERM'), PATIENCE_MS)
      running.clear()
      return ends
    },
    logs() {
      const postgres = join(dataDir, 'postgres')
      const theirs = (existsSync(postgres) ? readdirSync(postgres) : []).filter((name) => /^log(\.\d)?$/.test(name))
      return new Map([
        ...all.map(({ name, process }): [string, string] => [name, process.output()]),
        ...theirs.map((name): [string, string] => [`postgres ${name}`, readFileSync(join(postgres, name), 'utf8')]),
      ])
    },
    hostileLog: () => hostileLog,
    async [Symbol.asyncDispose]() {
      isOver = true
      process.off('exit', killAll)
      await Promise.all([...running.values()].map((one) => one[Symbol.asyncDispose]()))
      killAll()
    },
  }
}
