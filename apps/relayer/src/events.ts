/** What happens in the business, one function an event: a log line and a metric together. No event carries a key, a share or a signature. */

import type { ValidatorAdded } from '@dvt-relayer/chain/ssv/events.ts'
import { SSV_FAULT_KINDS, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import { createMetrics } from '@dvt-relayer/common/metrics.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { ManagerAction } from '@dvt-relayer/db/queries/manager-signatures.ts'

/** The services outside this process that the relayer leans on. */
export const DEPENDENCIES = [
  'database',
  'queue',
  'execution',
  'consensus',
  'oracle_set',
  'registry',
  'rotation',
  'ssv',
] as const
export type Dependency = (typeof DEPENDENCIES)[number]

const ROUTES = [
  '/info',
  '/validators',
  '/exits',
  '/exit-signature',
  '/oracles/:oracle/exit-shares',
  '/validators/:public_key/oracle-shares',
  '/register',
  '/fund',
  '/withdraw',
  '/consolidate',
  '/signatures',
  '/vaults',
  '/vaults/:vault',
  '/vaults/:vault/owner-copies',
  '/vaults/:vault/rotation',
  '/health',
  '/ready',
  '/metrics',
  '/openapi.json',
  'other',
] as const

/** What became of the question for an oracle's approval: `other` approves other content than most, `wrong` is no valid approval. */
const APPROVAL_OUTCOMES = ['approved', 'other', 'refused', 'wrong', 'away'] as const
export type ApprovalOutcome = (typeof APPROVAL_OUTCOMES)[number]

export const RELAYER_METRICS = {
  dvt_relayer_http_requests_total: {
    type: 'counter',
    help: 'requests answered, by route and class of status',
    labels: { route: ROUTES, status: ['2xx', '3xx', '4xx', '5xx'] },
  },
  dvt_relayer_http_request_seconds: {
    type: 'histogram',
    help: 'time to answer a request that does not wait for a change',
    labels: { route: ROUTES },
    buckets: [0.002, 0.01, 0.05, 0.2, 1, 5, 20],
  },
  dvt_relayer_auth_refused_total: {
    type: 'counter',
    help: 'requests refused for their token or signature',
    labels: { reason: ['missing', 'unknown', 'role', 'binding', 'signature', 'time', 'replay'] },
  },
  dvt_relayer_exits_requested_total: { type: 'counter', help: 'exits made for operators' },
  dvt_relayer_exits_superseded_total: { type: 'counter', help: 'exits whose validator index changed' },
  dvt_relayer_exits_revived_total: { type: 'counter', help: 'expired exits asked for again' },
  dvt_relayer_exits_expired_total: { type: 'counter', help: 'exits nobody asked for within VALIDATOR_LIFETIME' },
  dvt_relayer_exits_ready_total: { type: 'counter', help: 'exits whose full signature was recovered' },
  dvt_relayer_exits_erased_total: {
    type: 'counter',
    help: 'exits erased because their validators are registered (EXIT_RETENTION)',
  },
  dvt_relayer_owner_copies_total: { type: 'counter', help: 'exits encrypted to the owners of their vaults' },
  dvt_relayer_exits: { type: 'gauge', help: 'live exits, by state', labels: { state: ['collecting', 'ready'] } },
  dvt_relayer_deposits: { type: 'gauge', help: 'live deposits, by state', labels: { state: ['collecting', 'ready'] } },
  dvt_relayer_deposits_expired_total: { type: 'counter', help: 'deposits nobody asked for within VALIDATOR_LIFETIME' },
  dvt_relayer_deposits_ready_total: { type: 'counter', help: 'deposits whose full signature was recovered' },
  dvt_relayer_validators_reserved_total: { type: 'counter', help: 'validators reserved for vaults' },
  dvt_relayer_manager_signatures_total: {
    type: 'counter',
    help: 'signatures of the validators-manager key, each counted once',
    labels: { action: ['register', 'fund', 'withdraw', 'consolidate'] },
  },
  dvt_relayer_partial_signatures_total: {
    type: 'counter',
    help: 'partial signatures, by what became of them; malformed ones never reach the database',
    labels: { outcome: ['received', 'verified', 'rejected', 'malformed'] },
  },
  dvt_relayer_recoveries_failed_total: {
    type: 'counter',
    help: 'attempts to find a full signature among unverified candidates that found none',
  },
  dvt_relayer_oracle_share_sets_total: { type: 'counter', help: 'exits split and encrypted for the oracles' },
  dvt_relayer_oracle_sets_total: {
    type: 'counter',
    help: 'oracle configs seen on a change, by what became of them',
    labels: { outcome: ['adopted', 'refused'] },
  },
  dvt_relayer_registered_validators: {
    type: 'gauge',
    help: 'registered validators on the finalized chain; wrong_index are those of current and outdated whose newest shares were made for another index than they have',
    labels: { state: ['current', 'outdated', 'exited', 'wrong_index'] },
  },
  dvt_relayer_outdated_validators: {
    type: 'gauge',
    help: 'validators whose shares on chain are of another oracle set than the current one, by vault (at most 256, those with the most)',
    labels: { vault: [] },
  },
  dvt_relayer_force_exit_seconds: {
    type: 'gauge',
    help: 'seconds until outdated validators may be exited by force, by vault (at most 256, those with the least); 0 when that is over',
    labels: { vault: [] },
  },
  dvt_relayer_rotations_total: {
    type: 'counter',
    help: 'updates of exit signatures for a new oracle set: opened, carried out on chain, given up',
    labels: { outcome: ['opened', 'done', 'void'] },
  },
  dvt_relayer_rotation_approvals_total: {
    type: 'counter',
    help: 'oracles asked for their approval of an update, by what they said; other: of other content than most; wrong: no valid approval',
    labels: { outcome: APPROVAL_OUTCOMES },
  },
  dvt_relayer_rotation_transactions_total: { type: 'counter', help: "transactions signed by the rotation's wallet" },
  dvt_relayer_rotation_open_seconds: {
    type: 'gauge',
    help: 'age of the oldest open update of exit signatures; 0 without',
  },
  dvt_relayer_finish_seconds: {
    type: 'histogram',
    help: 'time to recover, split, encrypt and store one batch of exits',
    buckets: [0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30],
  },
  dvt_relayer_dependency_up: {
    type: 'gauge',
    help: '1 while the dependency was last seen working',
    labels: { dependency: DEPENDENCIES },
  },
  dvt_relayer_outbound_requests_total: {
    type: 'counter',
    help: 'requests to nodes and gateways',
    labels: { target: ['consensus', 'execution', 'ipfs'], outcome: ['ok', 'failed'] },
  },
  dvt_relayer_registry_validators: {
    type: 'gauge',
    help: 'validators there are once all deposits are processed, as the deposit logs and as the consensus node say',
    labels: { source: ['execution', 'consensus'] },
  },
  dvt_relayer_ssv_validators: {
    type: 'gauge',
    help: 'validators that the owners of SSV_OWNERS have registered, on the final chain',
  },
  dvt_relayer_ssv_events_skipped: {
    type: 'gauge',
    help: 'malformed events of the SSV contract that were skipped, by what is wrong; of registrations, those of the owners of SSV_OWNERS',
    labels: { reason: SSV_FAULT_KINDS },
  },
  dvt_relayer_wrong_deposits_total: {
    type: 'counter',
    help: 'deposits of validators of ours whose signature is wrong, so that the chain ignores them',
  },
} as const

/** The events of one relayer process, and the metrics they write. */
export function createEvents(logger: Logger) {
  const metrics = createMetrics(RELAYER_METRICS)
  const up = new Map<Dependency, boolean>()
  return {
    metrics,
    httpAnswered(route: string, status: number, seconds: number | undefined) {
      const label = (ROUTES as readonly string[]).includes(route) ? route : 'other'
      metrics.count('dvt_relayer_http_requests_total', { route: label, status: `${Math.floor(status / 100)}xx` })
      if (seconds !== undefined) metrics.observe('dvt_relayer_http_request_seconds', seconds, { route: label })
    },
    authRefused(
      reason: 'missing' | 'unknown' | 'role' | 'binding' | 'signature' | 'time' | 'replay',
      route: string,
      name: string | undefined,
    ) {
      metrics.count('dvt_relayer_auth_refused_total', { reason })
      logger.warn({ reason, route, ...(name === undefined ? {} : { token_name: name }) }, 'request refused')
    },
    exitsRequested(counts: { created: number; superseded: number; revived: number }, requester: string | null) {
      metrics.count('dvt_relayer_exits_requested_total', {}, counts.created)
      metrics.count('dvt_relayer_exits_superseded_total', {}, counts.superseded)
      metrics.count('dvt_relayer_exits_revived_total', {}, counts.revived)
      logger.info({ ...counts, requester }, 'exits requested')
    },
    messagesExpired(exits: number, deposits: number) {
      metrics.count('dvt_relayer_exits_expired_total', {}, exits)
      metrics.count('dvt_relayer_deposits_expired_total', {}, deposits)
      logger.info({ exits, deposits }, 'messages expired')
    },
    exitsErased(count: number) {
      metrics.count('dvt_relayer_exits_erased_total', {}, count)
      logger.info({ count }, 'exits of registered validators erased')
    },
    ownerCopiesMade(count: number) {
      metrics.count('dvt_relayer_owner_copies_total', {}, count)
      logger.info({ count }, 'exits copied for their owners')
    },
    messagesCounted(kind: 'exit' | 'deposit', collecting: number, ready: number) {
      const name = kind === 'exit' ? 'dvt_relayer_exits' : 'dvt_relayer_deposits'
      metrics.set(name, collecting, { state: 'collecting' })
      metrics.set(name, ready, { state: 'ready' })
    },
    partialsReceived(shareIndex: number, received: number, malformed: number) {
      metrics.count('dvt_relayer_partial_signatures_total', { outcome: 'received' }, received)
      metrics.count('dvt_relayer_partial_signatures_total', { outcome: 'malformed' }, malformed)
      if (malformed > 0) logger.warn({ share_index: shareIndex, count: malformed }, 'malformed partial signatures')
      if (received > 0) logger.debug({ share_index: shareIndex, count: received }, 'partial signatures received')
    },
    partialsVerified(shareIndex: number, count: number) {
      metrics.count('dvt_relayer_partial_signatures_total', { outcome: 'verified' }, count)
      logger.debug({ share_index: shareIndex, count }, 'partial signatures verified')
    },
    partialsRejected(shareIndex: number, count: number) {
      metrics.count('dvt_relayer_partial_signatures_total', { outcome: 'rejected' }, count)
      logger.warn({ share_index: shareIndex, count }, 'wrong partial signatures')
    },
    messagesReady(done: { exits: number; deposits: number; shareSets: number }, seconds: number) {
      metrics.count('dvt_relayer_exits_ready_total', {}, done.exits)
      metrics.count('dvt_relayer_deposits_ready_total', {}, done.deposits)
      metrics.count('dvt_relayer_oracle_share_sets_total', {}, done.shareSets)
      metrics.observe('dvt_relayer_finish_seconds', seconds)
      logger.info(
        {
          exits: done.exits,
          deposits: done.deposits,
          oracle_share_sets: done.shareSets,
          seconds: Number(seconds.toFixed(3)),
        },
        'messages finished',
      )
    },
    registrationsAssigned(counts: { reserved: number; exits: number; deposits: number }, requester: string) {
      metrics.count('dvt_relayer_validators_reserved_total', {}, counts.reserved)
      logger.info({ ...counts, requester }, 'registrations assigned')
    },
    managerSigned(action: ManagerAction, vault: Uint8Array, validators: number, requester: string | null) {
      metrics.count('dvt_relayer_manager_signatures_total', { action })
      logger.info({ action, vault: checksumAddress(vault), validators, requester }, 'signed for a vault')
    },
    recoveryFailed(count: number) {
      metrics.count('dvt_relayer_recoveries_failed_total', {}, count)
      logger.warn({ count }, 'no full signature among the candidates yet')
    },
    oracleSetAdopted(cid: string, oracles: number, threshold: number, blockNumber: number) {
      metrics.count('dvt_relayer_oracle_sets_total', { outcome: 'adopted' })
      logger.info({ cid, oracles, threshold, block_number: blockNumber }, 'oracle set adopted')
    },
    oracleSetRefused(cid: string, error: unknown) {
      metrics.count('dvt_relayer_oracle_sets_total', { outcome: 'refused' })
      logger.error({ cid, err: error }, 'oracle set refused, the last good one stays')
    },
    validatorsRegistered(validators: number) {
      logger.info({ validators }, 'validators registered on the finalized chain')
    },
    validatorsExited(validators: number) {
      logger.info({ validators }, 'validators have exited, or are about to')
    },
    registrationDisagrees(validatorIndex: number, saidIndex: number) {
      logger.error(
        { validator_index: validatorIndex, said_validator_index: saidIndex },
        'the consensus node gives a registered validator another index: is it on the right chain?',
      )
    },
    finalizedUnread(error: unknown) {
      logger.warn({ err: error }, 'registrations cannot be read from the consensus node, the next look comes')
    },
    validatorsOutdated(cid: string, validators: number, vaults: number) {
      logger.warn({ cid, validators, vaults }, 'registered validators are outdated: the oracles have changed')
    },
    vaultsCounted(
      counts: { current: number; outdated: number; exited: number; wrongIndex: number },
      vaults: readonly { vault: string; outdated: number; forceExitSeconds: number | null }[],
    ) {
      const name = 'dvt_relayer_registered_validators'
      metrics.set(name, counts.current, { state: 'current' })
      metrics.set(name, counts.outdated, { state: 'outdated' })
      metrics.set(name, counts.exited, { state: 'exited' })
      metrics.set(name, counts.wrongIndex, { state: 'wrong_index' })
      metrics.replace(
        'dvt_relayer_outdated_validators',
        vaults
          .toSorted((a, b) => b.outdated - a.outdated)
          .map(({ vault, outdated }) => ({ labels: { vault }, value: outdated })),
      )
      metrics.replace(
        'dvt_relayer_force_exit_seconds',
        vaults
          .flatMap(({ vault, forceExitSeconds: value }) => (value === null ? [] : [{ labels: { vault }, value }]))
          .sort((a, b) => a.value - b.value),
      )
    },
    rotationOpened(vault: Uint8Array, validators: number, nonce: number) {
      metrics.count('dvt_relayer_rotations_total', { outcome: 'opened' })
      logger.info({ vault: checksumAddress(vault), validators, nonce }, 'update of exit signatures opened')
    },
    rotationEnded(outcome: 'done' | 'void', vault: Uint8Array, count: number, reason: string) {
      metrics.count('dvt_relayer_rotations_total', { outcome }, count)
      logger[outcome === 'done' ? 'info' : 'warn'](
        { vault: checksumAddress(vault), outcome, reason },
        'update of exit signatures ended',
      )
    },
    rotationApproved(outcome: ApprovalOutcome, count: number) {
      metrics.count('dvt_relayer_rotation_approvals_total', { outcome }, count)
    },
    rotationSent(vault: Uint8Array, transactionHash: Uint8Array, from: string) {
      metrics.count('dvt_relayer_rotation_transactions_total')
      logger.info(
        { vault: checksumAddress(vault), transaction: toHex(transactionHash), from },
        'transaction for new exit signatures signed',
      )
    },
    rotationNotTaken(vault: Uint8Array, error: unknown) {
      logger.warn(
        { vault: checksumAddress(vault), err: error },
        'the execution node has not taken the transaction for new exit signatures; it is sent again',
      )
    },
    rotationsOpen(oldestSeconds: number) {
      metrics.set('dvt_relayer_rotation_open_seconds', oldestSeconds)
    },
    registryBegun(validators: number, nextBlock: number, seconds: number) {
      logger.info({ validators, next_block: nextBlock, seconds: Number(seconds.toFixed(1)) }, 'registry begun')
    },
    registryRead(block: number, finalBlock: number, validators: number) {
      logger.info({ block, final_block: finalBlock, validators }, 'reading deposits')
    },
    registrySettled(finalBlock: number, validators: number, added: number) {
      logger[added > 0 ? 'info' : 'debug']({ final_block: finalBlock, validators, added }, 'deposits settled')
    },
    registryCounted(execution: number, consensus: number) {
      metrics.set('dvt_relayer_registry_validators', execution, { source: 'execution' })
      metrics.set('dvt_relayer_registry_validators', consensus, { source: 'consensus' })
    },
    depositWrong(blockNumber: number, depositIndex: number) {
      metrics.count('dvt_relayer_wrong_deposits_total')
      logger.warn(
        { block_number: blockNumber, deposit_index: depositIndex },
        'a deposit of a validator of ours has a wrong signature and is ignored by the chain',
      )
    },
    ssvImported(
      source: 'files' | 'chain',
      { imported, removed, rejudged }: { imported: number; removed: number; rejudged: number },
    ) {
      const level = imported + removed > 0 ? 'info' : 'debug'
      logger[level]({ source, imported, removed, rejudged_messages: rejudged }, 'SSV validators imported')
    },
    ssvLocked(validators: readonly string[]) {
      logger.error(
        { count: validators.length, validators: validators.slice(0, 10) },
        'registrations of the SSV contract say otherwise than a cluster lock: the lock stays',
      )
    },
    ssvEventsSkipped(skipped: readonly { reason: string; event: ValidatorAdded }[]) {
      const registrations = skipped
        .slice(0, 10)
        .map(
          ({ reason, event }) =>
            `log ${event.logIndex} of block ${event.blockNumber} by ${toHex(event.owner)}: its shares ${reason}`,
        )
      logger.warn({ count: skipped.length, registrations }, 'registrations of the SSV contract skipped')
    },
    ssvScanned(nextBlock: number, finalBlock: number, validators: number) {
      logger.info(
        { next_block: nextBlock, final_block: finalBlock, validators },
        'reading the events of the SSV contract',
      )
    },
    ssvSettled({ live, malformed }: Pick<SsvState, 'live' | 'malformed'>) {
      metrics.set('dvt_relayer_ssv_validators', live.size)
      for (const kind of SSV_FAULT_KINDS)
        metrics.set('dvt_relayer_ssv_events_skipped', malformed[kind], { reason: kind })
    },
    outboundAnswered(target: 'consensus' | 'execution' | 'ipfs', ok: boolean) {
      metrics.count('dvt_relayer_outbound_requests_total', { target, outcome: ok ? 'ok' : 'failed' })
    },
    /** Says once when a dependency goes and once when it comes back. */
    dependencySeen(dependency: Dependency, ok: boolean, error?: unknown) {
      metrics.set('dvt_relayer_dependency_up', ok ? 1 : 0, { dependency })
      if (up.get(dependency) === ok) return
      if (ok && up.has(dependency)) logger.info({ dependency }, 'dependency is back')
      if (!ok) logger.warn({ dependency, ...(error === undefined ? {} : { err: error }) }, 'dependency is away')
      up.set(dependency, ok)
    },
  }
}
export type Events = ReturnType<typeof createEvents>
