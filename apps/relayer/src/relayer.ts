/** The composition root: opens, prepares, creates and starts everything in order, and hands out one async disposable. */

import type { AddressInfo } from 'node:net'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { prepareSigning } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { untilAborted } from '@dvt-relayer/common/flow/until-aborted.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { startOwnPages } from '@dvt-relayer/common/own-pages.ts'
import { writeCompiled } from '@dvt-relayer/common/process/compile-cache.ts'
import { Lifetime } from '@dvt-relayer/common/process/lifetime.ts'
import { assertCanListen, listenFailed } from '@dvt-relayer/common/process/listening.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { type Intervals, startBackground } from './background.ts'
import type { Chain } from './chain.ts'
import type { RelayerConfig } from './config.ts'
import type { Context } from './context.ts'
import type { CryptoPool } from './crypto-workers/pool.ts'
import { createEvents, type Events } from './events.ts'
import { createLiveTokens, createReload, type LiveTokens, stampFiles } from './files/reload.ts'
import type { Limits } from './http/admission/limits.ts'
import type { App } from './http/app.ts'
import { createApp } from './http/app.ts'
import { createAuth } from './http/auth/auth.ts'
import { createKeyAuth } from './http/auth/key-auth.ts'
import { type KeyedNodes, readTokensFile } from './http/auth/tokens.ts'
import { openContext } from './open.ts'
import { importClusters } from './services/clusters/import-clusters.ts'
import { createHealth, type Health } from './services/health.ts'
import { createServices, type Services } from './services/services.ts'

/** Without tokens nobody has to be let in. */
const NO_NODES: KeyedNodes = { nodes: new Set(), operators: new Set() }

/** A running relayer. */
export interface Relayer extends AsyncDisposable {
  /** Base URL it listens on. A worker answers only what people and machines around it ask (health, readiness, metrics). */
  readonly url: string
  /** Base URL of METRICS_PORT; undefined where that is off. */
  readonly metricsUrl: string | undefined
  /** The application, for tests that inject. */
  readonly app: App
  /** Has the files of the settings read again, at once and in the background. */
  reload(): void
}

/** What tests put in place of the real thing. */
export interface Overrides {
  logger?: Logger
  /** Ends a boot that is still under way. */
  signal?: AbortSignal
  /** Threads of signature work. */
  threads?: number
  /** Signature workers that outlive the relayer, instead of its own. */
  crypto?: CryptoPool
  /** Milliseconds between two rounds of background work, by its name. */
  intervalsMs?: Intervals
  /** How long a request waits for what it needs of nodes and workers before it is answered without. */
  patienceMs?: number
  /** What callers may take. */
  limits?: Limits
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
  const { signal = new AbortController().signal } = overrides
  const booting = compose(config, { ...overrides, signal }, logger, lifetime)
  try {
    // A migration or a question to a node cannot be ended, and may take minutes: what it brings later is released at once.
    return await untilAborted(booting, signal)
  } catch (error) {
    booting.catch(() => {})
    await lifetime[Symbol.asyncDispose]()
    throw error
  }
}

/** How long a stop waits for requests under way: posts are answered within 5 s. */
const LAST_REQUESTS_MS = 5_000
/** How long it waits for verdicts on what was posted; the sweep of the next process finds those that are missing. */
const LAST_VERDICTS_MS = 2_000

