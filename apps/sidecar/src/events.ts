/** What happens in the business, one function an event: a log line and a metric together. No event carries a key or a signature. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import type { ValidatorAdded } from '@dvt-relayer/chain/ssv/events.ts'
import { SSV_FAULT_KINDS, type SsvFaultKind } from '@dvt-relayer/chain/ssv/registry.ts'
import { isTooLarge, TOO_LARGE, TOO_LARGE_ALONE } from '@dvt-relayer/client/split-posts.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { HttpOutcome } from '@dvt-relayer/common/http/client.ts'
import { createLogTally } from '@dvt-relayer/common/log/log-tally.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { createMetrics } from '@dvt-relayer/common/metrics.ts'
import { timeText } from '@dvt-relayer/common/time-text.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import type { ClusterLock } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import type { ListName } from './config.ts'
import type { Finding } from './findings.ts'
import {
  type Check,
  DEPOSIT_REFUSALS,
  KINDS,
  type KindCounts,
  REFUSALS,
  type Refusal,
  type RelayerRequest,
  SIDECAR_METRICS,
  SIGNER_OUTCOMES,
  type SignerOutcome,
} from './metrics.ts'

/** Validator indexes a log line names before it is cut. */
const SHOWN = 10
/** Lines of one kind that are written at once within a minute: a refusal names what it is about, and they come round by round. */
const AT_ONCE = 10
const shown = <T>(items: readonly T[]): readonly T[] => items.slice(0, SHOWN)

/** What a refusal names besides the validators: the vaults asked for, and the lines of the journal that stand against them. */
interface RefusalDetails {
  readonly vaults?: readonly string[]
  readonly journal?: string
  readonly journalLines?: readonly number[]
}

/** What it means while a check fails, for who reads of it in the middle of the night. */
const FAILING: Readonly<Record<Check, string>> = {
  keys: 'key shares that were read before go on; the files are looked at again every RELOAD_INTERVAL',
  relayer:
    'nothing is signed for the relayer meanwhile, and nothing is lost: it is asked again every few seconds, and a line says when it is back',
  network: 'nothing is signed for a relayer of another network; NETWORK or RELAYER_ENDPOINT is wrong',
  journal: 'no deposit is signed meanwhile, exits are; nothing is lost',
  consensus:
    'what has to be compared with the chain is not signed meanwhile, and nothing is lost: the node is asked again every few seconds',
  signer: 'what this signer is to sign waits, and nothing is lost: it is asked again',
}

