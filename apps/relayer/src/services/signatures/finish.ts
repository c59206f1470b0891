/**
 * Finishing messages, a job's work: from candidates to the full signature and, of an exit, to the oracle shares (`oracles/shares.ts`).
 *
 * One batch is one transaction at its end. A job that runs twice, or on two workers, does nothing the second time: the message is
 * ready already, and of two share sets for one oracle set the first stays.
 *
 * A job tries a little of each message. What would take a long search among invented candidates is searched beside the jobs, one message
 * at a time, requesters in turn, within a budget (`search-budget.ts`): others, of the same job too, do not wait for it.
 */

import { createHash } from 'node:crypto'
import { setImmediate as othersFirst } from 'node:timers/promises'
import { createFairLine } from '@dvt-relayer/common/flow/fair-line.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { announceOracleShares, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { CandidateRow, Verdict } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { findCandidates, findHints, findStarving } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import type { FinishRow, OracleSetRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import {
  completeMessages,
  countFailedAttempts,
  findCurrentOracleSet,
  findMessagesToFinish,
  releaseMessages,
} from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { Context, Sealing, SignatureOpener } from '../../context.ts'
import {
  CLUSTER_INDEXES,
  type FinishedMessage,
  isCrowded,
  type MessageToFinish,
  mostAttempts,
} from '../../crypto-workers/tasks.ts'
import { oracleKeysOf } from '../oracles/share-set.ts'
import { insertShareSets } from '../oracles/shares.ts'
import { openCandidate, type TrustedVerdict, writeFinishedVerdicts } from './candidates.ts'
import { type KeyShareOfNode, unpackHint } from './key-share-hints.ts'
import { createSearchBudget, SEARCH_ATTEMPTS, type Searched } from './search-budget.ts'

/** Nodes that are up have signed long before. */
const STARVING_SECONDS = 600
/** The newest few tell of all: their clusters are the same, as a rule. */
const STARVING_LOOKED_AT = 4
/** Attempts of a job at each message: every choice of a usual cluster (5 of 7, 4 of 6), and all of what hints lead to. */
const QUICK_ATTEMPTS = 32
/** Messages of one requester that wait for a long search. Those that find no place are claimed again later, as after an attempt that failed. */
const SEARCHES_OF_ONE = 16

/** A candidate with its signature opened. */
interface Opened {
  row: CandidateRow
  signature: Uint8Array
}

/** A message to finish: what is known of it, and what a worker thread is asked. */
interface Unfinished {
  message: FinishRow
  candidates: readonly Opened[]
  /** Whether some could not be opened. */
  isDamaged: boolean
  input: MessageToFinish
  searched: Searched
}

/** The same, and what the worker thread made of it. */
interface Tried<Result = FinishedMessage> extends Unfinished {
  result: Result
}
type Finished = Tried<Extract<FinishedMessage, { status: 'finished' }>>

/** What finishing has come to and is committed: whoever waits for verdicts hears of it. */
export interface Concluded {
  messageIds: readonly number[]
  verdicts: readonly Verdict[]
}

