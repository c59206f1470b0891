/** The sidecar's metrics. docs/reference/metrics.md is written from these definitions. */

import { SSV_FAULT_KINDS } from '@dvt-relayer/chain/ssv/registry.ts'
import { HTTP_OUTCOMES } from '@dvt-relayer/common/http/client.ts'
import type { MetricDefinitions } from '@dvt-relayer/common/metrics.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'

/** What the sidecar depends on, as `/ready` names it. */
export const CHECKS = ['keys', 'relayer', 'network', 'journal', 'consensus', 'signer'] as const
export type Check = (typeof CHECKS)[number]

/** What is asked of the relayer. */
const RELAYER_REQUESTS = ['info', 'whoami', 'exits', 'validators', 'exit_signature', 'signatures'] as const
export type RelayerRequest = (typeof RELAYER_REQUESTS)[number]

/** How a remote signer answers a request for a signature, and what that means for whoever reads it in the log. */
export const SIGNER_OUTCOMES = {
  ok: 'a signature that verifies',
  unknown_key: 'the remote signer does not hold this key any more (404): load it there again',
  refused: 'the remote signer refuses to sign this (412): its slashing protection or its own rules forbid it',
  bad_request:
    'the remote signer does not understand the request (400): does it know this network, exits and deposits?',
  unauthorized:
    'the remote signer does not let this sidecar in (401, 403): credentials in REMOTE_SIGNER_URL, or the client certificate; of a validator client, KEYMANAGER_TOKEN',
  server_error: 'the remote signer fails (5xx): its own log says why',
  status:
    'the remote signer answers with a status that the signing API does not have: is REMOTE_SIGNER_URL, or KEYMANAGER_URL, right?',
  invalid:
    'the answer is no signature: is REMOTE_SIGNER_URL that of a remote signer, or KEYMANAGER_URL that of a validator client?',
  too_large:
    'the answer is far longer than a signature: is REMOTE_SIGNER_URL that of a remote signer, or KEYMANAGER_URL that of a validator client?',
  wrong_signature:
    'the signature is not that of the key share that was asked: nothing is posted; the remote signer holds another key under this name, or is damaged; a validator client may also sign under another fork than that of Capella (EIP-7044)',
  wrong_message:
    'the validator client has signed another exit than was asked for: nothing is posted; its charon knows the key under another validator index, or it passes over the epoch',
  timeout: 'the remote signer has not answered within REMOTE_SIGNER_TIMEOUT, or the validator client within 10 s',
  unreachable: 'no connection to the remote signer',
  tls: 'no TLS connection to the remote signer: certificates, or the host name',
} as const
export type SignerOutcome = keyof typeof SIGNER_OUTCOMES

/** What is signed. */
export const KINDS = ['exit', 'deposit'] as const
export type Kind = (typeof KINDS)[number]
/** How many signatures of each kind. */
export type KindCounts = Readonly<Record<Kind, number>>

/** Why something is not signed, and what that means for whoever reads it in the log. */
export const REFUSALS = {
  index_taken: 'the chain has given this validator index to another key',
  key_has_other_index: 'the chain knows this key under another validator index',
  key_not_on_chain:
    'the chain does not know this key yet, and a validator client signs exits of validators that it knows only: it is signed once the chain has it',
  index_impossible: 'no validator can ever have this index',
  vault_not_allowed: 'ALLOWED_VAULTS does not name this vault: add it if it is yours',
  vault_unnamed:
    'nothing says which vault this validator may deposit to, and with real money at stake that is not left to the relayer: set ALLOWED_VAULTS',
  vault_not_in_lock:
    'the cluster lock names another withdrawal address for this validator, and that alone may get its deposit',
  vault_changed:
    'the journal binds this validator to another vault for good, because a deposit signature for that one may exist; only if you are certain that it is worthless: stop the sidecar, remove the lines named here from the journal, start it again',
  amount_not_allowed: 'a validator of type 0x01 deposits exactly 32 ETH, one of type 0x02 from 32 to 2048 ETH',
  key_on_chain: 'the chain knows this key already: it needs no deposit',
} as const
export type Refusal = keyof typeof REFUSALS
const REASONS = Object.keys(REFUSALS)
/** Those that leave the exit of the validator free to be signed alone. */
export const DEPOSIT_REFUSALS: ReadonlySet<Refusal> = new Set([
  'vault_not_allowed',
  'vault_unnamed',
  'vault_not_in_lock',
  'vault_changed',
  'amount_not_allowed',
  'key_on_chain',
])

