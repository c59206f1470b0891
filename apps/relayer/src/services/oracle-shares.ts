/**
 * Finishing exits: candidates to full signature to oracle shares, and the shares as operators get them.
 *
 * One batch is one transaction at its end. A job that runs twice, or on two workers, does nothing the second time: the exit is
 * ready already, and of two share sets for one oracle set the first stays.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/announce.ts'
import type { FinishRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import {
  completeExits,
  countFailedAttempts,
  findCurrentOracleSet,
  findExitsToFinish,
  findOracleShares,
  insertOracleShares,
  releaseExits,
} from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { CandidateRow } from '@dvt-relayer/db/queries/partial-signatures.ts'
import { findCandidates, writeVerdicts } from '@dvt-relayer/db/queries/partial-signatures.ts'
import type { Context } from '../context.ts'
import type { ExitToFinish, FinishedExit, OracleSetToSplit } from '../crypto-tasks.ts'
import { partialPlace } from './signatures.ts'

/** Place a full exit signature is sealed for. */
export const signaturePlace = (messageId: number): string => `messages:${messageId}:exit`

const PUBLIC_KEY_BYTES = 48
const CIPHERTEXT_BYTES = 193
const ORACLE_KEY_BYTES = 65
/** Rendered share sets kept in memory: some 5 KB each. They never change, so nothing here can be stale. */
const CACHED_SETS = 4000

/** Slices of equal length. */
function slices(bytes: Uint8Array, length: number): Uint8Array[] {
  return Array.from({ length: bytes.length / length }, (_, place) =>
    bytes.subarray(place * length, (place + 1) * length),
  )
}

