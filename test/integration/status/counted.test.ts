/** As what a validator is counted, what a fold takes, and what is found to be counted wrongly: each as it stands in the database. */

import { randomBytes } from 'node:crypto'
import { ROTATION_REQUESTER } from '@dvt-relayer/db/queries/oracle-shares.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import {
  areThereChanges,
  findNewestChange,
  findTalliesRevision,
  foldChanges,
  forgetWrongTallies,
  noteStrays,
} from '@dvt-relayer/db/queries/status/tallies.ts'
import { type SQL, sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const [A, B, C, D] = [1, 2, 3, 4].map((byte) => Buffer.alloc(20, byte)) as [Buffer, Buffer, Buffer, Buffer]
const hexOf = (vault: Buffer) => vault.toString('hex')
const SINCE = 1_700_000_000

/** A validator of a cluster of three nodes with nothing else; a case says in what it differs. */
const PLAIN = {
  ...{ cluster_id: 1, claimed_by: null, vault: null, beacon_vault: null, is_registered: false, has_exited: false },
  ...{
    oracle_set_id: null,
    is_index_wrong: false,
    key: 'free',
    key_vault: null,
    exit_state: null,
    deposit_state: null,
  },
  ...{ is_split_anew: false, split_set_id: null, exit_missing: null, deposit_missing: null, validators: 1 },
  ...{ exit_since: null, deposit_since: null, is_awaited: false },
}
type Counted = { [Name in keyof typeof PLAIN]: unknown }

/** What is there of a validator: columns, messages with what oracles and nodes have of them, and whatever else. */
interface Case {
  of?: Partial<Record<'cluster_id' | 'withdrawal_address' | 'listed_vault' | 'beacon_vault' | 'oracle_set_id', unknown>>
  reserved?: Buffer
  index?: number
  hasExited?: true
  bound?: Buffer
  isDeposited?: true
  messages?: readonly Message[]
}
interface Message {
  kind?: 'exit' | 'deposit'
  state: string
  index?: number
  requester?: string
  /** Oracle sets with the revisions at which their shares became visible. */
  split?: readonly [setId: number, revision: number][]
  signed?: readonly [shareIndex: number, state: 'unverified' | 'verified' | 'rejected'][]
}

const ready = (more: Partial<Message> = {}): Message => ({ state: 'ready', ...more })
const exit = (more: Partial<Message> = {}): Message => ({ state: 'collecting', ...more })
const deposit = (more: Partial<Message> = {}): Message => ({ kind: 'deposit', state: 'collecting', ...more })
const signed: Message['signed'] = [
  [1, 'unverified'],
  [2, 'rejected'],
  [3, 'rejected'],
  [3, 'verified'],
]
const COLLECTING_EXIT = { exit_state: 'collecting', exit_missing: [1, 2, 3], exit_since: SINCE }
const COLLECTING_DEPOSIT = { deposit_state: 'collecting', deposit_missing: [1, 2, 3], deposit_since: SINCE }
const REGISTERED = { is_registered: true, key: 'used' }
const READY = { exit_state: 'ready', is_split_anew: true }

const CASES: readonly [string, Case, Partial<Counted>][] = [
  ['nothing else', {}, {}],
  // Whose it is.
  ['of no cluster', { of: { cluster_id: null } }, { cluster_id: null, key: 'none' }],
  [
    'of no cluster, with a vault',
    { of: { cluster_id: null, withdrawal_address: A } },
    { cluster_id: null, claimed_by: hexOf(A), vault: hexOf(A), key: 'none' },
  ],
  [
    'of a lock with a vault',
    { of: { withdrawal_address: A } },
    { claimed_by: hexOf(A), vault: hexOf(A), key_vault: hexOf(A) },
  ],
  ['listed for a vault', { of: { listed_vault: A } }, { vault: hexOf(A), key_vault: hexOf(A) }],
  ['reserved', { reserved: A }, { claimed_by: hexOf(A), vault: hexOf(A), key: 'reserved', key_vault: hexOf(A) }],
  ['bound', { bound: A }, { key_vault: hexOf(A) }],
  ['of a vault on chain', { of: { beacon_vault: A } }, { vault: hexOf(A), beacon_vault: hexOf(A) }],
  [
    'with a claim of each other vault',
    { of: { withdrawal_address: C, listed_vault: B, beacon_vault: D }, reserved: A, bound: B },
    { claimed_by: hexOf(C), vault: hexOf(D), beacon_vault: hexOf(D), key: 'none' },
  ],
  [
    'of a lock with a vault, listed for another and reserved by it',
    { of: { withdrawal_address: B, listed_vault: C }, reserved: C },
    { claimed_by: hexOf(B), vault: hexOf(B), key: 'none' },
  ],
  [
    'listed for a vault and reserved by another',
    { of: { listed_vault: B }, reserved: A },
    { claimed_by: hexOf(A), vault: hexOf(B), key: 'none' },
  ],
  ['bound to a vault and listed for another', { of: { listed_vault: B }, bound: A }, { vault: hexOf(B), key: 'none' }],
  // Where it stands on chain.
  ['registered', { index: 5 }, REGISTERED],
  ['registered, with oracles', { of: { oracle_set_id: 2 }, index: 5 }, { ...REGISTERED, oracle_set_id: 2 }],
  ['deposited for', { isDeposited: true }, { key: 'used' }],
  ['exited', { index: 5, hasExited: true }, { ...REGISTERED, has_exited: true }],
  // What is collected of it.
  ['an exit', { messages: [exit()] }, COLLECTING_EXIT],
  ['a deposit', { messages: [deposit()] }, COLLECTING_DEPOSIT],
  [
    'both, signed by some',
    { messages: [exit({ signed }), deposit({ signed: [[2, 'verified']] })] },
    { ...COLLECTING_EXIT, ...COLLECTING_DEPOSIT, exit_missing: [2], deposit_missing: [1, 3] },
  ],
  [
    'an exit and a deposit of no cluster',
    { of: { cluster_id: null }, messages: [exit(), deposit()] },
    {
      ...{ ...COLLECTING_EXIT, ...COLLECTING_DEPOSIT, cluster_id: null, key: 'none' },
      ...{ exit_missing: null, deposit_missing: null },
    },
  ],
  [
    'what nobody asks for any more',
    {
      messages: ['superseded', 'expired', 'erased'].flatMap((state) => [exit({ state }), deposit({ state })]),
    },
    {},
  ],
  ['of a registered validator', { index: 5, messages: [exit()] }, { ...REGISTERED, ...COLLECTING_EXIT }],
  // What is ready of it.
  ['a ready deposit', { messages: [deposit({ state: 'ready' })] }, { deposit_state: 'ready' }],
  ['a ready exit', { messages: [ready()] }, READY],
  ['a ready exit of a registered validator', { index: 5, messages: [ready()] }, { ...REGISTERED, exit_state: 'ready' }],
  [
    'a ready exit of a rotation',
    { index: 5, messages: [ready({ requester: ROTATION_REQUESTER })] },
    { ...REGISTERED, ...READY },
  ],
  [
    'split for two oracle sets',
    {
      messages: [
        ready({
          split: [
            [2, 10],
            [1, 11],
          ],
        }),
      ],
    },
    { ...READY, split_set_id: 2, is_awaited: true },
  ],
  [
    'collecting again after shares of before',
    { messages: [exit({ state: 'superseded', split: [[3, 20]] }), exit()] },
    { ...COLLECTING_EXIT, is_awaited: true },
  ],
  // The index that its newest shares are for.
  [
    'shares of its index, after others',
    { index: 5, messages: [exit({ state: 'superseded', index: 6, split: [[1, 30]] }), ready({ split: [[1, 31]] })] },
    { ...REGISTERED, exit_state: 'ready', split_set_id: 1 },
  ],
  [
    'shares of another index, after those of its own',
    { index: 5, messages: [exit({ state: 'superseded', split: [[1, 40]] }), ready({ index: 6, split: [[1, 41]] })] },
    { ...REGISTERED, exit_state: 'ready', split_set_id: 1, is_index_wrong: true },
  ],
  [
    'shares of another index, stored before and shown after',
    { index: 5, messages: [exit({ state: 'superseded', index: 6, split: [[1, 51]] }), ready({ split: [[1, 50]] })] },
    { ...REGISTERED, exit_state: 'ready', split_set_id: 1, is_index_wrong: true },
  ],
  [
    'shares of both, shown at once: the later message',
    { index: 5, messages: [exit({ state: 'superseded', index: 6, split: [[1, 60]] }), ready({ split: [[1, 60]] })] },
    { ...REGISTERED, exit_state: 'ready', split_set_id: 1 },
  ],
  [
    'shares of another index, and exited',
    { index: 5, hasExited: true, messages: [ready({ index: 6, split: [[1, 70]] })] },
    { ...REGISTERED, has_exited: true, exit_state: 'ready', split_set_id: 1 },
  ],
]

const forValues = (more: readonly SQL[]) => sql.join([...more], sql`, `)

async function add({ query }: MessageStore, one: Case): Promise<number> {
  const [validator] = await query<{ id: number }>(sql`
    insert into validators (public_key, cluster_id, withdrawal_address, listed_vault, beacon_vault, oracle_set_id)
    values (${randomBytes(48)}, ${one.of?.cluster_id === null ? null : 1}, ${one.of?.withdrawal_address ?? null},
            ${one.of?.listed_vault ?? null}, ${one.of?.beacon_vault ?? null}, ${one.of?.oracle_set_id ?? null}) returning id::int`)
  const id = validator?.id ?? 0
  const set = async (what: SQL) => query(sql`update validators set ${what} where id = ${id}`)
  if (one.reserved !== undefined) await set(sql`vault = ${one.reserved}, reserved_at = now(), vault_asked_at = now()`)
  if (one.index !== undefined) await set(sql`beacon_index = ${one.index}, registered_at = now()`)
  if (one.hasExited) await set(sql`exited_at = now()`)
  if (one.bound) await query(sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${one.bound})`)
  if (one.isDeposited)
    await query(
      sql`insert into registry_validators (public_key, block_number) select public_key, 1 from validators where id = ${id}`,
    )
  const share = (x: number) => sql`(${id}::bigint, ${x}::bigint, ${randomBytes(48)}::bytea, 'ssv')`
  await query(
    sql`insert into key_shares (validator_id, share_index, public_key_share, source) values ${forValues([3, 1, 2].map(share))}`,
  )
  for (const message of one.messages ?? []) await addMessage(query, id, message)
  return id
}

async function addMessage(query: MessageStore['query'], validatorId: number, message: Message): Promise<void> {
  const { kind = 'exit', state, index = 5, requester = null, split = [], signed: by = [] } = message
  const of =
    kind === 'exit'
      ? sql`${index}::bigint, 0, null::bytea, null::bigint, null::text`
      : sql`null::bigint, null::bigint, ${D}::bytea, 32, '0x01'`
  const [row] = await query<{ id: number }>(sql`
    insert into messages (validator_id, kind, validator_index, epoch, vault, amount_gwei, validator_type, signing_root, threshold, state,
                          requester, signature, created_at)
    values (${validatorId}, ${kind}, ${of}, ${randomBytes(32)}, 3, ${state}, ${requester}, ${randomBytes(96)}, to_timestamp(${SINCE}))
    returning id::int`)
  for (const [setId, revision] of split)
    await query(sql`
      insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
      values (${row?.id}, ${setId}, ${randomBytes(48)}, ${randomBytes(193)}, ${randomBytes(32)}, ${revision})`)
  for (const [shareIndex, verdict] of by)
    await query(sql`
      insert into partial_signatures (message_id, share_index, digest, sealed, state)
      values (${row?.id}, ${shareIndex}, ${randomBytes(32)}, ${verdict === 'rejected' ? null : randomBytes(40)}, ${verdict})`)
}

async function openStore(): Promise<MessageStore> {
  const store = await openMessages()
  await store.query(sql`insert into clusters (id, name, threshold) values (1, 'a', 3)`)
  await store.query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at)
    select x, x::text, 1, ${randomBytes(65)}, '{}', x, now() from generate_series(1, 3) x`)
  return store
}

