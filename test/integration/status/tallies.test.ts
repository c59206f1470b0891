/** Tallies are what a count over all rows says: after every transition there is, in whatever order, beside each other, and where one is cut off. */

import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import { findVaults } from '@dvt-relayer/db/queries/doctor/contents.ts'
import { announceMessages, announceOracleShares } from '@dvt-relayer/db/queries/messages/announce.ts'
import { bindProven } from '@dvt-relayer/db/queries/messages/deposit-bindings.ts'
import {
  deleteSuperseded,
  insertDeposits,
  insertExits,
  retireMessages,
  reviveMessages,
  supersedeMessages,
  touchMessages,
} from '@dvt-relayer/db/queries/messages/messages.ts'
import { insertCandidates, trimCandidates, writeVerdicts } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import {
  countKeysByVault,
  countKeysLeft,
  releaseValidator,
  reserveValidators,
} from '@dvt-relayer/db/queries/messages/registrations.ts'
import { eraseExits } from '@dvt-relayer/db/queries/messages/retention.ts'
import { deleteForgotten } from '@dvt-relayer/db/queries/messages/validators.ts'
import { restampOracleShares } from '@dvt-relayer/db/queries/oracle-fetch.ts'
import {
  adoptOracleSet,
  completeMessages,
  deleteOldShares,
  insertOracleShares,
  ROTATION_REQUESTER,
} from '@dvt-relayer/db/queries/oracle-shares.ts'
import {
  countByVault,
  findUnregistered,
  forgetExited,
  forgetRegistration,
  markExited,
  markRegistered,
  sumByVault,
} from '@dvt-relayer/db/queries/registered.ts'
import { clearRegistered, insertRegistered } from '@dvt-relayer/db/queries/registry.ts'
import { markOutdated } from '@dvt-relayer/db/queries/rotations.ts'
import { number, oneOf, orNull, rows, text } from '@dvt-relayer/db/queries/rows.ts'
import type { Sql } from '@dvt-relayer/db/queries/sql.ts'
import { voidSealed } from '@dvt-relayer/db/queries/state.ts'
import {
  countCollecting,
  countMessages,
  countTotals,
  countWaiting,
  findClaimingVaults,
  findStatusClusters,
} from '@dvt-relayer/db/queries/status/sums.ts'
import { findTalliesRevision, foldChanges, noteStrays } from '@dvt-relayer/db/queries/status/tallies.ts'
import { createTallyCheck, settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const vaultOf = (byte: number) => Buffer.alloc(20, 1 + (byte % 3))
const THRESHOLD = 3

/** What a transition is about: a validator, its messages, and a number to choose by. */
interface Subject {
  id: number
  publicKey: Buffer
  exit: number
  deposit: number
  /** Its last messages in whatever state. */
  messages: number[]
  setId: number
  n: number
}

/** Every way in which what is counted changes. None needs the state before to fit: one that does nothing is a transition too. */
const TRANSITIONS: Record<string, (tx: Sql, of: Subject) => Promise<unknown>> = {
  'a key comes': (tx) => tx.execute(sql`insert into validators (public_key) values (${randomBytes(48)})`),
  'into a cluster': (tx, { id, n }) =>
    tx.execute(sql`update validators set cluster_id = ${1 + (n % 2)}, place = ${n} where id = ${id}`),
  'out of its cluster': (tx, { id }) =>
    tx.execute(sql`update validators set cluster_id = null, place = null where id = ${id}`),
  'its lock names a vault': (tx, { id, n }) =>
    tx.execute(sql`update validators set withdrawal_address = ${n % 4 === 0 ? null : vaultOf(n)} where id = ${id}`),
  'the list names a vault': (tx, { id, n }) =>
    tx.execute(sql`update validators set listed_vault = ${n % 4 === 0 ? null : vaultOf(n)} where id = ${id}`),
  reserved: (tx, { id, n }) => reserveValidators(tx, [id], vaultOf(n)),
  released: (tx, { id }) => releaseValidator(tx, id),
  bound: (tx, { id, n }) =>
    tx.execute(
      sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${vaultOf(n)}) on conflict do nothing`,
    ),
  'bound by proof': (tx, { deposit }) => bindProven(tx, sql`m.id = ${deposit}`),
  'share keys known': (tx, { id, n }) =>
    tx.execute(sql`insert into key_shares (validator_id, share_index, public_key_share, source)
      select ${id}::bigint, x, ${randomBytes(48)}, 'ssv' from generate_series(1, ${1 + (n % 4)}::int) x on conflict do nothing`),
  'share keys gone': (tx, { id, n }) =>
    tx.execute(sql`delete from key_shares where validator_id = ${id} and share_index > ${n % 3}`),
  'deposited for': (tx, { publicKey }) => insertRegistered(tx, [{ publicKey, blockNumber: 1 }]),
  'deposits forgotten': (tx) => clearRegistered(tx),
  'an exit is asked for': async (tx, { id, exit, n }) => {
    await supersedeMessages(tx, exit === 0 ? [] : [exit])
    await insertExits(tx, [
      {
        ...{ validatorId: id, requester: n % 3 === 0 ? ROTATION_REQUESTER : null, validatorIndex: n % 3, epoch: 1 },
        ...{ signingRoot: randomBytes(32), threshold: THRESHOLD },
      },
    ])
  },
  'a deposit is asked for': async (tx, { id, deposit, n }) => {
    await supersedeMessages(tx, deposit === 0 ? [] : [deposit])
    await insertDeposits(tx, [
      {
        ...{ validatorId: id, requester: null, vault: vaultOf(n), amountGwei: 32, validatorType: '0x01' as const },
        ...{ signingRoot: randomBytes(32), threshold: THRESHOLD },
      },
    ])
  },
  'somebody else asks': (tx, { exit, n }) =>
    touchMessages(tx, [{ id: exit, requester: n % 2 === 0 ? ROTATION_REQUESTER : 'operator:a' }]),
  'signatures come': async (tx, { messages, n }) => {
    await insertCandidates(
      tx,
      1 + (n % 4),
      messages.map((messageId) => ({ messageId, digest: randomBytes(32), sealed: randomBytes(40) })),
    )
    await trimCandidates(tx, messages, { perIndex: 2, indexes: 3 })
  },
  'a signature is judged': async (tx, { messages, n }) => {
    const { rows } = await tx.execute<{ message_id: string; share_index: string; digest: Buffer }>(
      sql`select message_id, share_index, digest from partial_signatures
          where message_id = any(${sql.param(messages)}::bigint[]) and state = 'unverified' order by digest limit 1`,
    )
    await writeVerdicts(
      tx,
      rows.map((row) => ({
        ...{ messageId: Number(row.message_id), shareIndex: Number(row.share_index), digest: row.digest },
        isRight: n % 2 === 0,
      })),
    )
  },
  finished: async (tx, { exit, deposit, setId, n }) => {
    const done = await completeMessages(
      tx,
      [exit, deposit].map((messageId) => ({ messageId, sealed: randomBytes(40) })),
    )
    if (n % 4 > 0)
      await split(
        tx,
        setId,
        done.filter((one) => one === exit),
      )
    await announceMessages(tx, done)
  },
  'split anew': (tx, { exit, setId }) => split(tx, setId, exit === 0 ? [] : [exit]),
  'shown again': async (tx, { messages }) => {
    await announceMessages(tx, messages)
    await restampOracleShares(tx, messages)
  },
  'nobody asks': (tx, { exit, deposit, n }) => retireMessages(tx, n % 2 === 0 ? [exit] : [exit, deposit]),
  'asked for again': async (tx, { id, exit, deposit }) => {
    const { rows } = await tx.execute<{ id: string }>(
      sql`select distinct on (kind) id from messages where validator_id = ${id} and state = 'expired'
            and (kind <> 'exit' or ${exit} = 0) and (kind <> 'deposit' or ${deposit} = 0) order by kind, id desc`,
    )
    await reviveMessages(
      tx,
      rows.map((row) => ({ id: Number(row.id), requester: null })),
    )
  },
  superseded: (tx, { exit, deposit, n }) => supersedeMessages(tx, n % 2 === 0 ? [exit] : [deposit]),
  'the superseded go': (tx) => deleteSuperseded(tx, -1, 100),
  erased: (tx, { messages, exit }) =>
    eraseExits(
      tx,
      messages.filter((one) => one === exit),
    ),
  registered: (tx, { id, n }) =>
    markRegistered(tx, [
      { validatorId: id, beaconIndex: n % 3, vault: n % 5 === 0 ? undefined : vaultOf(n), hasLeft: n % 7 === 0 },
    ]),
  'not registered after all': (tx, { id }) => forgetRegistration(tx, id),
  'has left': (tx, { id }) =>
    tx.execute(sql`update validators set exited_at = now() where id = ${id} and registered_at is not null`),
  'has left, as the chain says': (tx, { id, n }) => (n % 2 === 0 ? markExited(tx, [id]) : forgetExited(tx, id)),
  'other oracles': (tx, { n }) =>
    adoptOracleSet(tx, {
      ...{ cid: String(n), threshold: 1, publicKeys: randomBytes(65), config: { untilForceExitEpochs: n } },
      ...{ blockNumber: n, announcedAt: 1_700_000_000 + n },
    }),
  'not renewed after all': (tx, { id, setId }) => markOutdated(tx, [id], setId),
  'old shares go': (tx) => deleteOldShares(tx, -1, 100),
  'the key is forgotten': async (tx, { id }) => {
    await deleteForgotten(tx, [id], { unready: -1, ready: -1 })
  },
}

async function split(tx: Sql, setId: number, messageIds: readonly number[]): Promise<void> {
  const stored = await insertOracleShares(
    tx,
    setId,
    messageIds.map((messageId) => ({
      ...{ messageId, publicKeyShares: randomBytes(48), ciphertexts: randomBytes(193), receipt: randomBytes(32) },
    })),
  )
  await announceOracleShares(tx, setId, stored)
}

/** What a transition is about, as things stand. */
async function subjectOf({ query }: MessageStore, who: number, n: number): Promise<Subject> {
  const validators = await query<{ id: string; public_key: Buffer }>(
    sql`select id, public_key from validators order by id`,
  )
  const chosen = validators[who % Math.max(1, validators.length)]
  const id = Number(chosen?.id ?? 0)
  const messages = await query<{ id: string; kind: string; state: string }>(
    sql`select id, kind, state from messages where validator_id = ${id} order by id`,
  )
  const [set] = await query<{ id: string }>(sql`select id from oracle_sets where is_current`)
  const live = (kind: string) =>
    Number(messages.find((one) => one.kind === kind && ['collecting', 'ready'].includes(one.state))?.id ?? 0)
  return {
    ...{ id, publicKey: chosen?.public_key ?? Buffer.alloc(48), exit: live('exit'), deposit: live('deposit'), n },
    ...{ messages: messages.map((one) => Number(one.id)), setId: Number(set?.id ?? 0) },
  }
}

const MOST = 4
const BEGINNING = ['into a cluster', 'share keys known', 'an exit is asked for', 'a deposit is asked for']

async function openStore(): Promise<MessageStore> {
  const store = await openMessages()
  await store.query(sql`insert into clusters (id, name, threshold) values (1, 'a', 3), (2, 'b', 3)`)
  await store.db.transaction((tx) =>
    adoptOracleSet(tx, {
      ...{ cid: 'first', threshold: 1, publicKeys: randomBytes(65), config: {}, blockNumber: 0, announcedAt: 1 },
    }),
  )
  // Each of a cluster, with nodes, an exit and a deposit: so that nearly every transition has something to change.
  for (let key = 0; key < MOST; key++) {
    await store.addValidator()
    for (const name of BEGINNING) await make(store, { name, who: key, n: 4 * key + 3 })
    if (key % 3 > 0) await make(store, { name: 'finished', who: key, n: 1 })
    if (key % 3 > 1) await make(store, { name: 'registered', who: key, n: key })
  }
  return store
}

const LIVE = sql`('collecting', 'ready')`
const HAS_SHARES = sql`exists (select from messages m join oracle_shares s on s.message_id = m.id where m.validator_id = v.id)`

/** Each number as tallies have it, and as a look at every row does. */
const NUMBERS: Record<string, (db: Sql) => Promise<[unknown, unknown]>> = {
  messages: async (db) => {
    const counts = await countMessages(db)
    const looked = await rows(
      db,
      { kind: oneOf<'exit' | 'deposit'>(), state: oneOf<'collecting' | 'ready'>(), count: number },
      sql`select kind, state, count(*) as count from messages where state in ${LIVE} group by kind, state`,
    )
    const none = { exit: { collecting: 0, ready: 0 }, deposit: { collecting: 0, ready: 0 } }
    for (const { kind, state, count } of looked) none[kind][state] = count
    return [counts, none]
  },
  totals: async (db) => [
    [await countTotals(db)],
    await rows(
      db,
      { validators: number, registered: number, exited: number, ready: number, unsplit: number },
      sql`select v.validators, v.registered, v.exited, m.ready, m.unsplit
          from (select count(*) as validators, count(registered_at) as registered, count(exited_at) as exited from validators) v,
               (select count(*) as ready, count(*) filter (
                  where (e.requester = ${ROTATION_REQUESTER} or o.registered_at is null) and not exists (
                    select from oracle_shares x join oracle_sets s on s.id = x.oracle_set_id and s.is_current where x.message_id = e.id)) as unsplit
                from messages e join validators o on o.id = e.validator_id where e.kind = 'exit' and e.state = 'ready') m`,
    ),
  ],
  clusters: async (db) => [
    (await findStatusClusters(db, 9)).map(({ id, validators, vaults }) => ({ id, validators, vaults })),
    await rows(
      db,
      { id: number, validators: number, vaults: text },
      sql`select cluster_id as id, count(*) as validators, coalesce(string_agg(distinct encode(
                   coalesce(beacon_vault, withdrawal_address, listed_vault, vault), 'hex'), ','), '') as vaults
          from validators where cluster_id is not null group by cluster_id order by cluster_id`,
    ),
  ],
  'claiming vaults': async (db) => [await findClaimingVaults(db, 9), await findVaults(db, 9)],
  vaults: async (db) => [await sumByVault(db, 384), await countByVault(db, { vaults: null, secondsPerEpoch: 384 })],
  collecting: async (db) => [
    await countCollecting(db),
    await rows(
      db,
      { clusterId: orNull(number), validators: number, messages: number, oldestAt: number },
      sql`select v.cluster_id, count(distinct v.id) as validators, count(*) as messages,
                 floor(extract(epoch from min(m.created_at)))::bigint as oldest_at
          from messages m join validators v on v.id = m.validator_id where m.state = 'collecting'
          group by v.cluster_id order by v.cluster_id`,
    ),
  ],
  waiting: async (db) => [
    await countWaiting(db),
    await rows(
      db,
      { clusterId: number, shareIndex: number, messages: number, oldestAt: number },
      sql`select v.cluster_id, k.share_index, count(*) as messages, floor(extract(epoch from min(m.created_at)))::bigint as oldest_at
          from messages m
          join validators v on v.id = m.validator_id and v.cluster_id is not null
          join key_shares k on k.validator_id = m.validator_id
          where m.state = 'collecting' and not exists (
            select from partial_signatures p where p.message_id = m.id and p.share_index = k.share_index and p.state <> 'rejected')
          group by v.cluster_id, k.share_index order by v.cluster_id, k.share_index`,
    ),
  ],
  'keys left': async (db) => {
    const counts = await countKeysByVault(db)
    const of = (vault: Buffer | null) => {
      const row = counts.find((one) => (vault === null ? one.vault === null : one.vault?.equals(vault) === true))
      return { free: row?.free ?? 0, reserved: row?.reserved ?? 0 }
    }
    const vaults = [0, 1, 2].map(vaultOf)
    return [
      vaults.map((vault) => ({ free: of(vault).free + of(null).free, reserved: of(vault).reserved })),
      await Promise.all(vaults.map((vault) => countKeysLeft(db, vault))),
    ]
  },
  unregistered: async (db) => [
    (await findUnregistered(db, 0, 1000)).map(({ id }) => id),
    (
      await rows(
        db,
        { id: number },
        sql`select v.id from validators v where v.registered_at is null and ${HAS_SHARES} order by v.id`,
      )
    ).map(({ id }) => id),
  ],
}

/** Nothing is found wrong of what is counted as it should be, in whatever state. */
async function expectNoMiscount({ db }: MessageStore): Promise<void> {
  expect(await createTallyCheck(db)()).toEqual({ tallies: 0, validators: 0 })
}

/** The numbers that are not the same; undefined where all are. */
async function findDifference({ db }: MessageStore): Promise<Record<string, unknown> | undefined> {
  expect(await settleTallies(db)).toBe(true)
  for (const [name, look] of Object.entries(NUMBERS)) {
    const [tallied, looked] = await look(db)
    if (!isDeepStrictEqual(tallied, looked)) return { name, tallied, looked }
  }
  return undefined
}

interface Step {
  name: string
  who: number
  n: number
}
/** Every transition so many times, in whatever order. */
const stepsOf = (rounds: number): fc.Arbitrary<Step[]> => {
  const names = Array.from({ length: rounds }, () => Object.keys(TRANSITIONS)).flat()
  return fc
    .tuple(
      fc.shuffledSubarray(names, { minLength: names.length }),
      fc.array(fc.record({ who: fc.nat(MOST - 1), n: fc.nat(99) }), {
        minLength: names.length,
        maxLength: names.length,
      }),
    )
    .map(([shuffled, chosen]) => shuffled.map((name, place) => ({ name, who: 0, n: 0, ...chosen[place] })))
}

/** Makes one; one that the database refuses has changed nothing. Returns whether it was made. */
async function make(store: MessageStore, { name, who, n }: Step, isCutOff = false): Promise<boolean> {
  const subject = await subjectOf(store, who, n)
  try {
    await store.db.transaction(async (tx) => {
      await TRANSITIONS[name]?.(tx, subject)
      if (isCutOff) throw new Error('cut off')
    })
    return true
  } catch (error) {
    if (error instanceof DatabaseError || isCutOff) return false
    throw error
  }
}

it('are what a count over all rows says, after every transition', async () => {
  const made = new Set<string>()
  const run = fc.asyncProperty(stepsOf(5), async (steps) => {
    const store = await openStore()
    for (const one of steps) {
      if (await make(store, one)) made.add(one.name)
      await expectNoMiscount(store)
      expect({ after: one, difference: await findDifference(store) }).toEqual({ after: one, difference: undefined })
    }
    await store.db.transaction((tx) => voidSealed(tx))
    expect(await findDifference(store)).toBeUndefined()
  })
  await fc.assert(run, { numRuns: 2, endOnFailure: true })
  // What the database refuses each time tests nothing.
  expect(Object.keys(TRANSITIONS).filter((name) => !made.has(name))).toEqual([])
}, 120_000)

it('are so after what chance seldom brings together', async () => {
  const store = await openStore()
  const after = async (name: string, n: number) => {
    expect(await make(store, { name, who: 0, n })).toBe(true)
    expect({ name, difference: await findDifference(store) }).toEqual({ name, difference: undefined })
  }
  // The one signature of a share index proves to be wrong.
  await after('signatures come', 1)
  await after('a signature is judged', 1)
  // A key that is used is not used any more.
  await after('deposited for', 0)
  await after('deposits forgotten', 0)
  // Shares of before become the newest.
  await after('registered', 6)
  await after('finished', 1)
  const first = (await subjectOf(store, 0, 0)).exit
  await after('an exit is asked for', 4)
  await after('finished', 1)
  expect((await sumByVault(store.db, 384)).reduce((sum, { wrongIndex }) => sum + wrongIndex, 0)).toBeGreaterThan(0)
  await store.db.transaction(async (tx) => {
    await announceMessages(tx, [first])
    await restampOracleShares(tx, [first])
  })
  expect(await findDifference(store)).toBeUndefined()
})

it('are so after transitions beside each other, folds among them, and what was cut off', async () => {
  const run = fc.asyncProperty(stepsOf(2), async (steps) => {
    const store = await openStore()
    const { db } = store
    for (let from = 0; from < steps.length; from += 6) {
      const some = steps.slice(from, from + 6)
      const fold = (isCutOff: boolean) =>
        db
          .transaction(async (tx) => {
            await foldChanges(tx, 3)
            if (isCutOff) throw new Error('cut off')
          })
          .catch((error: Error) => expect(error.message).toBe('cut off'))
      await Promise.all([
        ...some.map((one, place) => make(store, one, place === 3)),
        fold(false),
        fold(true),
        settleTallies(db),
      ])
    }
    expect(await findDifference(store)).toBeUndefined()
  })
  await fc.assert(run, { numRuns: 3, endOnFailure: true })
}, 120_000)

it('are so where no oracle set is in force, which no exit can be split for', async () => {
  const store = await openStore()
  await make(store, { name: 'finished', who: 0, n: 1 })
  await store.query(sql`delete from oracle_shares`)
  await store.query(sql`update oracle_sets set is_current = false`)
  expect(await findDifference(store)).toBeUndefined()
  expect((await countTotals(store.db)).unsplit).toBeGreaterThan(0)
})

it('are looked at again only once something has changed', async () => {
  const store = await openStore()
  await settleTallies(store.db)
  const before = await findTalliesRevision(store.db)
  await settleTallies(store.db)
  expect(await findTalliesRevision(store.db)).toBe(before)
  await store.addValidator()
  await settleTallies(store.db)
  expect(await findTalliesRevision(store.db)).toBe(before + 1)
  expect(await store.query(sql`select from validator_changes`)).toEqual([])
})

it('come to an end where others go on changing, and count what was there before', async () => {
  const store = await openMessages()
  const { db, query } = store
  const ids: number[] = []
  for (let key = 0; key < 120; key++) ids.push((await store.addValidator()).id)
  const change = (some: readonly number[]) =>
    query(sql`insert into validator_changes (validator_id) select unnest(${sql.param(some)}::bigint[])`)
  await settleTallies(db)
  const [restless, last] = [ids.slice(0, 60), ids.at(-1) ?? 0]
  await change(restless)
  await query(sql`update validators set listed_vault = ${vaultOf(0)} where id = ${last}`)
  // After each fold those of before have changed again.
  const busy = new Proxy(db, {
    get: (of, name) =>
      name === 'transaction'
        ? async (work: (tx: Sql) => Promise<void>) => {
            await of.transaction(work)
            await change(restless)
          }
        : Reflect.get(of, name),
  })
  expect(await settleTallies(busy)).toBe(true)
  expect(await query(sql`select validators from tallies where vault = ${vaultOf(0)}`)).toEqual([{ validators: 1 }])
})

it.each([
  ['a sum', sql`update tallies set validators = validators + 7`],
  ['sums that are gone', sql`delete from tallies`],
  ['what a sum is of', sql`update tallies set exit_state = 'ready'`],
  ['whose a validator is', sql`update validator_tallies set tally_id = (select min(id) from tallies)`],
  ['since when something is collected', sql`update validator_tallies set exit_since = now() - interval '1 year'`],
  ['what was never counted', sql`delete from validator_tallies`],
])('are mended by themselves where somebody has changed %s', async (_what, change) => {
  const store = await openStore()
  expect(await findDifference(store)).toBeUndefined()
  await store.query(change)
  expect(await findDifference(store)).toBeDefined()
  // A part at a time, and from the first one on again.
  const check = createTallyCheck(store.db, 3)
  const found = [await check(), await check(), await check()]
  expect(found.some(({ tallies, validators }) => tallies + validators > 0)).toBe(true)
  expect(await findDifference(store)).toBeUndefined()
  await expectNoMiscount(store)
})

it('are compared with their validators some at a time, to the last', async () => {
  const { db, addValidator } = await openMessages()
  const ids: number[] = []
  for (let key = 0; key < 5; key++) ids.push((await addValidator()).id)
  await settleTallies(db)
  const seen: (number | undefined)[] = []
  for (let [after, times]: [number | undefined, number] = [0, 0]; after !== undefined && times < 9; times++) {
    after = (await noteStrays(db, after, 2)).last
    seen.push(after)
  }
  expect(seen).toEqual([ids[1], ids[3], ids[4], undefined])
})

it('are mended where rows were changed past the triggers, as restores do', async () => {
  const store = await openStore()
  expect(await findDifference(store)).toBeUndefined()
  await store.db.transaction(async (tx) => {
    await tx.execute(sql`set local session_replication_role = replica`)
    await tx.execute(sql`update validators set withdrawal_address = ${Buffer.alloc(20, 9)}`)
    await tx.execute(sql`insert into validators (public_key) values (${randomBytes(48)})`)
  })
  expect(await findDifference(store)).toBeDefined()
  expect(await createTallyCheck(store.db)()).toMatchObject({ tallies: 0 })
  expect(await findDifference(store)).toBeUndefined()
})
