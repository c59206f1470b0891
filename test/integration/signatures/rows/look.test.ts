/** What the sweep reads of messages: each live one once, in the order of changes, of claims or of ids, page by page. */

import {
  findChanged,
  findLiveAfter,
  findNewestRevision,
  findQueued,
  findQueuedAmong,
} from '@dvt-relayer/db/queries/messages/look.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../../support/stages/messages.ts'

/** Messages in these states, with their revisions and since when a worker has had them, in seconds. */
async function openLook(rows: readonly { state: string; revision: number; queuedAgo?: number }[]) {
  const store = await openMessages()
  const ids: number[] = []
  for (const { state, revision, queuedAgo } of rows) {
    const { id } = await store.addValidator()
    const exit = await store.addExit(id, { state })
    const queued = queuedAgo === undefined ? sql`null` : sql`now() - make_interval(secs => ${queuedAgo}::float8)`
    await store.query(sql`update messages set revision = ${revision}, queued_at = ${queued} where id = ${exit}`)
    ids.push(exit)
  }
  return { ...store, ids, placesOf: (found: readonly number[]) => found.map((id) => ids.indexOf(id)) }
}

it('what changed is read once, also many of one change, and what has ended is not', async () => {
  const { db, ids, placesOf } = await openLook([
    { state: 'collecting', revision: 7 },
    { state: 'ready', revision: 5 },
    { state: 'collecting', revision: 5 },
    { state: 'expired', revision: 6 },
    { state: 'superseded', revision: 8 },
    { state: 'collecting', revision: 4 },
  ])
  const found: number[] = []
  let after = { revision: 5, id: ids[1] ?? 0 }
  for (let page = 0; page < 4; page++)
    for (const change of await findChanged(db, after, 1)) {
      found.push(change.id)
      after = change
    }
  expect(placesOf(found)).toEqual([2, 0])
  expect(placesOf((await findChanged(db, { revision: 0, id: 0 }, 99)).map(({ id }) => id))).toEqual([5, 1, 2, 0])
  // A message that has ended is a change as well.
  expect(await findNewestRevision(db)).toBe(8)
})

it('there is no newest change where there is no message', async () => {
  const { db } = await openMessages()
  expect(await findNewestRevision(db)).toBe(0)
})

it('what waits for a worker longest comes first, and what has ended or nobody has does not', async () => {
  const { db, ids, placesOf } = await openLook([
    { state: 'collecting', revision: 1, queuedAgo: 5 },
    { state: 'ready', revision: 2, queuedAgo: 50 },
    { state: 'collecting', revision: 3 },
    { state: 'expired', revision: 4, queuedAgo: 500 },
    { state: 'collecting', revision: 5, queuedAgo: 20 },
  ])
  expect(placesOf(await findQueued(db, 99))).toEqual([1, 4, 0])
  expect(placesOf(await findQueued(db, 2))).toEqual([1, 4])
  // Of some, those that a worker has.
  expect(placesOf(await findQueuedAmong(db, ids.slice(1).toReversed()))).toEqual([1, 4])
})

it('live messages are read page by page, none twice', async () => {
  const { db, ids, placesOf } = await openLook(
    ['collecting', 'expired', 'ready', 'collecting', 'erased'].map((state, revision) => ({ state, revision })),
  )
  expect(placesOf(await findLiveAfter(db, 0, 2))).toEqual([0, 2])
  expect(placesOf(await findLiveAfter(db, ids[2] ?? 0, 2))).toEqual([3])
  expect(await findLiveAfter(db, ids[3] ?? 0, 2)).toEqual([])
})
