/** What is stored of nodes, processes and nonces, and how long it counts: to the second, by the database's clock. */

import { randomBytes } from 'node:crypto'
import {
  addShareCounts,
  countWrongShares,
  findNeverSeen,
  findOldestCollecting,
  findShareCounts,
  sumMovedByVault,
} from '@dvt-relayer/db/queries/attendance/census.ts'
import {
  countPrograms,
  findLastSeen,
  findNamedNodes,
  type NodeSeenRow,
  pruneNodesSeen,
  storeNodesSeen,
} from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import { deleteNonces, takeNonce } from '@dvt-relayer/db/queries/attendance/nonces.ts'
import { countLeftRunning, findOwnPlace, lockPlace } from '@dvt-relayer/db/queries/attendance/place.ts'
import {
  countProcesses,
  countWorkers,
  findNewestWorker,
  findProcesses,
  pruneProcesses,
  storeBeat,
  storeStop,
} from '@dvt-relayer/db/queries/attendance/processes.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'

/** A test within one transaction, where it is one moment. */
const atOnce =
  (test: (tx: Sql) => Promise<void>): (() => Promise<void>) =>
  async () => {
    const { db } = await openMessages()
    await db.transaction(test)
  }
const ago = (seconds: number | null) => sql`now() - make_interval(secs => ${seconds}::float8)`
const secondsSince = (column: string) => sql.raw(`extract(epoch from now() - ${column})::float8`)

/** A cluster with validators that have these share indexes, by their places; the last comes first. */
const cluster = async (tx: Sql, id: number, ...sharesByPlace: readonly number[][]) => {
  await tx.execute(sql`insert into clusters (id, name, threshold) values (${id}, 'a', 2)`)
  for (const [place, indexes] of [...sharesByPlace.entries()].toReversed()) {
    const key = randomBytes(48)
    const { rows } = await tx.execute(
      sql`insert into validators (public_key, cluster_id, place) values (${key}, ${id}, ${place}) returning id`,
    )
    for (const index of indexes)
      await tx.execute(sql`insert into key_shares (validator_id, share_index, public_key_share, source)
                           values (${rows[0]?.['id']}, ${index}, ${key}, 'lock')`)
  }
}

describe('a nonce', () => {
  it(
    'is good once for its signer, until it is forgotten: the oldest first, and so many at once',
    atOnce(async (tx) => {
      const [a, b] = [Buffer.alloc(20, 1), Buffer.alloc(20, 2)]
      const nonces = [1, 2, 3].map((n) => Buffer.alloc(16, n))
      const [first, second, third] = nonces as [Buffer, Buffer, Buffer]
      for (const signer of [a, b]) for (const nonce of nonces) expect(await takeNonce(tx, signer, nonce)).toBe(true)
      expect(await takeNonce(tx, a, first)).toBe(false)
      for (const [signer, nonce, seconds] of [
        [a, first, 61],
        [b, second, 62],
        [b, third, 60],
      ] as const)
        await tx.execute(
          sql`update request_nonces set seen_at = ${ago(seconds)} where signer = ${signer} and nonce = ${nonce}`,
        )
      const left = async () =>
        (
          await tx.execute(
            sql`select get_byte(signer, 0) || ':' || get_byte(nonce, 0) as id from request_nonces order by 1`,
          )
        ).rows.map(({ id }) => id)
      expect(await deleteNonces(tx, 60, 1)).toBe(1)
      expect(await left()).toEqual(['1:1', '1:2', '1:3', '2:1', '2:3'])
      expect(await deleteNonces(tx, 60, 9)).toBe(1)
      expect(await left()).toEqual(['1:2', '1:3', '2:1', '2:3'])
      expect(await takeNonce(tx, a, first)).toBe(true)
    }),
  )
  it(
    'is taken without a wait for the disk',
    atOnce(async (tx) => {
      const waits = async () => (await tx.execute(sql`select current_setting('synchronous_commit') as waits`)).rows
      await tx.execute(sql`set local synchronous_commit = on`)
      expect(await waits()).toEqual([{ waits: 'on' }])
      expect(await takeNonce(tx, Buffer.alloc(20), Buffer.alloc(16))).toBe(true)
      expect(await waits()).toEqual([{ waits: 'off' }])
    }),
  )
})