const fold = ({ db }: MessageStore, limit = 1000) => db.transaction((tx) => foldChanges(tx, limit))

/** What stands of a validator now. */
async function countedAs({ query }: MessageStore, id: number): Promise<Counted | undefined> {
  const [row] = await query<Counted>(sql`
    select t.cluster_id::int, encode(t.claimed_by, 'hex') as claimed_by, encode(t.vault, 'hex') as vault,
           encode(t.beacon_vault, 'hex') as beacon_vault, t.is_registered, t.has_exited, t.oracle_set_id::int, t.is_index_wrong, t.key,
           encode(t.key_vault, 'hex') as key_vault, t.exit_state, t.deposit_state, t.is_split_anew, t.split_set_id::int,
           t.exit_missing::int[], t.deposit_missing::int[], t.validators::int, extract(epoch from v.exit_since)::int as exit_since,
           extract(epoch from v.deposit_since)::int as deposit_since, v.is_awaited
    from validator_tallies v join tallies t on t.id = v.tally_id where v.validator_id = ${id}`)
  return row
}

const changesOf = async ({ query }: MessageStore) =>
  (await query<{ id: number }>(sql`select validator_id::int as id from validator_changes order by validator_id`)).map(
    ({ id }) => id,
  )
const tallySizes = async ({ query }: MessageStore) =>
  (await query<{ n: number }>(sql`select validators::int as n from tallies order by validators`)).map(({ n }) => n)

