/** What the tests of registrations share: a vault, its cluster and a relayer with a database of its own, over one world. */

import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { routes } from '@dvt-relayer/api/routes.ts'
import type { RegisterResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import pg from 'pg'
import { expect, onTestFinished } from 'vitest'
import type { Vault } from '../contracts/vault.ts'
import { type ClusterOptions, type MadeCluster, makeCluster } from '../keys/make-cluster.ts'
import type { RegisterRequest } from '../operator/operator.ts'
import { createRelayerDatabase } from '../services/postgres.ts'
import { type KeyedValidator, sidecar2Round } from '../world/nodes.ts'
import type { VaultWorld } from '../world/vault-world.ts'
import { type Answer, ask } from '../world/world.ts'

export const ETH32 = 32_000_000_000
export const NOTHING = '{"validators":[],"validators_manager_signature":null}'

export { publicKeysOf as keysOf } from '../world/nodes.ts'

/** A cluster of 4 with threshold 3, unless other numbers are given. `vault` undefined: its lock names none. */
export async function clusterFor(
  world: VaultWorld,
  vault: Pick<Vault, 'address'> | undefined,
  numbers: Partial<Pick<ClusterOptions, 'validators' | 'nodes' | 'threshold' | 'deposits'>> = {},
): Promise<MadeCluster> {
  const dir = join(world.dir, `cluster-${randomBytes(4).toString('hex')}`)
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return makeCluster({
    dir,
    nodes: 4,
    threshold: 3,
    validators: 3,
    ...numbers,
    network: world.network,
    withdrawalAddress: vault === undefined ? new Uint8Array() : fromHex(vault.address, 20),
    feeRecipient: new Uint8Array(20).fill(1),
  })
}

/** A database, and relayers on it; all end with the test. */
export async function openStage(world: VaultWorld) {
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  const database = stack.use(await createRelayerDatabase())
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => undefined)
  await client.connect()
  stack.defer(() => client.end())
  return {
    databaseUrl: database.url,
    /** Starts a relayer; the test may end it earlier. */
    async startRelayer(more: Environment, overrides: Parameters<VaultWorld['startRelayer']>[1] = {}) {
      return stack.use(await world.startRelayer({ DATABASE_URL: database.url, ...more }, overrides))
    },
    async query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
      return (await client.query<T>(text, values)).rows
    },
    /** Makes everything that was asked for as old as if nobody had asked for a day, or for so many seconds. */
    async age(seconds = 86_400): Promise<void> {
      const back = 'make_interval(secs => $1)'
      await client.query(`update validators set vault_asked_at = vault_asked_at - ${back}`, [seconds])
      await client.query(`update messages set requested_at = requested_at - ${back}`, [seconds])
    },
  }
}
export type Stage = Awaited<ReturnType<typeof openStage>>

/** `POST /register`, whatever comes back. */
export function askRegister(url: string, request: RegisterRequest, headers?: Record<string, string>): Promise<Answer> {
  const { vault, startIndex, amounts, type } = request
  return ask(url, routes.postRegister.path, {
    body: { vault, validators_start_index: startIndex, amounts, validator_type: type },
    ...(headers === undefined ? {} : { headers }),
  })
}

/** The public keys of a good answer. */
export async function registerKeys(
  url: string,
  request: RegisterRequest,
  headers?: Record<string, string>,
): Promise<string[]> {
  const answer = await askRegister(url, request, headers)
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`)
  return (answer.json as RegisterResponse).validators.map(({ public_key }) => public_key)
}

/** One round of each of these nodes' sidecars, every one accepted. */
export async function signAll(
  world: VaultWorld,
  url: string,
  validators: readonly KeyedValidator[],
  shareIndexes: readonly number[] = [1, 2, 4],
  headers: Record<string, string> = {},
): Promise<void> {
  for (const shareIndex of shareIndexes) {
    const answer = await sidecar2Round(url, world.network, validators, shareIndex, { headers })
    expect(answer ?? { status: 200, text: '{}' }).toMatchObject({ status: 200, text: '{}' })
  }
}
