/** What repeats in the background reads what changed, or a slice, and a page what it shows: not all there is of a table. */

import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase, type Database } from '@dvt-relayer/db/connect.ts'
import { migrateDatabase } from '@dvt-relayer/db/migrate.ts'
import { findExplained, findExplainedShares } from '@dvt-relayer/db/queries/explain.ts'
import { findChangedExits, findChangedValidators } from '@dvt-relayer/db/queries/messages/lists.ts'
import { findChanged, findLiveAfter, findNewestRevision, findQueued } from '@dvt-relayer/db/queries/messages/look.ts'
import {
  claimFinishable,
  insertCandidates,
  matchPartials,
} from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { countKeysByVault } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { deleteOldShares } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { countByVault, findUnregistered, sumByVault } from '@dvt-relayer/db/queries/registered.ts'
import { findRotationVaults } from '@dvt-relayer/db/queries/rotations.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import {
  countCollecting,
  countMessages,
  countTotals,
  countWaiting,
  findClaimingVaults,
  findStatusClusters,
} from '@dvt-relayer/db/queries/status/sums.ts'
import { foldChanges } from '@dvt-relayer/db/queries/status/tallies.ts'
import { findByKeyRange, findCollectingPage } from '@dvt-relayer/db/queries/status/validators.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createRelayerDatabase } from '../../support/services/postgres.ts'
import { createExplaining } from '../../support/stores/plans.ts'

const MIGRATIONS = new URL('../../../migrations', import.meta.url).pathname
const VALIDATORS = 4000
/** Of these the exit was split for another index than they have. */
const WRONG = 7
const TABLES = ['messages', 'validators', 'partial_signatures', 'oracle_shares'] as const

/** Validators with exits of one revision, ready and split; all but a tenth registered, for one vault. */
async function fill(db: Sql): Promise<void> {
  await db.execute(sql`insert into clusters (name, threshold) values ('one', 3)`)
  await db.execute(sql`
    insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
    values ('a', 1, ${Buffer.alloc(65)}, '{}', 1, now(), true)`)
  await db.execute(sql`
    insert into validators (public_key, cluster_id, place, beacon_index, beacon_vault, registered_at, oracle_set_id)
    select decode(lpad(to_hex(i), 96, '0'), 'hex'), 1, i, case when i % 10 > 0 then i end,
           case when i % 10 > 0 then ${Buffer.alloc(20)}::bytea end, case when i % 10 > 0 then now() end,
           case when i % 10 > 0 then 1 end
    from generate_series(1, ${VALIDATORS}::int) i`)
  await db.execute(sql`
    insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, revision, signature)
    select id, 'exit', case when place between 11 and 10 + ${WRONG}::int then 10 else place end, 1, ${Buffer.alloc(32)}, 3, 'ready', 1,
           ${Buffer.alloc(124)} from validators`)
  await db.execute(sql`
    insert into partial_signatures (message_id, share_index, digest, sealed, state)
    select id, x, ${Buffer.alloc(32)}, ${Buffer.alloc(124)}, 'verified' from messages, generate_series(1, 3) x`)
  await db.execute(sql`
    insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    select id, 1, ${Buffer.alloc(48)}, ${Buffer.alloc(193)}, ${Buffer.alloc(32)}, 1 from messages`)
  await db.execute(sql`vacuum analyze`)
}

/** Of each query, the rows that it may read of each table; what is not named, none. */
const QUERIES: [string, (db: Sql) => Promise<unknown>, Partial<Record<(typeof TABLES)[number], number>>][] = [
  ['the newest change', findNewestRevision, { messages: 1 }],
  ['what changed, where nothing has', (db) => findChanged(db, { revision: 1, id: 2 ** 40 }, 1000), {}],
  [
    'what changed, from the middle of one change',
    (db) => findChanged(db, { revision: 1, id: 2000 }, 10),
    { messages: 10 },
  ],
  ['what was handed out', (db) => findQueued(db, 1000), {}],
  ['a slice of all', (db) => findLiveAfter(db, 2000, 100), { messages: 100 }],
  ['the exits that changed', (db) => findChangedExits(db, { revision: 1, messageId: 2 ** 40 }, 2000), {}],
  ['the validators that changed', (db) => findChangedValidators(db, { revision: 1, messageId: 2 ** 40 }, 2000), {}],
  [
    'what is to be finished of a slice',
    (db) =>
      claimFinishable(
        db,
        Array.from({ length: 100 }, (_, i) => 2001 + i),
        100,
      ),
    { messages: 101, partial_signatures: 300, oracle_shares: 100, validators: 100 },
  ],
  [
    'shares of replaced oracle sets, where none was replaced',
    (db) => deleteOldShares(db, 0, 500),
    { oracle_shares: 1 },
  ],
  [
    'the vaults: the newest shares of those alone that have an exit of another index',
    (db) => countByVault(db, { vaults: null, secondsPerEpoch: 384 }),
    { messages: VALIDATORS + WRONG, validators: 2 * VALIDATORS, oracle_shares: WRONG },
  ],
]

