/**
 * The owner's copy: an exit encrypted to the owner of its vault, for the day when relayer and oracles are gone (OWNER_PUBLIC_KEYS).
 *
 *     copy = ECIES(owner key, UTF-8 of {"message":{"epoch":"…","validator_index":"…"},"signature":"0x…"})
 *
 * The plaintext is the beacon API's SignedVoluntaryExit (`POST /eth/v1/beacon/pool/voluntary_exits`); docs/protocol.md#6-ecies is the
 * encryption. One copy of an exit, under the key that is set now: a changed key replaces it while the exit is still there.
 */

import { toHex } from '@dvt-relayer/common/hex.ts'
import type { CopyDueRow, OwnerCopyRow } from '@dvt-relayer/db/queries/messages/retention.ts'
import {
  findCopiesDue,
  findCopySources,
  findOwnerCopies,
  storeOwnerCopies,
} from '@dvt-relayer/db/queries/messages/retention.ts'
import { findTalliesRevision } from '@dvt-relayer/db/queries/status/tallies.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import type { Context, SignatureOpener } from '../../context.ts'
import type { DataToEncrypt } from '../../crypto-workers/tasks.ts'

/** Opened at once on the event loop: some milliseconds. */
const BATCH = 100
/** Batches of one round: about a second of one thread. */
const BATCHES = 40
/** All exits are looked through after a change of what copies hang on, and after so long in any case. */
const STALE_MS = 600_000

/** Creates the service. */
export function createOwnerCopies({
  config: { owners },
  db,
  crypto,
  sealing,
  events,
  logger,
}: Pick<Context, 'config' | 'db' | 'crypto' | 'sealing' | 'events' | 'logger'>) {
  /** How many could not be opened in the last round, so that each change is said once. */
  let unreadable = 0
  /** When all were looked through, and as of which tallies: these change with everything that makes an exit due. */
  let looked: { revision: number; at: number } | undefined

  /** The plaintext of a copy; undefined where the signature cannot be opened. */
  function plaintext(opener: SignatureOpener, row: CopyDueRow): DataToEncrypt | undefined {
    try {
      const message = { epoch: String(row.epoch), validator_index: String(row.validatorIndex) }
      const exit = { message, signature: toHex(opener.signature(row, row.signature)) }
      return { recipient: row.ownerPublicKey, data: Buffer.from(JSON.stringify(exit)) }
    } catch {
      return undefined
    }
  }

  /** Makes the copies of these exits; returns how many are new and how many cannot be opened. */
  async function make(messageIds: readonly number[]): Promise<{ made: number; failed: number }> {
    const opener = await sealing.openerFor(db, messageIds)
    const sources = (await findCopySources(db, owners, messageIds)).map((row) => ({
      row,
      item: plaintext(opener, row),
    }))
    const readable = sources.flatMap(({ row, item }) => (item === undefined ? [] : [{ row, item }]))
    const ciphertexts = await crypto.encrypt(readable.map(({ item }) => item))
    const made = await storeOwnerCopies(
      db,
      readable.flatMap(({ row: { id, vault, ownerPublicKey } }, position) => {
        const ciphertext = ciphertexts[position]
        return ciphertext === undefined ? [] : [{ messageId: id, vault, ownerPublicKey, ciphertext }]
      }),
    )
    return { made, failed: sources.length - readable.length }
  }

  return {
    /** One round: makes the copies that are due. What is left over is for the next one. */
    async run(): Promise<void> {
      if (owners.length === 0) return
      const revision = (await settleTallies(db)) ? await findTalliesRevision(db) : undefined
      if (looked !== undefined && looked.revision === revision && performance.now() - looked.at < STALE_MS) return
      let [made, failed] = [0, 0]
      let isThrough = false
      for (let batch = 0, after = 0; batch < BATCHES; batch++) {
        const ids = await findCopiesDue(db, owners, after, BATCH)
        if (ids.length > 0) {
          const done = await make(ids)
          made += done.made
          failed += done.failed
        }
        isThrough = ids.length < BATCH
        if (isThrough) break
        after = ids.at(-1) ?? after
      }
      looked = isThrough && failed === 0 && revision !== undefined ? { revision, at: performance.now() } : undefined
      if (made > 0) events.ownerCopiesMade(made)
      if (failed > 0 && failed !== unreadable)
        logger.error({ count: failed }, 'exits cannot be opened to copy them; see "npm run relayer -- void-sealed"')
      unreadable = failed
    },

    /** The copies of a vault after a message. */
    find: (of: Uint8Array, after: number, limit: number): Promise<OwnerCopyRow[]> =>
      findOwnerCopies(db, of, after, limit),
  }
}
export type OwnerCopies = ReturnType<typeof createOwnerCopies>
