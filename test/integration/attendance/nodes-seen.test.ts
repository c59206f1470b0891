/** What is kept of each node: when it was last there, what it was refused, with which program and clock; and what strangers cannot do to it. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { isGone } from '@dvt-relayer/db/queries/attendance/nodes-seen.ts'
import { findExplainedNodes } from '@dvt-relayer/db/queries/explain.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { createNodes, type NodeCaller } from '../../../apps/relayer/src/services/attendance/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, startWorld } from '../../support/world/world.ts'

const tokens = {
  'node-1': createToken('node-1', 'sidecar', '1'),
  'nodes-2-3': createToken('nodes-2-3', 'sidecar', '2,3'),
  free: createToken('free', 'sidecar', '*'),
  operator: createToken('operator', 'operator', '*'),
}
type Name = keyof typeof tokens

let world: World
let db: Database
let relayer: Awaited<ReturnType<World['startRelayer']>>
beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  const file = join(world.dir, 'tokens')
  const lines = Object.values(tokens).map(({ line }) => line)
  await writeFile(file, lines.join('\n'))
  relayer = await world.startRelayer({ SIGNATURE_THRESHOLD: '3', AUTH_TOKENS_FILE: file })
  db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
})
afterAll(async () => {
  await db?.[Symbol.asyncDispose]()
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

interface Row {
  share_index: number
  listed: boolean
  posted: boolean
  refusal_code: string | null
  software: string | null
  version: string | null
  clock_difference_seconds: number | null
}
const rowsOf = (token: string) =>
  world.query<Row>(
    `select share_index::int, listed_at is not null as listed, posted_at is not null as posted, refusal_code, software, version,
            clock_difference_seconds from nodes_seen where token_name = $1 order by share_index`,
    [token],
  )
const untilRows = (token: string, isIt: (rows: Row[]) => boolean) =>
  eventually(`the rows of ${token}`, async () => {
    const rows = await rowsOf(token)
    return isIt(rows) ? rows : undefined
  })

const as = (name: Name, headers: Record<string, string> = {}) => ({
  authorization: `Bearer ${tokens[name].token}`,
  ...headers,
})
const post = (name: Name, shareIndex: unknown, shares: unknown = []) =>
  ask(relayer.url, '/exit-signature', { headers: as(name), body: { share_index: shareIndex, shares } })

const unknown = { software: null, version: null, clock_difference_seconds: null }

describe('a node', () => {
  it('that asks for its list is seen with program, version and clock, for each share index of its token', async () => {
    const date = new Date(Date.now() + 90_000).toUTCString()
    const headers = as('nodes-2-3', { 'user-agent': 'dvt-relayer-sidecar/0.2.0 (x)', date })
    await ask(relayer.url, '/validators', { headers })
    const rows = await untilRows('nodes-2-3', (found) => found.length > 0)
    const seen = { listed: true, posted: false, refusal_code: null, software: 'dvt-relayer-sidecar', version: '0.2.0' }
    expect(rows).toMatchObject([
      { share_index: 2, ...seen },
      { share_index: 3, ...seen },
    ])
    for (const { clock_difference_seconds: seconds } of rows) {
      expect(seconds).toBeGreaterThan(60)
      expect(seconds).toBeLessThanOrEqual(91)
    }
  })

  it('that says nothing of itself, as existing sidecars do, is unknown; a clock may not be off by any number', async () => {
    await ask(relayer.url, '/exits', { headers: as('node-1', { date: 'Fri, 01 Jan 9999 00:00:00 GMT' }) })
    const [wild] = await untilRows('node-1', ([row]) => row?.listed === true)
    expect(wild).toMatchObject({ software: null, version: null, clock_difference_seconds: 86_400 })
    await ask(relayer.url, '/exits', { headers: as('node-1', { 'user-agent': '<script>/1' }) })
    const [row] = await untilRows('node-1', ([found]) => found?.clock_difference_seconds === null)
    expect(row).toEqual({ share_index: 1, listed: true, posted: false, refusal_code: null, ...unknown })
  })

  it('has the time since it was last there in the metrics of every role, and one that is refused alone has none', async () => {
    await world.query(
      `insert into nodes_seen (token_name, share_index, seen_at, listed_at, posted_at) values
         ('old', 7, now() - interval '2 hours', now() - interval '2 hours', null),
         ('older', 7, now() - interval '3 hours', null, now() - interval '3 hours'), ('refused', 8, now(), null, null)`,
    )
    await using worker = await world.startRelayer({ SIGNATURE_THRESHOLD: '3', ROLE: 'worker' })
    const series = await eventually('the metric', async () => {
      const { text } = await ask(worker.url, '/metrics')
      const found = [...text.matchAll(/^dvt_relayer_node_last_seen_seconds\{share_index="(\d+)"\} (\S+)$/gm)]
      return found.length > 0 ? new Map(found.map(([, index, seconds]) => [index, Number(seconds)])) : undefined
    })
    expect(series.get('7')).toBeGreaterThanOrEqual(7200)
    expect(series.get('7')).toBeLessThan(10_000)
    expect([...series.keys()]).not.toContain('8')
    expect([...series.keys()]).not.toContain('0')
  })

  it('has come by what its newest request was known by', async () => {
    const come = (token: string, software: string, version: string | null, minutes: number) =>
      world.query(
        `insert into nodes_seen (token_name, share_index, seen_at, posted_at, software, version)
         select $1, 77, at, at, $2, $3 from (select now() - make_interval(mins => $4) as at) a`,
        [token, software, version, minutes],
      )
    for (const [token, software, version, way] of [
      ['anybody', 'charon', '1', null],
      ['node-1', 'charon', '1', 'token'],
      ['operator:7', 'dvt-relayer-sidecar', '0.2.0', 'operator_key'],
      ['node:0x01', 'charon', '1', 'node_key'],
      ['node:0x02', 'charon', null, 'charon'],
    ] as const) {
      await come(token, software, version, 0)
      expect(await findExplainedNodes(db, [77])).toMatchObject([{ cameBy: way }])
      await world.query('delete from nodes_seen where share_index = 77')
    }
    await come('node-1', 'dvt-relayer-sidecar', '0.2.0', 5)
    await come('node:0x02', 'charon', null, 9)
    expect(await findExplainedNodes(db, [77])).toMatchObject([{ cameBy: 'token' }])
    await world.query('delete from nodes_seen where share_index = 77')
  })

  it('that comes in several ways has the newest of what each of them was refused', async () => {
    await world.query(
      `insert into nodes_seen (token_name, share_index, seen_at, refused_at, refusal_code)
       select name, 78, now(), now() - make_interval(mins => ago), code
       from (values ('a', 9, 'TOKEN_ROLE'), ('b', 5, 'BODY_INVALID'), ('c', 7, 'SHARES_WRONG'), ('d', null, null)) s (name, ago, code)`,
    )
    expect(await findExplainedNodes(db, [78])).toMatchObject([{ shareIndex: 78, refusalCode: 'BODY_INVALID' }])
    await world.query('delete from nodes_seen where share_index = 78')
  })

  it('that posts is seen under its share index, and what it was refused with its code', async () => {
    expect((await post('nodes-2-3', 3)).status).toBe(200)
    const [two, three] = await untilRows('nodes-2-3', (rows) => rows[1]?.posted === true)
    expect([two?.posted, three?.posted]).toEqual([false, true])
    const malformed = { public_key: '0x00', exit_signature: `0x${'00'.repeat(96)}` }
    await post('nodes-2-3', 3, [malformed])
    await untilRows('nodes-2-3', (rows) => rows[1]?.refusal_code === 'SHARES_WRONG')
    expect((await post('nodes-2-3', 'three')).status).toBe(422)
    const rows = await untilRows('nodes-2-3', ([row]) => row?.refusal_code !== null)
    expect(rows.map(({ refusal_code: code }) => code)).toEqual(['BODY_INVALID', 'BODY_INVALID'])
  })

  it('whose token is of another node or role is seen under what the token is for, never under what it claims', async () => {
    expect((await post('node-1', 2)).status).toBe(403)
    const rows = await untilRows('node-1', ([row]) => row?.refusal_code !== null)
    expect(rows).toMatchObject([{ share_index: 1, posted: false, refusal_code: 'TOKEN_BINDING' }])
    expect((await ask(relayer.url, '/exits', { headers: as('operator') })).status).toBe(403)
    expect(await untilRows('operator', (found) => found.length > 0)).toMatchObject([
      { share_index: 0, listed: false, refusal_code: 'TOKEN_ROLE' },
    ])
    // What operators ask for is no business of nodes.
    await ask(relayer.url, '/validators', { headers: as('operator'), body: { public_keys: 'none' } })
    await ask(relayer.url, '/exits', { headers: as('free') })
    await untilRows('free', (found) => found.length > 0)
    expect(await rowsOf('operator')).toMatchObject([{ refusal_code: 'TOKEN_ROLE' }])
  })

  it('that is seen by two processes keeps the newer', async () => {
    const node: NodeCaller = { token: 'both', shareIndexes: [1], software: 'a', version: '1' }
    let time = 0
    const [early, late] = [createNodes({ db }, () => time), createNodes({ db }, () => time)]
    early.refused({ ...node, version: '0' }, 1, 'TOKEN_ROLE')
    early.listed({ ...node, version: '0' }, 7)
    time = 60_000
    late.listed(node, null)
    late.refused(node, 1, 'BODY_INVALID')
    await late.write()
    await early.write()
    expect(await rowsOf('both')).toMatchObject([
      { refusal_code: 'BODY_INVALID', version: '1', clock_difference_seconds: null, listed: true },
    ])
  })
})

describe('a node that waits for news', () => {
  /** What is known of the share index of a test, as explanations have it. */
  const seen = async (shareIndex: number) => (await findExplainedNodes(db, [shareIndex]))[0]
  const nodeOf = (shareIndex: number): NodeCaller => ({
    ...{ token: `waiting-${shareIndex}`, shareIndexes: [shareIndex], software: null, version: null },
  })

  it('and hangs up is away until it asks again, and online since then', async () => {
    let time = 0
    const nodes = createNodes({ db }, () => time)
    nodes.listed(nodeOf(21), null)
    const ended = nodes.waits(nodeOf(21))
    await nodes.write()
    const before = await seen(21)
    expect(before?.presentAt).not.toBeNull()
    expect(before?.onlineSince).toBe(before?.seenAt)
    time = 1000
    ended(true)
    // Too short ago: a proxy or a relayer that restarts cuts requests off, too.
    await nodes.writeChanges()
    expect((await seen(21))?.presentAt).not.toBeNull()
    await world.query(
      `update nodes_seen set listed_at = listed_at - interval '60 s', gone_at = gone_at - interval '30 s', online_since = online_since - interval '60 s'
       where token_name = 'waiting-21'`,
    )
    expect(await seen(21)).toMatchObject({ presentAt: null, seenAt: expect.any(Number) })
    time = 32_000
    nodes.listed(nodeOf(21), null)
    nodes.waits(nodeOf(21))
    await nodes.writeChanges()
    const after = await seen(21)
    expect(after?.presentAt).not.toBeNull()
    expect(after?.onlineSince).toBe(after?.seenAt)
  })

  it('by several requests is there while one of them waits, and one that is answered has not hung up', async () => {
    const nodes = createNodes({ db })
    nodes.listed(nodeOf(22), null)
    const [first, second, third] = [nodes.waits(nodeOf(22)), nodes.waits(nodeOf(22)), nodes.waits(nodeOf(22))]
    first(true)
    second(true)
    third(false)
    await nodes.write()
    expect(await world.query(`select gone_at from nodes_seen where token_name = 'waiting-22'`)).toEqual([
      { gone_at: null },
    ])
  })

  it('stays online since it came, and comes anew after two minutes of silence', async () => {
    const nodes = createNodes({ db })
    nodes.listed(nodeOf(23), null)
    await nodes.write()
    const aged = (seconds: number) =>
      world.query(
        `update nodes_seen set listed_at = listed_at - make_interval(secs => $1), online_since = online_since - make_interval(secs => $1)
         where token_name = 'waiting-23'`,
        [seconds],
      )
    await aged(100)
    const since = (await seen(23))?.onlineSince
    nodes.listed(nodeOf(23), null)
    await nodes.write()
    expect((await seen(23))?.onlineSince).toBe(since)
    await aged(130)
    nodes.listed(nodeOf(23), null)
    await nodes.write()
    const { onlineSince = null, seenAt = null } = (await seen(23)) ?? {}
    expect(onlineSince).toBe(seenAt)
  })

  it('is noted by the relayer when its connection ends', async () => {
    const goneOf = async () =>
      (
        await world.query<{ gone: boolean }>(
          `select gone_at is not null as gone from nodes_seen where token_name = 'nodes-2-3'`,
        )
      ).map(({ gone }) => gone)
    const { json } = await ask(relayer.url, '/exits', { headers: as('nodes-2-3') })
    const { revision } = json as { revision: number }
    // An answer that comes is no end.
    await ask(relayer.url, `/exits?after=${revision}&wait=1`, { headers: as('nodes-2-3') })
    await untilRows('nodes-2-3', (rows) => rows.every(({ listed }) => listed))
    expect(await goneOf()).toEqual([false, false])
    const hangUp = new AbortController()
    const waiting = ask(relayer.url, `/exits?after=${revision}&wait=60`, {
      headers: as('nodes-2-3', { 'user-agent': 'waiting/9' }),
      signal: hangUp.signal,
    }).catch(() => undefined)
    await untilRows('nodes-2-3', (rows) => rows.every(({ software }) => software === 'waiting'))
    hangUp.abort()
    await waiting
    await eventually('the end', async () => ((await goneOf()).every((gone) => gone) ? true : undefined))
  })
})

