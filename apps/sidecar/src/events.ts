/** What happens in the business, one function an event: a log line and a metric together. No event carries a key or a signature. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { HttpOutcome } from '@dvt-relayer/common/http-client.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
import { createMetrics } from '@dvt-relayer/common/metrics.ts'
import type { ClusterLock } from '@dvt-relayer/crypto/cluster-lock.ts'
import { type Check, type Refusal, type RelayerRequest, SIDECAR_METRICS } from './metrics.ts'

export { SIDECAR_METRICS } from './metrics.ts'

/** Validator indexes a log line names before it is cut. */
const SHOWN = 10
const shown = <T>(items: readonly T[]): readonly T[] => items.slice(0, SHOWN)

/** Creates the events of one sidecar. */
export function createEvents(logger: Logger) {
  const metrics = createMetrics(SIDECAR_METRICS)
  return {
    metrics,

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
    nodeFound: (dir: string, place: number, keys: number) =>
      logger.info({ dir, node_index: place, share_index: place + 1, keys }, 'node found'),
    keysLoaded(keys: number, nodes: number, seconds: number): void {
      metrics.set('dvt_sidecar_keys', keys)
      logger.info({ keys, nodes, seconds: Math.round(seconds * 10) / 10 }, 'keys loaded')
    },
    started: (network: Network['name'], relayer: string, url: string | undefined) =>
      logger.info({ network, relayer, ...(url === undefined ? {} : { url }) }, 'sidecar started'),
    stopping: () => logger.info('sidecar stopping'),

    // Dependencies
    checkChanged(check: Check, problem: string | undefined): void {
      metrics.set('dvt_sidecar_up', problem === undefined ? 1 : 0, { check })
      if (problem === undefined) logger.info({ check }, 'check passes')
      else if (check === 'network') logger.error({ check, problem }, 'relayer refused: nothing is signed for it')
      else logger.warn({ check, problem }, 'check fails')
    },
    relayerAsked(request: RelayerRequest, outcome: HttpOutcome, seconds: number): void {
      metrics.count('dvt_sidecar_relayer_requests_total', { request, outcome })
      metrics.observe('dvt_sidecar_relayer_request_seconds', seconds, { request })
      logger.debug({ request, outcome, ms: Math.round(seconds * 1000) }, 'relayer asked')
    },
    longPolling: (isOn: boolean) =>
      logger.info(isOn ? 'relayer knows long polling' : 'relayer does not know long polling: it is polled'),

    // The main job
    exitsListed: (open: number) => metrics.set('dvt_sidecar_exits_open', open),
    itemsDropped(count: number): void {
      metrics.count('dvt_sidecar_list_items_dropped_total', {}, count)
      logger.debug({ count }, 'items of the list were left out')
    },
    exitsSigned(count: number): void {
      metrics.count('dvt_sidecar_signatures_total', {}, count)
      logger.debug({ count }, 'exits signed')
    },
    /** Told once per exit and reason. */
    exitsRefused(reason: Refusal, validatorIndexes: readonly number[]): void {
      metrics.count('dvt_sidecar_refusals_total', { reason }, validatorIndexes.length)
      logger.warn(
        { reason, count: validatorIndexes.length, validator_indexes: shown(validatorIndexes) },
        'exits refused by policy',
      )
    },
    policyUnavailable: (waiting: number) =>
      logger.debug({ waiting }, 'nothing is signed while the consensus node cannot be asked'),
    signaturesPosted(shareIndex: number, count: number, firstTime: number): void {
      metrics.count('dvt_sidecar_signatures_posted_total', {}, count)
      if (firstTime > 0) logger.info({ share_index: shareIndex, count: firstTime }, 'partial signatures handed in')
    },
    signaturesRejected: (count: number) => metrics.count('dvt_sidecar_signatures_rejected_total', {}, count),
    /** Told once per exit and code; `LISTED` where the relayer's list says so. */
    rejectionSeen: (code: string, shareIndex: number, validatorIndexes: readonly number[]) =>
      logger.warn(
        {
          code,
          share_index: shareIndex,
          count: validatorIndexes.length,
          validator_indexes: shown(validatorIndexes),
        },
        'relayer rejects partial signatures: its cluster lock may differ from ours, or somebody else posts for this node',
      ),
    postFailed: (err: unknown, shareIndex: number, count: number) =>
      logger.warn({ err, share_index: shareIndex, count }, 'post failed, it is tried again'),
    batchAnswered: (seconds: number) => metrics.observe('dvt_sidecar_sign_seconds', seconds),
    loopFailed: (err: unknown) => logger.error({ err }, 'a round failed unexpectedly, the next one comes'),
  }
}
export type Events = ReturnType<typeof createEvents>
