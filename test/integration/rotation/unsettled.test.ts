/** Which vaults' rotations are looked at until they have come to their end. */

import { findUnsettledVaults } from '@dvt-relayer/db/queries/rotations.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

it('those of open rotations, and for a day those given up whose calldata may still be sent', async () => {
  const store = await openMessages()
  await store.query(sql`
    insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
    values ('a', 1, ${Buffer.alloc(65)}, '{}', 1, now(), true)`)
  const vaultOf = (n: number) => Buffer.alloc(20, n)
  const add = (vault: number, state: string, ipfsHash: string | null, endedHoursAgo: number | null) =>
    store.query(sql`
      insert into rotations (vault, oracle_set_id, nonce, state, ipfs_hash, ended_at)
      select ${vaultOf(vault)}, id, 1, ${state}, ${ipfsHash}, now() - make_interval(hours => ${endedHoursAgo}::int) from oracle_sets`)
  await add(1, 'open', null, null)
  await add(2, 'open', 'approved', null)
  await add(3, 'void', 'approved', 23)
  await add(3, 'void', 'approved', 1)
  // Of these nothing can come any more.
  await add(4, 'void', 'approved', 25)
  await add(5, 'void', null, 1)
  await add(6, 'done', 'approved', 1)
  expect(await findUnsettledVaults(store.db)).toEqual([1, 2, 3].map(vaultOf))
})
