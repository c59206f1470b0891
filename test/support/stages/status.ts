/** What the tests of the status page share: a relayer with a cluster of four, tokens of each role, and real sidecars beside it. */

import type { Environment } from '@dvt-relayer/common/settings.ts'
import type { AppProcess } from '../services/process.ts'
import { type PostgresProxy, startPostgresProxy } from '../stores/postgres-proxy.ts'
import type { VaultWorld } from '../world/vault-world.ts'
import { type FourNodes, makeFourNodes, startNode } from './four-nodes.ts'

/** A stage; everything on it ends with it. */
export interface StatusStage
  extends Pick<FourNodes, 'cluster' | 'vault' | 'keys' | 'tokens' | 'query'>,
    AsyncDisposable {
  url: string
  environment: Environment
  /** What must stand in no answer. */
  secrets: readonly string[]
  /** Stands between the relayer and its database. */
  proxy: PostgresProxy
  /** Has the relayer count anew at once what a test has written past it. */
  announce(): Promise<unknown>
  /** Starts the sidecar of a node as a process of its own, with its token; resolves when it follows the relayer. */
  startNode(shareIndex: number): Promise<AppProcess>
}

/** How many there are, for names. */
let opened = 0

/** Opens a stage. */
export async function openStatusStage(
  world: VaultWorld,
  { validators = 3 }: { validators?: number } = {},
): Promise<StatusStage> {
  await using stack = new AsyncDisposableStack()
  opened += 1
  const nodes = stack.use(await makeFourNodes(world, { name: `status-${opened}`, validators }))
  const proxy = stack.use(await startPostgresProxy(nodes.databaseUrl))
  const environment = { ...nodes.settings, DATABASE_URL: proxy.url }
  const { url } = stack.use(await world.startRelayer(environment))
  const sealingKey = String(world.environment()['SEALING_KEY'])
  const { password } = new URL(nodes.databaseUrl)
  const resources = stack.move()
  return {
    ...nodes,
    ...{ url, environment, proxy },
    secrets: [...nodes.secrets, sealingKey, password].filter((secret) => secret.length > 4),
    announce: () =>
      nodes.query(
        `update messages set revision = nextval('message_revision') where id = (select max(id) from messages)`,
      ),
    startNode: (shareIndex) => startNode(resources, nodes.nodeSettings(url, shareIndex)),
    [Symbol.asyncDispose]: () => resources[Symbol.asyncDispose](),
  }
}