it('a validator is counted as all that it is', async () => {
  const store = await openStore()
  const ids: number[] = []
  for (const [, one] of CASES) ids.push(await add(store, one))
  await fold(store)
  const found: [string, unknown][] = []
  for (const [at, [name]] of CASES.entries()) {
    const { validators: _, ...counted } = (await countedAs(store, ids[at] ?? 0)) ?? PLAIN
    found.push([name, counted])
  }
  const { validators: _, ...plain } = PLAIN
  expect(found).toEqual(CASES.map(([name, , expected]) => [name, { ...plain, ...expected }]))
  expect(await changesOf(store)).toEqual([])
})

it('who is alike is counted together, and moves alone', async () => {
  const store = await openStore()
  const { query } = store
  expect(await findTalliesRevision(store.db)).toBe(0)
  const alike = [await add(store, {}), await add(store, {}), await add(store, {})]
  const other = await add(store, { of: { listed_vault: A } })
  await fold(store)
  expect(await tallySizes(store)).toEqual([1, 3])
  expect(await findTalliesRevision(store.db)).toBe(1)
  const [first, , last] = alike as [number, number, number]
  // One moves to a tally that is there, and one has an exit from now on: where what stands beside the count alone is another, it is kept.
  await query(sql`update validators set listed_vault = ${A} where id = ${first}`)
  await addMessage(query, last, exit())
  await fold(store)
  expect(await countedAs(store, first)).toEqual({ ...PLAIN, vault: hexOf(A), key_vault: hexOf(A), validators: 2 })
  expect(await countedAs(store, last)).toEqual({ ...PLAIN, ...COLLECTING_EXIT })
  expect(await tallySizes(store)).toEqual([1, 1, 2])
  await query(sql`update messages set created_at = to_timestamp(${SINCE + 60})`)
  await fold(store)
  expect(await countedAs(store, last)).toEqual({ ...PLAIN, ...COLLECTING_EXIT, exit_since: SINCE + 60 })
  expect(await findTalliesRevision(store.db)).toBe(3)
  // Nothing has changed.
  await fold(store)
  expect(await findTalliesRevision(store.db)).toBe(3)
  // Those of one are gone, and with the last of a tally it is gone too.
  for (const id of [first, other]) {
    await query(sql`delete from key_shares where validator_id = ${id}`)
    await query(sql`delete from validators where id = ${id}`)
    await fold(store)
    expect(await countedAs(store, id)).toBeUndefined()
  }
  expect(await query(sql`select validator_id::int as id from validator_tallies order by 1`)).toEqual(
    alike.slice(1).map((id) => ({ id })),
  )
  expect(await tallySizes(store)).toEqual([1, 1])
})

