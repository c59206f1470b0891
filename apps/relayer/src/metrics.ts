/** The metrics of the relayer, for the program and for docs/reference/metrics.md. */

import { routes } from '@dvt-relayer/api/routes.ts'
import { SSV_FAULT_KINDS } from '@dvt-relayer/chain/ssv/registry.ts'

/** The services outside this process that the relayer leans on. */
export const DEPENDENCIES = [
  'database',
  'queue',
  'execution',
  'consensus',
  'oracle_set',
  'registry',
  'manager',
  'rotation',
  'ssv',
  'worker',
  'files',
] as const
export type Dependency = (typeof DEPENDENCIES)[number]

/** The path of every route of the contract, and `other` for what leads nowhere. */
const ROUTES: readonly string[] = [...new Set(Object.values(routes).map(({ path }) => path)), 'other']

/** The label of a route. */
export const routeLabel = (route: string): string => (ROUTES.includes(route) ? route : 'other')

/** What became of the question for an oracle's approval: `other` approves other content than most, `wrong` is no valid approval. */
const APPROVAL_OUTCOMES = ['approved', 'other', 'refused', 'wrong', 'away'] as const
export type ApprovalOutcome = (typeof APPROVAL_OUTCOMES)[number]

/** What callers are kept from taking more of. */
const BOUNDED = ['requests', 'bodies', 'upload', 'answer', 'connections'] as const
export type Bounded = (typeof BOUNDED)[number]

/** What tells of everything there is in the database, so that every process says the same. */
const SAME = 'the same in every process'

export const RELAYER_METRICS = {
  dvt_relayer_build_info: {
    type: 'gauge',
    help: '1, with the version and the role of the process',
    labels: { version: [], role: [] },
  },
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
  dvt_relayer_callers_bounded_total: {
    type: 'counter',
    help: 'callers kept from taking more, by what of: requests and bodies refused, slow uploads and unread answers cut off, connections closed for others',
    labels: { of: BOUNDED },
  },
  dvt_relayer_held_bytes: {
    type: 'gauge',
    help: 'bytes held for callers: bodies as they are counted while they are worked on, and answers not taken yet',
    labels: { of: ['bodies', 'answers'] },
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
  dvt_relayer_exits: {
    type: 'gauge',
    help: `live exits, by state; ${SAME}`,
    labels: { state: ['collecting', 'ready'] },
  },
  dvt_relayer_deposits: {
    type: 'gauge',
    help: `live deposits, by state; ${SAME}`,
    labels: { state: ['collecting', 'ready'] },
  },
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
  dvt_relayer_share_signatures_total: {
    type: 'counter',
    help: `partial signatures that were judged, by share index, as of the last 30 s; ${SAME}`,
    labels: { share_index: [], outcome: [] },
  },
  dvt_relayer_shares_wrong: {
    type: 'gauge',
    help: `messages that are collected and of which a share index has handed in wrong signatures alone; ${SAME}`,
    labels: { share_index: [] },
  },
  dvt_relayer_recoveries_failed_total: {
    type: 'counter',
    help: 'attempts to find a full signature among unverified candidates that found none',
  },
  dvt_relayer_thresholds_doubtful_total: {
    type: 'counter',
    help: 'messages whose partial signatures fit another threshold than SIGNATURE_THRESHOLD',
  },
  dvt_relayer_oracle_share_sets_total: { type: 'counter', help: 'exits split and encrypted for the oracles' },
  dvt_relayer_oracle_sets_total: {
    type: 'counter',
    help: 'oracle configs seen on a change, by what became of them',
    labels: { outcome: ['adopted', 'refused'] },
  },
  dvt_relayer_oracle_set_checked_timestamp_seconds: {
    type: 'gauge',
    help: 'when this process last saw that the oracle config in force is the newest of the Keeper (Unix time); 0 before it has',
  },
  dvt_relayer_registered_validators: {
    type: 'gauge',
    help: `registered validators on the finalized chain; wrong_index are those of current and outdated whose newest shares were made for another index than they have; ${SAME}`,
    labels: { state: ['current', 'outdated', 'exited', 'wrong_index'] },
  },
  dvt_relayer_outdated_validators: {
    type: 'gauge',
    help: `validators whose shares on chain are of another oracle set than the current one, by vault (at most 256, those with the most); ${SAME}`,
    labels: { vault: [] },
  },
  dvt_relayer_force_exit_seconds: {
    type: 'gauge',
    help: `seconds until outdated validators may be exited by force, by vault (at most 256, those with the least); 0 when that is over; ${SAME}`,
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
    help: `age of the oldest open update of exit signatures; 0 without; ${SAME}`,
  },
  dvt_relayer_finish_seconds: {
    type: 'histogram',
    help: 'time to recover, split, encrypt and store one batch of exits',
    buckets: [0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30],
  },
  dvt_relayer_oldest_waiting_seconds: {
    type: 'gauge',
    help: `age of the oldest exit or deposit that is still collected; ${SAME}`,
    labels: { kind: ['exit', 'deposit'] },
  },
  dvt_relayer_queue_jobs: {
    type: 'gauge',
    help: `jobs of the queue; ${SAME}`,
    labels: { state: ['waiting', 'active'] },
  },
  dvt_relayer_manager_moved_gwei: {
    type: 'gauge',
    help: `Gwei that signatures of the last 24 hours move, as MANAGER_DAILY_LIMIT_GWEI counts them, by vault (at most 256, those with the most); ${SAME}`,
    labels: { vault: [] },
  },
  dvt_relayer_manager_limit_gwei: { type: 'gauge', help: 'MANAGER_DAILY_LIMIT_GWEI; 0 without a limit' },
  dvt_relayer_vault_keys_left: {
    type: 'gauge',
    help: `keys that a vault may still register, by vault (at most 256, those with the fewest), where the validators-manager key or VAULTS is set; ${SAME}`,
    labels: { vault: [] },
  },
  dvt_relayer_processes: {
    type: 'gauge',
    help: `processes of the relayer that have been heard within a minute, by role and version; ${SAME}`,
    labels: { role: [], version: [] },
  },
  dvt_relayer_sidecars: {
    type: 'gauge',
    help: `nodes that were there within two minutes, by the version of our sidecar that they name; other: another program, or none named; ${SAME}`,
    labels: { version: [] },
  },
  dvt_relayer_workers: {
    type: 'gauge',
    help: 'processes of the roles worker and all that have been heard within a minute; the same in every process',
  },
  dvt_relayer_node_last_seen_seconds: {
    type: 'gauge',
    help: 'time since a node of the share index last asked for its list or handed something in, as of the last 15 s, where it does not come by charon alone; the same in every process',
    labels: { share_index: [] },
  },
  dvt_relayer_node_never_seen: {
    type: 'gauge',
    help: `1 where a share index of the clusters has never asked for its list nor handed something in, but for what was refused; ${SAME}`,
    labels: { share_index: [] },
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
    help: `validators that the owners of SSV_OWNERS have registered, on the final chain; ${SAME}`,
  },
  dvt_relayer_ssv_events_skipped: {
    type: 'gauge',
    help: `malformed events of the SSV contract that were skipped, by what is wrong; of registrations, those of the owners of SSV_OWNERS; ${SAME}`,
    labels: { reason: SSV_FAULT_KINDS },
  },
  dvt_relayer_wrong_deposits_total: {
    type: 'counter',
    help: 'deposits of validators of ours whose signature is wrong, so that the chain ignores them',
  },
} as const
