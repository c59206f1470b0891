/** The composition root: acquires everything in order, pushes each release at once, and hands out one async disposable. */

import type { Ready } from '@dvt-relayer/api/schemas.ts'
import { createConsensusClient } from '@dvt-relayer/chain/consensus/consensus.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { Lifetime } from '@dvt-relayer/common/lifetime.ts'
import { createLogger, type Logger } from '@dvt-relayer/common/logger.ts'
import type { SidecarConfig } from './config.ts'
import type { Context } from './context.ts'
import { credentialsFinding, keysFinding } from './doctor/findings.ts'
import { createEvents, type Events } from './events.ts'
import { createHealth, type Health } from './health.ts'
import { startHttp } from './http.ts'
import type { KeyShare } from './keystores/obol/keystore.ts'
import { openKeystore } from './keystores/open-keystore.ts'
import { startFollowing } from './lists/follow-lists.ts'
import { createListStates } from './lists/list-states.ts'
import type { ListName } from './lists/lists.ts'
import { createRelayer } from './lists/relayer-client.ts'
import { createBook } from './lists/work-list.ts'
import { CHECKS, type Check } from './metrics.ts'
import { createDepositPolicy } from './policy/deposit-policy.ts'
import { createJournal } from './policy/journal.ts'
import { createPolicy } from './policy/policy.ts'
import { startSigning } from './signing/loop.ts'
import { checkConsensus, startWatchingConsensus } from './watch/consensus.ts'
import { checkJournal, startWatchingJournal } from './watch/journal.ts'
import { startWatchingKeys } from './watch/keys.ts'
import { checkRelayerNetwork } from './watch/network-check.ts'

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
  try {
    return await compose(config, overrides, logger, lifetime)
  } catch (error) {
    await lifetime[Symbol.asyncDispose]()
    throw error
  }
}

async function compose(
  config: SidecarConfig,
  { warnings = [], signal = new AbortController().signal }: Overrides,
  logger: Logger,
  lifetime: Lifetime,
): Promise<Sidecar> {
  for (const warning of warnings) logger.warn({ warning }, 'check the settings')
  const events = createEvents(logger)
  const signsDeposits = config.lists.includes('validators')
  const unused = new Set<Check>()
  if (!signsDeposits) unused.add('journal')
  if (config.consensus === undefined) unused.add('consensus')
  if (config.remoteSigner === undefined) unused.add('signer')
  const health = createHealth(
    CHECKS.filter((check) => !unused.has(check)),
    events,
  )
  // What nobody asked for cannot be down: an alarm on 0 stays quiet.
  for (const check of unused) events.metrics.set('dvt_sidecar_up', 1, { check })
  const http = config.http && lifetime.use('http', await startHttp(config.http, { health, metrics: events.metrics }))

  const journal = lifetime.use('journal', createJournal(config.deposits.journalFile, events))
  if (signsDeposits) await checkJournal(journal, health, config.generation === '4')
  const relayer = createRelayer(config.relayer, events)
  const consensus = openConsensus(config)
  let onSignerBack = () => {}
  const keystore = lifetime.use(
    'keys',
    await openKeys(config, { events, health, relayer, consensus, signal, onSignerBack: () => onSignerBack() }),
  )
  if (signsDeposits) warnOfAnyVault(config, keystore.keyShares, events)
  const bookOf = (list: ListName) =>
    createBook(config.lists.includes(list) ? keystore.keyShares : [], config.relayer.pollIntervalMs)
  const deposits = createDepositPolicy(config.network, config.deposits.allowedVaults)
  const context: Context = {
    config,
    keystore,
    relayer,
    policy: createPolicy(config.network, deposits, consensus?.client),
    journal,
    lists: createListStates(config.lists, { events, health }),
    books: { exits: bookOf('exits'), validators: bookOf('validators') },
    events,
    health,
  }
  if (consensus !== undefined) lifetime.use('consensus', startWatchingConsensus(consensus.watched, health))
  if (signsDeposits) lifetime.use('journal watch', startWatchingJournal(journal, health))
  const signing = lifetime.use('signing', startSigning(context))
  const onKeysAdded = (added: readonly KeyShare[]) => {
    if (signsDeposits) warnOfAnyVault(config, added, events)
  }
  const keysWatch = lifetime.use('keys watch', startWatchingKeys(context, onKeysAdded))
  onSignerBack = () => {
    if (keystore.keyShares.length === 0) keysWatch.lookNow()
    for (const list of config.lists) signing.wake(list, true)
  }
  lifetime.use('following', startFollowing(context, signing.wake))
  lifetime.push('new work', events.stopping)
  for (const found of [keysFinding(config, keystore.keyShares, []), credentialsFinding(config)]) events.found(found)
  events.started(config.network.name, config.relayer.endpoint.host, http?.url)
  return {
    url: http?.url,
    ready: health.state,
    metrics: events.metrics.text,
    [Symbol.asyncDispose]: () => lifetime[Symbol.asyncDispose](),
  }
}

/** Without a list of vaults and without a withdrawal address of a lock, nothing but the journal stands in the way. */
function warnOfAnyVault({ deposits }: SidecarConfig, keyShares: readonly KeyShare[], events: Events): void {
  if (deposits.allowedVaults.length > 0) return
  const open = keyShares.filter(({ withdrawalAddress }) => withdrawalAddress === undefined)
  if (open.length > 0) events.anyVault(new Set(open.map(({ validatorPublicKey }) => validatorPublicKey)).size)
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
  config: SidecarConfig,
  parts: {
    events: Events
    health: Health
    relayer: Context['relayer']
    consensus: ReturnType<typeof openConsensus>
    signal: AbortSignal
    onSignerBack(): void
  },
) {
  const { health, relayer, consensus } = parts
  const failed = new AbortController()
  const signal = AbortSignal.any([parts.signal, failed.signal])
  const tasks = [
    openKeystore(config, {
      events: parts.events,
      signal,
      onSignerChange: (problem) => health.report('signer', problem),
      onSignerBack: parts.onSignerBack,
    }),
    refuseOtherNetwork({ config, relayer, health }, signal),
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
async function refuseOtherNetwork(
  context: Pick<Context, 'config' | 'relayer' | 'health'>,
  signal: AbortSignal,
): Promise<void> {
  try {
    if (await checkRelayerNetwork(context, signal)) return
  } catch (error) {
    if (!signal.aborted) context.health.report('relayer', messageOf(error))
    return
  }
  const { name } = context.config.network
  throw new BootError(
    'NETWORK_MISMATCH',
    `the relayer at ${context.config.relayer.endpoint.host} is of another network than NETWORK=${name}`,
  )
}
