/** `GET /validators/{public_key}/explain`: why a validator is not ready, who has to act, and what comes next. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { checksummedVault, looseHex, safeInteger, strictHex, validatorIndex } from './fields.ts'

/** Every reason there is, roughly in the order of a validator's life. Programs act on these. */
export const REASON_CODES = [
  'KEY_UNKNOWN',
  'NOT_ASKED',
  'SUPERSEDED',
  'EXPIRED',
  'BOUND_ELSEWHERE',
  'NODES_TOO_FEW',
  'THRESHOLD_UNREACHABLE',
  'SHARE_REJECTED',
  'NODE_REFUSED',
  'NODE_NEVER_SEEN',
  'NODE_AWAY',
  'NODE_RUNS_CHARON',
  'NODE_SILENT',
  'NODE_UNKNOWN',
  'SHARES_TOO_FEW',
  'OTHER_NODES',
  'COLLECTING',
  'BEING_VERIFIED',
  'NO_WORKER',
  'NO_SIGNATURE',
  'BEING_FINISHED',
  'ORACLE_SET_MISSING',
  'BEING_SPLIT',
  'SPLIT_ANEW',
  'READY',
  'DEPOSITED',
  'REGISTERED',
  'VAULT_FOREIGN',
  'INDEX_WRONG',
  'FORCE_EXIT_DUE',
  'SHARES_OUTDATED',
  'ROTATION_PREPARED',
  'ROTATION_SENT',
  'ERASED',
  'EXITED',
] as const
export type ReasonCode = (typeof REASON_CODES)[number]

/** Who can do something about it. */
export const ACTORS = ['operator', 'node_operator', 'relayer_admin', 'nobody'] as const
export type Actor = (typeof ACTORS)[number]

const timestamp = safeInteger(0, 'Unix seconds')
const maybeTimestamp = (description: string) => Type.Union([timestamp, Type.Null()], { description })
const shareIndexes = Type.Array(safeInteger(1, 'share index'), { description: 'whose shares it is about' })

/** One reason, in words. */
export const Reason = Type.Object({
  code: Type.Enum(REASON_CODES),
  sentence: Type.String({ description: 'what is the case' }),
  remedy: Type.String({ description: 'what to do about it' }),
  who: Type.Enum(ACTORS, { description: 'who has to act; nobody: it goes on by itself, or there is nothing to do' }),
  share_indexes: shareIndexes,
  runbook: Type.String({ description: 'page of the documentation, with its anchor' }),
})
export type Reason = Static<typeof Reason>

/** One share index's partial signature of one message. */
const ShareSignature = Type.Object({
  state: Type.Enum(['verified', 'unverified', 'rejected', 'missing'], {
    description:
      'rejected: not what this share index has to sign, and no right one has come; missing: nothing was handed in',
  }),
  received_at_timestamp: maybeTimestamp('when the relayer got it; null where it has none, or the time was not kept'),
})

/** One share of the validator, and its node. */
const ExplainedShare = Type.Object({
  share_index: safeInteger(1, 'share index'),
  exit: Type.Union([ShareSignature, Type.Null()], { description: 'null where no exit was asked for' }),
  deposit: Type.Union([ShareSignature, Type.Null()], { description: 'null where no deposit was asked for' }),
  node: Type.Object({
    state: Type.Enum(['there', 'away', 'never', 'unknown'], {
      description:
        'away: not heard of for two minutes; unknown: sidecars whose tokens name no share index, or nodes of the same share index of another cluster, cannot be told apart',
    }),
    came_by: Type.Optional(
      Type.Enum(['token', 'node_key', 'operator_key', 'charon'], {
        description:
          'which way its newest request came; charon: as charon without a sidecar hands in. Left out where that is not known, and where no tokens are set',
      }),
    ),
    seen_at_timestamp: maybeTimestamp('when somebody of this share index last asked for a list or posted'),
    refused_at_timestamp: maybeTimestamp('when something of it was last refused'),
    refusal_code: Type.Union([Type.String(), Type.Null()], { description: 'with which code: see the table of errors' }),
  }),
  charon_commands: Type.Optional(
    Type.Array(Type.String(), {
      description:
        'what its node runs, without a sidecar, to hand in what is missing; left out where nothing is, where the node comes another way, and without OBOL_API=on',
    }),
  ),
})

const messageState = Type.Enum(['collecting', 'ready', 'superseded', 'expired', 'erased'])
const ofMessage = {
  state: messageState,
  threshold: safeInteger(1, 'partial signatures that make the full one'),
  created_at_timestamp: timestamp,
  requested_at_timestamp: safeInteger(0, 'Unix seconds at which it was last asked for'),
  ready_at_timestamp: maybeTimestamp('when the full signature was made'),
}

/** What comes next by itself, and when. */
const NEXT = ['expires', 'erased', 'force_exit', 'rotation_deadline'] as const

/** Answer to `GET /validators/{public_key}/explain`. */
export const Explanation = Type.Object({
  public_key: strictHex(48, 'validator public key'),
  verdict: Reason,
  reasons: Type.Array(Reason, { description: 'everything that holds, the verdict first' }),
  generation: Type.Union([Type.Literal(3), Type.Literal(4), Type.Null()], {
    description: 'of the request it is collected for; null where nobody asked',
  }),
  cluster: Type.Union(
    [
      Type.Object({
        name: Type.String(),
        source: Type.Enum(['lock', 'ssv', 'list']),
        threshold: safeInteger(1, 'partial signatures that make a full one'),
      }),
      Type.Null(),
    ],
    { description: 'null where the validator is in none' },
  ),
  vault: Type.Union([checksummedVault, Type.Null()], {
    description: 'as the chain says, or a deposit, its lock or a reservation; null where nobody says',
  }),
  exit: Type.Union(
    [
      Type.Object({
        ...ofMessage,
        validator_index: validatorIndex,
        superseded: safeInteger(0, 'exits of the last day for other indexes'),
        oracle_shares: Type.Enum(['current', 'older', 'none'], { description: 'for which oracle set it is split' }),
      }),
      Type.Null(),
    ],
    { description: 'the live one, else the last' },
  ),
  deposit: Type.Union(
    [
      Type.Object({
        ...ofMessage,
        amount: safeInteger(1, 'Gwei to deposit'),
        validator_type: Type.Enum(['0x01', '0x02']),
      }),
      Type.Null(),
    ],
    { description: 'the live one, else the last' },
  ),
  shares: Type.Array(ExplainedShare, { description: "by share index; a sidecar's own only" }),
  validator_index: Type.Union([validatorIndex, Type.Null()], {
    description: 'that the chain gave it, else the one that its exit is for',
  }),
  oracle_set_cid: Type.Union([Type.String(), Type.Null()], { description: 'config in force; null before the first' }),
  shares_oracle_set_cid: Type.Union([Type.String(), Type.Null()], {
    description: 'config its shares on chain were made for; null before it is registered, or where that is not known',
  }),
  next: Type.Array(Type.Object({ what: Type.Enum(NEXT), at_timestamp: timestamp }), {
    description: 'what comes by itself, the first first',
  }),
  time: safeInteger(0, 'Unix seconds by the clock of the database, which all times here are of'),
})
export type Explanation = Static<typeof Explanation>

/** Which validator. */
export const ExplainParams = Type.Object({ public_key: looseHex(48, 'validator public key') })
