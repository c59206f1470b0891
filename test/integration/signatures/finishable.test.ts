/** What the sweep finds to finish, without ever walking through everything at once. */

import { randomBytes } from 'node:crypto'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { announceMessages, lockMessages } from '@dvt-relayer/db/queries/messages/announce.ts'
import {
  countFailedAttempts,
  findMessagesToFinish,
  giveBackMessages,
  releaseMessages,
} from '@dvt-relayer/db/queries/oracle-shares.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { PATIENCE_MS } from '../../../apps/relayer/src/context.ts'
import { createFinishable } from '../../../apps/relayer/src/services/signatures/finishable.ts'
import { createSweep } from '../../../apps/relayer/src/services/signatures/sweep.ts'
import { createVerification } from '../../../apps/relayer/src/services/signatures/verify.ts'
import { openMessages } from '../../support/stages/messages.ts'

/** So that a handful of messages is more than a slice. */
const SLICE = 3

async function setUp(exits: number) {
  const store = await openMessages()
  const ids: number[] = []
  for (let count = 0; count < exits; count++) ids.push(await store.addExit((await store.addValidator()).id))
  const announce = (some: number[]) => store.db.transaction((tx) => announceMessages(tx, some))
  return {
    ...store,
    ids,
    announce,
    /** Gives exits the one share that is enough for them. */
    async sign(some: number[]) {
      for (const id of some)
        await store.query(sql`
          insert into partial_signatures (message_id, share_index, digest, sealed, state)
          values (${id}, 1, ${randomBytes(32)}, ${randomBytes(100)}, 'verified')`)
    },
    /** Makes it so long ago that exits were handed out that whoever had them is taken for dead. */
    forget: (some: number[]) =>
      store.query(sql`
        update messages set queued_at = now() - interval '1 minute' where id = any(${sql.param(some)}::bigint[])`),
    finishable: createFinishable(store, SLICE),
  }
}

/** Everything that rounds find until they have nothing more to look at. */
async function claimAll({ finishable }: Awaited<ReturnType<typeof setUp>>, limit = 100): Promise<number[]> {
  for (const claimed: number[] = []; ; ) {
    const found = await finishable.claim(limit)
    claimed.push(...found.claimed)
    if (!found.hasMore) return claimed.toSorted((a, b) => a - b)
  }
}

it('looks at everything once, in slices', async () => {
  const store = await setUp(10)
  await store.announce(store.ids)
  await store.sign(store.ids.slice(2))
  expect(await claimAll(store)).toEqual(store.ids.slice(2))
  expect(await claimAll(store)).toEqual([])
})

it('finds what changed after its last look, also many of one change', async () => {
  const store = await setUp(10)
  await store.announce(store.ids)
  expect(await claimAll(store)).toEqual([])
  const changed = store.ids.slice(1)
  await store.sign(changed)
  await store.announce(changed)
  expect(await claimAll(store)).toEqual(changed)
})

it('finds again what was handed out and did not come back, though nothing changed', async () => {
  const store = await setUp(8)
  await store.sign(store.ids)
  await store.announce(store.ids)
  expect(await claimAll(store)).toEqual(store.ids)
  const lost = store.ids.slice(5, 7)
  await store.forget(lost)
  expect(await claimAll(store)).toEqual(lost)
})

it('finds at the next look what the queue has not taken', async () => {
  const store = await setUp(20)
  await store.announce(store.ids)
  await store.sign(store.ids)
  let jobs = 0
  const sweep = createSweep({
    ...store,
    queue: {
      counts: async () => ({ waiting: 0, active: 0 }),
      add: async () => (++jobs === 1 ? 'added' : 'not_added'),
    },
  } as unknown as Parameters<typeof createSweep>[0])
  await sweep.finish()
  expect(jobs).toBe(2)
  // A job has sixteen.
  expect(await claimAll({ ...store, finishable: createFinishable(store) })).toEqual(store.ids.slice(16))
})

it('takes no more than there is room for, and the rest the next times', async () => {
  const store = await setUp(9)
  await store.sign(store.ids)
  await store.announce(store.ids)
  const first = await store.finishable.claim(2)
  expect(first).toEqual({ claimed: [expect.any(Number), expect.any(Number)], hasMore: true })
  const rest = await claimAll(store, 2)
  expect([...first.claimed, ...rest].toSorted((a, b) => a - b)).toEqual(store.ids)
})

it('comes by everything in time, also what changed while another had it and was given back without a word', async () => {
  const store = await setUp(10)
  await store.announce(store.ids)
  const late = store.ids.slice(8, 9)
  await store.query(sql`update messages set queued_at = now() where id = any(${sql.param(late)}::bigint[])`)
  await store.sign(late)
  expect(await claimAll(store)).toEqual([])
  await releaseMessages(store.db, late)
  const found: number[] = []
  // As many rounds as it has slices, and one for where the walk was.
  for (let round = 0; round <= Math.ceil(store.ids.length / SLICE); round++)
    found.push(...(await store.finishable.claim(100)).claimed)
  expect(found).toEqual(late)
})

it('looks again at what changed while a worker had it, as soon as it is given back', async () => {
  const store = await setUp(10)
  await store.announce(store.ids)
  expect(await claimAll(store)).toEqual([])
  for (const id of store.ids) {
    await store.query(sql`update messages set queued_at = now() where id = ${id}`)
    await store.sign([id])
    await store.announce([id])
    expect(await claimAll(store)).toEqual([])
    expect(await claimAll(store)).toEqual([])
    await releaseMessages(store.db, [id])
    expect((await store.finishable.claim(100)).claimed).toEqual([id])
  }
})