/** Creates the service. */
export function createFinishing(
  {
    db,
    crypto,
    sealing,
    events,
    logger,
    announced,
  }: Pick<Context, 'db' | 'crypto' | 'sealing' | 'events' | 'logger' | 'announced'>,
  onConcluded: (concluded: Concluded) => void = () => {},
) {
  /** Those of these messages that there is something to do for. */
  async function load(messageIds: readonly number[], set: OracleSetRow | undefined): Promise<Unfinished[]> {
    const opener = await sealing.openerFor(db, messageIds)
    const messages = await findMessagesToFinish(db, messageIds, set?.id ?? null)
    // A split for new oracles does not read them: what came after the signature is judged in a job of its own.
    const judged = messages.filter(
      ({ hasKeyShares: has, state, needsOracleShares }) => !has || state !== 'ready' || !needsOracleShares,
    )
    const candidates = await byMessage(judged, (ids) => findCandidates(db, ids))
    const guessed = messages.filter(({ hasKeyShares: has, state }) => !has && state !== 'ready')
    const hints = await byMessage(guessed, (ids) => findHints(db, ids))
    const unfinished: Unfinished[] = []
    for (const message of messages) {
      const said = (hints.get(message.id) ?? []).map(({ shares }) => unpackHint(shares))
      const rows = candidates.get(message.id) ?? []
      // To open what was invented of one message takes some milliseconds: others may work in between.
      if (rows.length > CLUSTER_INDEXES) await othersFirst()
      try {
        unfinished.push(...prepare(logger, opener, message, rows, said))
      } catch (error) {
        logger.error(
          { message_id: message.id, err: error },
          'a signature cannot be opened; see "npm run relayer -- void-sealed"',
        )
      }
    }
    return unfinished
  }

  const budget = createSearchBudget()
  const line = createFairLine<number>()
  /** The messages that wait for a search, or are searched, by who asks for them. */
  const searching = new Map<string, Set<number>>()
  let isSearching = false

  /** Recovers full signatures on a worker thread, and splits those of exits that need shares of this oracle set. */
  async function recover(
    batch: readonly Unfinished[],
    set: OracleSetRow | undefined,
    maxAttempts?: number,
  ): Promise<Tried[]> {
    const oracleSet = splitFor(set)
    const tried: Tried[] = []
    for (const needsShares of [true, false]) {
      const some = batch.filter(({ message }) => message.needsOracleShares === needsShares)
      const inputs = some.map(({ input }) => input)
      const results = await crypto.finish(inputs, needsShares ? oracleSet : undefined, maxAttempts)
      tried.push(...withResults(some, results))
    }
    return tried
  }

  /** Tells what is odd of what came of these. */
  function withResults(batch: readonly Unfinished[], results: readonly FinishedMessage[]): Tried[] {
    return batch.flatMap((unfinished, position) => {
      const result = results[position]
      if (result?.status === 'failed')
        logger.error({ message_id: unfinished.message.id, reason: result.reason }, 'a message could not be finished')
      else if (result?.fitting !== undefined) events.thresholdDoubtful(unfinished.message.threshold, result.fitting)
      return result === undefined ? [] : [{ ...unfinished, result }]
    })
  }

  /** A job's attempts: one at each message of those whose requester has used up the attempts in vain that others wait behind. */
  async function tryQuickly(batch: readonly Unfinished[], set: OracleSetRow | undefined): Promise<Tried[]> {
    const now = performance.now()
    const few = new Set<Unfinished>()
    for (const one of batch) {
      if (one.message.hasKeyShares) continue
      if (!budget.mayTry(one.searched, now)) few.add(one)
      // What is invented is counted before it is tried: a batch is as much as a job takes.
      else if (one.searched.isCrowd) budget.hasTried(one.searched, now, mostAttempts(one.input, QUICK_ATTEMPTS))
    }
    const many = batch.filter((one) => !few.has(one))
    const tried: Tried[] = []
    for (const [some, attempts] of [[many, QUICK_ATTEMPTS] as const, [[...few], 1] as const]) {
      const found = some.length === 0 ? [] : await recover(some, set, attempts)
      for (const { searched, input } of found.filter(needsSearch))
        if (!searched.isCrowd || attempts === 1) budget.hasTried(searched, now, mostAttempts(input, attempts))
      tried.push(...found)
    }
    return tried
  }

  /** Writes what a batch came to. */
  async function store(batch: readonly Tried[], set: OracleSetRow | undefined) {
    const finished = batch.filter(isFinished)
    const failed = batch.filter((tried) => !isFinished(tried) && !isShort(tried))
    const verdicts = { recovered: batch.flatMap(recoveredVerdicts), trusted: batch.flatMap(trustedVerdicts) }
    const stored = await db.transaction(async (tx) => {
      await lockMessages(tx, idsOf(batch))
      const completed = await keepSignatures(tx, sealing, finished)
      const split = set === undefined ? [] : await insertShareSets(tx, set, finished.map(splitOf))
      await releaseMessages(tx, idsOf(batch.filter(isMoved)))
      await countFailedAttempts(tx, idsOf(failed))
      const messages = batch.map(({ message }) => message)
      const counted = await writeFinishedVerdicts(tx, sealing, messages, verdicts, completed)
      if (set !== undefined) await announceOracleShares(tx, set.id, split)
      return { completed: new Set(completed), shareSets: split.length, counted }
    })
    announced()
    onConcluded({ messageIds: idsOf(batch), verdicts: [...verdicts.recovered, ...stored.counted] })
    return { ...stored, recovered: verdicts.recovered, failed: failed.length }
  }

  /** Stores what a batch came to, and tells it. */
  async function conclude(batch: readonly Tried[], set: OracleSetRow | undefined, started: number): Promise<void> {
    if (batch.length === 0) return
    const { completed, shareSets, recovered, counted, failed } = await store(batch, set)
    const wrong = [...recovered, ...counted].filter(({ isRight }) => !isRight)
    for (const [shareIndex, group] of Map.groupBy(wrong, (verdict) => verdict.shareIndex))
      events.partialsRejected(shareIndex, group.length)
    const right = counted.filter(({ isRight }) => isRight)
    for (const [shareIndex, group] of Map.groupBy(right, (verdict) => verdict.shareIndex))
      events.partialsVerified(shareIndex, group.length)
    const ready = batch.filter(({ message }) => completed.has(message.id))
    const exits = ready.filter(({ message }) => message.kind === 'exit').length
    if (ready.length + shareSets > 0) {
      const done = { exits, deposits: ready.length - exits, shareSets }
      events.messagesReady(done, (performance.now() - started) / 1000)
    }
    if (failed > 0) events.recoveryFailed(failed)
  }

  /** Searches on for a message, by what is stored when its turn comes. */
  async function search(messageId: number): Promise<void> {
    const started = performance.now()
    const set = await findCurrentOracleSet(db)
    const batch = await load([messageId], set)
    const [unfinished] = batch
    if (unfinished === undefined) return
    const { input, message, searched } = unfinished
    if (!budget.isFree(searched, started)) return countFailedAttempts(db, [messageId])
    budget.began(searched, started, mostAttempts(input, SEARCH_ATTEMPTS))
    const results = await crypto.search(input, message.needsOracleShares ? splitFor(set) : undefined, SEARCH_ATTEMPTS)
    const tried = note(withResults(batch, results))
    if (tried.some(needsSearch)) budget.searchedInVain(searched, performance.now())
    await conclude(tried, set, started)
  }

  /** Whether nothing new came to what was searched in vain. */
  const isInVain = (searched: Searched, now: number) => budget.isTried(searched) || budget.isResting(searched, now)

  /** Notes what was tried whole in vain: it is not tried again as it is. */
  function note(tried: Tried[]): Tried[] {
    for (const one of tried) if (one.result.status === 'not_found' && !needsSearch(one)) budget.triedAll(one.searched)
    return tried
  }

  /** Lets messages be searched when their turn comes. */
  function searchLater(unfinished: readonly Unfinished[]): void {
    for (const { message } of unfinished) {
      const requester = message.requester ?? ''
      const own = searching.get(requester) ?? new Set()
      if (own.has(message.id) || own.size >= SEARCHES_OF_ONE) continue
      searching.set(requester, own.add(message.id))
      line.push(requester, message.id)
    }
    if (!isSearching) void searchInTurn()
  }

  async function searchInTurn(): Promise<void> {
    isSearching = true
    for (let id = line.shift(); id !== undefined; id = line.shift()) {
      try {
        await search(id)
      } catch (error) {
        logger.debug({ message_id: id, err: error }, 'a search was interrupted, the next look comes')
      }
      for (const [requester, own] of searching) if (own.delete(id) && own.size === 0) searching.delete(requester)
    }
    isSearching = false
  }

  const service = {
    /** Finishes those of these messages that can be: a job's work. Does nothing the second time. */
    async finish(messageIds: readonly number[]): Promise<void> {
      const started = performance.now()
      const set = await findCurrentOracleSet(db)
      const loaded = await load(messageIds, set)
      const batch = loaded.filter((one) => !isInVain(one.searched, started))
      const inVain = new Set(loaded).difference(new Set(batch))
      await countFailedAttempts(db, idsOf([...inVain]))
      const { begun = [], others = [] } = Object.groupBy(batch, (one) =>
        budget.wasBegun(one.searched) ? 'begun' : 'others',
      )
      searchLater(begun)
      if (others.length === 0) return
      const tried = await tryQuickly(others, set)
      const over = tried.filter((one) => !needsSearch(one))
      await conclude(note(over), set, started)
      searchLater(tried.filter(needsSearch))
    },
    /**
     * Says why messages of no known cluster wait for ever: fewer nodes sign than SIGNATURE_THRESHOLD says, because some are away or
     * because it is too high. Where what is there makes a signature already, it is too high. Nothing is stored.
     */
    async explainStarving(): Promise<void> {
      const starving = await findStarving(db, STARVING_SECONDS, STARVING_LOOKED_AT)
      for (const { message, candidates, result } of await recover(await load(starving, undefined), undefined))
        if (result.status === 'not_found' && result.fitting === undefined)
          events.nodesMissing(message.threshold, new Set(candidates.map(({ row }) => row.shareIndex)).size)
    },
  }
  return {
    ...service,
    /** The same. What is interrupted is tried again soon, and each time later, and not only after the time that a worker has for it. */
    async finish(messageIds: readonly number[]): Promise<void> {
      try {
        await service.finish(messageIds)
      } catch (error) {
        await countFailedAttempts(db, messageIds).catch(() => {})
        throw error
      }
    },
  }
}
export type Finishing = ReturnType<typeof createFinishing>

