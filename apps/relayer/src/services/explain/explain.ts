/**
 * What stands between a validator and its aim, from what is known of it. Pure: facts in, an explanation out, so that one answer and a
 * page of many say the same. The verdict is the first reason in the order of what has to be out of the way first.
 */

import type { Explanation, Reason, ReasonCode } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { RUNBOOK } from '@dvt-relayer/common/runbook.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { AWAY_SECONDS } from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import type { ExplainedNodeRow, ExplainedRow, ExplainedShareRow } from '@dvt-relayer/db/queries/explain.ts'
import { type CharonApi, charonCommands } from './charon-commands.ts'
import { REASONS } from './reasons.ts'

/** Nodes have so long to sign before they are named. */
const YOUNG_SECONDS = 120
/** A refusal that is older is none of now. */
const REFUSED_SECONDS = 600
/** Share index 0: of sidecars whose tokens name none. */
export const NO_SHARE_INDEX = 0

/** What holds for all validators at one moment. Times are Unix seconds. */
export interface Moment {
  now: number
  currentSetCid: string | null
  hasWorker: boolean
  lifetimeSeconds: number
  /** How long everything has to hold before exits are erased; undefined where they are kept. */
  erasureDelaySeconds: number | undefined
  /** What was seen of nodes, by share index. */
  nodes: ReadonlyMap<number, ExplainedNodeRow>
  /** Undefined where the relayer does not take what charon posts. */
  charon: CharonApi | undefined
}

/** What is known of one validator. */
export interface Facts {
  validator: ExplainedRow
  shares: readonly ExplainedShareRow[]
}

/** A reason that holds, and the share indexes it is about. */
interface Found {
  code: ReasonCode
  shareIndexes: readonly number[]
}
type ExplainedNode = Explanation['shares'][number]['node']

/** One of the messages of a validator. */
interface Message {
  kind: 'exit' | 'deposit'
  state: NonNullable<ExplainedRow['exitState']>
  threshold: number
  createdAt: number
  requestedAt: number
  readyAt: number | null
  failedAttempts: number
}

/** Explains a validator; of the shares only those of these share indexes, unless undefined. */
export function explain(
  { validator, shares }: Facts,
  moment: Moment,
  own: readonly number[] | undefined = undefined,
): Explanation {
  const messages = messagesOf(validator)
  const [exit, deposit] = [messages.exit, messages.deposit]
  const generation = generationOf(messages)
  const reasons = scoped(findReasons({ validator, shares }, messages, moment), own).map(inWords)
  const [verdict = inWords({ code: 'NOT_ASKED', shareIndexes: [] })] = reasons
  const { clusterName: name, clusterSource: source, clusterThreshold: threshold } = validator
  return {
    public_key: toHex(validator.publicKey),
    verdict,
    reasons,
    generation,
    cluster: name === null || source === null || threshold === null ? null : { name, source, threshold },
    vault: validator.vault === null ? null : checksumAddress(validator.vault),
    exit:
      exit === undefined
        ? null
        : {
            ...inAnswer(exit),
            validator_index: validator.exitIndex ?? 0,
            superseded: validator.superseded,
            oracle_shares: validator.hasCurrentShares ? 'current' : validator.hasOlderShares ? 'older' : 'none',
          },
    deposit:
      deposit === undefined
        ? null
        : {
            ...inAnswer(deposit),
            amount: validator.depositAmount ?? 0,
            validator_type: validator.depositType ?? '0x01',
          },
    shares: shares.flatMap((share) =>
      own === undefined || own.includes(share.shareIndex) ? [shareInAnswer(validator, share, messages, moment)] : [],
    ),
    validator_index: validator.beaconIndex ?? validator.exitIndex,
    oracle_set_cid: moment.currentSetCid,
    shares_oracle_set_cid: validator.chainSetCid,
    next: findNext(validator, messages, moment),
    time: moment.now,
  }
}

type Messages = Partial<Record<'exit' | 'deposit', Message>>

function messagesOf(row: ExplainedRow): Messages {
  const of = (kind: 'exit' | 'deposit'): Messages => {
    const [state, threshold, createdAt] = [row[`${kind}State`], row[`${kind}Threshold`], row[`${kind}CreatedAt`]]
    if (state === null || threshold === null || createdAt === null) return {}
    const requestedAt = row[`${kind}RequestedAt`] ?? createdAt
    const [readyAt, failedAttempts] = [row[`${kind}ReadyAt`], row[`${kind}FailedAttempts`] ?? 0]
    return { [kind]: { kind, state, threshold, createdAt, requestedAt, readyAt, failedAttempts } }
  }
  return { ...of('exit'), ...of('deposit') }
}

type LiveMessage = Message & { state: 'collecting' | 'ready' }
const isLive = (message: Message | undefined): message is LiveMessage =>
  message?.state === 'collecting' || message?.state === 'ready'