describe('processes', () => {
  const add = (
    tx: Sql,
    id: string,
    role: string,
    beat: number,
    { version = '1', stopped = null as number | null } = {},
  ) =>
    tx.execute(sql`insert into processes (id, role, version, started_at, beat_at, stopped_at)
                   values (${id}, ${role}, ${version}, ${ago(beat + 1000)}, ${ago(beat)}, ${ago(stopped)})`)

  it(
    'are there from their beat to their stop, and for so many seconds without one',
    atOnce(async (tx) => {
      const now = Number((await tx.execute(sql`select extract(epoch from now())::float8 as now`)).rows[0]?.['now'])
      expect(await findNewestWorker(tx, 60)).toEqual({ isThere: false, lastSeconds: null })
      await add(tx, 'api', 'api', 10)
      await add(tx, 'silent', 'worker', 60)
      await add(tx, 'stopped', 'all', 25, { stopped: 20 })
      expect(await countWorkers(tx, 60)).toBe(0)
      expect(await findNewestWorker(tx, 60)).toEqual({ isThere: false, lastSeconds: expect.closeTo(now - 20, 1) })
      await add(tx, 'worker', 'worker', 59)
      await add(tx, 'all', 'all', 30, { version: '2' })
      await add(tx, 'worker 2', 'worker', 30)
      expect(await countWorkers(tx, 60)).toBe(3)
      expect(await findNewestWorker(tx, 60)).toMatchObject({ isThere: true })
      expect(await countProcesses(tx, 60)).toEqual([
        { role: 'all', version: '2', processes: 1 },
        { role: 'api', version: '1', processes: 1 },
        { role: 'worker', version: '1', processes: 2 },
      ])
      const found = await findProcesses(tx, 60, 5)
      expect(found.map(({ id, isThere }) => [id, isThere])).toEqual([
        ['api', true],
        ['stopped', false],
        ['all', true],
        ['worker 2', true],
        ['worker', true],
      ])
      expect(found[0]).toEqual({
        ...{ id: 'api', role: 'api', version: '1', isThere: true },
        startedSeconds: expect.closeTo(now - 1010, 1),
        lastSeconds: expect.closeTo(now - 10, 1),
      })
    }),
  )

  it(
    'beat and stop each for itself',
    atOnce(async (tx) => {
      await add(tx, 'other', 'worker', 300)
      await add(tx, 'one', 'worker', 200)
      const times = async () =>
        (
          await tx.execute(
            sql`select id, ${secondsSince('beat_at')} as beat, ${secondsSince('stopped_at')} as stopped from processes order by id`,
          )
        ).rows
      const other = { id: 'other', beat: 300, stopped: null }
      await storeBeat(tx, { id: 'one', role: 'worker', version: '1' })
      expect(await times()).toEqual([{ id: 'one', beat: 0, stopped: null }, other])
      await tx.execute(sql`update processes set beat_at = ${ago(5)} where id = 'one'`)
      await storeStop(tx, 'one')
      expect(await times()).toEqual([{ id: 'one', beat: 0, stopped: 0 }, other])
    }),
  )

  it(
    'are forgotten when they were there too long ago, but for the last worker',
    atOnce(async (tx) => {
      const left = async () => (await tx.execute(sql`select id from processes order by id`)).rows.map(({ id }) => id)
      await add(tx, 'api old', 'api', 61)
      await add(tx, 'api young', 'api', 60)
      await pruneProcesses(tx, 60)
      expect(await left()).toEqual(['api young'])
      await add(tx, 'api old', 'api', 61)
      await add(tx, 'worker oldest', 'worker', 90)
      await add(tx, 'worker old', 'worker', 80)
      await add(tx, 'worker stopped', 'all', 85, { stopped: 85 })
      await pruneProcesses(tx, 60)
      expect(await left()).toEqual(['api young', 'worker old'])
    }),
  )

  it(
    'that ran when a copy was made are those that beat within so many seconds of the newest moment it knows',
    atOnce(async (tx) => {
      expect(await countLeftRunning(tx, 60)).toBe(0)
      await add(tx, 'stopped last', 'all', 5000, { stopped: 1000 })
      await add(tx, 'stopped', 'all', 1010, { stopped: 1010 })
      for (const [id, seconds] of [
        ['running', 1059],
        ['running too', 1030],
        ['silent', 1060],
        ['silent for long', 9000],
      ] as const)
        await add(tx, id, 'all', seconds)
      expect(await countLeftRunning(tx, 60)).toBe(2)
    }),
  )

  it('are of the database that they are connected to', async () => {
    const { db, query } = await openMessages()
    const [database] = await query<{ oid: number }>(
      sql`select oid::int4 as oid from pg_database where datname = current_database()`,
    )
    expect(await findOwnPlace(db)).toEqual({ system: expect.stringMatching(/^\d{10,}$/), database: database?.oid })
  })

  it('note their place one at a time, to the end of the transaction', async () => {
    const { db } = await openMessages()
    const held = () =>
      db.transaction(async (tx) => {
        await lockPlace(tx)
        const { rows } = await tx.execute(
          sql`select classid, objid, mode, granted from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`,
        )
        return rows
      })
    const first = await held()
    expect(first).toMatchObject([{ mode: 'ExclusiveLock', granted: true }])
    expect(await held()).toEqual(first)
  })
})

