/** The composition root: acquires everything in order, pushes each release at once, and hands out one async disposable. */

import { ContractError, type RelayerClient } from '@dvt-relayer/api/client.ts'
import type { Ready } from '@dvt-relayer/api/schemas.ts'
import { createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { hasRealStake } from '@dvt-relayer/chain/networks.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { untilAborted } from '@dvt-relayer/common/flow/until-aborted.ts'
import { createLogger, type Logger } from '@dvt-relayer/common/log/logger.ts'
import { startOwnPages } from '@dvt-relayer/common/own-pages.ts'
import { writeCompiled } from '@dvt-relayer/common/process/compile-cache.ts'
import { Lifetime } from '@dvt-relayer/common/process/lifetime.ts'
import type { ListName, SidecarConfig } from './config.ts'
import { createEvents, type Events, notingLocks } from './events.ts'
import { createHealth, type Health } from './health.ts'
import type { KeyShare, Keystore } from './keystores/keystore.ts'
import { startFollowing } from './lists/follow-lists.ts'
import { openIdentity } from './lists/identity.ts'
import { createIntroduction, type Held, type Introduction } from './lists/introduction.ts'
import { createListStates } from './lists/list-states.ts'
import { checkRelayerNetwork, type NetworkCheckParts } from './lists/network-check.ts'
import { createRelayer } from './lists/relayer-client.ts'
import { createWorkList } from './lists/work-list.ts'
import { CHECKS, type Check } from './metrics.ts'
import { openKeystore } from './open-keystore.ts'
import { createDepositPolicy } from './policy/deposit-policy.ts'
import { createJournal } from './policy/journal.ts'
import { createPolicy } from './policy/policy.ts'
import { countUnnamed, signsDeposits, unnamedVaults } from './policy/unnamed-vaults.ts'
import type { SigningParts } from './signing/parts.ts'
import { startSigning } from './signing/signing.ts'
import { credentialsFinding, keysFinding } from './summary.ts'
import { checkConsensus, startWatchingConsensus } from './watch/consensus.ts'
import { checkJournal, startWatchingJournal } from './watch/journal.ts'
import { startWatchingKeys } from './watch/keys.ts'

/** A running sidecar. */
export interface Sidecar extends AsyncDisposable {
  /** Base URL of its own pages; undefined when they are off. */
  readonly url: string | undefined
  /** What `/ready` says. */
  ready(): Ready
  /** What `/metrics` says. */
  metrics(): Promise<string>
}

/** What a caller puts in place of the real thing. */
export interface Overrides {
  logger?: Logger
  /** Warnings of the settings, to be logged first. */
  warnings?: readonly string[]
  /** Ends a boot that is still under way. */
  signal?: AbortSignal
  /** Told `reload` when keys and the relayer's endpoint shall be read again, before their time. */
  files?: EventTarget
}

/**
 * Starts a sidecar: opens the keys, compares the networks, and goes to work. A relayer or consensus node that is away does not stop
 * it: `/ready` is 503 until they are there, and nothing is signed before both have shown that they are on our network.
 *
 * @throws {BootError} a wrong setting, key, lock, network or chain: a restart would not help
 */
export async function startSidecar(config: SidecarConfig, overrides: Overrides = {}): Promise<Sidecar> {
  const logger = overrides.logger ?? createLogger(config.log)
  const lifetime = new Lifetime(logger)
  const { signal = new AbortController().signal } = overrides
  const booting = compose(config, { ...overrides, signal }, logger, lifetime)
  try {
    // What a step that cannot be ended brings later is released at once.
    return await untilAborted(booting, signal)
  } catch (error) {
    booting.catch(() => {})
    await lifetime[Symbol.asyncDispose]()
    throw error
  }
}

/** Opens everything, and starts the work on it. */
async function compose(
  config: SidecarConfig,
  { warnings = [], signal, files }: Overrides & { signal: AbortSignal },
  logger: Logger,
  lifetime: Lifetime,
): Promise<Sidecar> {
  for (const warning of warnings) logger.warn({ warning }, 'check the settings')
  const events = createEvents(logger)
  lifetime.push('log summaries', () => events.flush())
  const health = startHealth(config, events)
  const http = config.http && lifetime.use('http', await startPages(config.http, health, events))
  const journal = lifetime.use('journal', createJournal(config.deposits.journalFile, events))
  if (signsDeposits(config)) await checkJournal(journal, health, config.generation === '4')
  let keysOpened: Keystore | undefined
  const identify = (endpoint: URL) =>
    openIdentity({ ...config, relayer: { ...config.relayer, endpoint } }, () => keysOpened)
  const relayer = await createRelayer(config.relayer, events, () => keysOpened?.keyShares.length ?? 0, identify)
  const consensus = openConsensus(config)
  /** Told `back` when a remote signer may be asked again. */
  const signers = new EventTarget()
  const lockHashes = new Set<string>()
  const opening = { config, events: notingLocks(events, lockHashes), health, relayer, consensus, signers }
  const keystore = lifetime.use('keys', await openKeys(opening, signal))
  keysOpened = keystore
  const introduce = createIntroduction({ config, relayer, events, held: () => heldBy(config, keystore, lockHashes) })
  await refuseUnnamedVaults(config, keystore.keyShares, relayer, signal)
  warnOfUnnamedVaults(config, keystore.keyShares, events)
  const deposits = createDepositPolicy(config.network, config.deposits.allowedVaults)
  const signs = config.keymanager === undefined ? 'any' : 'known'
  const policy = createPolicy(config.network, deposits, consensus?.client, signs)
  const workLists = createWorkLists(config, keystore.keyShares)
  startWork(
    { config, keystore, relayer, policy, journal, workLists, events, health },
    { consensus, signers, introduce, files, renewRelayer: relayer.renew },
    lifetime,
  )
  for (const found of [keysFinding(config, keystore.keyShares, []), credentialsFinding(config)]) events.found(found)
  writeCompiled()
  events.started(config.network.name, config.relayer.endpoint.host, http?.url)
  return {
    url: http?.url,
    ready: health.state,
    metrics: events.metrics.text,
    [Symbol.asyncDispose]: () => lifetime[Symbol.asyncDispose](),
  }
}

/** What the sidecar says of itself to those around it. */
const startPages = (http: NonNullable<SidecarConfig['http']>, health: Health, { metrics }: Events) =>
  startOwnPages(http, 'SIDECAR_HOST, SIDECAR_PORT', {
    ready() {
      const state = health.state()
      return { isReady: state.status === 'ready', state }
    },
    metrics,
  })

const heldBy = ({ ssv }: SidecarConfig, { keyShares }: Keystore, lockHashes: ReadonlySet<string>): Held => ({
  shareIndexes: [...new Set(keyShares.map(({ shareIndex }) => shareIndex))],
  lockHashes: [...lockHashes],
  isSsv: ssv !== undefined,
})

/** What nobody asked for cannot be down: it is no check, and an alarm on 0 stays quiet. */
function startHealth(config: SidecarConfig, events: Events): Health {
  const unused = new Set<Check>()
  if (!signsDeposits(config)) unused.add('journal')
  if (config.consensus === undefined) unused.add('consensus')
  if (config.remoteSigner === undefined && config.keymanager === undefined) unused.add('signer')
  for (const check of unused) events.metrics.set('dvt_sidecar_up', 1, { check })
  return createHealth(
    CHECKS.filter((check) => !unused.has(check)),
    events,
  )
}

/** A list that is not followed has an empty one. */
function createWorkLists({ lists, relayer }: SidecarConfig, keyShares: readonly KeyShare[]): SigningParts['workLists'] {
  const createOf = (list: ListName) => createWorkList(lists.includes(list) ? keyShares : [], relayer.pollIntervalMs)
  return { exits: createOf('exits'), validators: createOf('validators') }
}

/** Starts what runs until the sidecar stops: it is stopped in the opposite order. */
function startWork(
  parts: Omit<SigningParts, 'config' | 'keystore' | 'journal'> & {
    config: SidecarConfig
    keystore: Keystore
    journal: ReturnType<typeof createJournal>
  },
  {
    consensus,
    signers,
    introduce,
    files,
    renewRelayer,
  }: {
    consensus: ReturnType<typeof openConsensus>
    signers: EventTarget
    introduce: Introduction
    files: EventTarget | undefined
    renewRelayer: () => Promise<void>
  },
  lifetime: Lifetime,
): void {
  const { config, keystore, journal, events, health, workLists } = parts
  const lists = createListStates(config.lists, { events, health })
  if (consensus !== undefined) lifetime.use('consensus', startWatchingConsensus(consensus.watched, health))
  if (signsDeposits(config)) lifetime.use('journal watch', startWatchingJournal(journal, health))
  const signing = lifetime.use('signing', startSigning(parts, lists))
  const keysWatch = lifetime.use(
    'keys watch',
    startWatchingKeys(
      {
        keystore,
        workLists,
        lists: config.lists,
        reloadIntervalMs: config.reloadIntervalMs,
        events,
        health,
        renewRelayer,
      },
      (added) => warnOfUnnamedVaults(config, added, events),
    ),
  )
  files?.addEventListener('reload', () => {
    events.readingAgain()
    keysWatch.lookNow()
  })
  signers.addEventListener('back', () => {
    if (keystore.keyShares.length === 0) keysWatch.lookNow()
    for (const list of config.lists) signing.wake(list, true)
  })
  lifetime.use('following', startFollowing({ ...parts, lists, introduce }, signing.wake))
  lifetime.push('new work', events.stopping)
}

/** On a test network nothing but the journal stands in the way of any vault; elsewhere the policy does. */
function warnOfUnnamedVaults(config: SidecarConfig, keyShares: readonly KeyShare[], events: Events): void {
  const unnamed = countUnnamed(config, keyShares)
  if (unnamed === 0) return
  if (hasRealStake(config.network)) events.vaultsUnnamed(unnamed)
  else events.anyVault(unnamed)
}

/**
 * With real money at stake a sidecar that could sign no deposit it is asked for does not start. With `GENERATION=auto` the relayer
 * says whether it asks for any; where it is away, or lies, deposits are refused one by one.
 *
 * @throws {BootError} VAULTS_UNNAMED
 */
async function refuseUnnamedVaults(
  config: SidecarConfig,
  keyShares: readonly KeyShare[],
  relayer: Pick<RelayerClient, 'getValidators'>,
  signal: AbortSignal,
): Promise<void> {
  const unnamed = countUnnamed(config, keyShares)
  if (unnamed === 0 || !hasRealStake(config.network)) return
  if (config.generation === '4' || (await hasDeposits(relayer, signal)))
    throw new BootError('VAULTS_UNNAMED', unnamedVaults(unnamed))
}

/** Whether the relayer has the list of deposits, which one of generation 3 does not. */
async function hasDeposits(relayer: Pick<RelayerClient, 'getValidators'>, signal: AbortSignal): Promise<boolean> {
  try {
    await relayer.getValidators({ limit: 1 }, signal)
    return true
  } catch (error) {
    return error instanceof ContractError
  }
}

/** Two clients of the same nodes: one that tries long for the policy, one that says at once what is wrong. */
function openConsensus({ consensus, network }: SidecarConfig) {
  if (consensus === undefined) return undefined
  return {
    client: createConsensusClient({ ...consensus, network }),
    watched: createConsensusClient({ ...consensus, network, retryTimeoutMs: 0 }),
  }
}

/** Opens the keys while relayer and consensus node are asked for their networks; the first thing that is wrong stops the boot. */
async function openKeys(
  parts: NetworkCheckParts & {
    readonly config: SidecarConfig
    readonly events: Events
    readonly health: Health
    readonly consensus: ReturnType<typeof openConsensus>
    readonly signers: EventTarget
  },
  stop: AbortSignal,
): Promise<Keystore> {
  const { config, events, health, consensus, signers } = parts
  const failed = new AbortController()
  const signal = AbortSignal.any([stop, failed.signal])
  const tasks = [
    openKeystore(config, {
      events,
      signal,
      onSignerChange: (problem) => health.report('signer', problem),
      onSignerBack: () => void signers.dispatchEvent(new Event('back')),
    }),
    refuseOtherNetwork(parts, signal),
    consensus && checkConsensus(consensus.watched, health, signal),
  ] as const
  try {
    const [{ keystore, problem }] = await Promise.all(tasks)
    health.report('keys', problem)
    return keystore
  } catch (error) {
    failed.abort()
    await Promise.allSettled(tasks)
    throw error
  }
}

/** A relayer of another network is refused at boot; one that is away is asked again later. */
async function refuseOtherNetwork(parts: NetworkCheckParts, signal: AbortSignal): Promise<void> {
  const { network, relayer } = parts.config
  try {
    if (await checkRelayerNetwork(parts, signal)) return
  } catch (error) {
    if (!signal.aborted) parts.health.report('relayer', messageOf(error))
    return
  }
  throw new BootError(
    'NETWORK_MISMATCH',
    `the relayer at ${relayer.endpoint.host} is of another network than NETWORK=${network.name}`,
  )
}