/** The rows that `find` gives for these messages, by message; nothing is asked for none. */
async function byMessage<T extends { messageId: number }>(
  messages: readonly FinishRow[],
  find: (messageIds: number[]) => Promise<T[]>,
): Promise<Map<number, T[]>> {
  const rows = messages.length === 0 ? [] : await find(messages.map(({ id }) => id))
  return Map.groupBy(rows, (row) => row.messageId)
}

/** One message with its signatures opened; nothing when there is nothing to do for it. */
function prepare(
  logger: Logger,
  opener: SignatureOpener,
  message: FinishRow,
  rows: readonly CandidateRow[],
  hints: readonly KeyShareOfNode[][],
): Unfinished[] {
  // One verified under a public key share that is not there any more: with it only verified ones are recovered from.
  const isTogether = rows.every(({ state, publicKeyShare }) => state !== 'verified' || publicKeyShare !== null)
  const mayCount = ({ state, publicKeyShare }: CandidateRow) =>
    state === 'verified' || !message.hasKeyShares || (isTogether && publicKeyShare !== null)
  const hasUnjudged = rows.some((row) => row.state === 'unverified' && mayCount(row))
  if (message.state === 'ready' && !message.needsOracleShares && !hasUnjudged) return []
  // A split alone needs the full signature only.
  const isJudging = message.state === 'collecting' || hasUnjudged
  const looked = isJudging ? rows.filter(mayCount) : []
  const candidates = looked.flatMap((row): Opened[] => {
    const signature = openCandidate(opener, row, logger)
    return signature === undefined ? [] : [{ row, signature }]
  })
  const byIndex = Map.groupBy(verifiedFirst(candidates), ({ row }) => row.shareIndex)
  const input: MessageToFinish = {
    message: message.signingRoot,
    publicKey: message.publicKey,
    threshold: message.threshold,
    signature: message.signature === null ? undefined : opener.signature(message, message.signature),
    hints,
    candidates: [...byIndex].map(([shareIndex, found]) => ({
      shareIndex,
      signatures: found.map(({ signature }) => signature),
    })),
    trusted: message.hasKeyShares && isTogether ? [...byIndex.values()].flatMap(trustedShareOf) : [],
  }
  const searched = searchedOf(message, candidates, input)
  return [{ message, candidates, isDamaged: candidates.length < looked.length, input, searched }]
}