describe('strangers', () => {
  it('without a token that is known leave nothing', async () => {
    const before = await world.query('select token_name, share_index from nodes_seen order by 1, 2')
    expect((await ask(relayer.url, '/exits', { headers: { authorization: 'Bearer stranger' } })).status).toBe(401)
    await ask(relayer.url, '/exits')
    expect((await post('nodes-2-3', 2)).status).toBe(200)
    await untilRows('nodes-2-3', ([row]) => row?.posted === true)
    expect(await world.query('select token_name, share_index from nodes_seen order by 1, 2')).toEqual(before)
  })

  it('that claim share indexes without end get a bounded number, in memory and in the table, and nobody is pushed out', async () => {
    const nodes = createNodes({ db })
    const stranger: NodeCaller = { token: 'anybody', shareIndexes: undefined, software: null, version: null }
    nodes.posted(stranger, 5)
    await nodes.write()
    for (let round = 0; round < 3; round++) {
      for (let index = 1; index <= 1000; index++) nodes.posted(stranger, 10_000 * round + index)
      await nodes.write()
    }
    nodes.posted({ ...stranger, version: '9', software: 'honest' }, 5)
    nodes.listed(stranger, 0)
    await nodes.write()
    const rows = await rowsOf('anybody')
    expect(rows.length).toBeLessThanOrEqual(2 * 256 + 1)
    expect(rows.filter(({ share_index: index }) => [0, 5].includes(index))).toMatchObject([
      { share_index: 0, listed: true },
      { share_index: 5, posted: true, software: 'honest' },
    ])
  })

  it('are forgotten after three months', async () => {
    await world.query("update nodes_seen set seen_at = now() - interval '91 days' where token_name = 'anybody'")
    const nodes = createNodes({ db })
    nodes.listed({ token: 'new', shareIndexes: [1], software: null, version: null }, null)
    await nodes.write()
    expect(await rowsOf('anybody')).toEqual([])
    expect(await rowsOf('new')).toHaveLength(1)
  })
})

