/** Whoever follows the changes by their revisions misses none, whichever transactions overlap and however they end. */

import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import { type Change, findChanged } from '@dvt-relayer/db/queries/messages/look.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'
import { hasPgbouncer, startPgbouncer } from '../../support/stores/pgbouncer.ts'

const WRITERS = 6
const CHANGES = 25
const ENDS = ['commit', 'commit', 'rollback', 'killed'] as const

async function setUp(hasPooler: boolean) {
  const store = await openMessages()
  const { id: validator } = await store.addValidator()
  const ids: number[] = []
  // Only live ones are followed, of which a validator has one: each has its own.
  for (let count = 0; count < WRITERS * CHANGES; count++)
    ids.push(await store.addExit(count === 0 ? validator : (await store.addValidator()).id))
  const stack = new AsyncDisposableStack()
  onTestFinished(() => stack.disposeAsync())
  const url = !hasPooler
    ? store.url
    : stack.use(
        await startPgbouncer(store.url, {
          pool_mode: 'session',
          ignore_startup_parameters: 'statement_timeout,idle_in_transaction_session_timeout,options',
          default_pool_size: '50',
        }),
      ).url
  const connect = async () => stack.use(await connectDatabase({ url, logger: silentLogger }))
  return { ids, connect }
}

/** Announces one change in a transaction that takes its time and ends in one way or another. Returns whether it was committed. */
async function change(db: Database, id: number, rounds: number, end: (typeof ENDS)[number]): Promise<boolean> {
  try {
    await db.transaction(async (tx) => {
      await lockMessages(tx, [id])
      await announceMessages(tx, [id])
      for (let round = 0; round < rounds; round++) await tx.execute(sql`select 1`)
      if (end === 'killed') await tx.execute(sql`select pg_terminate_backend(pg_backend_pid())`)
      if (end === 'rollback') throw new Error('never mind')
    })
    return true
  } catch (error) {
    if (end === 'commit') throw error
    return false
  }
}

it('misses no change', () => followWriters(false))

it.skipIf(!hasPgbouncer())('misses no change behind PgBouncer', () => followWriters(true))

/** One follows while several announce, and what it was told of is what was committed. */
async function followWriters(isPooled: boolean): Promise<void> {
  const { ids, connect } = await setUp(isPooled)
  const reader = await connect()
  const seen = new Map<number, number>()
  let after: Change = { revision: 0, id: 0 }
  async function look(): Promise<void> {
    for (const found of await findChanged(reader, after, 7)) {
      // None is told of twice either, and none before one that came earlier.
      expect(seen.has(found.id)).toBe(false)
      seen.set(found.id, found.revision)
      after = found
    }
  }
  await look()
  // All were there before any change, at revision 0.
  while (seen.size < ids.length) await look()
  seen.clear()
  after = { revision: 0, id: 2 ** 40 }

  let isOver = false
  const reading = (async () => {
    while (!isOver) await look()
  })()
  const committed: number[] = []
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    const db = await connect()
    for (let turn = 0; turn < CHANGES; turn++) {
      const id = ids[turn * WRITERS + writer] ?? 0
      const end = ENDS[(writer + turn * 3) % ENDS.length] ?? 'commit'
      if (await change(db, id, (writer * 5 + turn * 7) % 6, end)) committed.push(id)
    }
  })
  await Promise.all(writers).finally(() => {
    isOver = true
  })
  await reading
  for (let before = -1; before < seen.size; ) {
    before = seen.size
    await look()
  }
  expect([...seen.keys()].toSorted((a, b) => a - b)).toEqual(committed.toSorted((a, b) => a - b))
  const order = [...seen.values()]
  expect(order).toEqual(order.toSorted((a, b) => a - b))
}
