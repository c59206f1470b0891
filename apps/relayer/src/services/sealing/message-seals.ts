/**
 * Sealing of signatures: a deposit's under SEALING_KEY, an exit's full and partial signatures under a random key of its own, which
 * is sealed under SEALING_KEY in a table of its own. Deleting that row makes every copy of them unreadable.
 *
 *     message_keys.sealed        = seal(SEALING_KEY, K_m, "message_keys:<m>")         K_m: 32 random bytes
 *     messages.signature         = seal(K_m, S, "messages:<m>:exit")
 *     partial_signatures.sealed  = seal(K_m, S_i, "partial_signatures:<m>:<i>:exit")
 *
 * Keys are read for each batch and kept no longer: nothing here remembers what was erased.
 */

import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import type { Sealer } from '@dvt-relayer/crypto/sealing.ts'
import { createSealer, SealingError } from '@dvt-relayer/crypto/sealing.ts'
import { findLiveExitKeys, findMessageKeys, insertMessageKeys } from '@dvt-relayer/db/queries/messages/message-keys.ts'
import type { MessageKind } from '@dvt-relayer/db/queries/messages/messages.ts'
import type { SealedMessage, Sealing } from '../../context.ts'

/** Place a message's key is sealed for. */
export const keyPlace = (messageId: number): string => `message_keys:${messageId}`
/** Place a full signature is sealed for. */
export const signaturePlace = (messageId: number, kind: MessageKind): string => `messages:${messageId}:${kind}`
/** Place a candidate is sealed for. */
export const partialPlace = (messageId: number, shareIndex: number, kind: MessageKind): string =>
  `partial_signatures:${messageId}:${shareIndex}:${kind}`

const KEY_BYTES = 32

/** A new key for a message, sealed. */
export function sealNewKey(master: Sealer, messageId: number): Uint8Array {
  return master.seal(randomBytes(KEY_BYTES), keyPlace(messageId))
}

/** The sealers of messages whose sealed keys are given, each opened when it is first needed. */
export function ownSealers(
  master: Sealer,
  keys: readonly { messageId: number; sealed: Uint8Array }[],
): (messageId: number) => Sealer | undefined {
  const sealedOf = new Map(keys.map(({ messageId: id, sealed }) => [id, sealed]))
  const opened = new Map<number, Sealer>()
  return (id) => {
    const known = opened.get(id)
    if (known !== undefined) return known
    const sealed = sealedOf.get(id)
    if (sealed === undefined) return undefined
    const sealer = createSealer(master.open(sealed, keyPlace(id)))
    opened.set(id, sealer)
    return sealer
  }
}

/** The sealing on the sealer of SEALING_KEY and the key of its digests. */
export function createSealing(master: Sealer, digestKey: Uint8Array, logger: Logger): Sealing {
  const hmacKey = createSecretKey(digestKey)
  return {
    digest(shareIndex, signature) {
      return new Uint8Array(
        createHmac('sha256', hmacKey).update(String(shareIndex)).update(':').update(signature).digest(),
      )
    },

    async openerFor(db, messageIds) {
      const own = ownSealers(master, messageIds.length === 0 ? [] : await findMessageKeys(db, messageIds))
      const open = ({ id, kind }: SealedMessage, sealed: Uint8Array, place: string) => {
        const sealer = kind === 'deposit' ? master : own(id)
        if (sealer === undefined)
          throw new SealingError('SEALED_UNREADABLE', 'the key of a stored exit is not there', { meta: { place } })
        return sealer.open(sealed, place)
      }
      return {
        signature: (message, sealed) => open(message, sealed, signaturePlace(message.id, message.kind)),
        partial: (message, shareIndex, sealed) =>
          open(message, sealed, partialPlace(message.id, shareIndex, message.kind)),
      }
    },

    async sealerFor(tx, messageIds) {
      const live = messageIds.length === 0 ? [] : await findLiveExitKeys(tx, messageIds)
      const made = live.flatMap(({ messageId, sealed }) =>
        sealed === null ? [{ messageId, sealed: sealNewKey(master, messageId) }] : [],
      )
      await insertMessageKeys(tx, made)
      const own = ownSealers(master, [
        ...live.flatMap(({ messageId, sealed }) => (sealed === null ? [] : [{ messageId, sealed }])),
        ...made,
      ])
      const seal = ({ id, kind }: SealedMessage, signature: Uint8Array, place: string) => {
        try {
          return (kind === 'deposit' ? master : own(id))?.seal(signature, place)
        } catch (error) {
          if (!(error instanceof SealingError)) throw error
          // One exit whose key is damaged must not keep a whole batch out.
          logger.error(
            { message_id: id, err: error },
            'the key of an exit cannot be opened; see "npm run relayer -- void-sealed"',
          )
          return undefined
        }
      }
      return {
        signature: (message, signature) => seal(message, signature, signaturePlace(message.id, message.kind)),
        partial: (message, shareIndex, signature) =>
          seal(message, signature, partialPlace(message.id, shareIndex, message.kind)),
      }
    },
  }
}
