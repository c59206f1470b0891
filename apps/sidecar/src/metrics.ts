/** The sidecar's metrics. The README's table is written from these definitions. */

import { HTTP_OUTCOMES } from '@dvt-relayer/common/http-client.ts'
import type { MetricDefinitions } from '@dvt-relayer/common/metrics.ts'

/** What the sidecar depends on, as `/ready` names it. */
export const CHECKS = ['keys', 'relayer', 'network', 'consensus'] as const
export type Check = (typeof CHECKS)[number]

/** What is asked of the relayer. */
export const RELAYER_REQUESTS = ['info', 'exits', 'exit_signature'] as const
export type RelayerRequest = (typeof RELAYER_REQUESTS)[number]

/** Why an exit is not signed. */
export const REFUSALS = ['index_taken', 'key_has_other_index', 'index_impossible'] as const
export type Refusal = (typeof REFUSALS)[number]

export const SIDECAR_METRICS = {
  dvt_sidecar_keys: { type: 'gauge', help: 'Key shares this sidecar can sign with' },
  dvt_sidecar_up: {
    type: 'gauge',
    help: 'Whether something the sidecar depends on was last seen working (1) or not (0); 1 for a consensus node that is not set',
    labels: { check: CHECKS },
  },
  dvt_sidecar_exits_open: { type: 'gauge', help: 'Listed exits that still wait for a signature of this sidecar' },
  dvt_sidecar_list_items_dropped_total: {
    type: 'counter',
    help: 'Items of the relayer that were left out: malformed, or a second one for the same key',
  },
  dvt_sidecar_signatures_total: { type: 'counter', help: 'Partial signatures made' },
  dvt_sidecar_refusals_total: {
    type: 'counter',
    help: 'Exits the policy refused to sign, by reason',
    labels: { reason: REFUSALS },
  },
  dvt_sidecar_signatures_posted_total: {
    type: 'counter',
    help: 'Partial signatures the relayer took, repeats included',
  },
  dvt_sidecar_signatures_rejected_total: { type: 'counter', help: 'Partial signatures the relayer said are wrong' },
  dvt_sidecar_relayer_requests_total: {
    type: 'counter',
    help: 'Requests to the relayer, by request and outcome',
    labels: { request: RELAYER_REQUESTS, outcome: HTTP_OUTCOMES },
  },
  dvt_sidecar_relayer_request_seconds: {
    type: 'histogram',
    help: 'Duration of requests to the relayer; those for exits include the time they wait for news',
    labels: { request: RELAYER_REQUESTS },
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 30],
  },
  dvt_sidecar_sign_seconds: {
    type: 'histogram',
    help: 'From the start of a round of signing to the answer to a post, one observation a post',
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
  },
} as const satisfies MetricDefinitions
