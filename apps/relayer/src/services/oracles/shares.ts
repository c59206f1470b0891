/**
 * Share sets: the shares of an exit for every oracle of one oracle set, as they are stored once (`signatures/finish.ts` has them made)
 * and as operators get them (`POST /validators`, `POST /register`).
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { shareReceipt } from '@dvt-relayer/crypto/oracle/share-receipt.ts'
import type { FinishRow, OracleSetRow } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { findCurrentOracleSetId, findOracleShares, insertOracleShares } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { Context } from '../../context.ts'
import { ciphertextsOf, oracleKeysOf, publicKeySharesOf } from './share-set.ts'

/** Rendered share sets kept in memory: some 5 KB each. They never change, so nothing here can be stale. */
const CACHED_SETS = 4000

/** Of these, read and rendered in one go: a millisecond of the event loop. */
const READ_AT_ONCE = 64

/** What a split made of an exit, concatenated. */
interface Shares {
  publicKeyShares: Uint8Array
  ciphertexts: Uint8Array
}

/** A share set as operators get it. */
export interface RenderedShares {
  /** JSON text. */
  json: string
  /** Hex. */
  receipt: string
  oracleSetId: number
}

/**
 * Stores the share sets of those exits that have any, each with its receipt; of two workers the second stores nothing. Returns the ids
 * that were stored: nobody finds them before the caller has announced them (`announceOracleShares`).
 */
export function insertShareSets(
  tx: Sql,
  set: OracleSetRow,
  split: readonly { exit: FinishRow; shares: Shares | undefined }[],
): Promise<number[]> {
  return insertOracleShares(
    tx,
    set.id,
    split.flatMap(({ exit, shares }) =>
      shares === undefined ? [] : [{ messageId: exit.id, ...shares, receipt: receiptOf(exit, set, shares) }],
    ),
  )
}

/** The receipt of a new share set. */
function receiptOf(exit: FinishRow, set: OracleSetRow, shares: Shares): Uint8Array {
  const { publicKey, epoch, validatorIndex, signingRoot } = exit
  if (epoch === null || validatorIndex === null) throw new TypeError('only exits are split')
  return shareReceipt({
    publicKey,
    epoch,
    validatorIndex,
    signingRoot,
    threshold: set.threshold,
    oracles: oracleKeysOf(set),
    publicKeyShares: publicKeySharesOf(shares),
    ciphertexts: ciphertextsOf(shares),
  })
}

/** Creates the service. */
export function createOracleShares({ db }: Pick<Context, 'db'>) {
  const cache = new Map<number, RenderedShares>()

  function keep(messageId: number, rendered: RenderedShares): void {
    const oldest = cache.size >= CACHED_SETS ? cache.keys().next() : undefined
    if (oldest !== undefined && oldest.done !== true) cache.delete(oldest.value)
    cache.set(messageId, rendered)
  }

  return {
    /**
     * The shares of these exits under the current oracle set as JSON texts, with their receipts, by message id; exits that have none
     * are left out.
     */
    async render(messageIds: readonly number[]): Promise<Map<number, RenderedShares>> {
      const setId = await findCurrentOracleSetId(db)
      const found = new Map<number, RenderedShares>()
      const note = (id: number, rendered: RenderedShares | undefined) => {
        if (rendered !== undefined && rendered.oracleSetId === setId) found.set(id, rendered)
      }
      for (const id of messageIds) note(id, cache.get(id))
      const missing = setId === undefined ? [] : messageIds.filter((id) => !found.has(id))
      for (let from = 0; from < missing.length; from += READ_AT_ONCE)
        for (const row of await findOracleShares(db, missing.slice(from, from + READ_AT_ONCE))) {
          const rendered = renderedOf(row)
          keep(row.messageId, rendered)
          note(row.messageId, rendered)
        }
      return found
    },
  }
}
export type OracleShares = ReturnType<typeof createOracleShares>

const renderedOf = (row: Shares & { receipt: Uint8Array; oracleSetId: number }): RenderedShares => ({
  oracleSetId: row.oracleSetId,
  receipt: toHex(row.receipt),
  json: JSON.stringify({
    public_keys: publicKeySharesOf(row).map(toHex),
    encrypted_exit_signatures: ciphertextsOf(row).map(toHex),
  }),
})
