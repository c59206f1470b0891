/** Relayer and sidecars, started as a user starts them: a process and environment variables, nothing else. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { MadeCluster, MadeNode } from '../../support/keys/make-cluster.ts'
import { writeOracleFiles } from '../actors/oracle-files.ts'
import { DemoError } from '../errors.ts'
import type { Home } from '../home.ts'
import { findFreePorts } from '../ports.ts'
import type { Child, Children } from '../processes.ts'
import { getJson, waitFor } from '../wait.ts'
import { type Generation, NODES, type Registered } from './scene.ts'

/** Whether a log file is of a program that must keep secrets; the liar's is not. */
export const isSearched = (logFile: string): boolean => /^(relayer|sidecar)/.test(logFile)

export interface Stage {
  readonly relayerUrl: string
  /** Starts the relayer, or starts it again on the same data folder; returns when it is ready. */
  startRelayer(): Promise<void>
  /** SIGKILL. */
  killRelayer(): Promise<void>
  /** Starts the sidecar of a node (from 1); returns when it is ready. */
  startSidecar(node: number): Promise<void>
  sidecarOf(node: number): Child
  /** A process that posts wrong signatures in the name of a node. */
  startLiar(node: number): Child
  /** Ends everything as a user would, and expects exit code 0 of each. */
  stopAll(): Promise<void>
  /** What to try while it runs. `spare` are keys that nobody has asked for yet. */
  hints(spare: readonly string[], registered: readonly Registered[]): string[]
}

/** Where the relayer wants to know who calls: what it is told, the token of who asks whether it is ready, and what a sidecar is told. */
export interface Access {
  settings(relayerUrl: string): Readonly<Record<string, string>>
  readonly admin: string
  sidecar(node: MadeNode): Readonly<Record<string, string>>
}

/** Prepares the stage; nothing is started yet. */
export async function createStage(options: {
  home: Home
  cluster: MadeCluster
  generation: Generation
  children: Children
  signal: AbortSignal
  access?: Access
}): Promise<Stage> {
  const { home, cluster, generation, children, signal, access } = options
  const { settings } = generation.chain
  const [relayerPort = 0, ...sidecarPorts] = await findFreePorts(1 + NODES)
  const relayerUrl = `http://127.0.0.1:${relayerPort}`
  const sidecarUrl = (node: number) => `http://127.0.0.1:${sidecarPorts[node - 1]}`
  const running = new Map<string, Child>()

  const start = (name: string, file: string, env: Record<string, string>): Child => {
    const child = children.start(name, { file, env })
    running.set(name, child)
    return child
  }
  const get = (name: string): Child => {
    const child = running.get(name)
    if (child === undefined) throw new DemoError(`${name} does not run`)
    return child
  }
  const shown: Record<string, string> = access === undefined ? {} : { authorization: `Bearer ${access.admin}` }
  const isReady = (child: Child, url: string) =>
    waitFor(`${child.name} is ready`, () => getJson(`${url}/ready`, signal, shown), { signal, logFile: child.logFile })

  const oracleHints = (registered: Registered | undefined): string[] => {
    const [oracle] = generation.chain.oracles
    if (oracle === undefined || registered === undefined) return []
    const files = writeOracleFiles(home.oracles, generation.chain)
    const set = `curl -s ${relayerUrl}/validators/${registered.publicKey}/oracle-shares`
    const verify = `npm run -s verify -- verify-share --network ${settings.sidecar['NETWORK']}`
    return [
      `  curl -s '${relayerUrl}/oracles/${toHex(oracle.publicKey)}/exit-shares?limit=1'`,
      `  ${set}`,
      `  ${set} | ${verify} --config ${files.config} --share - --key-file ${files.firstKey}`,
    ]
  }

  return {
    relayerUrl,
    async startRelayer() {
      const child = start('relayer', 'apps/relayer/src/main.ts', {
        ...settings.relayer,
        RELAYER_PORT: String(relayerPort),
        CLUSTER_LOCK_FILES: cluster.lockFile,
        DATA_DIR: home.data,
        LOG_LEVEL: 'debug',
        ...access?.settings(relayerUrl),
      })
      await isReady(child, relayerUrl)
    },
    async killRelayer() {
      await get('relayer').kill()
      running.delete('relayer')
    },
    async startSidecar(node) {
      const files = cluster.nodes[node - 1]
      if (files === undefined || !existsSync(files.lockFile)) throw new DemoError(`node ${node} has no files`)
      const child = start(`sidecar ${node}`, 'apps/sidecar/src/main.ts', {
        ...settings.sidecar,
        RELAYER_ENDPOINT: relayerUrl,
        CLUSTER_TYPE: 'OBOL',
        OBOL_KEYSTORES_DIR: files.keystoresDir,
        OBOL_CLUSTER_LOCK_FILE: files.lockFile,
        JOURNAL_FILE: join(files.dir, 'deposits.journal'),
        SIDECAR_PORT: String(sidecarPorts[node - 1]),
        LOG_LEVEL: 'debug',
        ...access?.sidecar(files),
      })
      await isReady(child, sidecarUrl(node))
    },
    sidecarOf: (node) => get(`sidecar ${node}`),
    startLiar: (node) =>
      start('liar', 'test/demo/actors/hostile-sidecar.ts', {
        ...settings.sidecar,
        RELAYER_ENDPOINT: relayerUrl,
        GENERATION: String(generation.number),
        SHARE_INDEX: String(node),
      }),
    async stopAll() {
      const relayer = running.get('relayer')
      await Promise.all([...running.values()].filter((child) => child !== relayer).map((child) => child.stop()))
      await relayer?.stop()
      running.clear()
    },
    hints: (spare, registered) => [
      '',
      'Everything goes on running until Ctrl-C.',
      `How it stands, in a browser: ${relayerUrl}/status (one node of the demo lies: that is what is red).`,
      'Things to try:',
      ...['info', 'exits', 'vaults', 'ready', 'metrics', 'openapi.json'].map(
        (path) => `  curl -s ${relayerUrl}/${path}`,
      ),
      `  curl -s '${relayerUrl}/exits?wait=30&after=N'   # N: the revision in the answer before; waits for a change`,
      ...generation.hints(spare, registered).map(({ path, body, remark }) => {
        const post = body === undefined ? '' : ` -H 'content-type: application/json' -d '${JSON.stringify(body)}'`
        return `  curl -s ${relayerUrl}/${path}${post}${remark === undefined ? '' : `   # ${remark}`}`
      }),
      ...oracleHints(registered[0]),
      ...cluster.nodes.map(
        (_, position) => `  curl -s ${sidecarUrl(position + 1)}/ready   # sidecar of node ${position + 1}`,
      ),
      `Logs: ${home.logs}   Key material: ${home.cluster}, ${home.oracles}`,
    ],
  }
}