/** A request of generation 4 keeps its deposit alive; one of generation 3 knows none. */
function generationOf({ exit, deposit }: Messages): 3 | 4 | null {
  if (isLive(deposit)) return 4
  if (isLive(exit)) return 3
  return deposit !== undefined ? 4 : exit !== undefined ? 3 : null
}

function findReasons(facts: Facts, messages: Messages, moment: Moment): Found[] {
  const { validator } = facts
  if (validator.hasExited) return [found('EXITED')]
  if (validator.isRegistered) return ofRegistered(facts, messages, moment)
  const other = isForeign(validator.boundVault, validator.wantedVault) ? [found('BOUND_ELSEWHERE')] : []
  if (validator.isDeposited) return [found('DEPOSITED'), ...other]
  return [...other, ...ofWanted(facts, messages, moment)]
}

const isForeign = (one: Uint8Array | null, other: Uint8Array | null): boolean =>
  one !== null && other !== null && toHex(one) !== toHex(other)

/** Of a validator that the chain has. What keeps its renewal comes before that it wants one. */
function ofRegistered(facts: Facts, messages: Messages, moment: Moment): Found[] {
  const { beaconIndex, beaconVault, boundVault, isErased, isOutdated, newestSharesIndex } = facts.validator
  const reasons = [
    ...(isForeign(boundVault, beaconVault) ? [found('VAULT_FOREIGN')] : []),
    ...(isOutdated ? ofOutdated(facts, messages, moment) : []),
    ...(newestSharesIndex !== null && newestSharesIndex !== beaconIndex ? [found('INDEX_WRONG')] : []),
  ]
  if (reasons.length > 0) return reasons
  return [found(isErased && !isLive(messages.exit) ? 'ERASED' : 'REGISTERED')]
}

function ofOutdated(facts: Facts, { exit }: Messages, moment: Moment): Found[] {
  const { validator } = facts
  const { forceExitAt } = validator
  const outdated = found(forceExitAt !== null && forceExitAt <= moment.now ? 'FORCE_EXIT_DUE' : 'SHARES_OUTDATED')
  // One of the index that the chain gave it: what another was signed for is of no use.
  if (!isLive(exit) || validator.exitIndex !== validator.beaconIndex) return [outdated]
  const deadline = validator.rotationDeadline
  if (validator.isInRotation && deadline !== null && deadline > moment.now) return [found('ROTATION_SENT'), outdated]
  if (exit.state === 'collecting') return [...ofMessages(facts, [exit], moment), outdated]
  return validator.hasCurrentShares ? [found('ROTATION_PREPARED'), outdated] : [outdated]
}

/** Of a validator that is to be registered. */
function ofWanted(facts: Facts, messages: Messages, moment: Moment): Found[] {
  const generation = generationOf(messages)
  const wanted = [messages.exit, ...(generation === 4 ? [messages.deposit] : [])]
  const live = wanted.filter(isLive)
  if (live.length < wanted.length) {
    const ended = wanted.find((message) => message !== undefined && !isLive(message))
    if (ended?.state === 'expired') return [found('EXPIRED')]
    return [found(ended?.state === 'superseded' ? 'SUPERSEDED' : 'NOT_ASKED')]
  }
  const reasons = ofMessages(facts, live, moment)
  return reasons.length > 0 ? reasons : [found('READY')]
}

/** In which order what blocks messages has to be out of the way. */
const ORDER: readonly ReasonCode[] = [
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
  'NO_WORKER',
  'NO_SIGNATURE',
  'ORACLE_SET_MISSING',
  'COLLECTING',
  'BEING_VERIFIED',
  'BEING_FINISHED',
  'BEING_SPLIT',
  'SPLIT_ANEW',
]

/** What blocks these live messages, each reason once. */
function ofMessages(facts: Facts, live: readonly Message[], moment: Moment): Found[] {
  const all = live.flatMap((message) =>
    message.state === 'collecting' ? ofCollecting(facts, message, moment) : ofReady(facts, message, moment),
  )
  return ORDER.flatMap((code) => {
    const same = all.filter((one) => one.code === code)
    const indexes = [...new Set(same.flatMap(({ shareIndexes }) => shareIndexes))].sort((a, b) => a - b)
    return same.length === 0 ? [] : [{ code, shareIndexes: indexes }]
  })
}

/** Of a message that has its full signature. */
function ofReady({ validator }: Facts, { kind }: Message, { currentSetCid, hasWorker }: Moment): Found[] {
  if (kind === 'deposit' || validator.hasCurrentShares) return []
  if (currentSetCid === null) return [found('ORACLE_SET_MISSING')]
  return [...workerOf(hasWorker), found(validator.hasOlderShares ? 'SPLIT_ANEW' : 'BEING_SPLIT')]
}