describe('what is seen of nodes', () => {
  const node = (
    token: string,
    shareIndex: number,
    seenSecondsAgo: number,
    more: Partial<NodeSeenRow> = {},
  ): NodeSeenRow => ({
    ...{ token, shareIndex, isOurs: true, seenSecondsAgo, software: null, version: null, ...more },
  })
  const row = async (tx: Sql, token = 'a') => {
    const { rows } = await tx.execute(sql`
      select ${secondsSince('seen_at')} as seen, ${secondsSince('listed_at')} as listed, ${secondsSince('posted_at')} as posted,
             ${secondsSince('refused_at')} as refused, ${secondsSince('gone_at')} as gone, ${secondsSince('online_since')} as online,
             refusal_code as code, software, version, clock_difference_seconds as clock
      from nodes_seen where token_name = ${token}`)
    return rows[0]
  }
  const ids = async (tx: Sql) =>
    (await tx.execute(sql`select token_name || ':' || share_index as id from nodes_seen order by 1`)).rows.map(
      ({ id }) => id,
    )

  it(
    'is the newest of each kind, whichever is written first; of one moment what is written last',
    atOnce(async (tx) => {
      const listed = (seconds: number) => ({ listedSecondsAgo: seconds, postedSecondsAgo: seconds + 1 })
      const refused = (seconds: number, refusalCode: string) => ({ refusedSecondsAgo: seconds, refusalCode })
      const program = (version: string, clock: number) => ({
        software: `s${version}`,
        version,
        clockDifferenceSeconds: clock,
      })
      await storeNodesSeen(tx, [node('a', 1, 50, { ...listed(50), ...refused(55, 'B'), ...program('2', 2) })], 9)
      const second = { seen: 50, listed: 50, posted: 51, refused: 55, gone: null, online: 50 }
      const of2 = { code: 'B', software: 's2', version: '2', clock: 2 }
      expect(await row(tx)).toEqual({ ...second, ...of2 })
      const older = { ...listed(60), ...refused(65, 'A'), ...program('1', 1), goneSecondsAgo: 70 }
      await storeNodesSeen(tx, [node('a', 1, 60, older)], 9)
      expect(await row(tx)).toEqual({ ...second, ...of2, gone: 70 })
      await storeNodesSeen(tx, [node('a', 1, 50, { ...listed(50), ...refused(55, 'C'), ...program('3', 3) })], 9)
      const of3 = { code: 'C', software: 's3', version: '3', clock: 3 }
      expect(await row(tx)).toEqual({ ...second, ...of3, gone: 70 })
      // Refused alone, it was not there.
      await storeNodesSeen(tx, [node('a', 1, 40, refused(40, 'D'))], 9)
      expect(await row(tx)).toEqual({
        ...{ ...second, seen: 40, refused: 40, gone: 70 },
        ...{ ...of3, code: 'D', software: null, version: null },
      })
    }),
  )

  it(
    'has it online since it came, which is anew after it was gone or was away for more than two minutes',
    atOnce(async (tx) => {
      const online = async (seconds: number, more: Partial<NodeSeenRow> = { listedSecondsAgo: seconds }) => {
        await storeNodesSeen(tx, [node('a', 1, seconds, more)], 9)
        return (await row(tx))?.['online']
      }
      expect(await online(900, { refusedSecondsAgo: 900, refusalCode: 'A' })).toBeNull()
      expect(await online(800)).toBe(800)
      expect(await online(680)).toBe(800)
      expect(await online(559)).toBe(559)
      expect(await online(500, { postedSecondsAgo: 500 })).toBe(559)
      expect(await online(400, { goneSecondsAgo: 400 })).toBe(559)
      expect(await online(390)).toBe(390)
    }),
  )

  it(
    'of share indexes that callers only claim is kept for so many of a token, and of ours for all',
    atOnce(async (tx) => {
      const claim = (token: string, shareIndex: number) => node(token, shareIndex, 5, { isOurs: false })
      await storeNodesSeen(tx, [claim('a', 1)], 2)
      await storeNodesSeen(tx, [claim('a', 2)], 2)
      await storeNodesSeen(tx, [claim('b', 3)], 2)
      await tx.execute(sql`update nodes_seen set seen_at = ${ago(900)}`)
      await storeNodesSeen(tx, [claim('a', 3), claim('a', 2), node('a', 4, 5), claim('b', 2)], 2)
      expect(await ids(tx)).toEqual(['a:1', 'a:2', 'a:4', 'b:2', 'b:3'])
      const { rows } = await tx.execute(
        sql`select share_index::int as index from nodes_seen where seen_at > ${ago(6)} order by 1`,
      )
      expect(rows.map(({ index }) => index)).toEqual([2, 2, 4])
    }),
  )

  it(
    'is forgotten after a while, and named and counted while it is young',
    atOnce(async (tx) => {
      const seen = (token: string, shareIndex: number, seconds: number, version: string | null = '1') =>
        node(token, shareIndex, seconds, { listedSecondsAgo: seconds, software: version && 'x', version })
      await storeNodesSeen(
        tx,
        [
          seen('a', 2, 59),
          seen('a', 1, 59),
          seen('b', 1, 59, '3'),
          seen('c', 1, 10, '2'),
          seen('node:1', 1, 70, null),
          seen('old', 1, 100),
          seen('on time', 1, 60),
          seen('anybody', 1, 5, '3'),
          node('refused', 1, 70, { refusedSecondsAgo: 10, refusalCode: 'A' }),
        ],
        9,
      )
      const now = Number((await tx.execute(sql`select extract(epoch from now())::float8 as now`)).rows[0]?.['now'])
      const named = [
        { name: 'c', shareIndex: 1, seenSeconds: expect.closeTo(now - 10, 1), cameBy: 'token' },
        { name: 'a', shareIndex: 1, seenSeconds: expect.closeTo(now - 59, 1), cameBy: 'token' },
        { name: 'a', shareIndex: 2, seenSeconds: expect.closeTo(now - 59, 1), cameBy: 'token' },
        { name: 'b', shareIndex: 1, seenSeconds: expect.closeTo(now - 59, 1), cameBy: 'token' },
      ]
      expect(await findNamedNodes(tx, 60, 9)).toEqual(named)
      expect(await findNamedNodes(tx, 60, 2)).toEqual(named.slice(0, 2))
      const programs = [
        { software: 'x', version: '1', nodes: 2 },
        { software: 'x', version: '3', nodes: 2 },
        { software: 'x', version: '2', nodes: 1 },
      ]
      expect(await countPrograms(tx, 60, 9)).toEqual(programs)
      expect(await countPrograms(tx, 60, 1)).toEqual(programs.slice(0, 1))
      await pruneNodesSeen(tx, 70)
      expect(await ids(tx)).toEqual(['a:1', 'a:2', 'anybody:1', 'b:1', 'c:1', 'node:1:1', 'on time:1', 'refused:1'])
    }),
  )

  it(
    'tells when a sidecar of a share index was last there, of whom charon came for last in several clusters alone',
    atOnce(async (tx) => {
      const sidecar = (token: string, shareIndex: number, listed: number, posted: number = listed) =>
        node(token, shareIndex, Math.min(listed, posted), {
          ...{ listedSecondsAgo: listed, postedSecondsAgo: posted, software: 'x', version: '1' },
        })
      const charon = (shareIndex: number, seconds: number) =>
        node('node:0x01', shareIndex, seconds, { postedSecondsAgo: seconds, software: 'charon' })
      await storeNodesSeen(
        tx,
        [
          sidecar('a', 2, 100, 50),
          sidecar('b', 1, 50, 90),
          sidecar('c', 1, 300),
          sidecar('free', 0, 10),
          node('refused', 3, 10, { refusedSecondsAgo: 10, refusalCode: 'A' }),
          ...[sidecar('a', 4, 200), charon(4, 10)],
          ...[charon(5, 30), sidecar('a', 5, 20)],
          ...[sidecar('a', 6, 200), charon(6, 10)],
          charon(7, 10),
        ],
        9,
      )
      // Two clusters have share index 6, by their first validators, and one has 4.
      await cluster(tx, 1, [4, 6, 7], [4])
      await cluster(tx, 2, [6, 7], [4])
      await cluster(tx, 3, [9])
      expect(await findLastSeen(tx)).toEqual([
        { shareIndex: 5, seconds: 20 },
        { shareIndex: 1, seconds: 50 },
        { shareIndex: 2, seconds: 50 },
        { shareIndex: 6, seconds: 200 },
      ])
    }),
  )
})

