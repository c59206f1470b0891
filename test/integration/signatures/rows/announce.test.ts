/** Whoever follows the changes by their revisions misses none, whichever transactions overlap and however they end. */

import { randomBytes } from 'node:crypto'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import {
  announceMessages,
  announceOracleShares,
  findLastRevision,
  lockMessages,
} from '@dvt-relayer/db/queries/messages/announce.ts'
import { type Change, findChanged } from '@dvt-relayer/db/queries/messages/look.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished } from 'vitest'
import { openMessages } from '../../../support/stages/messages.ts'
import { hasPgbouncer, startPgbouncer } from '../../../support/stores/pgbouncer.ts'

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

/** Two exits that are split for two oracle sets each, and the revisions of all that. */
async function openShares() {
  const store = await openMessages()
  const { query } = store
  const exits = [
    await store.addExit((await store.addValidator()).id, { state: 'ready' }),
    await store.addExit((await store.addValidator()).id, { state: 'ready' }),
  ] as const
  const sets = await query<{ id: string }>(sql`
    insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at)
    select cid, 1, ${randomBytes(65)}, '{}', 1, now() from unnest(array['a', 'b']) cid returning id`)
  const setIds = sets.map(({ id }) => Number(id))
  await query(sql`
    insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    select m.id, s.id, ${randomBytes(48)}, ${randomBytes(193)}, ${randomBytes(32)}, 0 from messages m, oracle_sets s`)
  const revisions = async (statement: ReturnType<typeof sql>) =>
    (await query<{ revision: string }>(statement)).map(({ revision }) => Number(revision))
  return {
    ...store,
    exits,
    setId: setIds[0] ?? 0,
    /** Of the exits; of their shares of the first set, of the second. */
    revisions: async () => [
      await revisions(sql`select revision from messages order by id`),
      ...(await Promise.all(
        setIds.map((id) =>
          revisions(sql`select revision from oracle_shares where oracle_set_id = ${id} order by message_id`),
        ),
      )),
    ],
  }
}

it('a change has the next revision, of its messages or of its shares alone, and nothing has none', async () => {
  const { db, exits, setId, revisions } = await openShares()
  const first = await findLastRevision(db)
  for (const nothing of [announceMessages(db, []), announceOracleShares(db, setId, [])]) await nothing
  expect(await findLastRevision(db)).toBe(first)
  await announceMessages(db, exits)
  const told = await findLastRevision(db)
  await announceOracleShares(db, setId, exits.slice(0, 1))
  const split = await findLastRevision(db)
  expect(told).toBeLessThan(split)
  expect(await revisions()).toEqual([
    [told, told],
    [split, 0],
    [0, 0],
  ])
  await announceMessages(db, exits.slice(1))
  expect((await revisions())[0]).toEqual([told, await findLastRevision(db)])
})

it.each(['messages', 'shares'] as const)(
  'a change of %s waits for one that has its revision and is not committed',
  async (what) => {
    const { db, query, exits, setId } = await openShares()
    const announce = (tx: Sql, position: 0 | 1) =>
      what === 'messages' ? announceMessages(tx, [exits[position]]) : announceOracleShares(tx, setId, [exits[position]])
    let isThrough = false
    let second: Promise<unknown> = Promise.resolve()
    await db.transaction(async (tx) => {
      await announce(tx, 0)
      second = db
        .transaction((other) => announce(other, 1))
        .finally(() => {
          isThrough = true
        })
      const waiting = sql`select from pg_locks where locktype = 'advisory' and not granted
                          and database = (select oid from pg_database where datname = current_database())`
      while (!isThrough && (await query(waiting)).length === 0);
      expect(isThrough).toBe(false)
    })
    await second
  },
)

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
