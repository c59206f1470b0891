/** `GET /status.json`: how everything stands that the caller may see. The status page and the command show the same. */

import { textLike } from '@dvt-relayer/common/expected.ts'
import type { Static } from 'typebox'
import { Type } from 'typebox'
import { Explanation, REASON_CODES } from './explain.ts'
import { checksummedVault, gweiText, queryCursor, safeInteger } from './fields.ts'
import { Ready } from './operations.ts'
import { currentOracleSet } from './oracles.ts'
import { VaultSummary } from './vaults.ts'

/** Its query. */
export const StatusQuery = Type.Object({
  after: Type.Optional(queryCursor(15, 'next', '`next` of an earlier answer: the validators that follow are listed')),
  key: Type.Optional(
    textLike(
      '^[\\s]*((0[xX])?[0-9a-fA-F]{0,96})[\\s]*$',
      '96 hex digits at most (0x may stand before them)',
      'first digits of a validator public key: those are listed, in whatever state',
    ),
  ),
})
export type StatusQuery = Static<typeof StatusQuery>

const timestamp = safeInteger(0, 'Unix seconds')
const maybe = (description: string) => Type.Union([timestamp, Type.Null()], { description })
const maybeText = Type.Union([Type.String(), Type.Null()])

/** Something that is wrong, or that is waited for; or that nothing is. */
export const Problem = Type.Object({
  level: Type.Enum(['bad', 'waiting', 'good'], {
    description: 'bad: somebody has to act; waiting: it goes on by itself, or an operator has to ask',
  }),
  sentence: Type.String(),
  anchor: Type.Union([Type.String(), Type.Null()], { description: 'where docs/operating/runbook.md says what to do' }),
})
export type Problem = Static<typeof Problem>

/** One node of a cluster. */
const StatusNode = Type.Object({
  share_index: safeInteger(1, 'share index'),
  state: Type.Enum(['there', 'away', 'never', 'unknown'], { description: 'as in explanations of validators' }),
  reason: Type.Union([Type.Enum(REASON_CODES), Type.Null()], {
    description: 'what is wrong with it; null where nothing is',
  }),
  online_since_timestamp: maybe('since when it is there; null where it is not, or that is not known'),
  seen_at_timestamp: maybe('when it last asked for a list or posted'),
  waiting: Type.Union([safeInteger(0, 'signatures that it owes'), Type.Null()], {
    description: 'null where its public key shares are not known, or some of the validators are not of the caller',
  }),
  oldest_at_timestamp: maybe('when the first of these was asked for'),
  refused_at_timestamp: maybe('when something of it was last refused'),
  refusal_code: maybeText,
  came_by: Type.Union([Type.Enum(['token', 'node_key', 'operator_key', 'charon']), Type.Null()], {
    description:
      'which way its newest request came; charon: as charon hands in without a sidecar. null where that is not known, and where no tokens are set',
  }),
  software: maybeText,
  version: maybeText,
  clock_difference_seconds: Type.Union([Type.Integer(), Type.Null()], {
    description: 'by how much its clock is ahead',
  }),
})
export type StatusNode = Static<typeof StatusNode>

const StatusCluster = Type.Object({
  name: Type.String(),
  source: Type.Enum(['lock', 'ssv', 'list']),
  threshold: safeInteger(1, 'partial signatures that make a full one'),
  validators: Type.Union([safeInteger(0, 'validators'), Type.Null()], {
    description: 'null where some are not of the caller',
  }),
  collecting: Type.Union([safeInteger(0, 'validators of which something is collected'), Type.Null()]),
  nodes: Type.Array(StatusNode),
})
export type StatusCluster = Static<typeof StatusCluster>

const StatusVault = Type.Object({
  ...VaultSummary.properties,
  keys_free: Type.Union([safeInteger(0, 'keys that nobody has reserved'), Type.Null()], {
    description: 'null where it was not counted',
  }),
  keys_reserved: Type.Union([safeInteger(0, 'keys that it has reserved and not registered'), Type.Null()]),
  rotation: Type.Union([
    Type.Object({
      state: Type.Enum(['prepared', 'approved', 'sent']),
      since_timestamp: timestamp,
      deadline: Type.Union([timestamp, Type.Null()]),
    }),
    Type.Null(),
  ]),
})
export type StatusVault = Static<typeof StatusVault>

