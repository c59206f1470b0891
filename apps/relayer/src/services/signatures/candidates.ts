/**
 * The state of partial signatures, and its only writer. A candidate is stored `unverified`; a verdict makes it `verified`, or
 * `rejected` and its bytes are forgotten. What follows is done in the same transaction: the vault of a deposit that somebody may have
 * signed for is bound, and the messages are announced of which lists may show something else.
 *
 * Callers have locked the messages (`lockMessages`). The announcement holds the lock of the revisions until the commit, so little or
 * nothing should come after these functions.
 */

import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { announceMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { MessageKind } from '@dvt-relayer/db/queries/messages/messages.ts'
import type {
  CandidateRow,
  Candidate as SealedCandidate,
  Verdict,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  bindDeposits,
  findShown,
  findStillTrusted,
  insertCandidates,
  trimCandidates,
  writeVerdicts,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { Sealing, SignatureOpener } from '../../context.ts'

/** How many candidates one share index may have while none is verified, and how many unverified share indexes one message. */
export const CANDIDATE_LIMITS = { perIndex: 4, indexes: 64 } as const

/** Candidates sealed before others may work: half a millisecond, most of it for the exits' own keys. */
const SEALED_AT_ONCE = 32

/** A partial signature of a message. */
export interface Candidate {
  messageId: number
  kind: MessageKind
  digest: Uint8Array
  signature: Uint8Array
}

/** A verdict on a candidate under the trusted public key share that it was verified with. */
export interface TrustedVerdict extends Verdict, Candidate {
  publicKeyShare: Uint8Array
}

/** A partial signature as it was posted. */
export interface PostedCandidate extends Candidate {
  /** Whether nobody is told of it: its verdict comes soon, and whoever is to hear of it later has that said (`announceMessages`). */
  isUntold: boolean
  /**
   * Whether its share index had sent another one for the message, of which everybody was told: lists show share indexes, and may show this
   * one already. False under a trusted public key share, where of the other one nobody may have been told.
   */
  isAnother: boolean
}

/**
 * Stores candidates of one share index. Told of are all but the untold, and those of which lists show the same as before. Returns whether
 * any is.
 */
export async function storeCandidates(
  tx: Sql,
  sealing: Sealing,
  shareIndex: number,
  candidates: readonly PostedCandidate[],
): Promise<boolean> {
  const told = new Set(idsOf(candidates.filter(({ isUntold }) => !isUntold)))
  const doubtful = idsOf(candidates.filter(({ isAnother }) => isAnother))
  const shown = () => (doubtful.length === 0 ? new Map<number, string>() : findShown(tx, doubtful))
  const before = await shown()
  await sealAndInsert(tx, sealing, shareIndex, candidates)
  await trimCandidates(tx, idsOf(candidates), CANDIDATE_LIMITS)
  for (const [messageId, text] of await shown()) if (before.get(messageId) === text) told.delete(messageId)
  await settle(tx, idsOf(candidates.filter(isOfDeposit)), [...told])
  return told.size > 0
}

/** Writes what public key shares decided. Returns the verdicts that count. */
export async function writeTrustedVerdicts(
  tx: Sql,
  sealing: Sealing,
  judged: readonly TrustedVerdict[],
): Promise<TrustedVerdict[]> {
  const verdicts = await writeTrusted(tx, sealing, judged)
  await settle(tx, idsOf(judged.filter(isOfDeposit)), idsOf(judged))
  return verdicts
}

/** What finishing some messages decided about their candidates: by the signature alone, or under trusted public key shares. */
export interface FinishedVerdicts {
  recovered: readonly Verdict[]
  trusted: readonly TrustedVerdict[]
}

/**
 * Writes what finishing decided about candidates of these messages, and announces them with those just `completed`. Returns the verdicts
 * under trusted public key shares that count.
 */
export async function writeFinishedVerdicts(
  tx: Sql,
  sealing: Sealing,
  messages: readonly { id: number; kind: MessageKind }[],
  { recovered, trusted }: FinishedVerdicts,
  completed: readonly number[],
): Promise<TrustedVerdict[]> {
  await writeVerdicts(tx, recovered)
  const counted = await writeTrusted(tx, sealing, trusted)
  const deposits = messages.filter(isOfDeposit).map(({ id }) => id)
  await settle(tx, deposits, [...new Set([...completed, ...idsOf(recovered), ...idsOf(trusted)])])
  return counted
}

/**
 * Writes what public key shares decided. The operators of a validator may have changed meanwhile: what fits the old public key shares
 * must not count among the new. Returns the verdicts that do count.
 */
async function writeTrusted(tx: Sql, sealing: Sealing, judged: readonly TrustedVerdict[]): Promise<TrustedVerdict[]> {
  if (judged.length === 0) return []
  const trusted = await findStillTrusted(tx, judged)
  const verdicts = judged.filter((_, position) => trusted.has(position))
  const written = await writeVerdicts(tx, verdicts)
  if (written < verdicts.length) await restoreRight(tx, sealing, verdicts)
  return verdicts
}

/** The signature of a stored candidate; undefined, and said, where it cannot be opened: the others go on without it. */
export function openCandidate(opener: SignatureOpener, row: CandidateRow, logger: Logger): Uint8Array | undefined {
  const { messageId, kind, shareIndex, sealed } = row
  try {
    return opener.partial({ id: messageId, kind }, shareIndex, sealed)
  } catch (error) {
    logger.error(
      { message_id: messageId, share_index: shareIndex, err: error },
      'a partial signature cannot be opened; see "npm run relayer -- void-sealed"',
    )
    return undefined
  }
}

/** What follows where deposits became ready without candidates: a lock has their signatures. */
export const settleCompleted = (tx: Sql, depositIds: readonly number[]): Promise<void> =>
  settle(tx, depositIds, depositIds)

/** What follows from a change of candidates. */
async function settle(tx: Sql, depositIds: readonly number[], changedIds: readonly number[]): Promise<void> {
  if (depositIds.length > 0) await bindDeposits(tx, depositIds)
  await announceMessages(tx, changedIds)
}

/**
 * Puts right candidates back that are not there any more: while they were verified, a flood at their share index may have
 * pushed them over the limit. Where a verified one is there, or the exit is not live, nothing happens.
 */
async function restoreRight(tx: Sql, sealing: Sealing, verdicts: readonly TrustedVerdict[]): Promise<void> {
  const right = verdicts.filter(({ isRight }) => isRight)
  for (const [shareIndex, group] of Map.groupBy(right, (verdict) => verdict.shareIndex))
    await sealAndInsert(tx, sealing, shareIndex, group)
  await writeVerdicts(tx, right)
}

/** Of messages that have ended nothing is stored: the sealer has no key for them. */
async function sealAndInsert(
  tx: Sql,
  sealing: Sealing,
  shareIndex: number,
  candidates: readonly Candidate[],
): Promise<void> {
  const seal = await sealing.sealerFor(tx, idsOf(candidates))
  const sealed = await mapInPieces(
    candidates,
    SEALED_AT_ONCE,
    ({ messageId, kind, digest, signature }): SealedCandidate[] => {
      const value = seal.partial({ id: messageId, kind }, shareIndex, signature)
      return value === undefined ? [] : [{ messageId, digest, sealed: value }]
    },
  )
  await insertCandidates(tx, shareIndex, sealed.flat())
}

const isOfDeposit = ({ kind }: { kind: MessageKind }): boolean => kind === 'deposit'

const idsOf = (of: readonly { messageId: number }[]): number[] => [...new Set(of.map(({ messageId }) => messageId))]