/** Those that count read tallies alone: the tables that these are of, not at all. */
const SUMS: [string, (db: Sql) => Promise<unknown>, Partial<Record<(typeof TABLES)[number], number>>][] = [
  ['messages', countMessages, {}],
  ['totals', countTotals, {}],
  ['clusters: one validator of each', (db) => findStatusClusters(db, 9), { validators: 1 }],
  ['claiming vaults', (db) => findClaimingVaults(db, 9), {}],
  ['vaults', (db) => sumByVault(db, 384), {}],
  ['what is collected', countCollecting, {}],
  ['what nodes owe', countWaiting, {}],
  ['keys left', countKeysByVault, {}],
  ['whom to ask the chain for', (db) => findUnregistered(db, 0, 100), { validators: 100 }],
  ['vaults to rotate: the first of each, and what is behind the last', findRotationVaults, { validators: 2 }],
]

/** Each validator gets an exit of before, and each second one is collected: all since PostgreSQL has looked last. */
async function change(db: Sql): Promise<void> {
  await db.execute(sql`alter table messages set (autovacuum_enabled = false)`)
  await db.execute(sql`
    insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state)
    select id, 'exit', 1, 1, ${Buffer.alloc(32)}, 3, 'superseded' from validators`)
  await db.execute(sql`update messages set state = 'collecting' where state = 'ready' and validator_id % 2 = 0`)
}

const PAGE = 25
const everybody = { vaults: undefined, shareIndexes: undefined }
const nobody = { vaults: [Buffer.alloc(20, 9)], shareIndexes: undefined }
const page = { after: VALIDATORS - 500, limit: PAGE, mostLooked: 2 * PAGE + 2 }
const key = (digits: string, filler: string) => Buffer.from(digits.padEnd(96, filler), 'hex')
const firstValidators = Array.from({ length: PAGE }, (_, i) => i + 1)

/** Of a page of the status: its validators and their messages, of which each has two, and not those of others. */
const OF_PAGES: typeof QUERIES = [
  [
    'a page of what is not ready',
    (db) => findCollectingPage(db, everybody, page),
    { messages: 3 * page.mostLooked, validators: page.mostLooked },
  ],
  [
    'the same of who has none of them',
    (db) => findCollectingPage(db, nobody, { ...page, after: 0, mostLooked: 200 }),
    { messages: 200, validators: 200 },
  ],
  [
    'a search by the first digits',
    (db) => findByKeyRange(db, everybody, { from: key('', '0'), to: key('', 'f'), limit: PAGE, mostLooked: 100 }),
    { validators: 100 },
  ],
  [
    'what is known of the validators of a page',
    (db) =>
      findExplained(
        db,
        firstValidators.map((i) => key(i.toString(16).padStart(96, '0'), '')),
        384,
      ),
    // Messages for each of exit, deposit, what is erased, what is superseded, and the newest shares.
    { messages: 5 * 2 * PAGE, validators: PAGE, oracle_shares: 3 * PAGE },
  ],
  [
    'their shares',
    (db) => findExplainedShares(db, firstValidators, firstValidators),
    { messages: PAGE, partial_signatures: 3 * PAGE },
  ],
]

async function expectFewRows(db: Sql, queries: typeof QUERIES): Promise<void> {
  for (const [name, query, most] of queries) {
    const { db: explaining, rowsRead } = createExplaining(db)
    await query(explaining)
    const read = TABLES.map((table) => [table, rowsRead(table).reduce((sum, count) => sum + count, 0)] as const)
    const over = read.filter(([table, count]) => count > (most[table] ?? 0))
    expect([name, over]).toEqual([name, []])
  }
}

/** The rows of messages that storing one signature goes through, on a connection that has stored a thousand at once before. */
function readAfterMany(db: Database): Promise<number> {
  return db.onOneConnection(async (one) => {
    const read = async () => {
      const { rows } = await one.execute<{ read: string }>(
        sql`select seq_tup_read as read from pg_stat_xact_user_tables where relname = 'messages'`,
      )
      return Number(rows[0]?.read ?? 0)
    }
    const store = (messages: number) =>
      insertCandidates(
        one,
        9,
        Array.from({ length: messages }, (_, i) => ({
          ...{ messageId: 1 + i, digest: Buffer.alloc(32, messages), sealed: Buffer.alloc(124) },
        })),
      )
    await one.execute(sql`begin`)
    await store(1000)
    const before = await read()
    await store(1)
    const after = await read()
    await one.execute(sql`rollback`)
    return after - before
  })
}

