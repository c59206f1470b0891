/**
 * Finishing messages, a job's work: from candidates to the full signature and, of an exit, to the oracle shares (`oracles/shares.ts`).
 *
 * One batch is one transaction at its end. A job that runs twice, or on two workers, does nothing the second time: the message is
 * ready already, and of two share sets for one oracle set the first stays.
 *
 * A job tries a little of each message. What would take a long search among invented candidates is searched beside the jobs, one message
 * at a time: others, of the same job too, do not wait for it.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { createKeyedQueue } from '@dvt-relayer/common/keyed-queue.ts'
import type { Logger } from '@dvt-relayer/common/logger.ts'
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
import type { FinishedMessage, MessageToFinish } from '../../crypto-workers/tasks.ts'
import { oracleKeysOf } from '../oracles/share-set.ts'
import { insertShareSets } from '../oracles/shares.ts'
import { openCandidate, writeRecoveredVerdicts } from './candidates.ts'
import { type KeyShareOfNode, unpackHint } from './key-share-hints.ts'

/** Nodes that are up have signed long before. */
const STARVING_SECONDS = 600
/** The newest few tell of all: their clusters are the same, as a rule. */
const STARVING_LOOKED_AT = 4
/** Attempts of a job at each message: every choice of a usual cluster (5 of 7, 4 of 6), and all of what hints lead to. */
const QUICK_ATTEMPTS = 32
/** Messages that wait for a long search. Those that find no place are claimed again later, as after an attempt that failed. */
const SEARCHES = { depth: 1, waiting: 64 }

/** A candidate with its signature opened. */
interface Opened {
  row: CandidateRow
  signature: Uint8Array
}

/** A message to finish: what is known of it, and what a worker thread is asked. */
interface Unfinished {
  message: FinishRow
  candidates: readonly Opened[]
  input: MessageToFinish
}

/** The same, and what the worker thread made of it. */
interface Tried<Result = FinishedMessage> extends Unfinished {
  result: Result
}
type Finished = Tried<Extract<FinishedMessage, { status: 'finished' }>>