/** The trusted public key share at the index of these candidates, and whether the first of them was verified under it. */
function trustedShareOf([first]: readonly Opened[]) {
  if (first === undefined || first.row.publicKeyShare === null) return []
  const { shareIndex, publicKeyShare, state } = first.row
  return [{ shareIndex, publicKeyShare, isVerified: state === 'verified' }]
}

function verifiedFirst(candidates: readonly Opened[]): Opened[] {
  const verified = candidates.filter(({ row }) => row.state === 'verified')
  return [...verified, ...candidates.filter(({ row }) => row.state !== 'verified')]
}

/** Those candidates of a message that had no verdict, with the one they have now. */
function judgedOf({ candidates, result }: Tried): (Opened & { isRight: boolean })[] {
  if (result.status === 'failed') return []
  const judged = new Map<string, boolean>()
  const name = (shareIndex: number, signature: Uint8Array) => `${shareIndex}:${toHex(signature)}`
  for (const { shareIndex, signature } of result.right ?? []) judged.set(name(shareIndex, signature), true)
  for (const { shareIndex, signature } of result.wrong) judged.set(name(shareIndex, signature), false)
  return candidates.flatMap((opened) => {
    const isRight = judged.get(name(opened.row.shareIndex, opened.signature))
    return isRight === undefined || opened.row.state === 'verified' ? [] : [{ ...opened, isRight }]
  })
}

