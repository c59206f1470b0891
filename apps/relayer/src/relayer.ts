/** The composition root: acquires everything in order, pushes each release at once, and hands out one async disposable. */

import type { AddressInfo } from 'node:net'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { prepareSigning } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { Lifetime } from '@dvt-relayer/common/lifetime.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import { createLogger } from '@dvt-relayer/common/logger.ts'
import { startLoop } from '@dvt-relayer/common/loop.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { connectDatabase, createListener } from '@dvt-relayer/db/connect.ts'
import { startEmbeddedPostgres } from '@dvt-relayer/db/embedded/embedded-postgres.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { MESSAGES_CHANNEL } from '@dvt-relayer/db/queries/messages/announce.ts'
import { ORACLE_SETS_CHANNEL } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { connectQueue } from '@dvt-relayer/queue/queue.ts'
import type { Chain } from './chain.ts'
import { createChain } from './chain.ts'
import type { RelayerConfig } from './config.ts'
import type { Context } from './context.ts'
import { type CryptoPool, startCryptoPool } from './crypto-workers/pool.ts'
import { createEvents } from './events.ts'
import type { App } from './http/app.ts'
import { createApp } from './http/app.ts'
import { createAuth, readTokens } from './http/auth.ts'
import { startWorker } from './jobs/worker.ts'
import { createRegistered } from './services/beacon-status/registered.ts'
import type { Vaults } from './services/beacon-status/vaults.ts'
import { createVaults } from './services/beacon-status/vaults.ts'
import { importKeyList } from './services/clusters/key-list.ts'
import { createClusters } from './services/clusters/locks.ts'
import { createSsvFileImport } from './services/clusters/ssv-clusters.ts'
import { createSsvFollower, type SsvFollower } from './services/clusters/ssv-follow.ts'
import type { Registry } from './services/deposit-registry/deposit-registry.ts'
import { createRegistry } from './services/deposit-registry/deposit-registry.ts'
import { createExits } from './services/exits/exits.ts'
import type { OwnerCopies } from './services/exits/owner-copies.ts'
import { createOwnerCopies } from './services/exits/owner-copies.ts'
import { createRetention } from './services/exits/retention.ts'
import type { Health } from './services/health.ts'
import { createHealth } from './services/health.ts'
import { createOracleFetch } from './services/oracles/fetch.ts'
import { createOracleSets } from './services/oracles/sets.ts'
import { createOracleShares } from './services/oracles/shares.ts'
import { createManager, openWallet } from './services/registrations/manager.ts'
import { createRegistrations } from './services/registrations/registrations.ts'
import { createVaultActions } from './services/registrations/vault-actions.ts'
import { createRotation, type Rotation } from './services/rotation/rotation.ts'
import { openRotationWallet } from './services/rotation/transaction.ts'
import { openSealing } from './services/sealing/sealing.ts'
import { createSidecarLists } from './services/signatures/sidecar-lists.ts'
import { createSignatures } from './services/signatures/signatures.ts'
import { createSweep } from './services/signatures/sweep.ts'

const MIGRATIONS = new URL('../../../migrations', import.meta.url).pathname
/** How old the numbers of vaults in the metrics get. */
const VAULTS_MS = 60_000
/** Between two rounds of each background work. */
const INTERVALS_MS = {
  sweep: 3000,
  checks: 3000,
  /** Looking through all exits takes the database most of a second where there are 100,000. */
  retention: 30_000,
  oracleSet: 12_000,
  registry: 12_000,
  ssv: 12_000,
  rotation: 12_000,
}

/** A running relayer. */
export interface Relayer extends AsyncDisposable {
  /** Base URL it listens on. A worker answers only what people and machines around it ask (health, readiness, metrics). */
  readonly url: string
  /** The application, for tests that inject. */
  readonly app: App
}

/** What tests put in place of the real thing. */
export interface Overrides {
  logger?: Logger
  /** Threads of signature work. */
  threads?: number
  /** Signature workers that outlive the relayer, instead of its own. */
  crypto?: CryptoPool
  /** Milliseconds between two rounds of background work, by its name; `registered` comes every slot otherwise. */
  intervalsMs?: Partial<typeof INTERVALS_MS & { registered: number }>
}