describe('a database that is away', () => {
  it('costs requests nothing, and what was seen meanwhile is written later', async () => {
    let isAway = true
    const execute: Database['execute'] = (query) => {
      if (isAway) throw new Error('away')
      return db.execute(query)
    }
    const nodes = createNodes({ db: { ...db, execute } })
    const node: NodeCaller = { token: 'patient', shareIndexes: [4], software: null, version: null }
    nodes.posted(node, 4)
    await expect(nodes.write()).rejects.toThrow('away')
    nodes.listed(node, 3)
    isAway = false
    await nodes.write()
    expect(await rowsOf('patient')).toMatchObject([
      { share_index: 4, posted: true, listed: true, clock_difference_seconds: 3 },
    ])
  })
})

it('a node whose last request was lost has eight seconds to ask again', async () => {
  const missing = await db.transaction(async (tx) => {
    // Within a transaction it is one moment.
    const add = (name: string, listed: number, gone: number | null) =>
      tx.execute(sql`insert into nodes_seen (token_name, share_index, seen_at, listed_at, gone_at)
                     values (${name}, 9, now(), now() - make_interval(secs => ${listed}::float8), now() - make_interval(secs => ${gone}::float8))`)
    await add('gone-1', 60, 8.01)
    await add('gone-2', 60, 7.99)
    await add('gone-3', 60, null)
    // It has asked since.
    await add('gone-4', 20, 30)
    await add('gone-5', 30, 30)
    const { rows } = await tx.execute(
      sql`select n.token_name from nodes_seen n where n.token_name like 'gone-%' and ${isGone('n')} order by 1`,
    )
    await tx.execute(sql`delete from nodes_seen where token_name like 'gone-%'`)
    return rows
  })
  expect(missing).toEqual([{ token_name: 'gone-1' }, { token_name: 'gone-5' }])
})
