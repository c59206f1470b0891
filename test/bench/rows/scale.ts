/**
 * Rows: what repeats in the background at 10,000 and 100,000 validators: each query by itself, and what PostgreSQL does while nothing
 * happens at all.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import type { Database } from '@dvt-relayer/db/connect.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { deleteNonces } from '@dvt-relayer/db/queries/attendance/nonces.ts'
import { findChanged, findLiveAfter, findNewestRevision, findQueued } from '@dvt-relayer/db/queries/messages/look.ts'
import { deleteSuperseded, expireMessages } from '@dvt-relayer/db/queries/messages/messages.ts'
import { claimFinishable, claimUnverified } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { countKeysByVault } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { deleteOldShares } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { findUnregistered, sumByVault } from '@dvt-relayer/db/queries/registered.ts'
import { findRotationVaults } from '@dvt-relayer/db/queries/rotations.ts'
import {
  countCollecting,
  countMessages,
  countTotals,
  countWaiting,
  findStatusClusters,
} from '@dvt-relayer/db/queries/status/sums.ts'
import { findNewestChange, foldChanges } from '@dvt-relayer/db/queries/status/tallies.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import { sql } from 'drizzle-orm'
import { median, postgresCpu, timed } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs, formatRatio } from '../report.ts'
import type { RunningRelayer, Stage } from '../stage.ts'
import { measureStatus } from './status.ts'

const REPEATS = 9
/** Longer than the slowest look is apart, so that each has been had. */
const SETTLE_MS = 20_000
const IDLE_MS = 30_000

/** Fills a database and measures. */
export async function benchScale(stage: Stage, size: number): Promise<BenchRow[]> {
  await using relayer = await stage.startRelayer()
  return [await measure(relayer, size), await measureStatus(relayer, size)]
}

async function measure(relayer: RunningRelayer, size: number): Promise<BenchRow> {
  await using db = await connectDatabase({
    url: relayer.databaseUrl,
    logger: silentLogger,
    statementTimeoutMs: 600_000,
  })
  await fill(db, size)
  const bare = await medianOf(() => db.execute(sql`select 1`))
  const times: [string, number][] = []
  for (const [name, query] of Object.entries(QUERIES))
    times.push([
      name,
      await medianOf(
        () => query(db),
        () => BEFORE[name]?.(db),
      ),
    ])
  await sleep(SETTLE_MS)
  const cpu = await postgresCpu(relayer.databaseUrl)
  const before = cpu()
  await sleep(IDLE_MS)
  const idle = ((cpu() - before) / IDLE_MS) * 1000
  const [slowest, slowestMs] = times.toSorted((a, b) => b[1] - a[1])[0] ?? ['', Number.NaN]
  const values = times.map(([name, ms]) => [`${name}_ms`, ms])
  return {
    id: `scale-${size}`,
    name: `${size} validators, four fifths registered: the slowest query that recurs / CPU of an idle PostgreSQL`,
    measured: `${slowest} ${formatMs(slowestMs)}; ${times.map(([name, ms]) => `${name} ${formatRatio(ms)}`).join(', ')} / ${idle.toFixed(0)} ms a second`,
    target: '≤ 5 ms / ≤ 15 ms',
    isMet: slowestMs <= 5 && idle <= 15,
    baseline: `select 1: ${formatMs(bare)}`,
    ratio: slowestMs / bare,
    limit: 'rows that are read without anything having changed',
    values: { ...Object.fromEntries(values), idle_cpu_ms_per_second: idle },
  }
}

/** @param before what is done before each time, and not measured */
const medianOf = async (work: () => Promise<unknown>, before?: () => unknown): Promise<number> => {
  const times: number[] = []
  for (let round = 0; round < REPEATS; round++) {
    await before?.()
    times.push(await timed(work))
  }
  return median(times)
}

/** What a round looks at again of what was looked at once. */
const AGAIN = 100