/** Opens the database: the given one, or the embedded one, migrated. To read alone, it is taken as it is and refuses every write. */
export async function openDatabase(
  config: RelayerConfig,
  logger: Logger,
  lifetime: Lifetime,
  access: 'write' | 'read' = 'write',
): Promise<{ db: Database; url: string }> {
  const { databaseUrl, dataDir } = config.storage
  const url = databaseUrl ?? lifetime.use('embedded postgresql', await startEmbeddedPostgres({ dataDir, logger })).url
  const options = access === 'read' ? { readOnly: true } : {}
  const db = lifetime.use('database', await connectDatabase({ url, logger, ...options }))
  if (access === 'write') await migrateDatabase(db, MIGRATIONS)
  return { db, url }
}

/**
 * Starts a relayer.
 *
 * @throws {BootError} a wrong setting, key, lock or chain: a restart would not help
 * @throws {DatabaseError} DATABASE_UNREACHABLE: a restart may help
 */
export async function startRelayer(config: RelayerConfig, overrides: Overrides = {}): Promise<Relayer> {
  const logger = overrides.logger ?? createLogger(config.log)
  const lifetime = new Lifetime(logger)
  try {
    return await compose(config, overrides, logger, lifetime)
  } catch (error) {
    await lifetime[Symbol.asyncDispose]()
    throw error
  }
}

