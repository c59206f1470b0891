/**
 * Partial signatures of exits and deposits: stored first, verified next, each verdict for good (`POST /exit-signature`, `POST /signatures`).
 *
 * Bytes seen before are recognised by a keyed digest before any point is parsed. A signature under a trusted public key share
 * is verified in a batch on a worker thread; one without waits as a candidate until a full signature shows who was right. Wrong
 * ones never replace right ones, and a crash anywhere leaves candidates that the sweep verifies later.
 */

import type { Failure } from '@dvt-relayer/api/schemas.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { createKeyedQueue } from '@dvt-relayer/common/keyed-queue.ts'
import { pause } from '@dvt-relayer/common/lifetime.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { MessageKind } from '@dvt-relayer/db/queries/messages/messages.ts'
import type {
  CandidateRow,
  KeyShareHint,
  MatchRow,
  Verdict,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  bindDeposits,
  claimFinishable,
  countLiveKeys,
  findCandidates,
  findStillTrusted,
  insertCandidates,
  matchPartials,
  storeHints,
  touchCandidates,
  trimCandidates,
  trimHints,
  writeVerdicts,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { Context, SignatureOpener } from '../../context.ts'
import type { FailureCode } from '../../errors.ts'
import { ApiError, failure } from '../../errors.ts'
import { type PostedHint, packHint } from './key-share-hints.ts'

/** One posted item, as it came: of generation 3, or with what generation 4 adds. */
export interface PostedShare {
  public_key: string
  exit_signature: string
  deposit_signature?: string
  public_key_shares?: PostedHint[] | null
}

/** How many candidates one share index may have while none is verified, and how many unverified share indexes one exit. */
export const CANDIDATE_LIMITS = { perIndex: 4, indexes: 64 } as const
/** Sets of public key shares kept for a validator: more than a usual cluster has nodes. */
const HINTS = 16
/** How long a post waits for its verdicts. What is not known by then is found out after the answer. */
const VERIFY_WAIT_MS = 5000
/** Candidates posted again are noted at most this often. */
const TOUCH_SECONDS = 10
/** Items read and stored at once: some milliseconds of the event loop, so that others are answered in between. */
const SLICE = 256

/** One signature of a posted item. */
interface Item {
  position: number
  kind: MessageKind
  publicKey: Uint8Array
  signature: Uint8Array
  digest: Uint8Array
  /** What the poster says all public key shares are. */
  hint: PostedHint[] | null | undefined
}
interface Fresh {
  match: MatchRow
  item: Item
}
interface Unverified {
  position: number
  kind: MessageKind
  messageId: number
  shareIndex: number
  digest: Uint8Array
  triple: { publicKey: Uint8Array; message: Uint8Array; signature: Uint8Array }
}

/** Creates the service. */
export function createSignatures({
  config,
  db,
  queue,
  crypto,
  sealing,
  events,
  logger,
}: Pick<Context, 'config' | 'db' | 'queue' | 'crypto' | 'sealing' | 'events' | 'logger'>) {
  const background = new Set<Promise<unknown>>()
  const lanes = createKeyedQueue(LANE_LIMITS)

  /** A failure of one signature; its kind is named where an item brings two. */
  const failed = (item: Pick<Item, 'position' | 'kind'>, isPair: boolean, code: FailureCode): Failure => ({
    ...failure(item.position, code),
    ...(isPair && { kind: item.kind }),
  })

  /** Reads the texts of the items. Those that are no hex of the right length fail at once; unknown keys are told apart later. */
  function parse(
    shareIndex: number,
    shares: readonly PostedShare[],
    from: number,
  ): { items: Item[]; failures: Failure[] } {
    const items: Item[] = []
    const failures: Failure[] = []
    shares.slice(from, from + SLICE).forEach((share, i) => {
      const position = from + i
      const publicKey = parseHex(share.public_key, 48)
      if (publicKey === undefined) {
        failures.push(failure(position, 'PUBLIC_KEY_INVALID'))
        return
      }
      const { exit_signature: exit, deposit_signature: deposit, public_key_shares: hint } = share
      for (const [kind, text] of [['exit', exit] as const, ['deposit', deposit] as const]) {
        if (text === undefined) continue
        const signature = parseHex(text, 96)
        if (signature === undefined)
          failures.push(failed({ position, kind }, deposit !== undefined, 'SIGNATURE_MALFORMED'))
        else items.push({ position, kind, publicKey, signature, digest: sealing.digest(shareIndex, signature), hint })
      }
    })
    return { items, failures }
  }

  /** Candidates nobody can verify yet must at least be points of the group. */
  async function dropMalformed(
    fresh: readonly Fresh[],
    isPair: boolean,
  ): Promise<{ kept: Fresh[]; failures: Failure[] }> {
    const unknown = fresh.filter(({ match }) => match.publicKeyShare === null)
    const isPoint = await crypto.areSignatures(unknown.map(({ item }) => item.signature))
    const malformed = new Set(unknown.filter((_, position) => isPoint[position] !== true))
    return {
      kept: fresh.filter((entry) => !malformed.has(entry)),
      failures: [...malformed].map(({ item }) => failed(item, isPair, 'SIGNATURE_MALFORMED')),
    }
  }

  /** Stores what is new; returns what is to be verified now and what is wrong without looking at it. */
  async function store(
    shareIndex: number,
    items: readonly Item[],
    isPair: boolean,
  ): Promise<{ unverified: Unverified[]; failures: Failure[]; waiting: number[] }> {
    if (items.length === 0) return { unverified: [], failures: [], waiting: [] }
    const matches = await matchPartials(db, shareIndex, items)
    const failures: Failure[] = []
    const candidates: Fresh[] = []
    const again: { messageId: number; digest: Uint8Array }[] = []
    for (const match of matches) {
      const item = items[match.position]
      if (item === undefined) continue
      if (match.same === 'rejected' || match.hasVerified) failures.push(failed(item, isPair, 'SIGNATURE_WRONG'))
      else if (match.hasKeyShares && match.publicKeyShare === null)
        failures.push(failed(item, isPair, 'SHARE_INDEX_UNKNOWN'))
      else if (match.same === null) candidates.push({ match, item })
      else if ((match.seenSeconds ?? 0) > TOUCH_SECONDS) again.push({ messageId: match.messageId, digest: item.digest })
    }
    await touchCandidates(db, shareIndex, again)
    const { kept: fresh, failures: malformed } = await dropMalformed(candidates, isPair)
    failures.push(...malformed)
    if (fresh.length > 0) {
      const ids = [...new Set(fresh.map(({ match }) => match.messageId))]
      await db.transaction(async (tx) => {
        await lockMessages(tx, ids)
        await sealAndInsert(
          tx,
          shareIndex,
          fresh.map(({ match, item }) => ({ ...item, messageId: match.messageId })),
        )
        await trimCandidates(tx, ids, CANDIDATE_LIMITS)
        if (isPair) await bindDeposits(tx, ids)
        await announceMessages(tx, ids)
      })
      await keepHints(shareIndex, fresh)
    }
    const unverified = fresh.flatMap(({ match, item }): Unverified[] =>
      match.publicKeyShare === null
        ? []
        : [
            {
              position: item.position,
              kind: item.kind,
              messageId: match.messageId,
              shareIndex,
              digest: item.digest,
              triple: { publicKey: match.publicKeyShare, message: match.signingRoot, signature: item.signature },
            },
          ],
    )
    const waiting = fresh.flatMap(({ match }) => (match.publicKeyShare === null ? [match.messageId] : []))
    return { unverified, failures, waiting }
  }

  /** Stores candidates of one share index, sealed. The transaction has locked their messages; of those that have ended nothing is stored. */
  async function sealAndInsert(
    tx: Sql,
    shareIndex: number,
    candidates: readonly { messageId: number; kind: MessageKind; digest: Uint8Array; signature: Uint8Array }[],
  ): Promise<void> {
    const seal = await sealing.sealerFor(tx, [...new Set(candidates.map(({ messageId }) => messageId))])
    const sealed = candidates.flatMap(({ messageId, kind, digest, signature }) => {
      const value = seal.partial({ id: messageId, kind }, shareIndex, signature)
      return value === undefined ? [] : [{ messageId, digest, sealed: value }]
    })
    await insertCandidates(tx, shareIndex, sealed)
  }

  /** Keeps what was said of public key shares that the relayer does not know, once for each validator. */
  async function keepHints(shareIndex: number, fresh: readonly Fresh[]): Promise<void> {
    const hints = new Map<number, KeyShareHint>()
    for (const { match, item } of fresh) {
      const shares = match.hasKeyShares ? undefined : packHint(item.hint)
      if (shares !== undefined) hints.set(match.validatorId, { validatorId: match.validatorId, shares })
    }
    await storeHints(db, shareIndex, [...hints.values()])
    await trimHints(db, [...hints.keys()], HINTS)
  }

  /** Verifies candidates and writes the verdicts, slice by slice, so that early ones count early. Returns the wrong ones. */
  async function verify(
    unverified: readonly Unverified[],
    run: (piece: () => Promise<void>) => Promise<unknown>,
    onWrong: (wrong: Unverified[]) => void,
  ): Promise<void> {
    const slices: Unverified[][] = []
    for (let from = 0; from < unverified.length; from += VERIFY_SLICE)
      slices.push(unverified.slice(from, from + VERIFY_SLICE))
    await Promise.all(slices.map((slice) => run(() => verifySlice(slice, onWrong))))
  }

  async function verifySlice(slice: readonly Unverified[], onWrong: (wrong: Unverified[]) => void): Promise<void> {
    const isRight = await crypto.verify(slice.map(({ triple }) => triple))
    onWrong(slice.filter((_, position) => isRight[position] !== true))
    await decide(slice.map((candidate, position) => ({ ...candidate, isRight: isRight[position] === true })))
  }

  /** Writes verdicts, announces the exits, and has those finished that now have enough. */
  async function decide(judged: readonly (Unverified & Verdict)[]): Promise<void> {
    const ids = [...new Set(judged.map(({ messageId }) => messageId))]
    const verdicts = await db.transaction(async (tx) => {
      await lockMessages(tx, ids)
      // The operators of a validator may have changed meanwhile: what fits the old ones must not count among the new.
      const trusted = await findStillTrusted(
        tx,
        judged.map(({ triple, ...candidate }) => ({ ...candidate, publicKeyShare: triple.publicKey })),
      )
      const verdicts = judged.filter((_, position) => trusted.has(position))
      const written = await writeVerdicts(tx, verdicts)
      if (written < verdicts.length) await restoreRight(tx, verdicts)
      if (verdicts.some(({ kind }) => kind === 'deposit')) await bindDeposits(tx, ids)
      await announceMessages(tx, ids)
      return verdicts
    })
    for (const shareIndex of new Set(verdicts.map((verdict) => verdict.shareIndex))) {
      const right = verdicts.filter((verdict) => verdict.shareIndex === shareIndex && verdict.isRight).length
      const wrong = verdicts.filter((verdict) => verdict.shareIndex === shareIndex && !verdict.isRight).length
      if (right > 0) events.partialsVerified(shareIndex, right)
      if (wrong > 0) events.partialsRejected(shareIndex, wrong)
    }
    await finishLater(ids)
  }

  /**
   * Puts right candidates back that are not there any more: while they were verified, a flood at their share index may have
   * pushed them over the limit. Where a verified one is there, or the exit is not live, nothing happens.
   */
  async function restoreRight(tx: Sql, verdicts: readonly (Unverified & Verdict)[]): Promise<void> {
    const right = verdicts.filter(({ isRight }) => isRight)
    for (const [shareIndex, group] of Map.groupBy(right, (verdict) => verdict.shareIndex))
      await sealAndInsert(
        tx,
        shareIndex,
        group.map(({ triple, ...candidate }) => ({ ...candidate, signature: triple.signature })),
      )
    await writeVerdicts(tx, right)
  }

  /** The signature of a stored candidate; undefined, and said, where it cannot be opened: the others go on without it. */
  function open(
    opener: SignatureOpener,
    { messageId, kind, shareIndex, sealed }: CandidateRow,
  ): Uint8Array | undefined {
    try {
      return opener.partial({ id: messageId, kind }, shareIndex, sealed)
    } catch (error) {
      logger.error(
        { messageId, shareIndex, err: error },
        'a partial signature cannot be opened; see "npm run relayer -- void-sealed"',
      )
      return undefined
    }
  }

  /** Asks a worker to finish those of these messages that have enough. The queue is a hint; the sweep repairs what it loses. */
  async function finishLater(messageIds: readonly number[]): Promise<void> {
    const ready = await claimFinishable(db, messageIds, messageIds.length)
    for (let from = 0; from < ready.length; from += FINISH_SLICE)
      void track(queue.add('finish_messages', { message_ids: ready.slice(from, from + FINISH_SLICE) }))
  }

  /** Whether any signature of a known validator did not fail. */
  async function hasAccepted(items: readonly Item[], failures: readonly Failure[]): Promise<boolean> {
    const isFailed = new Set(failures.map(({ index, kind }) => `${index} ${kind ?? 'exit'}`))
    const others = items.filter(({ position, kind }) => !isFailed.has(`${position} ${kind}`))
    return (
      others.length > 0 &&
      (await countLiveKeys(
        db,
        others.map(({ publicKey }) => publicKey),
      )) > 0
    )
  }

  /** Keeps background work until it is done, so that a stop can wait for it. */
  function track<T>(work: Promise<T>): Promise<T> {
    const kept = work.catch((error: unknown) =>
      logger.warn({ err: error }, 'verification interrupted, the sweep goes on with it'),
    )
    background.add(kept)
    void kept.finally(() => background.delete(kept))
    return work
  }

  return {
    /**
     * Takes partial signatures of one share index. Commits what came, verifies for at most 5 s, and returns what failed and is
     * known by then. Items of unknown validators are skipped.
     *
     * @throws {ApiError} TOO_MANY_SHARES; SHARES_WRONG when every item of a known validator was verified and is wrong
     */
    async submit(shareIndex: number, shares: readonly PostedShare[]): Promise<Failure[]> {
      if (shares.length > config.limits.shares)
        throw new ApiError(
          'TOO_MANY_SHARES',
          `at most ${config.limits.shares} partial signatures in one request, this one has ${shares.length}`,
        )
      const items: Item[] = []
      const failures: Failure[] = []
      const waiting: number[] = []
      const verifying: Promise<void>[] = []
      const isPair = shares.some(({ deposit_signature: deposit }) => deposit !== undefined)
      const onWrong = (wrong: Unverified[]) =>
        failures.push(...wrong.map((candidate) => failed(candidate, isPair, 'SIGNATURE_WRONG')))
      // A node that floods waits for itself: what is too much for its lane is left to the sweep.
      const inLane = (piece: () => Promise<void>) => lanes.run(shareIndex, piece)
      for (let from = 0; from < shares.length; from += SLICE) {
        const slice = parse(shareIndex, shares, from)
        const stored = await store(shareIndex, slice.items, isPair)
        items.push(...slice.items)
        failures.push(...slice.failures, ...stored.failures)
        waiting.push(...stored.waiting)
        events.partialsReceived(shareIndex, stored.unverified.length + stored.waiting.length, slice.failures.length)
        if (stored.unverified.length > 0) verifying.push(track(verify(stored.unverified, inLane, onWrong)))
      }
      if (waiting.length > 0) await finishLater([...new Set(waiting)])
      if (verifying.length > 0) {
        const timer = new AbortController()
        await Promise.race([Promise.all(verifying), pause(VERIFY_WAIT_MS, timer.signal)])
        timer.abort()
      }
      if (failures.length > 0 && !(await hasAccepted(items, failures)))
        throw new ApiError('SHARES_WRONG', 'every partial signature of a known validator is wrong', { failures })
      return failures.sort((a, b) => a.index - b.index)
    },

    /** Verifies the stored candidates of these messages that are under trusted public key shares; for the sweep. */
    async verifyStored(messageIds: readonly number[]): Promise<void> {
      const opener = await sealing.openerFor(db, messageIds)
      const candidates = await findCandidates(db, messageIds)
      const unverified = candidates.flatMap((row): Unverified[] => {
        const { messageId, kind, shareIndex, digest, signingRoot: message } = row
        if (row.state !== 'unverified' || row.publicKeyShare === null) return []
        const signature = open(opener, row)
        if (signature === undefined) return []
        return [
          {
            position: 0,
            kind,
            messageId,
            shareIndex,
            digest,
            triple: { publicKey: row.publicKeyShare, message, signature },
          },
        ]
      })
      await verify(
        unverified,
        (piece) => piece(),
        () => {},
      )
    },

    finishLater,

    /** Waits for verification that outlived its request. */
    async drain(): Promise<void> {
      await Promise.allSettled(background)
    },
  }
}
export type Signatures = ReturnType<typeof createSignatures>

/** Slices of one share index that are verified at once, and that may wait: the largest post there may be, and some more. */
const LANE_LIMITS = { depth: 2, waiting: 500 }
/** Verdicts written in one transaction. */
const VERIFY_SLICE = 64
/** Messages handed to a worker in one job. */
const FINISH_SLICE = 16
