/** What the choice of keys reads on a database that has served for long: never all of one table for each row of another. */

import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { findReservable, findReserved } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createRelayerDatabase } from '../../support/services/postgres.ts'
import { createExplaining } from '../../support/stores/plans.ts'

const MIGRATIONS = new URL('../../../migrations', import.meta.url).pathname
const VALIDATORS = 2000
const vault = new Uint8Array(20).fill(1)

it('reads each binding once or twice, where one vault has nearly all of them', async () => {
  await using database = await createRelayerDatabase()
  await using db = await connectDatabase({ url: database.url, logger: silentLogger })
  await migrateDatabase(db, MIGRATIONS)
  await db.execute(sql`insert into clusters (name, threshold) values ('one', 3)`)
  await db.execute(sql`
    insert into validators (public_key, cluster_id, place, vault, reserved_at, vault_asked_at)
    select decode(lpad(to_hex(i), 96, '0'), 'hex'), 1, i, reserved.vault, reserved.at, reserved.at
    from generate_series(1, ${VALIDATORS}::int) i
    left join lateral (select decode(repeat('01', 20), 'hex') as vault, now() as at where i % 2 = 0) reserved on true`)
  await db.execute(
    sql`insert into deposit_bindings (validator_id, vault) select id, vault from validators where vault is not null`,
  )
  await db.execute(sql`
    insert into registry_validators (public_key, block_number)
    select decode(md5('a' || i) || md5('b' || i) || md5('c' || i), 'hex'), i from generate_series(1, ${10 * VALIDATORS}::int) i`)
  await db.execute(sql`analyze`)
  const { db: explaining, rowsRead } = createExplaining(db)
  await findReserved(explaining, vault, { limit: 10, excluded: [] })
  const times = { lifetimeSeconds: 3600, holdSeconds: 86_400 }
  await findReservable(explaining, vault, { limit: 10, ...times, requester: 'a', excluded: [] })
  const read = rowsRead('deposit_bindings')
  expect(read).toHaveLength(2)
  for (const count of read) expect(count).toBeLessThanOrEqual(2 * VALIDATORS)
})