/** Creates the events of one sidecar. `now` is the Unix time in milliseconds. */
export function createEvents(logger: Logger, now: () => number = Date.now) {
  const metrics = createMetrics(SIDECAR_METRICS)
  metrics.set('dvt_sidecar_build_info', 1, { version: VERSION })
  // What the relayer can cause at will is counted and summed up: a hostile one fills no disk.
  const tally = createLogTally(logger)
  const toldGaps = new Set<string>()
  const failingSince = new Map<Check, number>()
  return {
    metrics,
    /** Writes what is counted and not yet written; for the end of the process. */
    flush: () => tally.flush(),

    // Boot
    lockRead: ({ lockHash, threshold, validators, operators }: ClusterLock, file: string, isPinned: boolean) =>
      logger.info(
        {
          file,
          lock_hash: `${toHex(lockHash).slice(0, 34)}…`,
          validators: validators.length,
          nodes: operators.length,
          threshold,
          pinned: isPinned,
        },
        'cluster lock verified',
      ),
    lockDoubtful: (doubt: string) => logger.warn({ doubt }, 'cluster lock could not be verified whole'),
    decrypting: (done: number, total: number, seconds: number) =>
      logger.info(
        {
          done,
          total,
          seconds: Math.round(seconds),
          ...(done === 0 ? {} : { seconds_left: Math.ceil((seconds / done) * (total - done)) }),
        },
        'decrypting keystores',
      ),
    keystoresSkipped: (dir: string, files: readonly string[]) =>
      logger.warn({ dir, count: files.length, files: shown(files) }, 'keystores skipped: not in the cluster lock'),
    keystoresMislabelled: (dir: string, files: readonly string[]) =>
      logger.warn(
        { dir, count: files.length, files: shown(files) },
        'keystores name another public key than their secret has; the secret counts',
      ),
    keystoresWeak: (dir: string, count: number) =>
      logger.warn({ dir, count }, 'keystores are encrypted weakly: their passwords are cheap to guess'),
    keysPartial: (dir: string, keys: number, validators: number) =>
      logger.warn({ dir, keys, validators }, 'this node holds keys for only some validators of its cluster'),
    nodeFound: (dir: string, position: number, keys: number) =>
      logger.info({ dir, node_index: position, share_index: position + 1, keys }, 'node found'),
    /** Progress of the key shares of an SSV operator. */
    decryptingShares: (done: number, total: number, seconds: number) =>
      logger.info({ done, total, seconds: Math.round(seconds) }, 'decrypting key shares'),
    ssvScanning: (nextBlock: number, toBlock: number, validators: number, seconds: number) =>
      logger.info(
        { next_block: nextBlock, to_block: toBlock, validators, seconds: Math.round(seconds) },
        'reading the events of the SSV contract',
      ),
    ssvReorganized: (block: number) =>
      logger.info({ block }, 'the chain has changed: its newest SSV events are read again'),
    /** Each told once. */
    ssvGaps(gaps: readonly string[]): void {
      const news = gaps.filter((words) => !toldGaps.has(words))
      for (const words of news) toldGaps.add(words)
      if (news.length > 0) logger.warn({ gaps: shown(news) }, 'registrations of the SSV contract may be missing')
    },
    /** What counts is what the blocks have. */
    ssvLogsWrong: (sentence: string) =>
      logger.warn({ reason: sentence }, 'events of the SSV contract were taken from the receipts of a block'),
    /** Each told once. */
    ssvEventsSkipped: (skipped: readonly { reason: string; event: ValidatorAdded }[]) =>
      logger.warn(
        {
          count: skipped.length,
          registrations: shown(skipped).map(
            ({ reason, event }) =>
              `log ${event.logIndex} of block ${event.blockNumber} by ${toHex(event.owner)}: its shares ${reason}`,
          ),
        },
        'registrations of the SSV contract skipped',
      ),
    ssvMalformed(counts: Readonly<Record<SsvFaultKind, number>>): void {
      for (const kind of SSV_FAULT_KINDS) metrics.set('dvt_sidecar_ssv_events_skipped', counts[kind], { reason: kind })
    },
    ssvStateUseless: (file: string, why: 'other_scope' | 'broken') =>
      logger.warn(
        { file },
        why === 'broken'
          ? 'the SSV state file cannot be read: the events are read from the first block on'
          : 'the SSV state file is of other operators, owners or another contract: the events are read from the first block on',
      ),
    ssvStateUnwritable: (file: string, reason: string) =>
      logger.warn(
        { file, reason },
        'the SSV state file cannot be written (SSV_STATE_FILE): after a restart the events are read again',
      ),
    operatorKeyMislabelled: (file: string) =>
      logger.warn({ file }, 'the operator key file names another public key than its own; its own counts'),
    anyOwner: () =>
      logger.warn(
        'SSV_OWNERS is unset, so validators of any owner count: whoever registers one has made its key and may know it whole, and each costs this sidecar work; name the owners you trust',
      ),
    keysharesRead: (
      file: string,
      counts: { validators: number; ours: number; otherOwners: number; isProven: boolean },
    ) =>
      logger.info(
        {
          file,
          validators: counts.validators,
          keys: counts.ours - counts.otherOwners,
          ...(counts.otherOwners === 0 ? {} : { of_other_owners: counts.otherOwners }),
          proven: counts.isProven,
        },
        'keyshares file verified',
      ),
    /** Each told once. */
    sharesUndecipherable: (shares: readonly { origin: string; keyShare: { readonly shareIndex: number } }[]) =>
      logger.warn(
        {
          count: shares.length,
          shares: shown(shares).map(({ origin, keyShare }) => `operator ${keyShare.shareIndex} in ${origin}`),
        },
        "key shares skipped: they do not decrypt with the operator's key to the secret of their public key share",
      ),
    ssvSharesSkipped: (count: number) => metrics.set('dvt_sidecar_shares_undecipherable', count),
    keysChanged({ added, removed, keys }: { added: number; removed: number; keys: number }): void {
      metrics.set('dvt_sidecar_keys', keys)
      logger.info({ added, removed, keys }, 'keys changed')
    },
    keysLoaded(keys: number, nodes: number, seconds: number): void {
      metrics.set('dvt_sidecar_keys', keys)
      logger.info({ keys, nodes, seconds: Math.round(seconds * 10) / 10 }, 'keys loaded')
    },
    /** One of the findings at start, as `doctor` has them too. */
    found: ({ check, status, message, details }: Finding) =>
      logger[status === 'good' ? 'info' : 'warn'](
        { check, finding: message, ...(details.length === 0 ? {} : { details }) },
        'found at start',
      ),
    started: (network: Network['name'], relayer: string, url: string | undefined) =>
      logger.info({ network, relayer, ...(url === undefined ? {} : { url }) }, 'sidecar started'),
    stopping: () => logger.info('sidecar stopping'),
    readingAgain: () => logger.info('keys, locks and the endpoint of the relayer are read again'),

    // Dependencies
    checkChanged(check: Check, problem: string | undefined): void {
      metrics.set('dvt_sidecar_up', problem === undefined ? 1 : 0, { check })
      const [level, message] =
        problem === undefined
          ? (['info', 'check passes'] as const)
          : check === 'network'
            ? (['error', 'relayer refused: nothing is signed for it'] as const)
            : ([check === 'journal' ? 'error' : 'warn', 'check fails'] as const)
      const since = failingSince.get(check)
      if (problem === undefined) failingSince.delete(check)
      else failingSince.set(check, now())
      const once =
        problem !== undefined
          ? { problem, meaning: FAILING[check] }
          : since === undefined
            ? {}
            : { failed_since: timeText(since / 1000), failed_seconds: Math.round((now() - since) / 1000) }
      tally.log({ kind: `${check} ${message}`, level, message, fields: { check }, once, atOnce: AT_ONCE })
    },
    relayerAsked(request: RelayerRequest, outcome: HttpOutcome, seconds: number): void {
      metrics.count('dvt_sidecar_relayer_requests_total', { request, outcome })
      metrics.observe('dvt_sidecar_relayer_request_seconds', seconds, { request })
      logger.debug({ request, outcome, ms: Math.round(seconds * 1000) }, 'relayer asked')
    },
    whoamiMissing: (err: unknown) => logger.debug({ err }, 'relayer does not say whom it takes us for'),
    listSeen: (list: ListName, isKnown: boolean) =>
      tally.log({
        kind: `list ${list} ${isKnown}`,
        level: 'info',
        message: isKnown ? 'relayer has the list' : 'relayer does not have the list',
        fields: { list: `GET /${list}` },
        atOnce: AT_ONCE,
      }),
    longPolling: (list: ListName, isOn: boolean) =>
      tally.log({
        kind: `long polling ${list} ${isOn}`,
        level: 'info',
        message: isOn ? 'relayer knows long polling' : 'relayer does not know long polling: it is polled',
        fields: { list: `GET /${list}` },
        atOnce: AT_ONCE,
      }),

    // Remote signers
    signerAsked(outcome: SignerOutcome, seconds: number): void {
      metrics.count('dvt_sidecar_remote_signer_requests_total', { outcome })
      metrics.observe('dvt_sidecar_remote_signer_seconds', seconds)
    },
    signerLeft: (host: string, problem: string) =>
      logger.warn({ host, problem }, 'remote signer is left alone for a while'),
    signerBack: (host: string) => logger.info({ host }, 'remote signer is back'),
    signerFound: (host: string, keys: number) => logger.info({ host, keys }, 'remote signer lists its keys'),
    /** Told once for each outcome and what was wanted. */
    notSigned: (outcome: Exclude<SignerOutcome, 'ok'>, detail: string, validatorIndexes: readonly number[]) =>
      tally.log({
        kind: `not signed ${outcome}`,
        level: 'warn',
        message: 'remote signer gives no signature that can be used: nothing is posted',
        fields: { outcome, meaning: SIGNER_OUTCOMES[outcome] },
        sums: { count: validatorIndexes.length },
        once: { detail, validator_indexes: shown(validatorIndexes) },
        atOnce: AT_ONCE,
      }),

    // The deposit journal
    anyVault: (validators: number) =>
      logger.warn(
        { validators },
        'deposits are signed for any vault the relayer names: no cluster lock names their withdrawal address, so set ALLOWED_VAULTS',
      ),
    vaultsUnnamed: (validators: number) =>
      logger.warn(
        { validators },
        'deposits are refused: neither ALLOWED_VAULTS nor a cluster lock names the vault of these validators',
      ),
    journalOpened(journal: string, keys: number): void {
      metrics.set('dvt_sidecar_journal_keys', keys)
      logger.info({ journal, keys }, 'deposit journal opened')
    },
    journalTaken: (journal: string) =>
      logger.warn(
        { journal },
        'another sidecar uses the deposit journal, and no deposit can be signed here: stop that one, or give each its own with JOURNAL_FILE',
      ),
    journalRepaired: (journal: string, line: number) =>
      logger.warn({ journal, line }, 'the last line of the deposit journal was cut off by a crash and is removed'),
    keysBound(keys: number, count: number): void {
      metrics.set('dvt_sidecar_journal_keys', keys)
      logger.info({ count, keys }, 'validators bound to their vault for good')
    },

    // The main job
    listApplied: (list: ListName, open: number) => metrics.set(`dvt_sidecar_${list}_open`, open),
    itemsDropped(count: number): void {
      metrics.count('dvt_sidecar_list_items_dropped_total', {}, count)
      logger.debug({ count }, 'items of the list were left out')
    },
    signed(counts: KindCounts): void {
      for (const kind of KINDS) metrics.count('dvt_sidecar_signatures_total', { kind }, counts[kind])
      logger.debug({ exits: counts.exit, deposits: counts.deposit }, 'signed')
    },
    /** Told once for each reason and what was wanted. */
    refused(reason: Refusal, validatorIndexes: readonly number[], details: RefusalDetails = {}): void {
      metrics.count('dvt_sidecar_refusals_total', { reason }, validatorIndexes.length)
      tally.log({
        kind: `refused ${reason}`,
        level: 'warn',
        message: DEPOSIT_REFUSALS.has(reason) ? 'deposits refused by policy' : 'exits refused by policy',
        fields: { reason, meaning: REFUSALS[reason] },
        sums: { count: validatorIndexes.length },
        once: {
          validator_indexes: shown(validatorIndexes),
          ...(details.vaults === undefined ? {} : { vaults: shown(details.vaults) }),
          ...(details.journal === undefined ? {} : { journal: details.journal }),
          ...(details.journalLines === undefined ? {} : { journal_lines: details.journalLines }),
        },
        atOnce: AT_ONCE,
      })
    },
    /** How many key shares are refused now, by reason. */
    refusedNow(counts: ReadonlyMap<string, number>): void {
      for (const [reason, count] of counts) metrics.set('dvt_sidecar_refused', count, { reason })
    },
    policyUnavailable: (waiting: number) =>
      logger.debug({ waiting }, 'nothing is signed while the consensus node cannot be asked'),
    signaturesPosted(list: ListName, shareIndex: number, counts: KindCounts, firstTime: number): void {
      for (const kind of KINDS) metrics.count('dvt_sidecar_signatures_posted_total', { kind }, counts[kind])
      if (firstTime > 0)
        tally.log({
          kind: `posted ${list} ${shareIndex}`,
          level: 'info',
          message: 'partial signatures handed in',
          fields: { list: `GET /${list}`, share_index: shareIndex },
          sums: { count: firstTime },
          atOnce: AT_ONCE,
        })
    },
    signaturesRejected(counts: KindCounts): void {
      for (const kind of KINDS) metrics.count('dvt_sidecar_signatures_rejected_total', { kind }, counts[kind])
    },
    /** Told once for each code and what was wanted; `LISTED` where the relayer's list says so. */
    rejectionSeen: (list: ListName, code: string, shareIndex: number, validatorIndexes: readonly number[]) =>
      tally.log({
        kind: `rejected ${list} ${code} ${shareIndex}`,
        level: 'warn',
        message:
          'relayer rejects partial signatures: its cluster lock may differ from ours, or somebody else posts for this node',
        fields: { list: `GET /${list}`, code, share_index: shareIndex },
        sums: { count: validatorIndexes.length },
        once: { validator_indexes: shown(validatorIndexes) },
        atOnce: AT_ONCE,
      }),
    postFailed(err: unknown, list: ListName, shareIndex: number, count: number): void {
      const message = isTooLarge(err) ? TOO_LARGE_ALONE : 'post failed, it is tried again'
      tally.log({
        kind: `${message} ${list} ${shareIndex}`,
        level: 'warn',
        message,
        fields: { list: `GET /${list}`, share_index: shareIndex },
        sums: { count },
        once: { err },
        atOnce: AT_ONCE,
      })
    },
    /** Told once for each size: the next ones are half as large. */
    postTooLarge: (list: ListName, shareIndex: number, count: number, bytes: number) =>
      logger.warn({ list: `GET /${list}`, share_index: shareIndex, count, body_bytes: bytes }, TOO_LARGE),
    batchAnswered: (seconds: number) => metrics.observe('dvt_sidecar_sign_seconds', seconds),
    loopFailed: (err: unknown) =>
      tally.log({
        kind: 'loop',
        level: 'error',
        message: 'a round failed unexpectedly, the next one comes',
        fields: {},
        once: { err },
        atOnce: AT_ONCE,
      }),
  }
}
export type Events = ReturnType<typeof createEvents>

/** Events that also remember the hashes of the cluster locks that are read. */
export const notingLocks = (events: Events, lockHashes: Set<string>): Events => ({
  ...events,
  lockRead(lock, file, isPinned) {
    lockHashes.add(toHex(lock.lockHash))
    events.lockRead(lock, file, isPinned)
  },
})
