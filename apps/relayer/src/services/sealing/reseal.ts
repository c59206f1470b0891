/**
 * What a start seals anew: exits that are sealed under SEALING_KEY itself are brought under keys of their own, and after a change of
 * SEALING_KEY everything it seals moves to the new one. Interrupted anywhere, the next start does the rest.
 */

import type { Logger } from '@dvt-relayer/common/log/logger.ts'
import { type Sealer, SealingError } from '@dvt-relayer/crypto/sealing.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import {
  findExitsUnder,
  findMessageKeys,
  findSealedKeys,
  findSealedUnder,
  insertMessageKeys,
  replacePartials,
  replaceSealedKeys,
  replaceSignatures,
} from '@dvt-relayer/db/queries/messages/message-keys.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import {
  findCheckpoint,
  findSealedPartials,
  findSealedSignatures,
  replaceSealedPartial,
  replaceSealedSignature,
  storeCheckpoint,
} from '@dvt-relayer/db/queries/state.ts'
import { keyPlace, ownSealers, partialPlace, sealNewKey, signaturePlace } from './message-seals.ts'

const PAGE = 500
/** Set once no exit is sealed under SEALING_KEY itself. */
const CHECKPOINT = 'sealing.own_keys'

/** Brings exits that are sealed under SEALING_KEY itself, now or before its last change, under keys of their own. */
export async function giveOwnKeys(db: Database, master: Sealer, logger: Logger): Promise<void> {
  if ((await findCheckpoint(db, CHECKPOINT)) !== undefined) return
  let count = 0
  for (let after = 0; ; ) {
    const ids = await findExitsUnder(db, master.keyIds, after, PAGE)
    await db.transaction(async (tx) => {
      await lockMessages(tx, ids)
      count += await giveKeys(tx, master, ids, logger)
    })
    after = ids.at(-1) ?? after
    if (ids.length < PAGE) break
  }
  await storeCheckpoint(db, CHECKPOINT, { done: true })
  if (count > 0) logger.info({ count }, 'exit signatures sealed under keys of their own')
}

/** The same for exits that the transaction has locked; returns how many values it sealed anew. */
async function giveKeys(tx: Sql, master: Sealer, ids: readonly number[], logger: Logger): Promise<number> {
  const found = await findSealedUnder(tx, master.keyIds, ids)
  const keys = await findMessageKeys(tx, ids)
  const has = new Set(keys.map(({ messageId: id }) => id))
  const made = [...new Set(found.map(({ messageId: id }) => id))]
    .filter((id) => !has.has(id))
    .map((messageId) => ({ messageId, sealed: sealNewKey(master, messageId) }))
  await insertMessageKeys(tx, made)
  const own = ownSealers(master, [...keys, ...made])
  const moved = found.flatMap(({ messageId, shareIndex, digest, sealed }) => {
    const place = shareIndex === null ? signaturePlace(messageId, 'exit') : partialPlace(messageId, shareIndex, 'exit')
    try {
      const value = own(messageId)?.seal(master.open(sealed, place), place)
      return value === undefined ? [] : [{ messageId, shareIndex, digest, sealed: value }]
    } catch (error) {
      if (!(error instanceof SealingError)) throw error
      logger.error(
        { message_id: messageId, err: error },
        'a signature cannot be opened; see "npm run relayer -- void-sealed"',
      )
      return []
    }
  })
  await replaceSignatures(
    tx,
    moved.filter(({ shareIndex }) => shareIndex === null),
  )
  await replacePartials(
    tx,
    moved.flatMap(({ shareIndex, digest, ...value }) =>
      shareIndex === null || digest === null ? [] : [{ ...value, shareIndex, digest }],
    ),
  )
  return moved.length
}

/** Seals anew under the current key what the previous one seals: the keys of exits, and the signatures of deposits. */
export async function resealAll(db: Database, master: Sealer, logger: Logger): Promise<void> {
  const reseal = (sealed: Uint8Array, place: string) => master.seal(master.open(sealed, place), place)
  let count = 0
  for (let after = 0; ; ) {
    const page = await findSealedKeys(db, after, PAGE)
    const old = page.filter(({ sealed }) => !master.isCurrent(sealed))
    await replaceSealedKeys(
      db,
      old.map(({ messageId, sealed }) => ({
        messageId,
        from: sealed,
        to: reseal(sealed, keyPlace(messageId)),
      })),
    )
    count += old.length
    after = page.at(-1)?.messageId ?? after
    if (page.length < PAGE) break
  }
  for (let after = 0; ; ) {
    const page = await findSealedSignatures(db, after, PAGE)
    for (const { id, signature } of page) {
      if (!master.isCurrent(signature)) {
        await replaceSealedSignature(db, id, signature, reseal(signature, signaturePlace(id, 'deposit')))
        count++
      }
      after = id
    }
    if (page.length < PAGE) break
  }
  for (let after = 0; ; ) {
    const page = await findSealedPartials(db, after, PAGE)
    if (page.length === 0) break
    for (const { messageId, shareIndex, sealed } of page) {
      if (!master.isCurrent(sealed)) {
        const to = reseal(sealed, partialPlace(messageId, shareIndex, 'deposit'))
        await replaceSealedPartial(db, { messageId, shareIndex, from: sealed }, to)
        count++
      }
      after = messageId
    }
  }
  logger.info({ count }, 'stored values sealed anew; SEALING_KEY_PREVIOUS is needed no more')
}