/** One step after the other. What a step pushes to the lifetime is released in reverse: requests end first, the database last. */
async function compose(
  config: RelayerConfig,
  overrides: Overrides & { signal: AbortSignal },
  logger: Logger,
  lifetime: Lifetime,
): Promise<Relayer> {
  const { signal } = overrides
  const events = createEvents(logger)
  lifetime.push('log summaries', () => events.flush())
  events.built(VERSION, config.role)
  const health = createHealth(events)
  const stopping = new AbortController()
  const pages =
    config.metrics && lifetime.use('metrics', await startPages(config.metrics, health, events, stopping.signal))
  await assertCanListen({ ...config.http, settings: LISTEN_SETTINGS })
  const stamps = await stampFiles(config)
  const { authTokensFile: file, publicUrl } = config.http
  const tokens = file === undefined ? undefined : createLiveTokens(readTokensFile(file))
  const { nodes, operators } = tokens?.listed ?? NO_NODES
  if (nodes.size + operators.size > 0 && publicUrl === undefined)
    logger.warn('PUBLIC_URL is not set: nodes that AUTH_TOKENS_FILE lets in by their keys are refused')
  if (tokens === undefined) logger.warn('AUTH_TOKENS_FILE is not set: everybody who reaches the port may call')
  if (tokens === undefined && config.manager !== undefined)
    logger.warn(
      'WALLETS_WITHOUT_TOKENS=loopback: whatever reaches a loopback address of this machine has the validators-manager key sign, also behind a proxy that adds no header',
    )

  const { context, lists, databaseUrl } = await openContext(config, events, logger, lifetime, overrides)
  const ssv = await importClusters(context)
  signal.throwIfAborted()
  await refuseOtherChains(context.chain, health)

  const services = await createServices(context, lists)
  signal.throwIfAborted()
  lifetime.push('verification', () => services.verification.drain(), LAST_VERDICTS_MS)
  const reload = createReload(context, stamps, tokens, databaseUrl)
  const stage = { context, health, services, ssv, reload }
  const background = startBackground(stage, databaseUrl, lifetime, overrides.intervalsMs)

  const app = await startHttp(context, { tokens, health, services, stopping }, lifetime, overrides.limits)
  // With the requests, and not after them: rounds that wait for what is away do so at the same time.
  lifetime.push('new rounds', () => void background.end())
  writeCompiled()
  const url = await listen(app, config.http)
  // Not awaited: only the first signature would wait for it.
  if (context.wallet !== undefined && services.api !== undefined) void prepareSigning()
  const started = { url, network: config.network.name, role: config.role, queue: context.queue.name }
  logger.info(pages === undefined ? started : { ...started, metrics_url: pages.url }, 'relayer started')
  const readAgain = () => {
    reload.force()
    background.soon('files')
  }
  return {
    url,
    metricsUrl: pages?.url,
    app,
    reload: readAgain,
    [Symbol.asyncDispose]: () => lifetime[Symbol.asyncDispose](),
  }
}

/** What is open without tokens. It is there from the start, so that a long migration can be told from a process that hangs. */
const startPages = (
  where: NonNullable<RelayerConfig['metrics']>,
  health: Health,
  { metrics }: Events,
  stopping: AbortSignal,
) =>
  startOwnPages(where, 'METRICS_HOST, METRICS_PORT', {
    ready() {
      const state = health.state()
      return { isReady: state.status !== 'not_ready' && !stopping.aborted, state }
    },
    metrics,
  })

/** A node of another chain is refused at boot; one that is away is reported, and asked again before it is believed. */
async function refuseOtherChains(chain: Pick<Chain, 'execution' | 'consensus'>, health: Health): Promise<void> {
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

/** Builds the application. At a stop it takes no new work and ends long polls, then the requests under way are waited for. */
async function startHttp(
  { config, events, logger }: Pick<Context, 'config' | 'events' | 'logger'>,
  {
    tokens,
    health,
    services,
    stopping,
  }: { tokens: LiveTokens | undefined; health: Health; services: Services; stopping: AbortController },
  lifetime: Lifetime,
  limits: Limits | undefined,
): Promise<App> {
  const { api, coverage, manager, nodeKeys, operatorKeys } = services
  const listed = tokens?.listed ?? NO_NODES
  const auth = createAuth(tokens, events, createKeyAuth({ config, events, listed, nodeKeys, operatorKeys }))
  const app = await createApp(
    { config, auth, coverage, events, logger, health, manager, stopping: stopping.signal },
    api === undefined ? undefined : { ...services, ...api },
    limits,
  )
  lifetime.push('http', () => app.close(), LAST_REQUESTS_MS)
  lifetime.push('new work', () => {
    stopping.abort()
    api?.lists.close()
    api?.oracleFetch.close()
    services.verification.close()
  })
  return app
}

/**
 * Connections that may come while the event loop is at something else: as many as there may be. One that finds no place here is not refused:
 * its caller tries again after a second, and then after more.
 */
const BACKLOG = 1000

const LISTEN_SETTINGS = 'RELAYER_HOST, RELAYER_PORT'

/** Listens; returns the base URL. @throws {BootError} LISTEN_FAILED */
async function listen(app: App, { host, port }: RelayerConfig['http']): Promise<string> {
  try {
    await app.listen({ host, port, backlog: BACKLOG })
  } catch (error) {
    throw listenFailed({ host, port, settings: LISTEN_SETTINGS }, error)
  }
  const bound = app.server.address() as AddressInfo
  return `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
}
