/**
 * What the tests of broken situations share: the processes of a relayer and of sidecars as a user runs them, a cluster of four, tokens, and
 * a Prometheus that asks them all.
 */

import { readFileSync } from 'node:fs'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import type { Hex } from 'viem'
import { impatient, type Prometheus, startPrometheus } from '../monitoring/prometheus.ts'
import { type AppProcess, startProcess } from '../services/process.ts'
import type { VaultWorld } from '../world/vault-world.ts'
import { type FourNodes, makeFourNodes, type Other, startNode, type TokenName } from './four-nodes.ts'

const RULES = new URL('../../../deploy/prometheus/rules.yml', import.meta.url)
/** The rules without waiting, and with seconds for the minutes in which an oracle set gets stale. */
export const RULES_AT_ONCE = impatient(readFileSync(RULES, 'utf8')).replace(
  /(dvt_relayer_oracle_set_checked_timestamp_seconds\)) > 900/,
  '$1 > 10',
)

export interface SituationStage extends Omit<FourNodes, 'nodeSettings'> {
  /** Where the relayer answers. */
  readonly url: string
  /** That of the relayer, for its commands. */
  readonly environment: Environment
  readonly prometheus: Prometheus
  headers(name: TokenName): Record<string, string>
  /** Kills the process of the relayer with this role. */
  kill(role: string): Promise<void>
  /** The settings of a node's sidecar, with its own token and journal unless another one's are given. */
  nodeSettings(shareIndex: number, other?: Other): Environment
  /** Starts a sidecar with these; resolves when it follows the relayer. */
  startNode(settings: Environment): Promise<AppProcess & { url: string }>
}

interface StageOptions {
  name: string
  roles: readonly string[]
  settings?: Environment
  /** Of the vault, unless it is the relayer's. */
  manager?: Hex
  /** How many validators the cluster has. */
  validators?: number
}

/** Opens a stage: its relayer answers, and its Prometheus has asked it. */
export async function openSituationStage(world: VaultWorld, options: StageOptions): Promise<SituationStage> {
  const { name, roles, settings = {}, manager, validators = 16 } = options
  await using stack = new AsyncDisposableStack()
  const nodes = stack.use(await makeFourNodes(world, { name, validators, manager }))
  const environment = world.environment({ ...nodes.settings, LOG_LEVEL: 'warn', ...settings })
  const relayers = new Map(
    roles.map((role) => [
      role,
      stack.use(startProcess('quick relayer', { ...environment, LOG_LEVEL: 'info', ROLE: role, METRICS_PORT: '0' })),
    ]),
  )
  const started = await Promise.all([...relayers.values()].map((relayer) => relayer.logged('relayer started')))
  const targets = { relayer: started.map((line) => String(line['metrics_url'])) }
  const prometheus = stack.use(await startPrometheus(targets, RULES_AT_ONCE))
  await prometheus.untilAsked()
  const url = String(started[0]?.['url'])
  const resources = stack.move()
  return {
    ...nodes,
    ...{ url, environment, prometheus },
    headers: (token) => ({ authorization: `Bearer ${nodes.tokens[token]}` }),
    async kill(role) {
      await relayers.get(role)?.end('SIGKILL')
    },
    nodeSettings: (shareIndex, other) => nodes.nodeSettings(url, shareIndex, other),
    startNode: (node) => startNode(resources, node),
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}