it('a fold takes all changes of those whose changes are the oldest', async () => {
  const store = await openStore()
  const [a, b, c] = [await add(store, {}), await add(store, {}), await add(store, {})] as [number, number, number]
  await fold(store)
  const change = (id: number) => store.query(sql`insert into validator_changes (validator_id) values (${id})`)
  for (const id of [c, a, b, c]) await change(id)
  await fold(store, 1)
  expect(await changesOf(store)).toEqual([a, b])
  await fold(store, 1)
  expect(await changesOf(store)).toEqual([b])
})

it('the newest change is waited for, and those after it are not', async () => {
  const { db, query } = await openStore()
  expect(await findNewestChange(db)).toBeUndefined()
  for (const id of [7, 3, 5]) await query(sql`insert into validator_changes (id, validator_id) values (${id}, 1)`)
  expect(await findNewestChange(db)).toBe(7)
  expect([await areThereChanges(db, 2), await areThereChanges(db, 3), await areThereChanges(db, 4)]).toEqual([
    false,
    true,
    true,
  ])
})

it('sums that are wrong are forgotten with those they were of, and nobody else is counted anew', async () => {
  const store = await openStore()
  const { db, query } = store
  const one = async (vault: Buffer) => [
    await add(store, { of: { listed_vault: vault } }),
    await add(store, { of: { listed_vault: vault } }),
  ]
  const [right, fewer, other, gone] = [await one(A), await one(B), await one(C), await one(D)]
  await fold(store)
  expect(await db.transaction(forgetWrongTallies)).toBe(0)
  await query(sql`update tallies set validators = 1 where vault = ${B}`)
  await query(sql`update tallies set vault = ${A} where vault = ${C}`)
  await query(sql`delete from tallies where vault = ${D}`)
  await query(sql`
    insert into tallies select sha256('a'), cluster_id, claimed_by, vault, beacon_vault, is_registered, has_exited, oracle_set_id,
      is_index_wrong, key, key_vault, exit_state, deposit_state, is_split_anew, split_set_id, exit_missing, deposit_missing, 2
    from tallies where validators = 1`)
  expect(await db.transaction(forgetWrongTallies)).toBe(4)
  expect(await query(sql`select vault, validators::int from tallies`)).toEqual([{ vault: A, validators: 2 }])
  expect(
    (await query<{ id: number }>(sql`select validator_id::int as id from validator_tallies order by 1`)).map(
      ({ id }) => id,
    ),
  ).toEqual(right)
  expect(await changesOf(store)).toEqual([...fewer, ...other, ...gone])
  expect(await db.transaction(forgetWrongTallies)).toBe(0)
})

