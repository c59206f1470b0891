/**
 * What the tests of broken situations share: the processes of a relayer and of sidecars as a user runs them, a cluster of four, tokens, and
 * a Prometheus that asks them all.
 */

import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import pg from 'pg'
import type { Hex } from 'viem'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Vault } from '../contracts/vault.ts'
import { type MadeCluster, makeCluster } from '../keys/make-cluster.ts'
import { impatient, type Prometheus, startPrometheus } from '../monitoring/prometheus.ts'
import { createRelayerDatabase } from '../services/postgres.ts'
import { type AppProcess, startProcess } from '../services/process.ts'
import type { VaultWorld } from '../world/vault-world.ts'

const RULES = new URL('../../../deploy/prometheus/rules.yml', import.meta.url)
/** The rules without waiting, and with seconds for the minutes in which an oracle set gets stale. */
export const RULES_AT_ONCE = impatient(readFileSync(RULES, 'utf8')).replace(
  /(dvt_relayer_oracle_set_checked_timestamp_seconds\)) > 900/,
  '$1 > 10',
)

const ROLES = {
  admin: ['admin', () => '*'],
  owner: ['operator', (vault: string) => vault],
  'node-1': ['sidecar', () => '1'],
  'node-2': ['sidecar', () => '2'],
  'node-3': ['sidecar', () => '3'],
  'node-4': ['sidecar', () => '4'],
} as const
export type TokenName = keyof typeof ROLES

export interface SituationStage extends AsyncDisposable {
  /** Where the relayer answers. */
  readonly url: string
  readonly cluster: MadeCluster
  readonly vault: Vault
  /** The public keys of the cluster. */
  readonly keys: readonly string[]
  /** That of the relayer, for its commands. */
  readonly environment: Environment
  readonly prometheus: Prometheus
  headers(name: TokenName): Record<string, string>
  /** Kills the process of the relayer with this role. */
  kill(role: string): Promise<void>
  /** The settings of a node's sidecar, with its own token and journal unless another one's are given. */
  nodeSettings(
    shareIndex: number,
    other?: { token?: TokenName; cluster?: MadeCluster; settings?: Environment },
  ): Environment
  /** Starts a sidecar with these; resolves when it follows the relayer. Its pages are at `url`. */
  startNode(settings: Environment): Promise<AppProcess & { url: string }>
  query<T extends pg.QueryResultRow = pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]>
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
  const database = stack.use(await createRelayerDatabase())
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => undefined)
  await client.connect()
  stack.defer(() => client.end())
  const vault = await world.deployVault(manager === undefined ? {} : { manager })
  const dir = join(world.dir, name)
  const cluster = await makeCluster({
    ...{ dir, nodes: 4, threshold: 3, validators, network: world.network, name: 'Blue cluster' },
    withdrawalAddress: fromHex(vault.address, 20),
    feeRecipient: new Uint8Array(20).fill(1),
  })
  const made = Object.entries(ROLES).map(([token, [role, bindingOf]]) => ({
    name: token as TokenName,
    ...createToken(token, role, bindingOf(vault.address)),
  }))
  const tokens = Object.fromEntries(made.map(({ name: token, token: text }) => [token, text])) as Record<
    TokenName,
    string
  >
  const file = join(dir, 'tokens')
  await writeFile(file, made.map(({ line }) => line).join('\n'))
  const environment = world.environment({
    ...{ DATABASE_URL: database.url, CLUSTER_LOCK_FILES: cluster.lockFile, AUTH_TOKENS_FILE: file },
    ...{ VAULTS: vault.address, MANAGER_DAILY_LIMIT_GWEI: '32000000000', LOG_LEVEL: 'warn' },
    ...settings,
  })
  const relayers = new Map(
    roles.map((role) => [
      role,
      stack.use(startProcess('quick relayer', { ...environment, LOG_LEVEL: 'info', ROLE: role, METRICS_PORT: '0' })),
    ]),
  )
  const started = await Promise.all([...relayers.values()].map((relayer) => relayer.logged('relayer started')))
  const url = String(started[0]?.['url'])
  const targets = { relayer: started.map((line) => String(line['metrics_url'])) }
  const prometheus = stack.use(await startPrometheus(targets, RULES_AT_ONCE))
  await prometheus.untilAsked()
  const resources = stack.move()
  return {
    ...{ url, cluster, vault, environment, prometheus },
    keys: cluster.validators.map(({ publicKey }) => toHex(publicKey)),
    headers: (token) => ({ authorization: `Bearer ${tokens[token]}` }),
    async kill(role) {
      await relayers.get(role)?.end('SIGKILL')
    },
    nodeSettings(
      shareIndex,
      { token = `node-${shareIndex}` as TokenName, cluster: other = cluster, settings: more } = {},
    ) {
      const node = other.nodes[shareIndex - 1]
      const endpoint = new URL(url)
      endpoint.username = token
      endpoint.password = tokens[token]
      return {
        NETWORK: world.networkFile,
        RELAYER_ENDPOINT: endpoint.href,
        POLL_INTERVAL: '1',
        OBOL_KEYSTORES_DIR: node?.keystoresDir ?? '',
        OBOL_CLUSTER_LOCK_FILE: node?.lockFile ?? '',
        CLUSTER_LOCK_HASHES: toHex(other.lock.lockHash),
        CONSENSUS_ENDPOINT: world.beacon.url,
        JOURNAL_FILE: join(dir, `journal-${shareIndex}`, 'deposits.journal'),
        SIDECAR_PORT: '0',
        ...more,
      }
    },
    async startNode(node) {
      const sidecar = resources.use(startProcess('sidecar', node))
      const line = await sidecar.logged('sidecar started')
      return Object.assign(sidecar, { url: String(line['url']) })
    },
    async query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      return (await client.query<T>(text, values)).rows
    },
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}