it('what recurs, and what a page shows, reads no more than it has to', async () => {
  await using database = await createRelayerDatabase()
  await using db = await connectDatabase({ url: database.url, logger: silentLogger })
  await migrateDatabase(db, MIGRATIONS)
  await fill(db)
  while (!(await settleTallies(db)));
  await db.execute(sql`vacuum analyze`)
  await expectFewRows(db, [...QUERIES, ...SUMS])
  const [vault] = await countByVault(db, { vaults: null, secondsPerEpoch: 384 })
  expect(vault?.wrongIndex).toBe(WRONG)
  expect(await readAfterMany(db)).toBe(0)
  await change(db)
  await expectFewRows(db, OF_PAGES)
})

/** Validators of a database that PostgreSQL has not looked at yet, as in the first minutes of a relayer. */
const FRESH = 1000
/** Of these something is posted, or has changed. */
const FEW = 64

/** Each has an exit and a deposit that two nodes have signed and one has split already, and public key shares of four nodes. */
async function fillFresh(db: Sql): Promise<void> {
  for (const table of [
    'validators',
    'key_shares',
    'messages',
    'partial_signatures',
    'oracle_shares',
    'validator_changes',
  ])
    await db.execute(sql`alter table ${sql.identifier(table)} set (autovacuum_enabled = false)`)
  await db.execute(sql`insert into clusters (name, threshold) values ('one', 3)`)
  await db.execute(sql`
    insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
    values ('a', 1, ${Buffer.alloc(65)}, '{}', 1, now(), true)`)
  await db.execute(sql`
    insert into validators (public_key, cluster_id, place)
    select decode(lpad(to_hex(i), 96, '0'), 'hex'), 1, i from generate_series(1, ${FRESH}::int) i`)
  await db.execute(sql`
    insert into key_shares (validator_id, share_index, public_key_share, source)
    select id, x, ${Buffer.alloc(48)}, 'lock' from validators, generate_series(1, 4) x`)
  const revision = sql`case when place <= ${FEW}::int then 2 else 1 end`
  await db.execute(sql`
    insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, revision)
    select id, 'exit', id, 1, ${Buffer.alloc(32)}, 3, 'collecting', ${revision} from validators`)
  await db.execute(sql`
    insert into messages (validator_id, kind, vault, amount_gwei, validator_type, signing_root, threshold, state, revision)
    select id, 'deposit', ${Buffer.alloc(20)}, 32000000000, '0x01', ${Buffer.alloc(32)}, 3, 'collecting', ${revision} from validators`)
  await db.execute(sql`
    insert into partial_signatures (message_id, share_index, digest, sealed, state)
    select id, x, ${Buffer.alloc(32)}, ${Buffer.alloc(124)}, 'unverified' from messages, generate_series(1, 2) x`)
  await db.execute(sql`
    insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    select id, 1, ${Buffer.alloc(48)}, ${Buffer.alloc(193)}, ${Buffer.alloc(32)}, 1 from messages where kind = 'exit'`)
  await db.execute(sql`delete from validator_changes where validator_id > ${FEW}`)
}

/** The pairs of those few as a third node posts them. */
const POSTED = Array.from({ length: FEW }, (_, i) => key((i + 1).toString(16).padStart(96, '0'), '')).flatMap(
  (publicKey) => (['exit', 'deposit'] as const).map((kind) => ({ publicKey, kind, digest: Buffer.alloc(32, 9) })),
)

/** What comes with each post. What is read of all there is, is read once, and not for each of the few; nor is each held against all. */
const OF_POSTS: typeof QUERIES = [
  [
    'which messages a post is of',
    (db) => matchPartials(db, 3, POSTED),
    { validators: 2 * FEW, messages: 4 * FEW, partial_signatures: 0 },
  ],
  [
    'the exits that changed',
    (db) => findChangedExits(db, { revision: 1, messageId: 2 ** 40 }, 2000),
    { messages: 2 * FRESH, validators: FEW, partial_signatures: 2 * FEW },
  ],
  [
    'the validators that changed, twice each',
    (db) => findChangedValidators(db, { revision: 1, messageId: 2 ** 40 }, 2000),
    { messages: 2 * FRESH + 4 * FEW, validators: 2 * FEW, partial_signatures: 8 * FEW },
  ],
  [
    'a fold',
    (db) => foldChanges(db, FEW),
    { validators: FEW, messages: 6 * FEW, partial_signatures: 16 * FEW, oracle_shares: 3 * FEW },
  ],
]

it('what comes with each post reads no more than it has to of a database without statistics', async () => {
  await using database = await createRelayerDatabase()
  await using db = await connectDatabase({ url: database.url, logger: silentLogger })
  await migrateDatabase(db, MIGRATIONS)
  await fillFresh(db)
  expect(await matchPartials(db, 3, POSTED)).toHaveLength(POSTED.length)
  await expectFewRows(db, OF_POSTS)
  for (const [name, query] of OF_POSTS) {
    const { db: explaining, rowsCompared } = createExplaining(db)
    await query(explaining)
    expect([name, Math.max(...rowsCompared())]).toEqual([name, 0])
  }
})