export const SIDECAR_METRICS = {
  dvt_sidecar_build_info: {
    type: 'gauge',
    help: '1, with the version of the sidecar',
    labels: { version: [VERSION] },
  },
  dvt_sidecar_keys: { type: 'gauge', help: 'Key shares this sidecar can sign with' },
  dvt_sidecar_ssv_events_skipped: {
    type: 'gauge',
    help: "Malformed events of the SSV contract that were skipped, by what is wrong; of registrations, those with this sidecar's operators and owners",
    labels: { reason: SSV_FAULT_KINDS },
  },
  dvt_sidecar_shares_undecipherable: {
    type: 'gauge',
    help: "SSV key shares that do not decrypt with the operator's key to the secret of their public key share",
  },
  dvt_sidecar_up: {
    type: 'gauge',
    help: 'Whether something the sidecar depends on was last seen working (1) or not (0); 1 for what is not used',
    labels: { check: CHECKS },
  },
  dvt_sidecar_exits_open: {
    type: 'gauge',
    help: 'Exits of GET /exits that still wait for a signature of this sidecar',
  },
  dvt_sidecar_validators_open: {
    type: 'gauge',
    help: 'Validators of GET /validators that still wait for the signatures of this sidecar',
  },
  dvt_sidecar_list_items_dropped_total: {
    type: 'counter',
    help: 'Items of the relayer that were left out: malformed, or a second one for the same key',
  },
  dvt_sidecar_signatures_total: {
    type: 'counter',
    help: 'Partial signatures made, by what is signed',
    labels: { kind: KINDS },
  },
  dvt_sidecar_refusals_total: {
    type: 'counter',
    help: 'Exits and deposits the policy refused to sign, by reason',
    labels: { reason: REASONS },
  },
  dvt_sidecar_refused: {
    type: 'gauge',
    help: 'Key shares of which something is listed that the policy refuses now, by reason',
    labels: { reason: REASONS },
  },
  dvt_sidecar_signatures_posted_total: {
    type: 'counter',
    help: 'Partial signatures the relayer took, repeats included, by what is signed',
    labels: { kind: KINDS },
  },
  dvt_sidecar_signatures_rejected_total: {
    type: 'counter',
    help: 'Partial signatures the relayer said are wrong, by what is signed',
    labels: { kind: KINDS },
  },
  dvt_sidecar_journal_keys: {
    type: 'gauge',
    help: 'Validator keys the journal binds to a vault; 0 before it is opened',
  },
  dvt_sidecar_relayer_requests_total: {
    type: 'counter',
    help: 'Requests to the relayer, by request and outcome',
    labels: { request: RELAYER_REQUESTS, outcome: HTTP_OUTCOMES },
  },
  dvt_sidecar_relayer_request_seconds: {
    type: 'histogram',
    help: 'Duration of requests to the relayer; those for lists include the time they wait for news',
    labels: { request: RELAYER_REQUESTS },
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 30],
  },
  dvt_sidecar_remote_signer_requests_total: {
    type: 'counter',
    help: 'Requests for a signature to remote signers, by outcome',
    labels: { outcome: Object.keys(SIGNER_OUTCOMES) },
  },
  dvt_sidecar_remote_signer_seconds: {
    type: 'histogram',
    help: 'Duration of requests for a signature to remote signers',
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
  },
  dvt_sidecar_sign_seconds: {
    type: 'histogram',
    help: 'From the start of a round of signing to the answer to a post, one observation a post',
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
  },
} as const satisfies MetricDefinitions
