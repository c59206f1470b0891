/** Row: 10,000 exits split anew after the Keeper has announced another oracle set. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { ExitsResponse } from '@dvt-relayer/api/schemas.ts'
import pg from 'pg'
import { makeOracles } from '../../support/chain/oracles.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import type { KeyedValidator } from '../../support/world/nodes.ts'
import { startClient } from '../client.ts'
import { benchNativeSplit } from '../crypto.ts'
import { cpuMs, percentile, postgresCpu, residentBytes, send, sendJson } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMib, formatMs } from '../report.ts'
import type { RunningRelayer, Stage } from '../stage.ts'
import { requestExits, signedBody } from '../stage.ts'
import { listed } from './list.ts'

const READY = 10_000
const PER_REQUEST = 1000
/** Small posts, so that their bodies are not what the memory is measured of. */
const PER_POST = 50
const [ORACLES, ORACLE_THRESHOLD] = [11, 7]
/** How often the small requests come meanwhile. */
const ASK_MS = 20
const LIST_MS = 125
const QUIET_MS = 15_000

/** Runs the row on a relayer of its own, with fewer exits where told. */
export async function benchResplit(stage: Stage, _isFull: boolean, ready = READY): Promise<BenchRow[]> {
  const world = await stage.world()
  await using relayer = await stage.startRelayer({ SIGNATURE_THRESHOLD: '1' })
  // One node with threshold 1: what a full signature was made of makes no difference afterwards.
  const validators = createTestKeys(ready, { nodes: 1, threshold: 1 })
  for (let from = 0; from < ready; from += PER_REQUEST)
    await post(stage, relayer, validators.slice(from, from + PER_REQUEST))
  await using database = await openCounter(relayer.databaseUrl)
  await until(() => database.split(), ready)
  const { exits } = await sendJson<ExitsResponse>(relayer.url, '/exits')
  if (exits.length !== ready) throw new Error(`${exits.length} exits are listed, not ${ready}`)
  const quiet = await listed(relayer.url, () => sleep(QUIET_MS))

  const before = residentBytes(relayer.pid).now
  const databaseCpu = await postgresCpu(relayer.databaseUrl)
  const cid = await world.announce(makeOracles(ORACLES), ORACLE_THRESHOLD)
  while ((await database.current()) !== cid) await sleep(20)
  const [start, cpu] = [performance.now(), { relayer: cpuMs(relayer.pid), database: databaseCpu() }]
  await using client = startClient()
  const asked = [
    { path: '/health', everyMs: ASK_MS },
    { path: '/exits', everyMs: LIST_MS },
  ]
  const { samples } = await client.during(relayer.url, asked, () => until(() => database.split(), ready))
  const seconds = (performance.now() - start) / 1000
  const { '/health': small = [], '/exits': lists = [] } = samples
  const smallP99 = percentile(small, 0.99)
  const during = { p50: percentile(lists, 0.5), p99: percentile(lists, 0.99) }
  const ours = (cpuMs(relayer.pid) - cpu.relayer) / ready
  const postgres = (databaseCpu() - cpu.database) / ready
  const memory = residentBytes(relayer.pid)
  const native = benchNativeSplit()
  return [
    {
      id: 'resplit',
      name: `${ready} exits split anew for ${ORACLES} other oracles: until all are; p99 of GET /exits (${ready} listed) and of GET /health meanwhile`,
      measured: `${seconds.toFixed(1)} s, ${(ready / seconds).toFixed(0)} a second, CPU ${formatMs(ours)} each, PostgreSQL besides ${formatMs(postgres)}; ${formatMs(during.p99)} (p50 ${formatMs(during.p50)}, before ${formatMs(quiet.p99)}) and ${formatMs(smallP99)}; ${formatMib(memory.now)} resident (before ${formatMib(before)})`,
      target: '≥ 110 a second, p99 of others ≤ 25 ms',
      isMet: ready / seconds >= 110 && during.p99 <= 25 && smallP99 <= 25,
      baseline: `native sum of a split ${formatMs(native)}`,
      ratio: ours / native,
      limit: 'one signature worker beside the event loop, PostgreSQL and the asking on the same cores',
      values: {
        seconds,
        rate_per_second: ready / seconds,
        relayer_cpu_ms: ours,
        postgres_cpu_ms: postgres,
        list_p50_ms: during.p50,
        list_p99_ms: during.p99,
        list_quiet_p99_ms: quiet.p99,
        small_p99_ms: smallP99,
        resident_bytes: memory.now,
        resident_most_bytes: memory.most,
        resident_before_bytes: before,
        native_split_ms: native,
      },
    },
  ]
}

async function post(stage: Stage, relayer: RunningRelayer, validators: readonly KeyedValidator[]): Promise<void> {
  const exits = await requestExits(relayer.url, validators)
  const { network } = await stage.world()
  for (let from = 0; from < validators.length; from += PER_POST) {
    const body = signedBody(network, validators.slice(from, from + PER_POST), exits, 1)
    const { status } = await send(relayer.url, '/exit-signature', body)
    if (status !== 200) throw new Error(`a post is answered with ${status}`)
  }
}

/** Asks a few times a second until `count` says so many; at most an hour. */
async function until(count: () => Promise<number>, wanted: number): Promise<void> {
  const deadline = performance.now() + 3_600_000
  for (let found = await count(); found < wanted; found = await count()) {
    if (performance.now() > deadline) throw new Error(`${found} of ${wanted} are split within an hour`)
    await sleep(200)
  }
}

/** Counts the share sets of the current oracle set. */
async function openCounter(url: string) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return {
    /** CID of the current set. */
    current: async () =>
      (await client.query<{ cid: string }>('select cid from oracle_sets where is_current')).rows[0]?.cid,
    split: async () => {
      const { rows } = await client.query<{ count: string }>(
        'select count(*) from oracle_shares s join oracle_sets o on o.id = s.oracle_set_id and o.is_current',
      )
      return Number(rows[0]?.count)
    },
    [Symbol.asyncDispose]: () => client.end(),
  }
}
