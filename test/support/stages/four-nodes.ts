/** What stages of nodes as processes share: a cluster of four, a database, tokens of each role, and what a sidecar is started with. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import pg from 'pg'
import type { Hex } from 'viem'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Vault } from '../contracts/vault.ts'
import { type MadeCluster, makeCluster } from '../keys/make-cluster.ts'
import { createRelayerDatabase } from '../services/postgres.ts'
import { type AppProcess, startProcess } from '../services/process.ts'
import type { VaultWorld } from '../world/vault-world.ts'

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
export type TokenName = keyof typeof ROLES

/** Another token or cluster than the node's own, and more settings. */
export interface Other {
  token?: TokenName
  cluster?: MadeCluster
  settings?: Environment
}

export interface FourNodes extends AsyncDisposable {
  readonly cluster: MadeCluster
  readonly vault: Vault
  /** The public keys of the cluster. */
  readonly keys: readonly string[]
  readonly tokens: Readonly<Record<TokenName, string>>
  /** Tokens and their hashes. */
  readonly secrets: readonly string[]
  readonly databaseUrl: string
  /** What their relayer is started with. */
  readonly settings: Environment
  query<T extends pg.QueryResultRow = pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]>
  /** What the sidecar of a node is started with, with a token and a journal of its own. */
  nodeSettings(relayerUrl: string, shareIndex: number, other?: Other): Environment
}

/** Starts a sidecar; resolves when it follows the relayer. Its pages are at `url`. */
export async function startNode(
  stack: AsyncDisposableStack,
  settings: Environment,
): Promise<AppProcess & { url: string }> {
  const sidecar = stack.use(startProcess('sidecar', settings))
  const { url } = await sidecar.logged('sidecar started')
  return Object.assign(sidecar, { url: String(url) })
}

/**
 * Makes them.
 *
 * @param manager of the vault, unless it is the relayer's
 */
export async function makeFourNodes(
  world: VaultWorld,
  { name, validators, manager }: { name: string; validators: number; manager?: Hex | undefined },
): Promise<FourNodes> {
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
  const tokens = Object.fromEntries(made.map(({ name: of, token }) => [of, token])) as Record<TokenName, string>
  const file = join(dir, 'tokens')
  await writeFile(file, made.map(({ line }) => line).join('\n'))
  const resources = stack.move()
  return {
    ...{ cluster, vault, tokens, databaseUrl: database.url },
    keys: cluster.validators.map(({ publicKey }) => toHex(publicKey)),
    secrets: made.flatMap(({ token, line }) => [token, line.split(':').at(-1) ?? '']),
    settings: {
      ...{ DATABASE_URL: database.url, CLUSTER_LOCK_FILES: cluster.lockFile, AUTH_TOKENS_FILE: file },
      ...{ VAULTS: vault.address, MANAGER_DAILY_LIMIT_GWEI: '32000000000' },
    },
    async query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      return (await client.query<T>(text, values)).rows
    },
    nodeSettings(relayerUrl, shareIndex, other = {}) {
      const { token = `node-${shareIndex}` as TokenName, cluster: of = cluster, settings } = other
      const node = of.nodes[shareIndex - 1]
      const endpoint = new URL(relayerUrl)
      endpoint.username = token
      endpoint.password = tokens[token]
      return {
        NETWORK: world.networkFile,
        RELAYER_ENDPOINT: endpoint.href,
        POLL_INTERVAL: '1',
        OBOL_KEYSTORES_DIR: node?.keystoresDir ?? '',
        OBOL_CLUSTER_LOCK_FILE: node?.lockFile ?? '',
        CLUSTER_LOCK_HASHES: toHex(of.lock.lockHash),
        CONSENSUS_ENDPOINT: world.beacon.url,
        JOURNAL_FILE: join(dir, `journal-${shareIndex}`, 'deposits.journal'),
        SIDECAR_PORT: '0',
        ...settings,
      }
    },
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}
