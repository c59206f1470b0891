/** How many validators a lock may be posted for: those that it has, and those that a lock of the same nodes has taken over from it. */

import { randomBytes } from 'node:crypto'
import { findLockSizes } from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

it('are those of the lock, and of others with a node of it too', async () => {
  const { db, query, addValidator } = await openMessages()
  const node = randomBytes(33)
  const addLock = async (id: number, validators: number, key: Buffer) => {
    await query(
      sql`insert into clusters (id, name, threshold, lock_hash) values (${id}, 'a', 2, ${Buffer.alloc(32, id)})`,
    )
    for (const [place, nodeKey] of [key, randomBytes(33)].entries())
      await query(
        sql`insert into node_keys (cluster_id, share_index, public_key, is_hash_known) values (${id}, ${place + 1}, ${nodeKey}, true)`,
      )
    for (let place = 0; place < validators; place++) {
      const validator = await addValidator()
      await query(sql`update validators set cluster_id = ${id}, place = ${place} where id = ${validator.id}`)
    }
  }
  await addLock(1, 1, node)
  await addLock(2, 3, node)
  await addLock(3, 2, randomBytes(33))
  await addLock(4, 0, node)
  const sizes = await findLockSizes(db)
  expect(Object.fromEntries(sizes.map(({ lockHash, validators, most }) => [lockHash[0], [validators, most]]))).toEqual({
    1: [1, 4],
    2: [3, 4],
    3: [2, 2],
    4: [0, 4],
  })
})