/** Creates the service. */
export function createOracleShares({
  db,
  crypto,
  vault,
  events,
  logger,
}: Pick<Context, 'db' | 'crypto' | 'vault' | 'events' | 'logger'>) {
  const cache = new Map<number, { oracleSetId: number; json: string }>()

  async function load(messageIds: readonly number[], oracleSetId: number | null) {
    const exits = await findExitsToFinish(db, messageIds, oracleSetId)
    const ids = exits.map(({ id }) => id)
    const candidates = Map.groupBy(await findCandidates(db, ids), (row) => row.message_id)
    return exits.flatMap((exit) => {
      try {
        return prepare(exit, candidates.get(exit.id) ?? [], oracleSetId !== null && !exit.has_oracle_shares)
      } catch (error) {
        logger.error(
          { message_id: exit.id, err: error },
          'an exit cannot be opened; see "npm run relayer -- void-sealed"',
        )
        return []
      }
    })
  }

  /** One exit with its signatures opened; nothing when there is nothing to do for it. */
  function prepare(exit: FinishRow, rows: readonly CandidateRow[], needsShares: boolean) {
    const hasUnjudged = !exit.has_key_shares && rows.some(({ state }) => state === 'unverified')
    if (exit.state === 'ready' && !needsShares && !hasUnjudged) return []
    // A split alone needs the full signature only.
    const isJudging = exit.state === 'collecting' || hasUnjudged
    const signatures = (isJudging ? rows : []).flatMap((row) => {
      try {
        return [{ row, signature: vault.sealer.open(row.sealed, partialPlace(row.message_id, row.share_index)) }]
      } catch (error) {
        logger.error(
          { message_id: row.message_id, share_index: row.share_index, err: error },
          'a partial signature cannot be opened; see "npm run relayer -- void-sealed"',
        )
        return []
      }
    })
    const judged = usable(signatures, exit.has_key_shares)
    const input: ExitToFinish = {
      message: exit.signing_root,
      publicKey: exit.public_key,
      threshold: exit.threshold,
      signature: exit.signature === null ? undefined : vault.sealer.open(exit.signature, signaturePlace(exit.id)),
      candidates: [...Map.groupBy(judged, ({ row }) => row.share_index)].map(([shareIndex, found]) => ({
        shareIndex,
        signatures: found.map(({ signature }) => signature),
      })),
    }
    return [{ exit, signatures, input, needsShares }]
  }

  /** Writes what a batch came to. */
  async function store(
    batch: readonly {
      exit: FinishRow
      signatures: readonly { row: CandidateRow; signature: Uint8Array }[]
      result: FinishedExit
    }[],
    oracleSetId: number | null,
  ): Promise<{ ready: number; shareSets: number; failed: number }> {
    const ids = batch.map(({ exit }) => exit.id)
    return db.transaction(async (tx) => {
      await lockMessages(tx, ids)
      const finished = batch.flatMap(({ exit, result }) => (result.status === 'finished' ? [{ exit, result }] : []))
      const completed = await completeExits(
        tx,
        finished
          .filter(({ exit }) => exit.state === 'collecting')
          .map(({ exit, result }) => ({
            messageId: exit.id,
            sealed: vault.sealer.seal(result.signature, signaturePlace(exit.id)),
          })),
      )
      const verdicts = batch.flatMap(({ signatures, result }) => {
        if (result.status === 'failed') return []
        const judged = new Map<string, boolean>()
        for (const { shareIndex, signature } of 'right' in result ? result.right : [])
          judged.set(`${shareIndex}:${toHex(signature)}`, true)
        for (const { shareIndex, signature } of result.wrong) judged.set(`${shareIndex}:${toHex(signature)}`, false)
        return signatures.flatMap(({ row, signature }) => {
          const isRight = judged.get(`${row.share_index}:${toHex(signature)}`)
          if (isRight === undefined || row.state === 'verified') return []
          return [{ messageId: row.message_id, shareIndex: row.share_index, digest: row.digest, isRight }]
        })
      })
      await writeVerdicts(tx, verdicts)
      const inserted =
        oracleSetId === null
          ? []
          : await insertOracleShares(
              tx,
              oracleSetId,
              finished.flatMap(({ exit, result }) =>
                result.shares === undefined ? [] : [{ messageId: exit.id, ...result.shares }],
              ),
            )
      await releaseExits(
        tx,
        finished.map(({ exit }) => exit.id),
      )
      const failed = batch.filter(({ result }) => result.status !== 'finished').map(({ exit }) => exit.id)
      await countFailedAttempts(tx, failed)
      await announceMessages(
        tx,
        [...new Set([...completed, ...inserted, ...verdicts.map(({ messageId }) => messageId)])].sort((a, b) => a - b),
      )
      for (const [shareIndex, wrong] of Map.groupBy(
        verdicts.filter(({ isRight }) => !isRight),
        (verdict) => verdict.shareIndex,
      ))
        events.partialsRejected(shareIndex, wrong.length)
      return { ready: completed.length, shareSets: inserted.length, failed: failed.length }
    })
  }

  return {
    /** Finishes those of these exits that can be: a job's work. Does nothing the second time. */
    async finish(messageIds: readonly number[]): Promise<void> {
      const started = performance.now()
      const set = await findCurrentOracleSet(db)
      const batch = await load(messageIds, set?.id ?? null)
      if (batch.length === 0) return
      const oracleSet: OracleSetToSplit | undefined =
        set === undefined
          ? undefined
          : { threshold: set.threshold, publicKeys: slices(set.public_keys, ORACLE_KEY_BYTES) }
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
      const { ready, shareSets, failed } = await store(results, set?.id ?? null)
      if (ready + shareSets > 0) events.exitsReady(ready, shareSets, (performance.now() - started) / 1000)
      if (failed > 0) events.recoveryFailed(failed)
    },

    /**
     * The shares of these exits under the current oracle set as JSON texts by message id; exits that have none are left out.
     */
    async render(messageIds: readonly number[]): Promise<Map<number, string>> {
      const set = await findCurrentOracleSet(db)
      const isCached = (id: number) => cache.get(id)?.oracleSetId === set?.id
      const missing = messageIds.filter((id) => !isCached(id))
      for (const row of missing.length === 0 ? [] : await findOracleShares(db, missing)) {
        const oldest = cache.size >= CACHED_SETS ? cache.keys().next() : undefined
        if (oldest !== undefined && oldest.done !== true) cache.delete(oldest.value)
        cache.set(row.message_id, {
          oracleSetId: row.oracle_set_id,
          json: JSON.stringify({
            public_keys: slices(row.public_key_shares, PUBLIC_KEY_BYTES).map(toHex),
            encrypted_exit_signatures: slices(row.ciphertexts, CIPHERTEXT_BYTES).map(toHex),
          }),
        })
      }
      return new Map(
        messageIds.flatMap((id) => {
          const cached = cache.get(id)
          return cached !== undefined && cached.oracleSetId === set?.id ? [[id, cached.json] as const] : []
        }),
      )
    },
  }

  async function run(batch: Awaited<ReturnType<typeof load>>, oracleSet: OracleSetToSplit | undefined) {
    const results = await crypto.finish(
      batch.map(({ input }) => input),
      oracleSet,
    )
    return batch.flatMap(({ exit, signatures }, place) => {
      const result = results[place]
      if (result?.status === 'failed')
        logger.error({ message_id: exit.id, reason: result.reason }, 'an exit could not be finished')
      return result === undefined ? [] : [{ exit, signatures, result }]
    })
  }
}
export type OracleShares = ReturnType<typeof createOracleShares>

/** Under trusted public key shares only verified candidates count; else all do, verified ones first. */
function usable<T extends { row: CandidateRow }>(signatures: readonly T[], hasKeyShares: boolean): T[] {
  const verified = signatures.filter(({ row }) => row.state === 'verified')
  return hasKeyShares ? verified : [...verified, ...signatures.filter(({ row }) => row.state !== 'verified')]
}
