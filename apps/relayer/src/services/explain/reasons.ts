/** Why a validator stands as it does: the table that code, docs/reference/reasons.md and answers share. */

import type { Actor, ReasonCode } from '@dvt-relayer/api/schemas.ts'

/** `sentence` says what is the case, `remedy` what to do; `who` has to do it. `anchor` is a section of the runbook. */
export const REASONS = {
  KEY_UNKNOWN: {
    who: 'operator',
    anchor: 'the-key-is-not-known',
    sentence: 'this relayer has no validator of this key that the caller may ask about',
    remedy:
      'is the key typed right? It must be in an imported lock, an SSV cluster or PUBLIC_KEYS_FILE, or asked for; GET /whoami says what a token covers',
  },
  NOT_ASKED: {
    who: 'operator',
    anchor: 'nobody-asks',
    sentence: 'no operator has asked for this validator',
    remedy: 'nothing is wrong: it is collected once an operator asks for it',
  },
  SUPERSEDED: {
    who: 'operator',
    anchor: 'nobody-asks',
    sentence: 'what was asked for was replaced, as by another validator index, and nobody has asked for it anew',
    remedy: 'let the operator ask again; it takes the next free index by itself',
  },
  EXPIRED: {
    who: 'operator',
    anchor: 'nobody-asks',
    sentence: 'nobody asks for it any more; what was collected is kept',
    remedy:
      'let the operator ask again: does it run and reach the relayer? It has to ask once within each VALIDATOR_LIFETIME',
  },
  BOUND_ELSEWHERE: {
    who: 'relayer_admin',
    anchor: 'the-key-belongs-to-another-vault',
    sentence: 'a partial signature of a deposit to another vault exists, so the key is bound to that one for good',
    remedy:
      'use another key; only when all nodes agree that the other deposit will never be made: npm run relayer -- release-key --key 0x…',
  },
  NODES_TOO_FEW: {
    who: 'relayer_admin',
    anchor: 'too-many-shares-are-missing',
    sentence: 'fewer public key shares are known than the threshold, so it can never be complete',
    remedy: 'import the lock of the cluster (CLUSTER_LOCK_FILES), or all its keyshares (SSV_KEYSHARES_FILES)',
  },
  THRESHOLD_UNREACHABLE: {
    who: 'node_operator',
    anchor: 'too-many-shares-are-missing',
    sentence: 'so many nodes have handed in wrong signatures that those left are fewer than the threshold',
    remedy:
      'these nodes have keystores of another cluster, or the relayer has another lock: npm run sidecar -- doctor at each compares them',
  },
  SHARE_REJECTED: {
    who: 'node_operator',
    anchor: 'a-share-is-rejected',
    sentence: 'these nodes have handed in signatures that are not of their share of this validator, and no right one',
    remedy:
      "run npm run sidecar -- doctor at these nodes: they have wrong keystores, or a cluster lock that differs from the relayer's",
  },
  NODE_REFUSED: {
    who: 'node_operator',
    anchor: 'a-node-is-refused',
    sentence: 'the relayer refuses what these nodes send',
    remedy: 'docs/reference/errors.md says what the code of the refusal means; most often the token is of another node',
  },
  NODE_NEVER_SEEN: {
    who: 'node_operator',
    anchor: 'a-node-is-missing',
    sentence: 'the sidecars of these nodes were never seen under their share indexes',
    remedy:
      'start them, with the right RELAYER_ENDPOINT and token: npm run sidecar -- doctor at the node says what is wrong',
  },
  NODE_AWAY: {
    who: 'node_operator',
    anchor: 'a-node-is-missing',
    sentence: 'the sidecars of these nodes were there once and are not heard of any more',
    remedy:
      'start them, or mend the network between them and the relayer: npm run sidecar -- doctor at the node says what is wrong',
  },
  NODE_RUNS_CHARON: {
    who: 'node_operator',
    anchor: 'a-node-hands-in-with-charon',
    sentence: 'these nodes hand in with charon, without a sidecar, and have not signed this',
    remedy: 'run charon exit sign there, or wait for its cron job: each share here has the command',
  },
  NODE_SILENT: {
    who: 'node_operator',
    anchor: 'a-node-does-not-sign',
    sentence: 'the sidecars of these nodes are there and have not signed',
    remedy: 'their logs and /ready say why: a policy that refuses, a key share they do not hold, a signer that is away',
  },
  NODE_UNKNOWN: {
    who: 'node_operator',
    anchor: 'a-node-is-missing',
    sentence: 'these nodes have not signed, and whether their sidecars are there cannot be told',
    remedy:
      "look at their sidecars; with tokens bound to share indexes, different ones for each cluster's nodes, it can be told",
  },
  SHARES_TOO_FEW: {
    who: 'node_operator',
    anchor: 'a-node-is-missing',
    sentence: 'fewer nodes have signed than the threshold; which others there are is not known, for want of a lock',
    remedy:
      'start the sidecars that are away, or correct SIGNATURE_THRESHOLD; with the lock imported (CLUSTER_LOCK_FILES) they are named',
  },
  OTHER_NODES: {
    who: 'nobody',
    anchor: 'a-node-is-missing',
    sentence: 'the share asked about is in; those of other nodes are not',
    remedy: 'nothing to do at this node',
  },
  COLLECTING: {
    who: 'nobody',
    anchor: 'it-goes-on-by-itself',
    sentence: 'it was asked for just now, and the nodes are at it',
    remedy: 'wait; after two minutes the nodes that have not signed are named',
  },
  BEING_VERIFIED: {
    who: 'nobody',
    anchor: 'it-goes-on-by-itself',
    sentence: 'enough partial signatures are in, and are being verified',
    remedy: 'wait; it takes seconds',
  },
  NO_WORKER: {
    who: 'relayer_admin',
    anchor: 'no-worker',
    sentence: 'no process of the role worker or all is there, so nothing is finished',
    remedy: 'start one on the same database, with ROLE=worker or ROLE=all',
  },
  NO_SIGNATURE: {
    who: 'node_operator',
    anchor: 'a-share-is-rejected',
    sentence:
      'enough nodes have signed, but no full signature was found among what they handed in; which one is wrong is not known',
    remedy: 'import the lock of the cluster, which tells right from wrong; check SIGNATURE_THRESHOLD and the keystores',
  },
  BEING_FINISHED: {
    who: 'nobody',
    anchor: 'it-goes-on-by-itself',
    sentence: 'enough nodes have signed, and a worker makes the full signature',
    remedy: 'wait; it takes seconds, and longer where many are due at once',
  },
  ORACLE_SET_MISSING: {
    who: 'relayer_admin',
    anchor: 'no-oracle-set',
    sentence: 'the exit is signed, but no oracle config is known yet to split it for',
    remedy:
      '/ready of the relayer, or npm run relayer -- doctor, says what is away: the execution node, or IPFS gateways',
  },
  BEING_SPLIT: {
    who: 'nobody',
    anchor: 'it-goes-on-by-itself',
    sentence: 'the exit is signed, and is split for the oracles',
    remedy: 'wait; it takes seconds',
  },
  SPLIT_ANEW: {
    who: 'nobody',
    anchor: 'it-goes-on-by-itself',
    sentence: 'the oracles have changed, and the exit is split anew for those in force',
    remedy: 'wait; it takes seconds, and longer where many are due at once',
  },
  READY: {
    who: 'operator',
    anchor: 'it-is-ready',
    sentence: 'everything is there that the nodes have to give',
    remedy: "the operator's next request gets it; if it does not, its answer or /ready of the relayer says why",
  },
  DEPOSITED: {
    who: 'nobody',
    anchor: 'it-goes-on-by-itself',
    sentence: 'its deposit is in a final block, and no finalized state has the validator yet',
    remedy: 'wait for the chain; with a long queue of deposits that takes days or weeks',
  },
  REGISTERED: {
    who: 'nobody',
    anchor: 'it-is-registered',
    sentence: 'the validator is registered, and its shares on chain are for the oracles in force',
    remedy: 'nothing to do',
  },
  VAULT_FOREIGN: {
    who: 'relayer_admin',
    anchor: 'the-key-belongs-to-another-vault',
    sentence: 'the chain has the validator with other withdrawal credentials than those of the vault it is bound to',
    remedy:
      'find out which consensus node says so, and who has made the deposit; what was noted wrongly is taken back by npm run relayer -- undo-registered',
  },
  INDEX_WRONG: {
    who: 'relayer_admin',
    anchor: 'shares-are-outdated',
    sentence: 'its newest shares were made for another validator index than the chain gave it, so they exit nothing',
    remedy: 'renew it: npm run relayer -- rotate --vault 0x…, or ROTATION=on, collects one for the real index',
  },
  FORCE_EXIT_DUE: {
    who: 'relayer_admin',
    anchor: 'shares-are-outdated',
    sentence: 'its shares are of earlier oracles and the time to renew them is over: it may be exited by force',
    remedy: 'renew the exit signatures of its vault now: npm run relayer -- rotate --vault 0x…',
  },
  SHARES_OUTDATED: {
    who: 'relayer_admin',
    anchor: 'shares-are-outdated',
    sentence: 'its shares on chain are not known to be for the oracles in force',
    remedy:
      'renew them before the deadline: npm run relayer -- rotate --vault 0x…; with ROTATION=on the relayer does, and /ready says under rotation what keeps it',
  },
  ROTATION_PREPARED: {
    who: 'relayer_admin',
    anchor: 'shares-are-outdated',
    sentence: 'new shares are ready, and the update is not on chain',
    remedy: 'it wants approvals of the oracles and a transaction: /ready says under rotation what is missing',
  },
  ROTATION_SENT: {
    who: 'nobody',
    anchor: 'shares-are-outdated',
    sentence: 'the update with its new shares was sent, and is not final yet',
    remedy: 'wait; where it is not mined in time a new one is made',
  },
  ERASED: {
    who: 'nobody',
    anchor: 'it-is-registered',
    sentence: 'the validator is registered, and its exit was erased here as EXIT_RETENTION says',
    remedy: 'nothing to do: the oracles have their shares',
  },
  EXITED: {
    who: 'nobody',
    anchor: 'it-is-registered',
    sentence: 'the validator has left, or is leaving',
    remedy: 'nothing to do',
  },
} as const satisfies Readonly<Record<ReasonCode, { who: Actor; anchor: string; sentence: string; remedy: string }>>