/** What the validators-manager key signed for a vault within 24 hours. */
const StatusManagerVault = Type.Object({
  vault: checksummedVault,
  signatures: Type.Record(Type.String(), safeInteger(0, 'signatures'), { description: 'by action' }),
  moved_gwei: gweiText('what these move, registrations aside'),
  left_gwei: Type.Union([gweiText(), Type.Null()], {
    description: 'of MANAGER_DAILY_LIMIT_GWEI; null where there is no limit',
  }),
  last_at_timestamp: maybe('when it last signed'),
})

/** Answer to `GET /status.json`. */
export const Status = Type.Object({
  headline: Problem,
  problems: Type.Array(Problem, { description: 'everything that is wrong or waited for, the worst first' }),
  network: Type.String(),
  version: Type.String({ description: 'of the relayer' }),
  time: safeInteger(0, 'Unix seconds by the clock of the database, which all times here are of'),
  counted_at_timestamp: maybe('when a worker last found the numbers changed; null before the first count'),
  caller: Type.Object({ name: maybeText, role: Type.Enum(['operator', 'sidecar', 'oracle', 'admin']) }),
  totals: Type.Union(
    [
      Type.Object({
        validators: safeInteger(0, 'public keys known'),
        collecting: safeInteger(0, 'of which something is collected'),
        ready: safeInteger(0, 'exits that are signed'),
        unsplit: safeInteger(0, 'of these, still to be split for the oracles in force'),
        registered: safeInteger(0, 'on the finalized chain'),
        exited: safeInteger(0, 'of these, how many have left or are leaving'),
      }),
      Type.Null(),
    ],
    { description: 'null for tokens that are bound' },
  ),
  clusters: Type.Array(StatusCluster),
  clusters_left_out: safeInteger(0, 'clusters that are not listed, for want of room'),
  validators: Type.Object({
    items: Type.Array(Explanation),
    next: Type.Union([safeInteger(0, 'pass it as `after` to get what follows'), Type.Null()]),
    key: Type.Union([Type.String(), Type.Null()], { description: 'what was searched for' }),
  }),
  oracle_set: currentOracleSet,
  registry: Type.Union([
    Type.Object({
      next_block: safeInteger(0, 'every deposit below this block is settled'),
      next_deposit_index: safeInteger(0, 'every deposit below this index is settled'),
      public_keys: safeInteger(0, 'keys with a validly signed deposit'),
    }),
    Type.Null(),
  ]),
  vaults: Type.Array(StatusVault),
  unserved: Type.Array(
    Type.Object({
      vault: checksummedVault,
      asked_at_timestamp: timestamp,
      validators: safeInteger(1, 'how many it asked for'),
      reason: Type.String({ description: 'why there is no key for it' }),
    }),
    { description: 'vaults that asked for validators within ten minutes and got none' },
  ),
  manager: Type.Union([
    Type.Object({
      address: Type.Union([Type.String(), Type.Null()]),
      limit_gwei: Type.Union([Type.String(), Type.Null()]),
      vaults: Type.Array(StatusManagerVault),
    }),
    Type.Null(),
  ]),
  queue: Type.Union([Type.Object({ waiting: safeInteger(0, 'jobs'), active: safeInteger(0, 'jobs') }), Type.Null()]),
  processes: Type.Array(
    Type.Object({
      role: Type.Enum(['all', 'api', 'worker']),
      version: Type.String(),
      started_at_timestamp: timestamp,
      heard_at_timestamp: timestamp,
      there: Type.Boolean(),
    }),
  ),
  ready: Type.Union([Ready, Type.Null()], { description: 'of the process that answers, as in `GET /ready`' }),
  unused: Type.Record(
    Type.String(),
    Type.Object({
      state: Type.Enum(['not configured', 'not needed yet', 'done by workers']),
      why: Type.String({ description: 'such as the setting that is not set' }),
    }),
    { description: 'checks of `GET /ready` that are ok because the process that answers has nothing to do with them' },
  ),
  doubts: Type.Record(Type.String(), Type.String(), {
    description: 'what may be wrong with checks of `GET /ready` that are ok, such as a chain that makes no blocks',
  }),
})
export type Status = Static<typeof Status>