describe('what is counted of share indexes', () => {
  const count = (shareIndex: number, verified: number, rejected: number) => ({ shareIndex, verified, rejected })

  it(
    'is told of all that clusters have by their first validators, and of all that was judged',
    atOnce(async (tx) => {
      await cluster(tx, 1, [3, 4], [8])
      await cluster(tx, 2, [5])
      await addShareCounts(tx, [count(4, 7, 1), count(9, 2, 0)], 2)
      await addShareCounts(tx, [count(4, 1, 2)], 2)
      const counts = [count(3, 0, 0), count(4, 8, 3), count(5, 0, 0), count(9, 2, 0)]
      expect(await findShareCounts(tx, 9)).toEqual(counts)
      expect(await findShareCounts(tx, 1)).toEqual(counts.slice(0, 1))
      await addShareCounts(tx, [count(1, 1, 0)], 2)
      expect(await findShareCounts(tx, 9)).toEqual(counts)
      await addShareCounts(tx, [count(1, 1, 0)], 3)
      expect(await findShareCounts(tx, 9)).toEqual([count(1, 1, 0), ...counts])
    }),
  )

  it(
    'is that nothing of a node ever came, which one without a share index may have been in the last two minutes',
    atOnce(async (tx) => {
      await cluster(tx, 1, [1, 2, 3, 4, 5, 6], [8])
      const never = async () =>
        (await findNeverSeen(tx, 9)).map(({ shareIndex, isNeverSeen }) => (isNeverSeen ? shareIndex : -shareIndex))
      await addShareCounts(tx, [count(1, 0, 0), count(2, 1, 0), count(3, 0, 1)], 9)
      const see = (token: string, shareIndex: number, seconds: number, listed: number | null, posted: number | null) =>
        tx.execute(sql`insert into nodes_seen (token_name, share_index, seen_at, listed_at, posted_at)
                       values (${token}, ${shareIndex}, ${ago(seconds)}, ${ago(listed)}, ${ago(posted)})`)
      await see('a', 4, 9999, 9999, null)
      await see('a', 5, 9999, null, 9999)
      await see('a', 6, 1, null, null)
      await see('old', 0, 120, 120, null)
      await see('refused', 0, 1, null, null)
      expect(await never()).toEqual([1, -2, -3, -4, -5, 6])
      expect(await findNeverSeen(tx, 1)).toHaveLength(1)
      await see('young', 0, 119, null, 119)
      expect(await never()).toEqual([-1, -2, -3, -4, -5, -6])
    }),
  )

  it('is in how many collected messages it has handed in wrong signatures alone, the most first', async () => {
    const { db, query, addValidator, addExit } = await openMessages()
    const exit = async (state = 'collecting') => addExit((await addValidator()).id, { state })
    const [one, two, three, ready] = [await exit(), await exit(), await exit(), await exit('ready')]
    const put = (messageId: number, shareIndex: number, ...states: readonly string[]) =>
      query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                select ${messageId}::bigint, ${shareIndex}::bigint, sha256(i::text::bytea), case when s = 'rejected' then null else 'x'::bytea end, s
                from unnest(${sql.param([...states])}::text[]) with ordinality as u (s, i)`)
    await put(one, 3, 'rejected', 'rejected')
    await put(one, 5, 'rejected')
    await put(one, 6, 'rejected', 'unverified')
    await put(one, 7, 'rejected', 'verified')
    await put(one, 8, 'verified')
    await put(two, 4, 'rejected')
    await put(three, 4, 'rejected')
    // Right elsewhere.
    await put(two, 3, 'verified')
    await put(ready, 9, 'rejected')
    const wrong = [
      { shareIndex: 4, messages: 2 },
      { shareIndex: 3, messages: 1 },
      { shareIndex: 5, messages: 1 },
    ]
    expect(await countWrongShares(db, 9)).toEqual(wrong)
    expect(await countWrongShares(db, 2)).toEqual(wrong.slice(0, 2))
  })
})

it('the oldest of each kind that is collected has its age', async () => {
  const { db, query, addValidator, addExit, addDeposit } = await openMessages()
  const created = async (id: number, hours: number) =>
    query(sql`update messages set created_at = now() - make_interval(hours => ${hours}::int) where id = ${id}`)
  const { id } = await addValidator()
  await created(await addExit(id, { state: 'expired' }), 9)
  await created(await addDeposit(id, { state: 'superseded' }), 9)
  await created(await addDeposit(id), 2)
  await created(await addDeposit((await addValidator()).id), 1)
  const found = async () =>
    Object.fromEntries((await findOldestCollecting(db)).map(({ kind, seconds }) => [kind, seconds]))
  expect(await found()).toEqual({ exit: null, deposit: expect.closeTo(7200, -2) })
  await created(await addExit(id), 5)
  expect(await found()).toEqual({ exit: expect.closeTo(5 * 3600, -2), deposit: expect.closeTo(7200, -2) })
})

it(
  'vaults have moved the most of each signature of the time that counts, the one that moved the most first',
  atOnce(async (tx) => {
    const sign = (
      vault: number,
      digest: number,
      gwei: number,
      { action = 'fund', seconds = 0, requester = 'a' } = {},
    ) =>
      tx.execute(sql`
        insert into manager_signatures (action, vault, requester, registry_root, validators, validator_count, amount_gwei, digest, signed_at)
        values (${action}, ${Buffer.alloc(20, vault)}, ${requester}, '', '', 1, ${gwei}, ${Buffer.alloc(32, digest)}, ${ago(seconds)})`)
    await sign(3, 1, 20)
    await sign(2, 2, 20, { seconds: 99 })
    await sign(1, 3, 5)
    await sign(1, 3, 6, { requester: 'b' })
    await sign(1, 3, 4, { requester: 'c' })
    await sign(4, 4, 30)
    await sign(4, 5, 1)
    await sign(5, 6, 99, { seconds: 100 })
    await sign(5, 7, 99, { action: 'register' })
    const moved = [
      [4, 31],
      [2, 20],
      [3, 20],
      [1, 6],
    ].map(([vault, gwei]) => ({ vault: Buffer.alloc(20, vault), gwei }))
    expect(await sumMovedByVault(tx, 100, 9)).toEqual(moved)
    expect(await sumMovedByVault(tx, 100, 1)).toEqual(moved.slice(0, 1))
  }),
)
