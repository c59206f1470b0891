/** Which exit of a validator a rotation goes on with, where several are stored for the index that it has on the chain. */

import { findRotationExits } from '@dvt-relayer/db/queries/rotations.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

it('one that is split for the oracles, else a live one, else the newest', async () => {
  const store = await openMessages()
  const [setId] = (
    await store.query<{ id: string }>(
      sql`insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
          values ('a', 1, ${Buffer.alloc(65)}, '{}', 1, now(), true) returning id`,
    )
  ).map(({ id }) => Number(id))
  const oracleSetId = setId ?? 0
  const { id, publicKey } = await store.addValidator()
  const found = async () => {
    const exits = await findRotationExits(store.db, [{ publicKey, validatorIndex: 7 }], { epoch: 0, oracleSetId })
    return exits.map(({ messageId, hasShares }) => ({ messageId, hasShares }))
  }
  expect(await found()).toEqual([])
  const [older, newer] = [
    await store.addExit(id, { index: 7, state: 'expired' }),
    await store.addExit(id, { index: 7, state: 'expired' }),
  ]
  expect(await found()).toEqual([{ messageId: newer, hasShares: false }])
  // For another index, or with nothing left of it: none.
  await store.addExit(id, { index: 8, state: 'superseded' })
  await store.addExit(id, { index: 7, state: 'superseded' })
  expect(await found()).toEqual([{ messageId: newer, hasShares: false }])
  const live = await store.addExit(id, { index: 7 })
  expect(await found()).toEqual([{ messageId: live, hasShares: false }])
  await store.query(sql`
    insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    values (${older}, ${oracleSetId}, ${Buffer.alloc(48)}, ${Buffer.alloc(193)}, ${Buffer.alloc(32)}, 1)`)
  expect(await found()).toEqual([{ messageId: older, hasShares: true }])
  const others = await findRotationExits(store.db, [{ publicKey, validatorIndex: 8 }], { epoch: 0, oracleSetId })
  expect(others).toEqual([])
})