/** Creates the service. */
export function createFinishing({
  db,
  crypto,
  sealing,
  events,
  logger,
  announced,
}: Pick<Context, 'db' | 'crypto' | 'sealing' | 'events' | 'logger' | 'announced'>) {
  /** Those of these messages that there is something to do for. */
  async function load(messageIds: readonly number[], set: OracleSetRow | undefined): Promise<Unfinished[]> {
    const opener = await sealing.openerFor(db, messageIds)
    const messages = await findMessagesToFinish(db, messageIds, set?.id ?? null)
    // Of a signature that is there and that trusted shares made, the candidates have nothing to say.
    const judged = messages.filter(({ hasKeyShares: has, state }) => !has || state !== 'ready')
    const candidates = await byMessage(judged, (ids) => findCandidates(db, ids))
    const guessed = messages.filter(({ hasKeyShares: has, state }) => !has && state !== 'ready')
    const hints = await byMessage(guessed, (ids) => findHints(db, ids))
    return messages.flatMap((message) => {
      const said = (hints.get(message.id) ?? []).map(({ shares }) => unpackHint(shares))
      try {
        return prepare(logger, opener, message, candidates.get(message.id) ?? [], said)
      } catch (error) {
        logger.error(
          { message_id: message.id, err: error },
          'a signature cannot be opened; see "npm run relayer -- void-sealed"',
        )
        return []
      }
    })
  }

  const searches = createKeyedQueue(SEARCHES)
  /** The messages that wait for a search, or are searched. */
  const searching = new Set<number>()

  /** Recovers full signatures on a worker thread, and splits those of exits that need shares of this oracle set. */
  async function recover(
    batch: readonly Unfinished[],
    set: OracleSetRow | undefined,
    maxAttempts?: number,
  ): Promise<Tried[]> {
    const oracleSet = set === undefined ? undefined : { threshold: set.threshold, publicKeys: oracleKeysOf(set) }
    const tried: Tried[] = []
    for (const needsShares of [true, false]) {
      const some = batch.filter(({ message }) => message.needsOracleShares === needsShares)
      const results = await crypto.finish(
        some.map(({ input }) => input),
        needsShares ? oracleSet : undefined,
        maxAttempts,
      )
      for (const [position, unfinished] of some.entries()) {
        const result = results[position]
        if (result?.status === 'failed')
          logger.error({ message_id: unfinished.message.id, reason: result.reason }, 'a message could not be finished')
        else if (result?.fitting !== undefined) events.thresholdDoubtful(unfinished.message.threshold, result.fitting)
        if (result !== undefined) tried.push({ ...unfinished, result })
      }
    }
    return tried
  }

  /** Writes what a batch came to. */
  async function store(batch: readonly Tried[], set: OracleSetRow | undefined) {
    const finished = batch.filter(isFinished)
    const failedIds = idsOf(batch.filter((tried) => !isFinished(tried)))
    const verdicts = batch.flatMap(verdictsOf)
    const stored = await db.transaction(async (tx) => {
      await lockMessages(tx, idsOf(batch))
      const completed = await keepSignatures(tx, sealing, finished)
      const split = set === undefined ? [] : await insertShareSets(tx, set, finished.map(splitOf))
      await releaseMessages(tx, idsOf(finished))
      await countFailedAttempts(tx, failedIds)
      const messages = batch.map(({ message }) => message)
      await writeRecoveredVerdicts(tx, messages, verdicts, completed)
      if (set !== undefined) await announceOracleShares(tx, set.id, split)
      return { completed: new Set(completed), shareSets: split.length }
    })
    announced()
    return { ...stored, verdicts, failed: failedIds.length }
  }

  /** Stores what a batch came to, and tells it. */
  async function conclude(batch: readonly Tried[], set: OracleSetRow | undefined, started: number): Promise<void> {
    if (batch.length === 0) return
    const { completed, shareSets, verdicts, failed } = await store(batch, set)
    const wrong = verdicts.filter(({ isRight }) => !isRight)
    for (const [shareIndex, group] of Map.groupBy(wrong, (verdict) => verdict.shareIndex))
      events.partialsRejected(shareIndex, group.length)
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
    if (searching.has(messageId)) return
    searching.add(messageId)
    try {
      await searches.run('', async () => {
        const started = performance.now()
        const set = await findCurrentOracleSet(db)
        await conclude(await recover(await load([messageId], set), set), set, started)
      })
    } catch (error) {
      logger.debug({ message_id: messageId, err: error }, 'a search was interrupted, the next look comes')
    } finally {
      searching.delete(messageId)
    }
  }

  return {
    /** Finishes those of these messages that can be: a job's work. Does nothing the second time. */
    async finish(messageIds: readonly number[]): Promise<void> {
      const started = performance.now()
      const set = await findCurrentOracleSet(db)
      const batch = await load(messageIds, set)
      if (batch.length === 0) return
      const tried = await recover(batch, set, QUICK_ATTEMPTS)
      await conclude(
        tried.filter((one) => !needsSearch(one)),
        set,
        started,
      )
      for (const id of idsOf(tried.filter(needsSearch))) void search(id)
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
  const hasUnjudged = !message.hasKeyShares && rows.some(({ state }) => state === 'unverified')
  if (message.state === 'ready' && !message.needsOracleShares && !hasUnjudged) return []
  // A split alone needs the full signature only.
  const isJudging = message.state === 'collecting' || hasUnjudged
  const candidates = (isJudging ? rows : []).flatMap((row): Opened[] => {
    const signature = openCandidate(opener, row, logger)
    return signature === undefined ? [] : [{ row, signature }]
  })
  const byIndex = Map.groupBy(usable(candidates, message.hasKeyShares), ({ row }) => row.shareIndex)
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
  }
  return [{ message, candidates, input }]
}

/** Under trusted public key shares only verified candidates count; else all do, verified ones first. */
function usable(candidates: readonly Opened[], hasKeyShares: boolean): Opened[] {
  const verified = candidates.filter(({ row }) => row.state === 'verified')
  return hasKeyShares ? verified : [...verified, ...candidates.filter(({ row }) => row.state !== 'verified')]
}

/** The verdicts on those candidates of a message that had none yet. */
function verdictsOf({ candidates, result }: Tried): Verdict[] {
  if (result.status === 'failed') return []
  const judged = new Map<string, boolean>()
  const name = (shareIndex: number, signature: Uint8Array) => `${shareIndex}:${toHex(signature)}`
  if (result.status === 'finished')
    for (const { shareIndex, signature } of result.right) judged.set(name(shareIndex, signature), true)
  for (const { shareIndex, signature } of result.wrong) judged.set(name(shareIndex, signature), false)
  return candidates.flatMap(({ row: { messageId, shareIndex, digest, state }, signature }) => {
    const isRight = judged.get(name(shareIndex, signature))
    return isRight === undefined || state === 'verified' ? [] : [{ messageId, shareIndex, digest, isRight }]
  })
}

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

const needsSearch = ({ result }: Tried): boolean => result.status === 'not_found' && result.isUnfinished === true
const isFinished = (tried: Tried): tried is Finished => tried.result.status === 'finished'
const splitOf = ({ message, result }: Finished) => ({ exit: message, shares: result.shares })
const idsOf = (batch: readonly Unfinished[]): number[] => batch.map(({ message }) => message.id)
