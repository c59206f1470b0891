/** What a process notes of nodes until it is written: whose it is, when it was, what hangs up, and how much of it there may be. */

import type { Database } from '@dvt-relayer/db/connect.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { createHeartbeat } from '../../../apps/relayer/src/services/attendance/heartbeat.ts'
import { createNodes, type NodeCaller } from '../../../apps/relayer/src/services/attendance/nodes.ts'
import { openMessages } from '../../support/stages/messages.ts'

const nodeOf = (token: string, shareIndexes?: readonly number[]): NodeCaller => ({
  ...{ token, shareIndexes, software: 'a', version: '1' },
})

/** A database that may be away, and what a process notes of nodes by a clock of seconds that stands still. */
async function openNotes() {
  const { db, query } = await openMessages()
  const clock = { seconds: 1000, isAway: false, writes: 0 }
  const execute: Database['execute'] = (statement) => {
    if (clock.isAway) throw new Error('away')
    clock.writes++
    return db.execute(statement)
  }
  const nodes = createNodes({ db: { ...db, execute } }, () => clock.seconds * 1000)
  /** By token and share index, how many whole seconds before it was last written something was seen. */
  const rows = async () =>
    (
      await query<Record<string, number | string | null>>(sql`
        select token_name || ':' || share_index as id, ${sql.raw(
          ['seen', 'listed', 'posted', 'refused', 'gone']
            .map((what) => `round(extract(epoch from now() - ${what}_at))::int as ${what}`)
            .join(),
        )}, refusal_code as code from nodes_seen order by token_name, share_index`)
    ).map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)))
  return { db, query, clock, nodes, rows }
}

describe('what is noted', () => {
  it('is of the share indexes of a token, of none that it only claims, and of what a caller without any claims', async () => {
    const { nodes, rows } = await openNotes()
    nodes.listed(nodeOf('bound', [2, 3]), null)
    nodes.posted(nodeOf('bound', [2, 3]), 3)
    nodes.posted(nodeOf('claims', [4, 5]), 6)
    nodes.refused(nodeOf('free'), 7, 'A')
    nodes.refused(nodeOf('unnamed'), undefined, 'B')
    nodes.refused(nodeOf('none', []), undefined, 'C')
    await nodes.write()
    expect(await rows()).toEqual([
      { id: 'bound:2', seen: 0, listed: 0 },
      { id: 'bound:3', seen: 0, listed: 0, posted: 0 },
      { id: 'claims:4', seen: 0, posted: 0 },
      { id: 'claims:5', seen: 0, posted: 0 },
      { id: 'free:7', seen: 0, refused: 0, code: 'A' },
      { id: 'unnamed:0', seen: 0, refused: 0, code: 'B' },
    ])
  })

  it('was when it was, each by itself, by whatever is written how much later', async () => {
    const { nodes, clock, rows } = await openNotes()
    const node = nodeOf('a', [1])
    const ended = nodes.waits(node)
    for (const note of [
      () => nodes.listed(node, null),
      () => nodes.posted(node, 1),
      () => nodes.refused(node, 1, 'A'),
      () => ended(true),
    ]) {
      note()
      clock.seconds += 10_000
    }
    await nodes.write()
    expect(await rows()).toEqual([
      { id: 'a:1', seen: 10_000, listed: 40_000, posted: 30_000, refused: 20_000, gone: 10_000, code: 'A' },
    ])
  })

  it('is kept where the database is away, older under newer, and written once', async () => {
    const { nodes, clock, rows } = await openNotes()
    clock.isAway = true
    nodes.posted(nodeOf('a', [1]), 1)
    nodes.posted(nodeOf('free'), 1)
    for (let round = 0; round < 2; round++) {
      await expect(nodes.write()).rejects.toThrow('away')
      clock.seconds += 100
    }
    nodes.listed(nodeOf('a', [1]), null)
    nodes.listed(nodeOf('b', [1]), null)
    clock.isAway = false
    await nodes.write()
    expect(await rows()).toEqual([
      { id: 'a:1', seen: 0, listed: 0, posted: 200 },
      { id: 'b:1', seen: 0, listed: 0 },
      { id: 'free:1', seen: 200, posted: 200 },
    ])
    clock.writes = 0
    await nodes.write()
    expect(clock.writes).toBe(0)
  })

  it('of share indexes that are only claimed is bounded, and nothing that is bound to a token', async () => {
    const { nodes, clock, rows } = await openNotes()
    const claim = (from: number) => {
      for (let index = from; index < from + 256; index++) nodes.posted(nodeOf('free'), index)
    }
    const idsOf = async (token: string) =>
      (await rows()).flatMap(({ id }) => (String(id).startsWith(`${token}:`) ? [Number(String(id).slice(5))] : []))
    claim(1)
    nodes.posted(nodeOf('free'), 257)
    // What is there already is noted anew, and what is no claim finds room.
    clock.seconds += 50
    nodes.posted(nodeOf('free'), 256)
    nodes.listed(nodeOf('free'), null)
    // What came while the database was away finds no more room.
    clock.isAway = true
    await expect(nodes.write()).rejects.toThrow('away')
    claim(1000)
    nodes.posted(nodeOf('free'), 255)
    nodes.listed(nodeOf('held', [5000]), null)
    clock.isAway = false
    await nodes.write()
    expect(await idsOf('free')).toEqual([...Array(257).keys()])
    expect(
      (await rows()).filter(({ id }) => ['free:1', 'free:255', 'free:256', 'held:5000'].includes(String(id))),
    ).toEqual([
      { id: 'free:1', seen: 50, posted: 50 },
      { id: 'free:255', seen: 0, posted: 0 },
      { id: 'free:256', seen: 0, posted: 0 },
      { id: 'held:5000', seen: 0, listed: 0 },
    ])
  })

  it('is forgotten ninety days after it was seen', async () => {
    const { nodes, query, rows } = await openNotes()
    for (const [token, seconds] of [
      ['old', 1],
      ['young', -60],
    ] as const)
      await query(sql`insert into nodes_seen (token_name, share_index, seen_at)
                      values (${token}, 1, now() - interval '90 days' - make_interval(secs => ${seconds}))`)
    nodes.listed(nodeOf('new', [1]), null)
    await nodes.write()
    expect((await rows()).map(({ id }) => id)).toEqual(['new:1', 'young:1'])
  })
})

