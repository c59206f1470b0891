/**
 * Finishing messages: candidates to full signature and, of an exit, to oracle shares; and the shares as operators get them.
 *
 * One batch is one transaction at its end. A job that runs twice, or on two workers, does nothing the second time: the message is
 * ready already, and of two share sets for one oracle set the first stays.
 */

import { slices, toHex } from '@dvt-relayer/common/hex.ts'
import { shareReceipt } from '@dvt-relayer/crypto/oracle/share-receipt.ts'
import { announceMessages, announceOracleShares, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import type { CandidateRow } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  bindDeposits,
  findCandidates,
  findHints,
  writeVerdicts,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import type { FinishRow, OracleSetRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import {
  completeMessages,
  countFailedAttempts,
  findCurrentOracleSet,
  findMessagesToFinish,
  findOracleShares,
  insertOracleShares,
  releaseMessages,
} from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Context, SignatureOpener } from '../../context.ts'
import type { FinishedMessage, MessageToFinish, OracleSetToSplit } from '../../crypto-workers/tasks.ts'
import { type KeyShareOfNode, unpackHint } from '../signatures/key-share-hints.ts'

const PUBLIC_KEY_BYTES = 48
const CIPHERTEXT_BYTES = 193
const ORACLE_KEY_BYTES = 65
/** Rendered share sets kept in memory: some 5 KB each. They never change, so nothing here can be stale. */
const CACHED_SETS = 4000

/** A share set as operators get it. */
export interface RenderedShares {
  /** JSON text. */
  json: string
  /** Hex. */
  receipt: string
}

/** The receipt of a new share set. */
function receiptOf(
  { publicKey, epoch, validatorIndex, signingRoot }: FinishRow,
  { threshold, publicKeys: oracles }: OracleSetRow,
  { publicKeyShares, ciphertexts }: { publicKeyShares: Uint8Array; ciphertexts: Uint8Array },
): Uint8Array {
  if (epoch === null || validatorIndex === null) throw new TypeError('only exits are split')
  return shareReceipt({
    publicKey,
    epoch,
    validatorIndex,
    signingRoot,
    threshold,
    oracles: slices(oracles, ORACLE_KEY_BYTES),
    publicKeyShares: slices(publicKeyShares, PUBLIC_KEY_BYTES),
    ciphertexts: slices(ciphertexts, CIPHERTEXT_BYTES),
  })
}

/** Creates the service. */
export function createOracleShares({
  db,
  crypto,
  sealing,
  events,
  logger,
}: Pick<Context, 'db' | 'crypto' | 'sealing' | 'events' | 'logger'>) {
  const cache = new Map<number, RenderedShares & { oracleSetId: number }>()

  async function load(messageIds: readonly number[], oracleSetId: number | null) {
    const opener = await sealing.openerFor(db, messageIds)
    const messages = await findMessagesToFinish(db, messageIds, oracleSetId)
    // Of a signature that is there and that trusted shares made, the candidates have nothing to say.
    const judged = messages.filter(({ hasKeyShares: has, state }) => !has || state === 'collecting').map(({ id }) => id)
    const candidates = Map.groupBy(judged.length === 0 ? [] : await findCandidates(db, judged), (row) => row.messageId)
    const guessed = messages
      .filter(({ hasKeyShares: has, state }) => !has && state === 'collecting')
      .map(({ id }) => id)
    const hints = Map.groupBy(guessed.length === 0 ? [] : await findHints(db, guessed), (row) => row.messageId)
    return messages.flatMap((message) => {
      const said = (hints.get(message.id) ?? []).map(({ shares }) => unpackHint(shares))
      try {
        return prepare(opener, message, candidates.get(message.id) ?? [], said)
      } catch (error) {
        logger.error(
          { message_id: message.id, err: error },
          'a signature cannot be opened; see "npm run relayer -- void-sealed"',
        )
        return []
      }
    })
  }

  /** One message with its signatures opened; nothing when there is nothing to do for it. */
  function prepare(
    opener: SignatureOpener,
    message: FinishRow,
    rows: readonly CandidateRow[],
    hints: readonly KeyShareOfNode[][],
  ) {
    const { needsOracleShares: needsShares } = message
    const hasUnjudged = !message.hasKeyShares && rows.some(({ state }) => state === 'unverified')
    if (message.state === 'ready' && !needsShares && !hasUnjudged) return []
    // A split alone needs the full signature only.
    const isJudging = message.state === 'collecting' || hasUnjudged
    const signatures = (isJudging ? rows : []).flatMap((row) => {
      try {
        return [{ row, signature: opener.partial(message, row.shareIndex, row.sealed) }]
      } catch (error) {
        logger.error(
          { message_id: row.messageId, share_index: row.shareIndex, err: error },
          'a partial signature cannot be opened; see "npm run relayer -- void-sealed"',
        )
        return []
      }
    })
    const judged = usable(signatures, message.hasKeyShares)
    const input: MessageToFinish = {
      message: message.signingRoot,
      publicKey: message.publicKey,
      threshold: message.threshold,
      signature: message.signature === null ? undefined : opener.signature(message, message.signature),
      hints,
      candidates: [...Map.groupBy(judged, ({ row }) => row.shareIndex)].map(([shareIndex, found]) => ({
        shareIndex,
        signatures: found.map(({ signature }) => signature),
      })),
    }
    return [{ message, signatures, input, needsShares }]
  }

  /** Writes what a batch came to. */
  async function store(
    batch: readonly {
      message: FinishRow
      signatures: readonly { row: CandidateRow; signature: Uint8Array }[]
      result: FinishedMessage
    }[],
    set: OracleSetRow | undefined,
  ): Promise<{ exits: number; deposits: number; shareSets: number; failed: number }> {
    const ids = batch.map(({ message }) => message.id)
    return db.transaction(async (tx) => {
      await lockMessages(tx, ids)
      const finished = batch.flatMap(({ message, result }) =>
        result.status === 'finished' ? [{ message, result }] : [],
      )
      const fresh = finished.filter(({ message }) => message.state === 'collecting')
      const seal = await sealing.sealerFor(
        tx,
        fresh.map(({ message }) => message.id),
      )
      const completed = await completeMessages(
        tx,
        fresh.flatMap(({ message, result }) => {
          const sealed = seal.signature(message, result.signature)
          return sealed === undefined ? [] : [{ messageId: message.id, sealed }]
        }),
      )
      const verdicts = batch.flatMap(({ signatures, result }) => {
        if (result.status === 'failed') return []
        const judged = new Map<string, boolean>()
        for (const { shareIndex, signature } of 'right' in result ? result.right : [])
          judged.set(`${shareIndex}:${toHex(signature)}`, true)
        for (const { shareIndex, signature } of result.wrong) judged.set(`${shareIndex}:${toHex(signature)}`, false)
        return signatures.flatMap(({ row, signature }) => {
          const isRight = judged.get(`${row.shareIndex}:${toHex(signature)}`)
          if (isRight === undefined || row.state === 'verified') return []
          return [{ messageId: row.messageId, shareIndex: row.shareIndex, digest: row.digest, isRight }]
        })
      })
      await writeVerdicts(tx, verdicts)
      if (batch.some(({ message }) => message.kind === 'deposit')) await bindDeposits(tx, ids)
      const inserted =
        set === undefined
          ? []
          : await insertOracleShares(
              tx,
              set.id,
              finished.flatMap(({ message, result }) =>
                result.shares === undefined
                  ? []
                  : [{ messageId: message.id, ...result.shares, receipt: receiptOf(message, set, result.shares) }],
              ),
            )
      await releaseMessages(
        tx,
        finished.map(({ message }) => message.id),
      )
      const failed = batch.filter(({ result }) => result.status !== 'finished').map(({ message }) => message.id)
      await countFailedAttempts(tx, failed)
      await announceMessages(
        tx,
        [...new Set([...completed, ...verdicts.map(({ messageId }) => messageId)])].sort((a, b) => a - b),
      )
      if (set !== undefined) await announceOracleShares(tx, set.id, inserted)
      for (const [shareIndex, wrong] of Map.groupBy(
        verdicts.filter(({ isRight }) => !isRight),
        (verdict) => verdict.shareIndex,
      ))
        events.partialsRejected(shareIndex, wrong.length)
      const kindOf = new Map(batch.map(({ message }) => [message.id, message.kind]))
      const exits = completed.filter((id) => kindOf.get(id) === 'exit').length
      return { exits, deposits: completed.length - exits, shareSets: inserted.length, failed: failed.length }
    })
  }

  return {
    /** Finishes those of these messages that can be: a job's work. Does nothing the second time. */
    async finish(messageIds: readonly number[]): Promise<void> {
      const started = performance.now()
      const set = await findCurrentOracleSet(db)
      const batch = await load(messageIds, set?.id ?? null)
      if (batch.length === 0) return
      const oracleSet: OracleSetToSplit | undefined =
        set === undefined
          ? undefined
          : { threshold: set.threshold, publicKeys: slices(set.publicKeys, ORACLE_KEY_BYTES) }
      const results = [
        ...(await run(
          batch.filter(({ needsShares }) => needsShares),
          oracleSet,
        )),
        ...(await run(
          batch.filter(({ needsShares }) => !needsShares),
          undefined,
        )),
      ]
      const { failed, ...done } = await store(results, set)
      if (done.exits + done.deposits + done.shareSets > 0)
        events.messagesReady(done, (performance.now() - started) / 1000)
      if (failed > 0) events.recoveryFailed(failed)
    },

    /**
     * The shares of these exits under the current oracle set as JSON texts, with their receipts, by message id; exits that have none
     * are left out.
     */
    async render(messageIds: readonly number[]): Promise<Map<number, RenderedShares>> {
      const set = await findCurrentOracleSet(db)
      const isCached = (id: number) => cache.get(id)?.oracleSetId === set?.id
      const missing = messageIds.filter((id) => !isCached(id))
      for (const row of missing.length === 0 ? [] : await findOracleShares(db, missing)) {
        const oldest = cache.size >= CACHED_SETS ? cache.keys().next() : undefined
        if (oldest !== undefined && oldest.done !== true) cache.delete(oldest.value)
        cache.set(row.messageId, {
          oracleSetId: row.oracleSetId,
          receipt: toHex(row.receipt),
          json: JSON.stringify({
            public_keys: slices(row.publicKeyShares, PUBLIC_KEY_BYTES).map(toHex),
            encrypted_exit_signatures: slices(row.ciphertexts, CIPHERTEXT_BYTES).map(toHex),
          }),
        })
      }
      return new Map(
        messageIds.flatMap((id) => {
          const cached = cache.get(id)
          return cached !== undefined && cached.oracleSetId === set?.id ? [[id, cached] as const] : []
        }),
      )
    },
  }

  async function run(batch: Awaited<ReturnType<typeof load>>, oracleSet: OracleSetToSplit | undefined) {
    const results = await crypto.finish(
      batch.map(({ input }) => input),
      oracleSet,
    )
    return batch.flatMap(({ message, signatures }, position) => {
      const result = results[position]
      if (result?.status === 'failed')
        logger.error({ message_id: message.id, reason: result.reason }, 'a message could not be finished')
      return result === undefined ? [] : [{ message, signatures, result }]
    })
  }
}
export type OracleShares = ReturnType<typeof createOracleShares>

/** Under trusted public key shares only verified candidates count; else all do, verified ones first. */
function usable<T extends { row: CandidateRow }>(signatures: readonly T[], hasKeyShares: boolean): T[] {
  const verified = signatures.filter(({ row }) => row.state === 'verified')
  return hasKeyShares ? verified : [...verified, ...signatures.filter(({ row }) => row.state !== 'verified')]
}