const FOLD = 'foldChanges of 50'
/** What must have happened for some of it: to choose some among all validators takes longer than to fold them. */
const BEFORE: Record<string, (db: Database) => Promise<unknown>> = {
  [FOLD]: (db) =>
    db.execute(sql`insert into validator_changes (validator_id) select id from validators order by random() limit 50`),
}

/** What repeats, as it is asked where nothing has changed. */
const QUERIES: Record<string, (db: Database) => Promise<unknown>> = {
  findNewestRevision,
  findChanged: (db) => findChanged(db, { revision: 1, id: 2 ** 40 }, 1000),
  findQueued: (db) => findQueued(db, 1000),
  findLiveAfter: (db) => findLiveAfter(db, 5000, AGAIN),
  claimFinishable: async (db) => claimFinishable(db, await findLiveAfter(db, 5000, AGAIN), 500),
  claimUnverified: (db) => claimUnverified(db, 8, 500),
  expireMessages: (db) => expireMessages(db, 86_400, 500),
  deleteSuperseded: (db) => deleteSuperseded(db, 86_400, 500),
  deleteNonces: (db) => deleteNonces(db, 900, 500),
  deleteOldShares: (db) => deleteOldShares(db, 60 * 86_400, 500),
  countMessages,
  countTotals,
  countCollecting,
  countWaiting,
  findStatusClusters: (db) => findStatusClusters(db, 1000),
  countKeysByVault,
  findRotationVaults,
  sumByVault: (db) => sumByVault(db, 384),
  findNewestChange,
  [FOLD]: (db) => db.transaction((tx) => foldChanges(tx, 50)),
  findUnregistered: (db) => findUnregistered(db, 0, 1000),
}

/** A tenth collecting with one verified share, a tenth ready, the rest registered for ten vaults; shares of the current oracle set for all that are ready. */
async function fill(db: Database, size: number): Promise<void> {
  const bytes = (text: string, length: number) => sql.raw(`decode(lpad(to_hex(${text}), ${length * 2}, '0'), 'hex')`)
  await db.execute(sql`
    insert into clusters (lock_hash, name, threshold) values (${Buffer.alloc(32, 1)}, 'scale', 3)`)
  await db.execute(sql`
    insert into validators (public_key, cluster_id, place, beacon_index, beacon_vault, registered_at, oracle_set_id)
    select ${bytes('i', 48)}, (select id from clusters where name = 'scale'), i,
           case when i % 10 > 1 then i end, case when i % 10 > 1 then ${bytes('i % 10', 20)} end,
           case when i % 10 > 1 then now() end, case when i % 10 > 1 then (select id from oracle_sets where is_current) end
    from generate_series(1, ${size}::int) i`)
  await db.execute(sql`
    insert into key_shares (validator_id, share_index, public_key_share, source)
    select id, x, public_key, 'lock' from validators, generate_series(1, 4) x`)
  await db.execute(sql`
    insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, revision, signature, ready_at)
    select id, 'exit', id, 1, ${Buffer.alloc(32)}, 3, case when place % 10 = 0 then 'collecting' else 'ready' end,
           1, case when place % 10 > 0 then ${Buffer.alloc(124)}::bytea end, case when place % 10 > 0 then now() end
    from validators`)
  await db.execute(sql`
    insert into partial_signatures (message_id, share_index, digest, sealed, state)
    select m.id, x, ${Buffer.alloc(32)}, ${Buffer.alloc(124)}, 'verified'
    from messages m, generate_series(1, 3) x where m.state = 'ready' or x = 1`)
  await db.execute(sql`
    insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    select m.id, s.id, ${Buffer.alloc(48 * 2)}, ${Buffer.alloc(193 * 2)}, ${Buffer.alloc(32)}, 1
    from messages m, oracle_sets s where m.state = 'ready' and s.is_current`)
  while (!(await settleTallies(db)));
  await db.execute(sql`analyze`)
}
