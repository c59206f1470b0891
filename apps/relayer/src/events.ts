/** What happens in the business, one function an event: a log line and a metric together. No event carries a key, a share or a signature. */

import type { ValidatorAdded } from '@dvt-relayer/chain/ssv/events.ts'
import { SSV_FAULT_KINDS, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createLogTally } from '@dvt-relayer/common/log/log-tally.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { createMetrics } from '@dvt-relayer/common/metrics.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { ShareCount } from '@dvt-relayer/db/queries/attendance/census.ts'
import type { ManagerAction } from '@dvt-relayer/db/queries/manager-signatures.ts'
import type { Miscount } from '@dvt-relayer/db/settle-tallies.ts'
import { type ApprovalOutcome, type Bounded, type Dependency, RELAYER_METRICS, routeLabel } from './metrics.ts'

const DAY_MS = 86_400_000
/** Share indexes that are counted by themselves until they are written: callers may claim any. */
const MOST_JUDGED = 256

/** The events of one relayer process, and the metrics they write. It is long because it is a table: each event stands for itself. */
export function createEvents(logger: Logger) {
  const metrics = createMetrics(RELAYER_METRICS)
  const up = new Map<Dependency, boolean>()
  const doubted = new Set<Dependency>()
  const awaySince = new Map<Dependency, number>()
  const told = new Set<string>()
  const toldAt = new Map<string, number>()
  /** Whether this was not said within a day. */
  const isNewToday = (reason: string): boolean => {
    const now = performance.now()
    for (const [old, at] of toldAt) if (now >= at + DAY_MS) toldAt.delete(old)
    const isNew = !toldAt.has(reason)
    if (isNew) toldAt.set(reason, now)
    return isNew
  }
  const judged = new Map<number, { verified: number; rejected: number }>()
  const noteJudged = (shareIndex: number, outcome: 'verified' | 'rejected', count: number): void => {
    const counts = judged.get(shareIndex) ?? { verified: 0, rejected: 0 }
    if (!judged.has(shareIndex) && judged.size >= MOST_JUDGED) return
    counts[outcome] += count
    judged.set(shareIndex, counts)
  }
  // What callers can cause at will is counted and summed up: neither who asks nor how often fills the disk.
  const tally = createLogTally(logger)
  return {
    metrics,
    /** Writes what is counted and not yet written; for the end of the process. */
    flush: () => tally.flush(),
    /** A request that ended with a 5xx. The first of a kind with its cause; at the level debug each one. */
    requestFailed(line: { request_id: string; route: string; code: string }, error: unknown) {
      const { request_id, ...fields } = line
      const cause = error instanceof Error && 'code' in error ? String(error.code) : ''
      tally.log({
        kind: `failed ${line.code} ${line.route} ${cause}`,
        level: 'error',
        message: 'request failed',
        fields,
        once: { request_id, err: error },
        atOnce: 5,
      })
      logger.debug({ ...line, err: error }, 'request failed, this one')
    },
    httpAnswered(route: string, status: number, seconds: number | undefined) {
      const label = routeLabel(route)
      metrics.count('dvt_relayer_http_requests_total', { route: label, status: `${Math.floor(status / 100)}xx` })
      if (seconds !== undefined) metrics.observe('dvt_relayer_http_request_seconds', seconds, { route: label })
    },
    authRefused(
      reason: 'missing' | 'unknown' | 'role' | 'binding' | 'signature' | 'time' | 'replay',
      route: string,
      name: string | undefined,
    ) {
      metrics.count('dvt_relayer_auth_refused_total', { reason })
      const fields = { reason, route, ...(name === undefined ? {} : { token_name: name }) }
      const kind = `refused ${reason} ${route} ${name ?? ''}`
      tally.log({ kind, level: 'warn', message: 'request refused', fields })
    },
    /** Counted alone: a caller that does it once does it a thousand times. */
    callerBounded(of: Bounded) {
      metrics.count('dvt_relayer_callers_bounded_total', { of })
    },
    bytesHeld(of: 'bodies' | 'answers', bytes: number) {
      metrics.set('dvt_relayer_held_bytes', bytes, { of })
    },
    exitsRequested(counts: { created: number; superseded: number; revived: number }, requester: string | null) {
      metrics.count('dvt_relayer_exits_requested_total', {}, counts.created)
      metrics.count('dvt_relayer_exits_superseded_total', {}, counts.superseded)
      metrics.count('dvt_relayer_exits_revived_total', {}, counts.revived)
      tally.log({
        kind: `exits ${requester}`,
        level: 'info',
        message: 'exits requested',
        fields: { requester },
        sums: { created: counts.created, superseded: counts.superseded, revived: counts.revived },
      })
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
    /** Each reason once a day. */
    erasureWaits(reason: string, validators?: number) {
      if (isNewToday(reason)) logger.warn({ reason, validators }, 'exits are not erased yet')
    },
    /** Each reason once a day. */
    copiesWait(reason: string, validators?: number) {
      if (isNewToday(reason)) logger.warn({ reason, validators }, 'exits are not copied for their owners yet')
    },
    depositsSearched(fromBlock: number) {
      logger.info(
        { from_block: fromBlock },
        'no deposit registry is followed: what is to be erased must have a deposit from this block on',
      )
    },
    erasureBegins(consensusNodes: number) {
      logger.info(
        { consensus_nodes: consensusNodes },
        'exits of registered validators are erased a day after all consensus nodes and the deposit logs have begun to agree',
      )
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
      if (malformed > 0)
        tally.log({
          kind: `malformed ${shareIndex}`,
          level: 'warn',
          message: 'malformed partial signatures',
          fields: { share_index: shareIndex },
          sums: { count: malformed },
        })
      if (received > 0) logger.debug({ share_index: shareIndex, count: received }, 'partial signatures received')
    },
    /** What was judged since the last time, by share index. */
    takeJudged(): ShareCount[] {
      const taken = [...judged].map(([shareIndex, counts]) => ({ shareIndex, ...counts }))
      judged.clear()
      return taken
    },
    /** What was taken and could not be kept. */
    giveJudged(counts: readonly ShareCount[]) {
      for (const { shareIndex, verified, rejected } of counts) {
        noteJudged(shareIndex, 'verified', verified)
        noteJudged(shareIndex, 'rejected', rejected)
      }
    },
    partialsVerified(shareIndex: number, count: number) {
      noteJudged(shareIndex, 'verified', count)
      metrics.count('dvt_relayer_partial_signatures_total', { outcome: 'verified' }, count)
      logger.debug({ share_index: shareIndex, count }, 'partial signatures verified')
    },
    partialsRejected(shareIndex: number, count: number) {
      noteJudged(shareIndex, 'rejected', count)
      metrics.count('dvt_relayer_partial_signatures_total', { outcome: 'rejected' }, count)
      tally.log({
        kind: `wrong ${shareIndex}`,
        level: 'warn',
        message: 'wrong partial signatures',
        fields: { share_index: shareIndex },
        sums: { count },
      })
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
      tally.log({
        kind: `registrations ${requester}`,
        level: 'info',
        message: 'registrations assigned',
        fields: { requester },
        sums: { ...counts },
      })
    },
    /** The caller is answered with nothing, again and again: whose relayer it is learns why it stands. */
    vaultUnserved(vault: string, validators: number, requester: string | null) {
      tally.log({
        // Not by vault: a caller may name any.
        kind: `unserved ${requester}`,
        level: 'warn',
        message:
          'a vault asks for validators and gets none: no lock and no line of PUBLIC_KEYS_FILE names it, or its keys are used up; doctor and the status page say which',
        fields: { requester },
        once: { vault, validators },
        atOnce: 5,
      })
    },
    managerSigned(action: ManagerAction, vault: Uint8Array, validators: number, requester: string | null) {
      metrics.count('dvt_relayer_manager_signatures_total', { action })
      logger.info({ action, vault: checksumAddress(vault), validators, requester }, 'signed for a vault')
    },
    recoveryFailed(count: number) {
      metrics.count('dvt_relayer_recoveries_failed_total', {}, count)
      tally.log({
        kind: 'recovery',
        level: 'warn',
        message: 'no full signature among the candidates yet',
        fields: {},
        sums: { count },
      })
    },
    /** Told once for each pair; the count goes on. */
    thresholdDoubtful(stated: number, fitting: number) {
      metrics.count('dvt_relayer_thresholds_doubtful_total')
      const pair = `${stated} ${fitting}`
      if (told.has(pair)) return
      told.add(pair)
      logger.error(
        { threshold: stated, fitting_threshold: fitting },
        'partial signatures fit another threshold: SIGNATURE_THRESHOLD is not that of the cluster',
      )
    },
    /** Told once for each pair. */
    nodesMissing(threshold: number, nodes: number) {
      const pair = `missing ${threshold} ${nodes}`
      if (told.has(pair)) return
      told.add(pair)
      logger.warn(
        { threshold, nodes },
        'fewer nodes sign than SIGNATURE_THRESHOLD says, for ten minutes: are some away, or is it higher than that of the cluster?',
      )
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
    /** An administrator's act, for the record. */
    registrationUndone(
      what: 'registration' | 'exit',
      { publicKey, validatorIndex, vault }: { publicKey: Uint8Array; validatorIndex: number; vault: Uint8Array | null },
    ) {
      logger.warn(
        {
          undone: what,
          public_key: toHex(publicKey),
          validator_index: validatorIndex,
          vault: vault === null ? null : checksumAddress(vault),
        },
        'what was noted of a registered validator is undone by command',
      )
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
    /** A process of this version and role begins. */
    built(version: string, role: string) {
      metrics.set('dvt_relayer_build_info', 1, { version, role })
    },
    /** The oracle config in force was seen to be the newest. */
    oracleSetSeen() {
      metrics.set('dvt_relayer_oracle_set_checked_timestamp_seconds', Date.now() / 1000)
    },
    sharesCounted(counts: readonly ShareCount[], wrong: readonly { shareIndex: number; messages: number }[]) {
      const messages = new Map(wrong.map((one) => [one.shareIndex, one.messages]))
      metrics.replace(
        'dvt_relayer_shares_wrong',
        [...new Set([...counts, ...wrong].map(({ shareIndex }) => shareIndex))].map((shareIndex) => ({
          labels: { share_index: String(shareIndex) },
          value: messages.get(shareIndex) ?? 0,
        })),
      )
      metrics.replace(
        'dvt_relayer_share_signatures_total',
        counts.flatMap(({ shareIndex, verified, rejected }) => {
          const share_index = String(shareIndex)
          return [
            { labels: { share_index, outcome: 'verified' }, value: verified },
            { labels: { share_index, outcome: 'rejected' }, value: rejected },
          ]
        }),
      )
    },
    waitingCounted(oldest: readonly { kind: 'exit' | 'deposit'; seconds: number | null }[]) {
      for (const { kind, seconds } of oldest)
        metrics.set('dvt_relayer_oldest_waiting_seconds', Math.max(0, seconds ?? 0), { kind })
    },
    queueCounted({ waiting, active }: { waiting: number; active: number }) {
      metrics.set('dvt_relayer_queue_jobs', waiting, { state: 'waiting' })
      metrics.set('dvt_relayer_queue_jobs', active, { state: 'active' })
    },
    managerCounted(limitGwei: number | undefined, moved: readonly { vault: string; gwei: number }[]) {
      metrics.set('dvt_relayer_manager_limit_gwei', limitGwei ?? 0)
      metrics.replace(
        'dvt_relayer_manager_moved_gwei',
        moved.map(({ vault, gwei }) => ({ labels: { vault }, value: gwei })),
      )
    },
    keysCounted(vaults: readonly { vault: string; keys: number }[]) {
      metrics.replace(
        'dvt_relayer_vault_keys_left',
        vaults.map(({ vault, keys }) => ({ labels: { vault }, value: keys })),
      )
    },
    programsCounted(
      processes: readonly { role: string; version: string; processes: number }[],
      sidecars: ReadonlyMap<string, number>,
    ) {
      metrics.replace(
        'dvt_relayer_processes',
        processes.map(({ role, version, processes: value }) => ({ labels: { role, version }, value })),
      )
      metrics.replace(
        'dvt_relayer_sidecars',
        [...sidecars].map(([version, value]) => ({ labels: { version }, value })),
      )
    },
    attendanceCounted(
      workers: number,
      nodes: readonly { shareIndex: number; seconds: number }[],
      known: readonly { shareIndex: number; isNeverSeen: boolean }[],
    ) {
      metrics.set('dvt_relayer_workers', workers)
      metrics.replace(
        'dvt_relayer_node_last_seen_seconds',
        nodes.map(({ shareIndex, seconds }) => ({ labels: { share_index: String(shareIndex) }, value: seconds })),
      )
      metrics.replace(
        'dvt_relayer_node_never_seen',
        known.map(({ shareIndex, isNeverSeen }) => ({
          labels: { share_index: String(shareIndex) },
          value: isNeverSeen ? 1 : 0,
        })),
      )
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
    /** The tallies were held against the rows. */
    talliesCompared({ tallies, validators }: Miscount) {
      if (tallies + validators > 0)
        logger.warn({ tallies, validators }, 'what was counted was not what the database holds, and is counted anew')
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
    /** What counts is what the blocks have. */
    ssvLogsWrong(sentence: string) {
      logger.warn({ reason: sentence }, 'events of the SSV contract were taken from the receipts of a block')
    },
    ssvScanned(nextBlock: number, finalBlock: number, validators: number) {
      logger.info(
        { next_block: nextBlock, final_block: finalBlock, validators },
        'reading the events of the SSV contract',
      )
    },
    ssvCounted({ validators, malformed }: { validators: number; malformed: SsvState['malformed'] }) {
      metrics.set('dvt_relayer_ssv_validators', validators)
      for (const kind of SSV_FAULT_KINDS)
        metrics.set('dvt_relayer_ssv_events_skipped', malformed[kind], { reason: kind })
    },
    outboundAnswered(target: 'consensus' | 'execution' | 'ipfs', ok: boolean) {
      metrics.count('dvt_relayer_outbound_requests_total', { target, outcome: ok ? 'ok' : 'failed' })
    },
    /** Says once that something may be wrong with one that works, and once that it is over. */
    dependencyDoubted(dependency: Dependency, doubt: string | undefined) {
      if (doubted.has(dependency) === (doubt !== undefined)) return
      if (doubt === undefined) doubted.delete(dependency)
      else doubted.add(dependency)
      if (doubt === undefined) logger.info({ dependency }, 'nothing is doubtful any more about a dependency')
      else logger.warn({ dependency, doubt }, 'dependency works, and may not be in order')
    },
    /** Says once when a dependency goes and once when it comes back. */
    dependencySeen(dependency: Dependency, ok: boolean, error?: unknown) {
      metrics.set('dvt_relayer_dependency_up', ok ? 1 : 0, { dependency })
      if (up.get(dependency) === ok) return
      if (!ok) awaySince.set(dependency, performance.now())
      const away = awaySince.get(dependency)
      if (ok && up.has(dependency) && away !== undefined)
        logger.info({ dependency, away_seconds: Math.round((performance.now() - away) / 1000) }, 'dependency is back')
      if (!ok) logger.warn({ dependency, ...(error === undefined ? {} : { err: error }) }, 'dependency is away')
      up.set(dependency, ok)
    },
  }
}
export type Events = ReturnType<typeof createEvents>
