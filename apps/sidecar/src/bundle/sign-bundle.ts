/**
 * Signs a bundle: its items are put into the work lists as if a relayer had listed them, and take the way of the running sidecar, through
 * policy, journal and keystore (`signing/`). Nothing is asked and nothing is posted: there is no client of anything here.
 *
 * The policy is that of a sidecar without a consensus node. A deposit that is refused leaves its exit to go alone, as ever.
 */

import {
  type Bundle,
  BundleError,
  clusterWords,
  fits,
  makeSignedBundle,
  type SignedBundle,
} from '@dvt-relayer/api/bundle.ts'
import { hasRealStake } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { Lifetime } from '@dvt-relayer/common/process/lifetime.ts'
import type { ListName, SidecarConfig } from '../config.ts'
import { createEvents, type Events, notingLocks } from '../events.ts'
import { createHealth } from '../health.ts'
import type { KeyShare, Keystore } from '../keystores/keystore.ts'
import type { Entry, SignedJob } from '../lists/work-entry.ts'
import { createWorkList, type Listed, type WorkList } from '../lists/work-list.ts'
import { REFUSALS } from '../metrics.ts'
import { openKeystore } from '../open-keystore.ts'
import { createDepositPolicy } from '../policy/deposit-policy.ts'
import { createJournal } from '../policy/journal.ts'
import { createPolicy } from '../policy/policy.ts'
import { countUnnamed, signsDeposits } from '../policy/unnamed-vaults.ts'
import { judge } from '../signing/judge.ts'
import type { SigningParts } from '../signing/parts.ts'
import { signBatch } from '../signing/sign.ts'
import { checkJournal } from '../watch/journal.ts'

/** What became of a bundle. */
interface Outcome {
  readonly signed: SignedBundle
  /** Validators of the bundle without an exit of ours, or without the deposit that was wanted with it. */
  readonly left: number
  /** Why, as far as the policy or the keys say it. */
  readonly refusals: readonly { readonly meaning: string; readonly validators: number }[]
}

type Parts = Pick<SigningParts, 'config' | 'policy' | 'journal' | 'keystore' | 'workLists' | 'events' | 'health'>

/**
 * Signs what a bundle wants of this node.
 *
 * @throws {BundleError} BUNDLE_NETWORK, BUNDLE_CLUSTER, BUNDLE_SHARE_INDEX: it is not ours
 * @throws {BootError} a wrong key, lock or journal
 */
export async function signBundle(
  config: SidecarConfig,
  bundle: Bundle,
  { logger, signal }: { logger: Logger; signal: AbortSignal },
): Promise<Outcome> {
  if (bundle.network !== config.network.name)
    throw new BundleError(
      'BUNDLE_NETWORK',
      `this bundle is of the network ${bundle.network}, and this node of ${config.network.name}: nothing is signed`,
    )
  await using lifetime = new Lifetime(logger)
  const refusals = new Map<string, Set<number>>()
  const events = notingRefusals(createEvents(logger), refusals)
  lifetime.push('log summaries', () => events.flush())
  const health = createHealth([], events)
  const journal = lifetime.use('journal', createJournal(config.deposits.journalFile, events))
  const hasDeposits = signsDeposits(config) && bundle.validators.length > 0
  if (hasDeposits) await checkJournal(journal, health, true)
  const lockHashes = new Set<string>()
  const keystore = lifetime.use('keys', await open(config, notingLocks(events, lockHashes), signal))
  assertOurs(bundle, config, keystore.keyShares, lockHashes)

  const ours = keystore.keyShares.filter(({ shareIndex }) => shareIndex === bundle.share_index)
  const unnamed = countUnnamed(config, ours)
  if (hasDeposits && unnamed > 0) events[hasRealStake(config.network) ? 'vaultsUnnamed' : 'anyVault'](unnamed)
  const workLists = listsOf(bundle, config, ours)
  const policy = createPolicy(
    config.network,
    createDepositPolicy(config.network, config.deposits.allowedVaults),
    undefined,
  )
  const parts: Parts = { config, policy, journal, keystore, workLists, events, health }
  const pairs = await serve(parts, workLists.validators, signal)
  const paired = new Set(pairs.map(idOf))
  const exits = await serve(parts, workLists.exits, signal, (entry) => paired.has(idOf(entry)))
  const signed = intoBundle(bundle, pairs, exits)
  const others = [
    { meaning: 'this node has no key of it', validators: unheld(bundle, ours) },
    {
      meaning: 'GENERATION=3 signs no deposits',
      validators: config.lists.includes('validators') ? 0 : bundle.validators.length,
    },
    {
      meaning: 'GENERATION=4 signs exits with their deposits only',
      validators: config.lists.includes('exits') ? 0 : exitsAlone(bundle),
    },
    {
      meaning: 'the deposit journal cannot be written to; the log says why',
      validators: hasDeposits && !health.isGood('journal') ? bundle.validators.length : 0,
    },
  ]
  return {
    signed,
    left: countLeft(bundle, signed),
    refusals: [...told(refusals), ...others.filter(({ validators }) => validators > 0)],
  }
}