const workerOf = (hasWorker: boolean): Found[] => (hasWorker ? [] : [found('NO_WORKER')])

/** Of a message that collects. Where no public key share is trusted, candidates count until the full signature judges them. */
function ofCollecting({ shares }: Facts, message: Message, moment: Moment): Found[] {
  const isTrusted = shares.some((share) => share.isTrusted)
  const ofState = (...states: string[]) =>
    shares.flatMap((share) => (states.includes(stateOf(share, message)) ? [share.shareIndex] : []))
  const [signed, handedIn] = [ofState('verified'), ofState('verified', 'unverified')]
  const worker = workerOf(moment.hasWorker)
  if ((isTrusted ? signed : handedIn).length >= message.threshold)
    return [...worker, found(message.failedAttempts > 0 ? 'NO_SIGNATURE' : 'BEING_FINISHED')]
  if (handedIn.length >= message.threshold) return [...worker, found('BEING_VERIFIED')]
  const rejected = ofState('rejected')
  const isYoung = moment.now - message.createdAt < YOUNG_SECONDS
  if (!isTrusted) {
    const wrong = rejected.length > 0 ? [found('SHARE_REJECTED', rejected)] : []
    return [...wrong, found(isYoung ? 'COLLECTING' : 'SHARES_TOO_FEW'), ...worker]
  }
  return [...ofMissing(shares, rejected, message, isYoung, moment), ...worker]
}

/** Which nodes of a known cluster keep a message from its threshold, and how. */
function ofMissing(
  shares: readonly ExplainedShareRow[],
  rejected: readonly number[],
  message: Message,
  isYoung: boolean,
  moment: Moment,
): Found[] {
  const known = shares.filter(({ isTrusted }) => isTrusted).length
  const { threshold } = message
  if (known < threshold) return [found('NODES_TOO_FEW')]
  const missing = shares.filter((share) => stateOf(share, message) === 'missing')
  const wrong: Found[] =
    rejected.length === 0
      ? []
      : [found(known - rejected.length < threshold ? 'THRESHOLD_UNREACHABLE' : 'SHARE_REJECTED', rejected)]
  return [...wrong, ...missing.map((share) => found(whyMissing(share, isYoung, moment), [share.shareIndex]))]
}

/** What keeps one node from signing, as far as it is known. */
function whyMissing(share: ExplainedShareRow, isYoung: boolean, moment: Moment): ReasonCode {
  const { state, came_by: cameBy } = nodeOf(share, moment)
  if (state === 'never') return 'NODE_NEVER_SEEN'
  if (isRefused(moment.nodes.get(share.shareIndex), moment.now)) return 'NODE_REFUSED'
  // It is there while it runs, and its cron job may run every few minutes.
  if (cameBy === 'charon') return isYoung ? 'COLLECTING' : 'NODE_RUNS_CHARON'
  if (state === 'away') return 'NODE_AWAY'
  if (isYoung) return 'COLLECTING'
  return state === 'there' ? 'NODE_SILENT' : 'NODE_UNKNOWN'
}

/** Whether the newest that is known of a node's posts is a refusal, of lately. */
export function isRefused(node: ExplainedNodeRow | undefined, now: number): boolean {
  if (node === undefined || node.refusedAt === null || node.isShared) return false
  return now - node.refusedAt < REFUSED_SECONDS && node.refusedAt >= (node.postedAt ?? 0)
}

/**
 * Whether a node is there. Who asks with a token that names no share index may be any of them, while it asks; and of a node that has
 * signed before anything was noted of it nobody can say that it never was there.
 */
export function nodeOf(
  { shareIndex, exitState, depositState }: Pick<ExplainedShareRow, 'shareIndex' | 'exitState' | 'depositState'>,
  { nodes, now }: Pick<Moment, 'nodes' | 'now'>,
): ExplainedNode {
  const node = nodes.get(shareIndex)
  const seenAt = node?.seenAt ?? null
  const isShared = node?.isShared ?? false
  const refusedAt = isShared ? null : (node?.refusedAt ?? null)
  const presentAt = node?.presentAt ?? null
  const free = nodes.get(NO_SHARE_INDEX)
  const isRecent = (at: number | null | undefined) => at != null && now - at <= AWAY_SECONDS
  const state = () => {
    // Who came without a share index and is gone may have been any node, or another one: of this one nothing was seen.
    if (seenAt === null && refusedAt === null && !isRecent(free?.presentAt)) {
      if (exitState === null && depositState === null) return 'never'
      if (free?.seenAt == null) return 'unknown'
    }
    if (!isRecent(presentAt) && !isRecent(refusedAt) && !isRecent(free?.presentAt)) return 'away'
    return isRecent(presentAt) && !isShared ? 'there' : 'unknown'
  }
  const cameBy = isShared ? null : (node?.cameBy ?? null)
  return {
    state: state(),
    ...(cameBy === null ? {} : { came_by: cameBy }),
    seen_at_timestamp: seenAt,
    refused_at_timestamp: refusedAt,
    refusal_code: refusedAt === null ? null : (node?.refusalCode ?? null),
  }
}