async function compose(
  config: RelayerConfig,
  overrides: Overrides,
  logger: Logger,
  lifetime: Lifetime,
): Promise<Relayer> {
  const stopping = new AbortController()
  const intervalsMs = { ...INTERVALS_MS, registered: config.network.secondsPerSlot * 1000, ...overrides.intervalsMs }
  const events = createEvents(logger)
  const health = createHealth(events)
  const engine = createBlstEngine()
  const tokens = config.http.authTokensFile === undefined ? undefined : readTokens(config.http.authTokensFile)
  if (tokens === undefined) logger.warn('AUTH_TOKENS_FILE is not set: everybody who reaches the port may call')

  const { db, url } = await openDatabase(config, logger, lifetime)
  const queue = lifetime.use(
    'queue',
    await connectQueue({ redisUrl: config.storage.redisUrl, databaseUrl: url, logger }),
  )
  const crypto = overrides.crypto ?? lifetime.use('signature workers', startCryptoPool(overrides.threads))
  const chain = createChain(config, crypto, events, logger)
  const sealing = await openSealing(config, db, logger)
  const wallet = await openWallet(config)
  const context: Context = { config, db, queue, chain, crypto, sealing, wallet, events, logger }
  await createClusters(context, engine).importLocks()
  const ssv = createSsvFollower(context, engine)
  if (ssv === undefined && config.ssv.keysharesFiles.length > 0)
    logger.info('SSV_OWNERS is not set: registrations of the SSV contract are not followed')
  await createSsvFileImport(context, engine).run(await ssv?.findStored())
  await importKeyList(context, engine)
  await refuseOtherChains(chain, health)

  const lists = createSidecarLists(context)
  const signatures = createSignatures(context)
  const oracleShares = createOracleShares(context)
  const oracleFetch = createOracleFetch(context)
  const sweep = createSweep(context)
  const registry = createRegistry(context)
  const manager = createManager(context)
  const registrations = createRegistrations({ ...context, registry, manager, oracleShares })
  const vaultActions = createVaultActions({ ...context, manager })
  if (wallet !== undefined && config.vaults === undefined)
    logger.warn('VAULTS is not set: the validators-manager key signs for any vault that names it')
  const oracleSets = createOracleSets(context)
  const vaults = createVaults(context)
  const ownerCopies = createOwnerCopies(context)
  const rotation = createRotation(context, await openRotationWallet(config))
  lifetime.push('verification', () => signatures.drain())

  const follow = startLoop(async () => health.report('oracle_set', await oracleSets.follow()), {
    intervalMs: intervalsMs.oracleSet,
    onError: async (error) => {
      const has = await oracleSets.hasCurrent().catch(() => false)
      health.report('oracle_set', has ? undefined : `no oracle config yet: ${messageOf(error)}`)
    },
  })
  lifetime.use('oracle set', follow)
  lifetime.use('registry', startRegistry(registry, wallet !== undefined, health, intervalsMs.registry))
  lifetime.use('checks', startChecks(context, chain, queue, health, intervalsMs.checks))
  lifetime.use(
    'listener',
    createListener({
      url,
      channels: [MESSAGES_CHANNEL, ORACLE_SETS_CHANNEL],
      onNotify: (channel, payload) => {
        if (channel === MESSAGES_CHANNEL) lists.notified(Number(payload))
        else repair?.soon()
        if (channel === ORACLE_SETS_CHANNEL || rotation.isCollecting) rotating?.soon()
        oracleFetch.notified()
      },
      onReconnect: () => {
        lists.reconnected()
        oracleFetch.notified()
      },
      logger,
    }),
  )
  const repair =
    config.role === 'api'
      ? undefined
      : lifetime.use(
          'finishing',
          startLoop(() => sweep.finish(), {
            intervalMs: intervalsMs.sweep,
            onError: (error) => logger.debug({ err: error }, 'nothing was given out to finish, the next look comes'),
          }),
        )
  if (config.role !== 'api')
    lifetime.use(
      'sweep',
      startLoop(() => sweep.run(), {
        intervalMs: intervalsMs.sweep,
        onError: (error) => logger.debug({ err: error }, 'sweep failed, the next one comes'),
      }),
    )
  const rotating =
    config.role === 'api' ? undefined : lifetime.use('rotation', startRotation(rotation, health, intervalsMs.rotation))
  if (rotating === undefined) health.report('rotation')
  if (ssv === undefined || config.role === 'api') health.report('ssv')
  else lifetime.use('ssv clusters', startSsv(ssv, health, intervalsMs.ssv))
  if (config.role !== 'api') lifetime.use('retention', startRetention(context, ownerCopies, intervalsMs.retention))
  if (config.role !== 'api')
    lifetime.use('registered validators', startRegistered(context, vaults, intervalsMs.registered))
  if (config.role !== 'api') lifetime.use('worker', startWorker(queue, { oracleShares, signatures }))
  const services = {
    exits: createExits(context),
    signatures,
    oracleShares,
    oracleFetch,
    ownerCopies,
    registrations,
    vaultActions,
    vaults,
    rotation,
    manager,
    lists,
    health,
  }
  const app = await createApp({
    config,
    auth: createAuth(tokens, events),
    events,
    logger,
    services,
    stopping: stopping.signal,
  })
  lifetime.push('http', () => app.close())
  lifetime.push('new work', () => {
    stopping.abort()
    lists.close()
    oracleFetch.close()
  })
  const { host, port } = config.http
  try {
    await app.listen({ host, port })
  } catch (error) {
    throw new BootError(
      'LISTEN_FAILED',
      `cannot listen on ${host}:${port} (RELAYER_HOST, RELAYER_PORT): ${messageOf(error)}`,
      { cause: error },
    )
  }
  // Not awaited: only the first signature would wait for it.
  if (wallet !== undefined) void prepareSigning()
  const bound = app.server.address() as AddressInfo
  const address = `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
  logger.info({ url: address, network: config.network.name, role: config.role, queue: queue.name }, 'relayer started')
  return { url: address, app, [Symbol.asyncDispose]: () => lifetime[Symbol.asyncDispose]() }
}

/** A node of another chain is refused at boot; one that is away is reported, and asked again before it is believed. */
async function refuseOtherChains(chain: Chain, health: Health): Promise<void> {
  await Promise.all(
    (['execution', 'consensus'] as const).map(async (name) => {
      try {
        await chain[name].checkChain()
        health.report(name)
      } catch (error) {
        if (error instanceof ChainError && error.code === 'CHAIN_MISMATCH')
          throw new BootError('CHAIN_MISMATCH', `${error.message} (${name.toUpperCase()}_ENDPOINT, NETWORK)`, {
            cause: error,
          })
        health.report(name, messageOf(error))
      }
    }),
  )
}

/** Follows the registry: from the start where the relayer signs for vaults, else from the first request that needs it. */
function startRegistry(registry: Registry, isNeeded: boolean, health: Health, intervalMs: number): AsyncDisposable {
  const report = (problem?: string) => health.report('registry', problem)
  return startLoop(
    async (signal) => {
      if (!isNeeded && !(await registry.isWanted())) return report()
      report((await registry.follow(signal, report)) ?? (await registry.crossCheck()))
    },
    {
      intervalMs,
      onError: (error) => report(`the deposits on chain cannot be followed: ${messageOf(error)}`),
    },
  )
}

/** Follows the registrations of the SSV contract. */
function startSsv(ssv: NonNullable<SsvFollower>, health: Health, intervalMs: number): AsyncDisposable {
  return startLoop(
    async (signal) => {
      await ssv.round(signal)
      health.report('ssv')
    },
    {
      intervalMs,
      onError: (error) => health.report('ssv', `registrations of the SSV contract cannot be read: ${messageOf(error)}`),
    },
  )
}

/** Copies exits for their owners, then erases those that need not be kept: in this order, so that none is erased before it is copied. */
function startRetention(context: Context, ownerCopies: OwnerCopies, intervalMs: number): AsyncDisposable {
  const retention = createRetention(context)
  return startLoop(
    async () => {
      await ownerCopies.run()
      await retention.run()
    },
    {
      intervalMs,
      onError: (error) => context.logger.debug({ err: error }, 'exits were not copied or erased, the next round comes'),
    },
  )
}

/** Notes registrations and exits once they are final: the finalized state is looked for at every slot, and read when it has changed. */
function startRegistered(context: Context, vaults: Vaults, intervalMs: number): AsyncDisposable {
  const registered = createRegistered(context)
  let told: string | undefined
  let nextCount = 0
  return startLoop(
    async (signal) => {
      try {
        if (await registered.look(signal)) nextCount = 0
        told = undefined
      } catch (error) {
        if (signal.aborted) return
        if (told !== messageOf(error)) context.events.finalizedUnread(error)
        told = messageOf(error)
      }
      if (performance.now() < nextCount) return
      await vaults.count()
      nextCount = performance.now() + VAULTS_MS
    },
    {
      intervalMs,
      onError: (error) => context.logger.debug({ err: error }, 'vaults were not counted, the next look comes'),
    },
  )
}

/** Carries rotations on, or only to their end where ROTATION is off. */
function startRotation(rotation: Rotation, health: Health, intervalMs: number): AsyncDisposable & { soon(): void } {
  return startLoop(async (signal) => health.report('rotation', await rotation.round(signal)), {
    intervalMs,
    onError: (error) => health.report('rotation', `rotations cannot be carried on: ${messageOf(error)}`),
  })
}

/** Looks at every dependency again and again, for `/ready`. */
function startChecks(
  { db, logger }: Context,
  chain: Chain,
  queue: { isHealthy(): Promise<boolean> },
  health: Health,
  intervalMs: number,
): AsyncDisposable {
  const check = async (name: 'database' | 'queue' | 'execution' | 'consensus', look: () => Promise<unknown>) => {
    try {
      await look()
      health.report(name)
    } catch (error) {
      health.report(name, messageOf(error))
    }
  }
  return startLoop(
    async () => {
      await Promise.all([
        check('database', () => db.execute('select 1')),
        check('queue', async () => {
          if (!(await queue.isHealthy()))
            throw new Error('the queue does not answer; PostgreSQL keeps what is to be done')
        }),
        check('execution', () => chain.execution.blockNumber()),
        check('consensus', () => chain.registry.nextIndex()),
      ])
    },
    { intervalMs, onError: (error) => logger.debug({ err: error }, 'check failed') },
  )
}