/** Opens the keys on this machine, all of them at once. @throws {BootError} */
async function open(config: SidecarConfig, events: Events, signal: AbortSignal): Promise<Keystore> {
  const { keystore, problem } = await openKeystore(config, { events, signal })
  if (problem === undefined) return keystore
  await keystore[Symbol.asyncDispose]()
  throw new BootError('KEYS_MISSING', problem)
}

/** @throws {BundleError} BUNDLE_CLUSTER, BUNDLE_SHARE_INDEX */
function assertOurs(
  { cluster, share_index: shareIndex }: Bundle,
  { ssv }: SidecarConfig,
  keyShares: readonly KeyShare[],
  lockHashes: ReadonlySet<string>,
): void {
  const isOurs = cluster.kind === 'ssv' ? ssv !== undefined : lockHashes.has(cluster.lock_hash)
  if (!isOurs)
    throw new BundleError(
      'BUNDLE_CLUSTER',
      `this bundle is of ${clusterWords(cluster)}, and this node ${ssv === undefined ? `has ${[...lockHashes].map((hash) => `the cluster lock ${hash.slice(0, 34)}…`).join(', ')}` : 'is one of SSV'}: nothing is signed`,
    )
  const held = [...new Set(keyShares.map((share) => share.shareIndex))].sort((a, b) => a - b)
  if (!held.includes(shareIndex))
    throw new BundleError(
      'BUNDLE_SHARE_INDEX',
      `this bundle is for share index ${shareIndex}, and this node has keys of ${held.length === 0 ? 'none' : held.join(', ')}: nothing is signed`,
    )
}

/** The bundle's items, as the relayer would have listed them. A list that is not followed (GENERATION) stays empty. */
function listsOf(bundle: Bundle, config: SidecarConfig, keyShares: readonly KeyShare[]): Record<ListName, WorkList> {
  const listOf = (name: ListName, items: readonly Listed[]) => {
    const workList = createWorkList(keyShares, config.relayer.pollIntervalMs)
    if (config.lists.includes(name)) workList.applyList(items)
    return workList
  }
  return {
    exits: listOf('exits', bundle.exits.map(exitItem)),
    validators: listOf('validators', bundle.validators.map(validatorItem)),
  }
}

const NOTHING_READY = { isReady: false, shareIndexesReady: [], shareIndexesUnverified: [], shareIndexesRejected: [] }

const exitItem = (item: Bundle['exits'][number]): Listed => ({
  publicKey: item.public_key,
  wanted: { validatorIndex: item.validator_index, deposit: undefined },
  ...NOTHING_READY,
})

const validatorItem = (item: Bundle['validators'][number]): Listed => ({
  publicKey: item.public_key,
  wanted: {
    validatorIndex: item.validator_index,
    deposit: { vault: item.vault, amountGwei: item.amount, validatorType: item.validator_type },
  },
  ...NOTHING_READY,
})

