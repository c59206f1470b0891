/** What the tests of the status page share: a relayer with a cluster of four, tokens of each role, and real sidecars beside it. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import pg from 'pg'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Vault } from '../contracts/vault.ts'
import { type MadeCluster, makeCluster } from '../keys/make-cluster.ts'
import { createRelayerDatabase } from '../services/postgres.ts'
import { type AppProcess, startProcess } from '../services/process.ts'
import { type PostgresProxy, startPostgresProxy } from '../stores/postgres-proxy.ts'
import type { VaultWorld } from '../world/vault-world.ts'

/** A stage; everything on it ends with it. */
export interface StatusStage extends AsyncDisposable {
  url: string
  cluster: MadeCluster
  vault: Vault
  keys: readonly string[]
  environment: Environment
  tokens: Readonly<Record<TokenName, string>>
  /** What must stand in no answer. */
  secrets: readonly string[]
  /** Stands between the relayer and its database. */
  proxy: PostgresProxy
  query<T extends pg.QueryResultRow = pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]>
  /** Has the relayer count anew at once what a test has written past it. */
  announce(): Promise<unknown>
  /** Starts the sidecar of a node as a process of its own, with its token; resolves when it follows the relayer. */
  startNode(shareIndex: number): Promise<AppProcess>
}
const ROLES = {
  admin: ['admin', () => '*'],
  owner: ['operator', (vault: string) => vault],
  stranger: ['operator', () => '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'],
  oracle: ['oracle', () => '*'],
  'node-1': ['sidecar', () => '1'],
  'node-2': ['sidecar', () => '2'],
  'node-3': ['sidecar', () => '3'],
  'node-4': ['sidecar', () => '4'],
} as const
type TokenName = keyof typeof ROLES

/** Opens a stage. */
export async function openStatusStage(
  world: VaultWorld,
  { validators = 3 }: { validators?: number } = {},
): Promise<StatusStage> {
  await using stack = new AsyncDisposableStack()
  const database = stack.use(await createRelayerDatabase())
  const proxy = stack.use(await startPostgresProxy(database.url))
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => undefined)
  await client.connect()
  stack.defer(() => client.end())
  const vault = await world.deployVault()
  const dir = join(world.dir, `status-${database.url.split('_').at(-1)}`)
  const cluster = await makeCluster({
    ...{ dir, nodes: 4, threshold: 3, validators, network: world.network, name: 'Blue cluster' },
    withdrawalAddress: fromHex(vault.address, 20),
    ...{ feeRecipient: new Uint8Array(20).fill(1) },
  })
  const made = Object.entries(ROLES).map(([name, [role, bindingOf]]) => ({
    name: name as TokenName,
    ...createToken(name, role, bindingOf(vault.address)),
  }))
  const tokens = Object.fromEntries(made.map(({ name, token }) => [name, token])) as Record<TokenName, string>
  const file = join(dir, 'tokens')
  await writeFile(file, made.map(({ line }) => line).join('\n'))
  const environment = {
    ...{ DATABASE_URL: proxy.url, CLUSTER_LOCK_FILES: cluster.lockFile, AUTH_TOKENS_FILE: file },
    ...{ VAULTS: vault.address, MANAGER_DAILY_LIMIT_GWEI: '32000000000' },
  }
  const { url } = stack.use(await world.startRelayer(environment))
  const sealingKey = String(world.environment()['SEALING_KEY'])
  const password = new URL(database.url).password
  const resources = stack.move()
  return {
    ...{ url, cluster, vault, environment, tokens, proxy },
    keys: cluster.validators.map(({ publicKey }) => toHex(publicKey)),
    secrets: [
      ...Object.values(tokens),
      ...made.map(({ line }) => line.split(':').at(-1) ?? ''),
      sealingKey,
      password,
    ].filter((secret) => secret.length > 4),
    async query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      return (await client.query<T>(text, values)).rows
    },
    announce: () =>
      client.query(
        `update messages set revision = nextval('message_revision') where id = (select max(id) from messages)`,
      ),
    async startNode(shareIndex) {
      const token = `node-${shareIndex}` as TokenName
      const node = cluster.nodes[shareIndex - 1]
      const endpoint = new URL(url)
      endpoint.username = token
      endpoint.password = tokens[token]
      const sidecar = resources.use(
        startProcess('sidecar', {
          NETWORK: world.networkFile,
          RELAYER_ENDPOINT: endpoint.href,
          POLL_INTERVAL: '1',
          OBOL_KEYSTORES_DIR: node?.keystoresDir ?? '',
          OBOL_CLUSTER_LOCK_FILE: node?.lockFile ?? '',
          CLUSTER_LOCK_HASHES: toHex(cluster.lock.lockHash),
          CONSENSUS_ENDPOINT: world.beacon.url,
          JOURNAL_FILE: join(dir, `journal-${shareIndex}`, 'deposits.journal'),
          SIDECAR_PORT: '0',
        }),
      )
      await sidecar.logged('sidecar started')
      return sidecar
    },
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}
