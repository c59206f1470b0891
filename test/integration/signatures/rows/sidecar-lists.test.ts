/** What sidecars are told of exits and validators: each item whole, as its row says it. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createSidecarLists } from '../../../../apps/relayer/src/services/signatures/sidecar-lists.ts'
import { openMessages } from '../../../support/stages/messages.ts'

const VAULT = Buffer.alloc(20, 0xab)
/** 2024-11-21 00:00:01 UTC */
const AT = 1_732_147_201

it('is all that there is to know of them, share indexes in ascending order, and how far the lists are', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openMessages()
  const lists = createSidecarLists({ db })
  const read = async (which: 'exits' | 'validators') => JSON.parse((await lists[which].read(undefined)).toString())
  expect([await read('exits'), await read('validators')]).toEqual([
    { exits: [], revision: 0 },
    { validators: [], revision: 0 },
  ])

  const [both, alone, over] = [await addValidator(), await addValidator(), await addValidator()]
  const exit = await addExit(both.id, { index: 17 })
  const deposit = await addDeposit(both.id, { vault: VAULT, gwei: 33e9, type: '0x02' })
  const ready = await addExit(alone.id, { index: 18, state: 'ready' })
  const [ended, latest] = [
    await addExit(over.id, { state: 'expired' }),
    await addDeposit(over.id, { state: 'expired' }),
  ]
  const ids = [exit, deposit, ready, ended, latest]
  for (const [position, id] of ids.entries())
    await query(
      sql`update messages set revision = ${position + 1}, created_at = to_timestamp(${AT + position}) where id = ${id}`,
    )
  for (const message of [exit, deposit])
    for (const [position, [state, shareIndex]] of (
      [
        ['verified', 10],
        ['verified', 2],
        ['unverified', 9],
        ['unverified', 3],
        ['rejected', 11],
        ['rejected', 4],
      ] as const
    ).entries())
      await query(sql`
        insert into partial_signatures (message_id, share_index, digest, sealed, state)
        values (${message}, ${shareIndex}, ${Buffer.alloc(32, position)}, ${state === 'rejected' ? null : Buffer.of(1)}, ${state})`)

  const shares = {
    share_indexes_ready: [2, 10],
    share_indexes_unverified: [3, 9],
    share_indexes_rejected: [4, 11],
  }
  const none = { share_indexes_ready: [], share_indexes_unverified: [], share_indexes_rejected: [] }
  lists.changedHere()
  expect(await read('exits')).toEqual({
    exits: [
      {
        ...{ public_key: toHex(both.publicKey), validator_index: 17, is_exit_signature_ready: false },
        ...{ created_at_timestamp: AT, created_at_string: '2024-11-21 00:00:01+0000', ...shares },
      },
      {
        ...{ public_key: toHex(alone.publicKey), validator_index: 18, is_exit_signature_ready: true },
        ...{ created_at_timestamp: AT + 2, created_at_string: '2024-11-21 00:00:03+0000', ...none },
      },
    ],
    revision: 4,
  })
  expect(await read('validators')).toMatchObject({
    validators: [
      {
        ...{ vault: checksumAddress(VAULT), public_key: toHex(both.publicKey), amount: 33e9, validator_index: 17 },
        ...{ validator_type: '0x02', is_signatures_ready: false, ...shares },
      },
    ],
    revision: 5,
  })
})
