/** Connections to the database in turns: who wants many waits behind itself, before it holds one. */

import { type Account, onAccountOf } from '@dvt-relayer/common/account.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createRelayerDatabase } from '../../support/services/postgres.ts'
import { eventually } from '../../support/world/world.ts'

const SHARES = {
  own: { ofOne: 10, ofAll: 10 },
  operator: { ofOne: 3, ofAll: 4 },
  sidecar: { ofOne: 2, ofAll: 4 },
}
const as = <T>(group: string, name: string, work: () => Promise<T>) => {
  const account: Account = { group, name }
  return onAccountOf(account, work)
}

it('fifty statements of one node hold two connections, and nobody waits behind them', async () => {
  await using database = await createRelayerDatabase()
  await using db = await connectDatabase({ url: database.url, logger: silentLogger, shares: SHARES })
  const isOver = Promise.withResolvers<void>()
  const isLocked = Promise.withResolvers<void>()
  const holding = db.onOneConnection(async (own) => {
    await own.execute(sql`select pg_advisory_lock(7)`)
    isLocked.resolve()
    await isOver.promise
  })
  await isLocked.promise
  const ended: string[] = []
  const note = (name: string) => () => void ended.push(name)
  // Each transaction waits for the lock, and gives it back at its end.
  const flood = Array.from({ length: 50 }, (_, number) =>
    as('sidecar', 'attacker', () =>
      db.transaction((tx) => tx.execute(sql`select pg_advisory_xact_lock(7)`)).then(note(`attacker ${number}`)),
    ),
  )
  const blocked = async () =>
    Number(
      (await db.execute(sql`select count(*) from pg_locks where locktype = 'advisory' and not granted`)).rows[0]?.[
        'count'
      ],
    )
  await eventually('two wait in the database', async () => ((await blocked()) === 2 ? true : undefined))
  await as('sidecar', 'node', () => db.execute(sql`select 1`).then(note('node')))
  await as('operator', 'operator', () => db.transaction((tx) => tx.execute(sql`select 1`)).then(note('operator')))
  await db.execute(sql`select 1`).then(note('own'))
  expect(await blocked()).toBe(2)
  expect(ended).toEqual(['node', 'operator', 'own'])
  isOver.resolve()
  await Promise.all([...flood, holding])
  expect(ended).toHaveLength(53)
})

it('a statement that fails gives its turn back', async () => {
  await using database = await createRelayerDatabase()
  await using db = await connectDatabase({ url: database.url, logger: silentLogger, shares: SHARES })
  for (let count = 0; count < 12; count++) {
    await expect(as('sidecar', 'node', () => db.execute(sql`select no_such_column`))).rejects.toThrow()
    await expect(
      as('sidecar', 'node', () =>
        db.transaction(async (tx) => {
          await tx.execute(sql`select 1`)
          throw new Error('no')
        }),
      ),
    ).rejects.toThrow('no')
  }
  expect((await as('sidecar', 'node', () => db.execute(sql`select 1 as one`))).rows).toEqual([{ one: 1 }])
})