/** What a full signature alone decided. */
const recoveredVerdicts = (tried: Tried): Verdict[] =>
  tried.message.hasKeyShares
    ? []
    : judgedOf(tried).map(({ row: { messageId, shareIndex, digest }, isRight }) => {
        return { messageId, shareIndex, digest, isRight }
      })

/** What was decided under trusted public key shares: each verdict counts while the one at its index is the same. */
const trustedVerdicts = (tried: Tried): TrustedVerdict[] =>
  tried.message.hasKeyShares
    ? judgedOf(tried).flatMap(({ row, signature, isRight }) => {
        const { messageId, kind, shareIndex, digest, publicKeyShare } = row
        return publicKeyShare === null
          ? []
          : [{ messageId, kind, shareIndex, digest, signature, publicKeyShare, isRight }]
      })
    : []

/** Seals and keeps full signatures that were not there yet; returns the messages that became ready. */
async function keepSignatures(tx: Sql, sealing: Sealing, finished: readonly Finished[]): Promise<number[]> {
  const fresh = finished.filter(({ message }) => message.state === 'collecting')
  const seal = await sealing.sealerFor(tx, idsOf(fresh))
  return completeMessages(
    tx,
    fresh.flatMap(({ message, result }) => {
      const sealed = seal.signature(message, result.signature)
      return sealed === undefined ? [] : [{ messageId: message.id, sealed }]
    }),
  )
}

/** What is searched of a message, by all that a search goes by: in a crowd also which share indexes were seen last. */
function searchedOf(message: FinishRow, candidates: readonly Opened[], input: MessageToFinish): Searched {
  const newest = input.candidates.slice(0, CLUSTER_INDEXES).map(({ shareIndex }) => shareIndex)
  const named = candidates.map(({ row }) => `${row.shareIndex} ${row.state} ${toHex(row.digest)}`).sort()
  const hinted = input.hints
    .flatMap((hint) => hint.map((one) => `${one.shareIndex} ${toHex(one.publicKeyShare)}`))
    .sort()
  const all = [message.threshold, message.hasKeyShares, ...named, 'newest', ...newest.sort(), 'hints', ...hinted].join()
  return {
    messageId: message.id,
    requester: message.requester,
    isCrowd: isCrowded(input),
    among: createHash('sha256').update(all).digest('hex'),
  }
}

const splitFor = (set: OracleSetRow | undefined) =>
  set === undefined ? undefined : { threshold: set.threshold, publicKeys: oracleKeysOf(set) }

const needsSearch = ({ result }: Tried): boolean => result.status === 'not_found' && result.isUnfinished === true
/** Too few are right under trusted public key shares, as is known now: it waits for others, and not for a time to be over. */
const isShort = (tried: Tried): boolean =>
  tried.message.hasKeyShares &&
  tried.result.status === 'not_found' &&
  (!tried.isDamaged || trustedVerdicts(tried).length > 0)
/** Whether something came of it. Where nothing did, the claim holds until its time is over. */
const isMoved = (tried: Tried): boolean =>
  isShort(tried) ||
  (isFinished(tried) &&
    (tried.message.state !== 'ready' || tried.message.needsOracleShares || judgedOf(tried).length > 0))
const isFinished = (tried: Tried): tried is Finished => tried.result.status === 'finished'
const splitOf = ({ message, result }: Finished) => ({ exit: message, shares: result.shares })
const idsOf = (batch: readonly Unfinished[]): number[] => batch.map(({ message }) => message.id)