it('looks again at what somebody had locked, who told of nothing and died', async () => {
  const store = await setUp(30)
  await store.announce(store.ids)
  expect(await claimAll(store)).toEqual([])
  // Wherever the walk through all of them is.
  for (const id of store.ids.filter((_, position) => position % 7 === 0)) {
    await store.announce([id])
    await store.sign([id])
    await store.db.transaction(async (tx) => {
      await lockMessages(tx, [id])
      expect(await claimAll(store)).toEqual([])
    })
    expect((await store.finishable.claim(100)).claimed).toEqual([id])
  }
})

it('looks at everything again where the last changes are lost: a standby was made the primary', async () => {
  const store = await setUp(10)
  for (const id of store.ids) await store.announce([id])
  expect(await claimAll(store)).toEqual([])
  await store.sign(store.ids)
  await store.query(sql`update messages set revision = least(revision, 5)`)
  expect(await claimAll(store)).toEqual(store.ids)
})

it('looks slowly at what it has looked at once, where nothing tells of a change', async () => {
  const store = await setUp(101)
  const finishable = createFinishable(store, 1000)
  await store.announce(store.ids)
  const claim = async () => (await finishable.claim(1000)).claimed
  expect(await claim()).toEqual([])
  const last = store.ids.slice(-1)
  await store.sign(last)
  expect(await claim()).toEqual([])
  expect(await claim()).toEqual(last)
})

it('looks at every exit again once another oracle set is in force', async () => {
  const store = await setUp(1)
  const validators = await Promise.all(Array.from({ length: 7 }, () => store.addValidator()))
  const ready: number[] = []
  for (const { id } of validators) ready.push(await store.addExit(id, { state: 'ready' }))
  await store.announce(ready)
  expect(await claimAll(store)).toEqual([])
  await store.query(sql`
    insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
    values ('a', 1, ${randomBytes(65)}, '{}', 1, now(), true)`)
  expect(await claimAll(store)).toEqual(ready)
})

it.each([
  ['given back', giveBackMessages],
  ['counted as tried in vain', countFailedAttempts],
])('are %s in the order of everybody’s locks', async (_, write) => {
  const { db, ids, query } = await setUp(2)
  const [first = 0, second = 0] = ids
  await query(sql`update messages set queued_at = now()`)
  // It stands behind the other one now, where a walk through the rows comes to it last.
  await query(sql`update messages set queued_at = now() where id = ${first}`)
  await db.onOneConnection(async (other) => {
    await other.execute(sql`begin`)
    await lockMessages(other, [first])
    const written = write(db, ids)
    written.catch(() => {})
    const isWaiting = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    await expect.poll(async () => (await query(isWaiting)).length).toBeGreaterThan(0)
    await lockMessages(other, [second])
    await other.execute(sql`commit`)
    await written
  })
})

it('hands out the exit and the deposit of a validator in one job, sixteen validators a job', async () => {
  const store = await setUp(20)
  await store.query(sql`
    insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state)
    select validator_id, 'deposit', ${Buffer.alloc(20)}, 32000000000, '0x01', ${randomBytes(32)}, 1, 'collecting'
    from messages where id = any(${sql.param(store.ids.slice(0, 18))}::bigint[]) order by id`)
  const all = await store.query<{ id: string; validator_id: string }>(
    sql`select id, validator_id from messages order by id`,
  )
  const ids = all.map(({ id }) => Number(id))
  await store.sign(ids)
  const jobs: number[][] = []
  const finishing = { finish: async (some: readonly number[]) => void jobs.push([...some]) }
  const queue = { add: async () => 'not_added' as const }
  const unused = {} as never
  const context = { queue: queue as never, crypto: unused, events: unused, logger: silentLogger, announced: () => {} }
  const verification = createVerification({ ...store, ...context, patienceMs: PATIENCE_MS }, finishing)
  await verification.finishLater(ids)
  await verification.drain()
  const validatorOf = new Map(all.map(({ id, validator_id: of }) => [Number(id), of]))
  const ofJobs = jobs.map((job) => job.map((id) => validatorOf.get(id)))
  expect(ofJobs.map((of) => [of.length, new Set(of).size])).toEqual([
    [32, 16],
    [6, 4],
  ])
  expect(jobs.flat().toSorted((a, b) => a - b)).toEqual(ids)
})

it('of what a job names those are finished that are live, and deposits that nobody asks for any more', async () => {
  const store = await openMessages()
  const named = new Map<number, string>()
  for (const state of ['collecting', 'ready', 'superseded', 'expired']) {
    const { id } = await store.addValidator()
    named.set(await store.addExit(id, { state }), `${state} exit`)
    named.set(await store.addDeposit(id, { state }), `${state} deposit`)
  }
  // Live, and named by nobody.
  await store.addExit((await store.addValidator()).id)
  const found = await findMessagesToFinish(store.db, [...named.keys()], null)
  expect(found.map(({ id }) => named.get(id)).toSorted()).toEqual([
    'collecting deposit',
    'collecting exit',
    'expired deposit',
    'ready deposit',
    'ready exit',
  ])
})
