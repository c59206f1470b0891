/** What a relayer stands on: each piece is opened in order, and its release is remembered at once. */

import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import type { Lifetime } from '@dvt-relayer/common/process/lifetime.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { findEmbeddedPostgres, startEmbeddedPostgres } from '@dvt-relayer/db/embedded/embedded-postgres.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { connectQueue, type JobQueue } from '@dvt-relayer/queue/queue.ts'
import { type Chain, createChain } from './chain.ts'
import type { RelayerConfig } from './config.ts'
import { type Context, PATIENCE_MS } from './context.ts'
import { type CryptoPool, startCryptoPool } from './crypto-workers/pool.ts'
import type { Events } from './events.ts'
import { assertDatabaseNetwork } from './services/database-network.ts'
import { takePlace } from './services/database-place.ts'
import { openWallet } from './services/registrations/manager.ts'
import { openSealing } from './services/sealing/sealing.ts'
import { createSidecarLists, type SidecarLists } from './services/signatures/sidecar-lists.ts'

/** The folder of the SQL that makes the tables. */
export const MIGRATIONS = new URL('../../../migrations', import.meta.url).pathname

/**
 * The ten connections to the database, by account: groups go first in this order. What the process does by itself needs five at most;
 * operators find some whatever sidecars and oracles do, and strangers, whose signatures are compared with known oracles, have one.
 * Sidecars, oracles and strangers together hold seven at most, which leaves three.
 */
const CONNECTION_SHARES = {
  own: { ofOne: 10, ofAll: 10 },
  operator: { ofOne: 3, ofAll: 4 },
  oracle: { ofOne: 1, ofAll: 2 },
  sidecar: { ofOne: 2, ofAll: 4 },
  stranger: { ofOne: 1, ofAll: 1 },
} as const

/**
 * Opens the database: the given one, or the embedded one, migrated, and of our network. To read alone, it is taken as it is and refuses
 * every write; the embedded one is read while a relayer runs it.
 */
export async function openDatabase(
  config: RelayerConfig,
  logger: Logger,
  lifetime: Lifetime,
  access: 'write' | 'read' = 'write',
  signal: AbortSignal = new AbortController().signal,
): Promise<{ db: Database; url: string }> {
  const { databaseUrl, dataDir } = config.storage
  const readOnly = access === 'read'
  const running = readOnly ? findEmbeddedPostgres(dataDir) : undefined
  const url =
    databaseUrl ?? running ?? lifetime.use('embedded postgresql', await startEmbeddedPostgres({ dataDir, logger })).url
  signal.throwIfAborted()
  const db = lifetime.use(
    'database',
    await connectDatabase({ url, logger, shares: CONNECTION_SHARES, readOnly, signal }),
  )
  if (access === 'write') await migrateDatabase(db, MIGRATIONS)
  await assertDatabaseNetwork(db, config.network, access)
  return { db, url }
}

/** What services may ask for, with what only the composition needs of it. */
export interface Opened {
  context: Context & { queue: JobQueue; chain: Chain }
  /** Undefined where no requests come. */
  lists: SidecarLists | undefined
  databaseUrl: string
}

/** Opens database, queue, threads of signature work, chain, sealing and wallet. */
export async function openContext(
  config: RelayerConfig,
  events: Events,
  logger: Logger,
  lifetime: Lifetime,
  overrides: { threads?: number; crypto?: CryptoPool; patienceMs?: number; signal: AbortSignal },
): Promise<Opened> {
  const { signal, patienceMs = PATIENCE_MS } = overrides
  const { db, url: databaseUrl } = await openDatabase(config, logger, lifetime, 'write', signal)
  await takePlace(db, logger)
  signal.throwIfAborted()
  const { redisUrl } = config.storage
  const queue = lifetime.use('queue', await connectQueue({ redisUrl, databaseUrl, logger }))
  const crypto = overrides.crypto ?? lifetime.use('signature workers', startCryptoPool(overrides.threads))
  const chain = createChain(config, crypto, events, logger, patienceMs)
  const sealing = await openSealing(config, db, logger)
  const wallet = await openWallet(config)
  if (wallet !== undefined && config.vaults === undefined)
    logger.warn('VAULTS is not set: the validators-manager key signs for any vault that names it')
  const lists = config.role === 'worker' ? undefined : createSidecarLists({ db })
  const announced = lists?.changedHere ?? (() => {})
  const context = { config, db, queue, chain, crypto, sealing, wallet, events, announced, patienceMs, logger }
  return { context, lists, databaseUrl }
}