describe('a node that hangs up', () => {
  it('has gone with the last of its requests, of its token and share indexes, and is told at once', async () => {
    const { nodes, clock, rows } = await openNotes()
    const isWritten = async () => {
      clock.writes = 0
      await nodes.writeChanges()
      return clock.writes > 0
    }
    const [node, other] = [nodeOf('a', [1]), nodeOf('a', [2])]
    nodes.listed(other, null)
    expect(await isWritten()).toBe(false)
    await nodes.write()
    const [first, second, ofOther] = [nodes.waits(node), nodes.waits(node), nodes.waits(other)]
    nodes.listed(node, null)
    expect(await isWritten()).toBe(false)
    first(true)
    expect(await isWritten()).toBe(false)
    second(true)
    expect(await isWritten()).toBe(true)
    expect(await isWritten()).toBe(false)
    expect(await rows()).toEqual([
      { id: 'a:1', seen: 0, listed: 0, gone: 0 },
      { id: 'a:2', seen: 0, listed: 0 },
    ])
    // One that was answered has not.
    ofOther(false)
    expect(await isWritten()).toBe(false)
    // It comes back, which is told at once, and goes again.
    const third = nodes.waits(node)
    nodes.listed(node, null)
    expect(await isWritten()).toBe(true)
    clock.isAway = true
    third(true)
    await expect(nodes.writeChanges()).rejects.toThrow('away')
    clock.isAway = false
    expect(await isWritten()).toBe(true)
    // Its return is told once.
    nodes.waits(node)
    nodes.listed(node, null)
    expect(await isWritten()).toBe(true)
    nodes.waits(node)
    nodes.listed(node, null)
    expect(await isWritten()).toBe(false)
  })
})

it('a process is there with its beat, a worker counts as gone after a minute of silence, and ended ones go after a day', async () => {
  const { db, query } = await openMessages()
  const heartbeat = (role: 'api' | 'worker') =>
    createHeartbeat({ config: { role }, db } as unknown as Pick<Context, 'config' | 'db'>)
  const [api, worker] = [heartbeat('api'), heartbeat('worker')]
  const absence = 'nothing is finished; start one with ROLE=worker'
  await api.beat()
  expect(await api.findAbsence()).toBe(`no process of the role worker or all has ever been there: ${absence}`)
  await worker.beat()
  expect(await api.findAbsence()).toBeUndefined()
  const age = (seconds: number) =>
    query(sql`update processes set beat_at = now() - make_interval(secs => ${seconds}) where role = 'worker'`)
  await age(50)
  expect(await api.findAbsence()).toBeUndefined()
  await age(60)
  expect(await api.findAbsence()).toMatch(/^no process of the role worker or all since \S+: /)
  await query(sql`insert into processes (id, role, version, beat_at)
                  values ('old', 'api', '1', now() - interval '1 day 1 second'), ('young', 'api', '1', now() - interval '23 hours')`)
  await worker.stop()
  await api.beat()
  const ids = (await query<{ id: string }>(sql`select id from processes order by beat_at`)).map(({ id }) => id)
  expect([ids.length, ids.includes('old'), ids.includes('young')]).toEqual([3, false, true])
})