/** What tells one exit from another. */
const idOf = ({ keyShare, wanted }: Pick<Entry, 'keyShare' | 'wanted'>): string =>
  `${keyShare.validatorPublicKey}:${wanted?.validatorIndex}`

/** Serves all that is due in a list, the way of a round (`signing/round.ts`) up to where that would post. */
async function serve(
  parts: Parts,
  workList: WorkList,
  signal: AbortSignal,
  isHeldBack: (entry: Entry) => boolean = () => false,
): Promise<SignedJob[]> {
  const jobs = workList.take(performance.now(), isHeldBack)
  const { willing } = await judge(parts, workList, jobs, signal)
  // Keys in memory leave no job behind their back.
  const { signed } = await signBatch({ ...parts, workList }, willing, signal, () => {})
  return signed
}

/** The signatures, in the order of the bundle; as many as a file may hold. */
function intoBundle(
  { network, cluster, share_index, made_at, ...items }: Bundle,
  pairs: readonly SignedJob[],
  exits: readonly SignedJob[],
): SignedBundle {
  const ofExit = new Map(exits.map((job) => [job.keyShare.validatorPublicKey, job]))
  const ofPair = new Map(pairs.map((job) => [job.keyShare.validatorPublicKey, job]))
  const signedExits = items.exits.flatMap(({ public_key, validator_index }) => {
    const job = ofExit.get(public_key)
    return job === undefined ? [] : [{ public_key, validator_index, exit_signature: job.signatures.exit }]
  })
  const signedPairs = items.validators.flatMap((item) => {
    const job = ofPair.get(item.public_key)
    if (job?.signatures.deposit === undefined) return []
    const { exit, deposit } = job.signatures
    const shares = job.keyShare.publicKeyShares.map((share) => ({ ...share }))
    return [{ ...item, exit_signature: exit, deposit_signature: deposit, public_key_shares: shares }]
  })
  const owner = { network, cluster, share_index, made_at }
  for (let most = signedPairs.length; ; most = Math.floor(most / 2)) {
    const signed = makeSignedBundle({ ...owner, exits: signedExits, validators: signedPairs.slice(0, most) })
    if (most === 0 || fits(signed)) return signed
  }
}

/** Validators of the bundle that lack what was wanted of them. */
function countLeft(bundle: Bundle, signed: SignedBundle): number {
  const pairs = new Set(signed.validators.map(keyAndIndex))
  const exits = new Set([...signed.exits.map(keyAndIndex), ...pairs])
  return new Set(
    [
      ...bundle.validators.filter((item) => !pairs.has(keyAndIndex(item))),
      ...bundle.exits.filter((item) => !exits.has(keyAndIndex(item))),
    ].map((item) => item.public_key),
  ).size
}

/** Validators of which a bundle wants the exit alone. */
function exitsAlone({ exits, validators }: Bundle): number {
  const pairs = new Set(validators.map(keyAndIndex))
  return exits.filter((item) => !pairs.has(keyAndIndex(item))).length
}

const keyAndIndex = (item: { public_key: string; validator_index: number }) =>
  `${item.public_key}:${item.validator_index}`

/** Validators of the bundle whose key is not here. */
function unheld({ exits, validators }: Bundle, keyShares: readonly KeyShare[]): number {
  const held = new Set(keyShares.map(({ validatorPublicKey }) => validatorPublicKey))
  return new Set([...exits, ...validators].map((item) => item.public_key).filter((key) => !held.has(key))).size
}

/** Events that also count what the policy refuses, by what that means. */
function notingRefusals(events: Events, refusals: Map<string, Set<number>>): Events {
  return {
    ...events,
    refused(reason, validatorIndexes, details) {
      const meaning = REFUSALS[reason]
      refusals.set(meaning, (refusals.get(meaning) ?? new Set()).union(new Set(validatorIndexes)))
      events.refused(reason, validatorIndexes, details)
    },
  }
}

const told = (refusals: ReadonlyMap<string, ReadonlySet<number>>): Outcome['refusals'][number][] =>
  Array.from(refusals, ([meaning, { size }]) => ({ meaning, validators: size }))
