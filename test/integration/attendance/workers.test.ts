/** Workers that are there and workers that are not: what `/ready` of the process that answers requests says, with real processes. */

import type { Ready } from '@dvt-relayer/api/schemas.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { findNewestWorker, findProcesses } from '@dvt-relayer/db/queries/attendance/processes.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startProcess } from '../../support/services/process.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, startWorld } from '../../support/world/world.ts'

const settings = { SIGNATURE_THRESHOLD: '3' }
const SINCE = /^no process of the role worker or all since (\S+): nothing is finished; start one with ROLE=worker$/

let world: World
let api: Awaited<ReturnType<World['startRelayer']>>
beforeAll(async () => {
  world = await startWorld({ oracles: 3, threshold: 2 })
  api = await world.startRelayer({ ...settings, ROLE: 'api' })
})
afterAll(async () => {
  await api?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const ready = async () => {
  const { status, json } = await ask(api.url, '/ready')
  return { code: status, ...(json as Ready) }
}
/** Until everything is there but, maybe, a worker. */
const untilWorker = (isThere: boolean) =>
  eventually(isThere ? 'a worker' : 'no worker', async () => {
    const state = await ready()
    const { worker, ...others } = state.checks
    const isKnown = worker?.message !== 'not checked yet'
    return isKnown && worker?.ok === isThere && Object.values(others).every(({ ok }) => ok) ? state : undefined
  })
/** The time that `/ready` says there has been no worker since. */
async function since(): Promise<string> {
  const { code, status, checks } = await untilWorker(false)
  expect({ code, status }).toEqual({ code: 503, status: 'not_ready' })
  const [, time = ''] = SINCE.exec(checks['worker']?.message ?? '') ?? []
  return time
}
const startWorker = async () => {
  const worker = startProcess('quick relayer', world.environment({ ...settings, ROLE: 'worker' }))
  const { url } = await worker.logged('relayer started')
  return { worker, url: String(url) }
}
/** Of the database, in whole seconds. */
const now = async () => {
  const [row] = await world.query<{ now: Date }>("select date_trunc('second', now()) as now")
  return row?.now.getTime() ?? 0
}

describe('a process that answers requests alone', () => {
  it('tells of what is in the database as a worker would, before there is one', async () => {
    await world.query(
      `insert into validators (public_key, beacon_index, beacon_vault, registered_at, exited_at) values ($1, 1, $2, now(), now())`,
      [Buffer.alloc(48, 7), Buffer.alloc(20, 1)],
    )
    await eventually('the validator', async () => {
      const { text } = await ask(api.url, '/metrics')
      const isCounted = text.includes('dvt_relayer_registered_validators{state="exited"} 1\n')
      return isCounted && text.includes('dvt_relayer_outdated_validators{vault="0x0101') ? true : undefined
    })
    await world.query('delete from validators where public_key = $1', [Buffer.alloc(48, 7)])
  })

  it('is not ready before the first worker, and says so', async () => {
    const { checks } = await untilWorker(false)
    expect((await ask(api.url, '/ready')).status).toBe(503)
    expect(checks['worker']?.message).toBe(
      'no process of the role worker or all has ever been there: nothing is finished; start one with ROLE=worker',
    )
  })

  it('is ready with a worker, names at once since when the only one has been stopped, and is ready with the next', async () => {
    {
      const { worker, url } = await startWorker()
      await using _worker = worker
      await untilWorker(true)
      expect((await ask(api.url, '/ready')).status).toBe(200)
      // What a worker says of itself is what it always said.
      expect(((await ask(url, '/ready')).json as Ready).checks['worker']).toEqual({ ok: true })
      const before = await now()
      expect(await worker.end('SIGTERM')).toBe(0)
      const time = Date.parse(await since())
      expect(time).toBeGreaterThanOrEqual(before)
      expect(time).toBeLessThanOrEqual(await now())
    }
    const { worker } = await startWorker()
    await using _worker = worker
    await untilWorker(true)
  })

  it('notices one that was killed by its silence, by the clock of the database', async () => {
    await world.query("delete from processes where role <> 'api'")
    await untilWorker(false)
    const { worker } = await startWorker()
    await using _worker = worker
    await untilWorker(true)
    await worker.end('SIGKILL')
    const still = await world.query('select id from processes where stopped_at is null and role = $1', ['worker'])
    expect(still).toHaveLength(1)
    // A minute goes by.
    const [row] = await world.query<{ beat: Date }>(
      `update processes set beat_at = beat_at - interval '61 seconds' where stopped_at is null and role = 'worker'
       returning date_trunc('second', beat_at) as beat`,
    )
    expect(Date.parse(await since())).toBe(row?.beat.getTime())
  })

  it('is ready with a process that does everything; both count the workers alike', async () => {
    {
      await using all = await world.startRelayer(settings)
      await untilWorker(true)
      for (const { url } of [api, all])
        await eventually('one worker', async () =>
          (await ask(url, '/metrics')).text.includes('dvt_relayer_workers 1\n') ? true : undefined,
        )
    }
    await since()
  })
})

describe('the rows of processes', () => {
  it('say when the last of several workers was there, and name the newest first', async () => {
    await using db = await connectDatabase({ url: world.databaseUrl, logger: silentLogger })
    await db
      .transaction(async (tx) => {
        await tx.execute(sql`delete from processes`)
        await tx.execute(sql`insert into processes (id, role, version, beat_at) values
          ('a', 'worker', '0.1.0', now() - interval '300 s'), ('b', 'worker', '0.1.0', now() - interval '100 s'),
          ('c', 'worker', '0.1.0', now() - interval '200 s'), ('d', 'api', '0.1.0', now())`)
        const [row] = (await tx.execute(sql`select extract(epoch from now())::float8 as now`)).rows
        const { isThere, lastSeconds } = await findNewestWorker(tx, 60)
        expect([isThere, Number(row?.['now']) - Number(lastSeconds)]).toEqual([false, expect.closeTo(100, 1)])
        // One that has stopped was there until then.
        await tx.execute(sql`update processes set stopped_at = now() - interval '150 s' where id = 'a'`)
        const found = await findProcesses(tx, 60, 3)
        expect(found.map(({ id, isThere: isHere }) => [id, isHere])).toEqual([
          ['d', true],
          ['b', false],
          ['a', false],
        ])
        throw new Error('as it was')
      })
      .catch((error: Error) => expect(error.message).toBe('as it was'))
  })

  it('say who is there, and go after a day but for the last worker', async () => {
    await world.query("delete from processes where role <> 'api' or stopped_at is not null")
    await world.query(
      `insert into processes (id, role, version, beat_at) values
         ('old api', 'api', '0.1.0', now() - interval '2 days'), ('older worker', 'worker', '0.1.0', now() - interval '3 days'),
         ('old worker', 'worker', '0.1.0', now() - interval '2 days')`,
    )
    const rows = await eventually('only what counts', async () => {
      const left = await world.query<{ id: string; role: string; version: string }>(
        'select id, role, version from processes order by beat_at',
      )
      return left.length === 2 ? left : undefined
    })
    expect(rows).toEqual([
      { id: 'old worker', role: 'worker', version: '0.1.0' },
      { id: expect.any(String), role: 'api', version: VERSION },
    ])
    await since()
  })
})