const stateOf = (share: ExplainedShareRow, { kind }: Message): 'verified' | 'unverified' | 'rejected' | 'missing' =>
  (kind === 'exit' ? share.exitState : share.depositState) ?? 'missing'

function shareInAnswer(
  validator: ExplainedRow,
  share: ExplainedShareRow,
  { exit, deposit }: Messages,
  moment: Moment,
): Explanation['shares'][number] {
  const of = (message: Message | undefined, at: number | null) =>
    message === undefined ? null : { state: stateOf(share, message), received_at_timestamp: at }
  const node = nodeOf(share, moment)
  const commands = commandsOf(validator, share, [exit, deposit], node, moment)
  return {
    share_index: share.shareIndex,
    exit: of(exit, share.exitAt),
    deposit: of(deposit, share.depositAt),
    node,
    ...(commands.length === 0 ? {} : { charon_commands: commands }),
  }
}

/** What hands in what a share lacks, of a node that comes with charon, or that came in no way yet: charon is one of those it has. */
function commandsOf(
  validator: ExplainedRow,
  share: ExplainedShareRow,
  messages: readonly (Message | undefined)[],
  { came_by: cameBy, state }: ExplainedNode,
  { charon }: Moment,
): string[] {
  if (charon === undefined || validator.clusterSource !== 'lock' || !share.isTrusted) return []
  if (cameBy !== 'charon' && state !== 'never') return []
  const missing = messages.flatMap((message) => {
    if (message?.state !== 'collecting') return []
    const of = stateOf(share, message)
    return of === 'missing' || of === 'rejected' ? [message.kind] : []
  })
  return charonCommands(validator, missing, charon)
}

/** What comes by itself, the first first. */
function findNext(validator: ExplainedRow, { exit, deposit }: Messages, moment: Moment): Explanation['next'] {
  const asked = [exit, deposit].filter(isLive).map(({ requestedAt }) => requestedAt)
  const expiresAt = asked.length === 0 ? null : Math.min(...asked) + moment.lifetimeSeconds
  const { erasureDelaySeconds: delay } = moment
  const isErasing = delay !== undefined && validator.isRegistered && !validator.isErased
  const erasedAt = isErasing && validator.erasureHeldSince !== null ? validator.erasureHeldSince + delay : null
  const isOutdated = validator.isRegistered && validator.isOutdated
  const next: [what: Explanation['next'][number]['what'], at: number | null][] = [
    ['expires', expiresAt],
    ['erased', erasedAt],
    ['force_exit', isOutdated ? validator.forceExitAt : null],
    ['rotation_deadline', validator.isInRotation ? validator.rotationDeadline : null],
  ]
  return (
    next
      // A config may name a time that no clock will show.
      .flatMap(([what, at]) => (at !== null && Number.isSafeInteger(at) ? [{ what, at_timestamp: at }] : []))
      .sort((a, b) => a.at_timestamp - b.at_timestamp)
  )
}

const inAnswer = ({ state, threshold, createdAt, requestedAt, readyAt }: Message) => ({
  state,
  threshold,
  created_at_timestamp: createdAt,
  requested_at_timestamp: requestedAt,
  ready_at_timestamp: readyAt,
})

const found = (code: ReasonCode, shareIndexes: readonly number[] = []): Found => ({ code, shareIndexes })

/** The reasons as they concern nodes of these share indexes: what holds of other nodes is said in one word, after what holds of these. */
function scoped(reasons: readonly Found[], own: readonly number[] | undefined): readonly Found[] {
  if (own === undefined) return reasons
  const isOwn = ({ shareIndexes }: Found) => shareIndexes.some((index) => own.includes(index))
  const isOthers = (one: Found) => one.shareIndexes.length > 0 && !isOwn(one)
  const first = reasons.findIndex(isOthers)
  const last = Math.max(first, reasons.findLastIndex(isOwn))
  return reasons.flatMap((one, position): Found[] => {
    const kept = isOthers(one)
      ? []
      : [{ code: one.code, shareIndexes: one.shareIndexes.filter((index) => own.includes(index)) }]
    return first >= 0 && position === last ? [...kept, found('OTHER_NODES')] : kept
  })
}

/** A reason as answers have it. */
export function inWords({ code, shareIndexes }: Found): Reason {
  const { sentence, remedy, who, anchor } = REASONS[code]
  return { code, sentence, remedy, who, share_indexes: [...shareIndexes], runbook: `${RUNBOOK}#${anchor}` }
}