it('a validator is counted anew where anything of it is another, was never counted, or is gone, and has no change that waits', async () => {
  const store = await openStore()
  const { db, query } = store
  const ids: number[] = []
  for (let n = 0; n < 8; n++) ids.push(await add(store, { messages: [exit(), deposit()] }))
  const [tally, since, deposited, awaited, never, waits, , gone] = ids as [
    ...[number, number, number, number, number, number, number, number],
  ]
  await fold(store)
  expect(await noteStrays(db, 0, 100)).toEqual({ strays: 0, last: gone })
  const set = (what: SQL, id: number) => query(sql`update validator_tallies set ${what} where validator_id = ${id}`)
  await set(sql`tally_id = sha256('a')`, tally)
  await set(sql`exit_since = now()`, since)
  await set(sql`deposit_since = now()`, deposited)
  await set(sql`is_awaited = true`, awaited)
  await query(sql`delete from validator_tallies where validator_id in (${never}, ${waits})`)
  await query(sql`insert into validator_changes (validator_id) values (${waits})`)
  await query(sql`update validator_tallies set validator_id = 1000 where validator_id = ${gone}`)
  const wrong = [tally, since, deposited, awaited, never, gone, 1000]
  // Behind the first, and no more than so many of both together.
  expect(await noteStrays(db, tally, 3)).toEqual({ strays: 3, last: awaited })
  expect(await changesOf(store)).toEqual([since, deposited, awaited, waits])
  await query(sql`delete from validator_changes where validator_id <> ${waits}`)
  expect(await noteStrays(db, 0, 100)).toEqual({ strays: wrong.length, last: 1000 })
  expect(await changesOf(store)).toEqual([tally, since, deposited, awaited, never, waits, gone, 1000])
  expect(await noteStrays(db, 1000, 100)).toEqual({ strays: 0, last: undefined })
  await fold(store)
  expect(await noteStrays(db, 0, 100)).toEqual({ strays: 0, last: gone })
})

it.each<[string, (tx: Sql) => Promise<unknown>]>([
  ['a fold', (tx) => foldChanges(tx, 1)],
  ['a look for wrong sums', forgetWrongTallies],
])('%s waits for the one that is at it, to the end of its transaction', async (_what, work) => {
  const { db } = await openStore()
  await db.transaction(async (tx) => {
    await foldChanges(tx, 1)
    const other = db.transaction(async (later) => {
      await later.execute(sql`set local lock_timeout = '100ms'`)
      await work(later)
    })
    await expect(other).rejects.toThrow()
  })
  await db.transaction(work)
})
