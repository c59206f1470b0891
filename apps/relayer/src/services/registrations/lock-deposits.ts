/**
 * Deposits that a cluster lock has signed already: their messages become ready with the lock's signature, and no node is waited for.
 *
 * What the database holds of a lock is public and not sealed, so it is verified once more, under the signing root of the very message.
 * Whatever kept a message from it (a crash, an import in another process, `void-sealed`), the next look does it.
 */

import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { type CompletableRow, findCompletable } from '@dvt-relayer/db/queries/messages/lock-deposits.ts'
import { completeMessages } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import type { Context, Sealing } from '../../context.ts'
import { settleCompleted } from '../signatures/candidates.ts'

/** Deposits completed in one transaction. */
const SLICE = 500

/** Creates the service. */
export function createLockDeposits({
  db,
  crypto,
  sealing,
  events,
  logger,
  announced,
}: Pick<Context, 'db' | 'crypto' | 'sealing' | 'events' | 'logger' | 'announced'>) {
  /** Those whose signature is the validator's. */
  async function verify(found: readonly CompletableRow[]): Promise<CompletableRow[]> {
    const isRight = await crypto.verify(
      found.map(({ publicKey, signingRoot: message, signature }) => ({ publicKey, message, signature })),
    )
    for (const [position, { id }] of found.entries())
      if (isRight[position] !== true)
        logger.error(
          { message_id: id },
          'the signature that a lock has for a deposit does not verify: the nodes sign it',
        )
    return found.filter((_, position) => isRight[position] === true)
  }

  return {
    /** Completes those of these deposits (of all when null) that a lock has signed. Returns how many became ready. */
    async complete(messageIds: readonly number[] | null): Promise<number> {
      let deposits = 0
      for (let after = 0; ; ) {
        const started = performance.now()
        const found = await findCompletable(db, messageIds, after, SLICE)
        const right = found.length === 0 ? [] : await verify(found)
        const completed = right.length === 0 ? 0 : await db.transaction((tx) => store(tx, sealing, right))
        if (completed > 0) {
          announced()
          events.messagesReady({ exits: 0, deposits: completed, shareSets: 0 }, (performance.now() - started) / 1000)
        }
        deposits += completed
        after = found.at(-1)?.id ?? after
        if (found.length < SLICE) return deposits
      }
    },
  }
}

/** Keeps the signatures of messages that still want one, sealed as every other is; returns how many did. */
async function store(tx: Sql, sealing: Sealing, found: readonly CompletableRow[]): Promise<number> {
  const ids = found.map(({ id }) => id)
  await lockMessages(tx, ids)
  const seal = await sealing.sealerFor(tx, [])
  const sealed = found.flatMap(({ id, signature }) => {
    const value = seal.signature({ id, kind: 'deposit' }, signature)
    return value === undefined ? [] : [{ messageId: id, sealed: value }]
  })
  const completed = await completeMessages(tx, sealed)
  await settleCompleted(tx, completed)
  return completed.length
}
