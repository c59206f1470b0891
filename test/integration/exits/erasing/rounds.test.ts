/** Rounds of erasing: whom each looks at, for how long, when the next one does, and that only what was found to hold goes. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import type { ErasableRow } from '@dvt-relayer/db/queries/messages/retention.ts'
import { storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { afterEach, expect, it, vi } from 'vitest'
import type { ErasureLook } from '../../../../apps/relayer/src/services/exits/erasure-proof.ts'
import { createRetention } from '../../../../apps/relayer/src/services/exits/retention.ts'
import { openMessages } from '../../../support/stages/messages.ts'

afterEach(() => vi.restoreAllMocks())
const never = new AbortController().signal
const VAULT = Buffer.alloc(20, 7)
const OWNER = { vault: VAULT, publicKey: Buffer.alloc(65, 4) }
const LOOK_MS = 600_000
const NOTHING: ErasureLook = { held: [], broken: [], isDepositGone: false, reasons: [] }
const heldOf = ({ id, beaconIndex, oracleSetId }: ErasableRow) => ({
  ...{ validatorId: id, beaconIndex, oracleSetId, depositBlock: 1 },
  withdrawalCredentials: Buffer.alloc(32),
})
const allHeld = (rows: readonly ErasableRow[]): ErasureLook => ({ ...NOTHING, held: rows.map(heldOf) })

/** Registered validators with an exit each, and a process whose looks find what they are told to. */
async function openRounds(validators: number, { exitRetention = 'erase', owners = [] as (typeof OWNER)[] } = {}) {
  const { db, query } = await openMessages()
  await query(sql`
    insert into validators (public_key, registered_at, beacon_index, beacon_vault)
    select sha256(n::text::bytea) || substr(sha256(n::text::bytea), 1, 16), now(), n, ${VAULT} from generate_series(1, ${validators}::int) n`)
  await query(sql`
    insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, signature)
    select id, 'exit', beacon_index, 0, sha256(public_key), 1, 'ready', sha256(public_key) from validators`)
  const time = { at: 5_000_000 }
  vi.spyOn(performance, 'now').mockImplementation(() => time.at)
  const seen = {
    looks: [] as number[],
    ids: [] as number[],
    erased: [] as number[],
    reasons: [] as unknown[][],
    announced: 0,
  }
  const proof = { look: async (rows: readonly ErasableRow[]): Promise<ErasureLook> => allHeld(rows) }
  const wait = (of: string) => (reason: string, count?: number) => void seen.reasons.push([of, reason, count])
  const { run } = createRetention(
    {
      config: { network: networks.hoodi, exitRetention, owners },
      db,
      crypto: {},
      chain: { consensusNodes: [], execution: { host: 'node', each: [], getBlock: async () => undefined } },
      events: {
        exitsErased: (count: number) => void seen.erased.push(count),
        erasureWaits: wait('erase'),
        copiesWait: wait('copy'),
      },
      announced: () => void seen.announced++,
    } as unknown as Parameters<typeof createRetention>[0],
    {
      async look(rows) {
        if (seen.looks.push(rows.length) > 9) throw new Error('too many looks')
        seen.ids.push(...rows.map(({ id }) => id))
        return proof.look(rows)
      },
    },
  )
  return {
    db,
    query,
    time,
    proof,
    /** What one round does. */
    async round() {
      Object.assign(seen, { looks: [], ids: [], erased: [], reasons: [], announced: 0 })
      await run(never)
      return { ...seen }
    },
    pass: (hours: number) =>
      query(sql`update erasure_clocks set held_since = held_since - make_interval(hours => ${hours}::int)`),
    clocks: async () => (await query(sql`select from erasure_clocks`)).length,
    erased: async () =>
      (
        await query<{ id: number }>(sql`select validator_id::int as id from messages where state = 'erased' order by 1`)
      ).map(({ id }) => id),
  }
}
const WAITS = [['erase', 'the execution node does not say yet which block is final', undefined]]
const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, position) => from + position)

it('a round looks at all in batches, each once, and every ten minutes; a day after they held they are erased', async () => {
  const { round, time, pass, clocks, erased, query } = await openRounds(501)
  const quiet = { looks: [], ids: [], erased: [], reasons: [], announced: 0 }
  const looked = { ...quiet, looks: [250, 250, 1], ids: ids(1, 501), reasons: WAITS }
  expect(await round()).toEqual(looked)
  expect([await clocks(), await erased()]).toEqual([501, []])
  await pass(24)
  time.at += LOOK_MS - 1
  expect(await round()).toEqual(quiet)
  time.at += 1
  const [before] = await query<{ newest: string }>(sql`select max(revision) as newest from messages`)
  expect(await round()).toEqual({ ...looked, erased: [501], announced: 3 })
  expect(await erased()).toEqual(ids(1, 501))
  expect(await query(sql`select from messages where revision <= ${before?.newest}`)).toEqual([])
  time.at += LOOK_MS
  expect(await round()).toEqual(quiet)
})

it('a round stops after twenty seconds, and the next one goes on at once from there', async () => {
  const { round, time, proof } = await openRounds(501)
  let ms = 10_000
  proof.look = async (rows) => {
    time.at += ms
    return allHeld(rows)
  }
  expect(await round()).toMatchObject({ looks: [250, 250], ids: ids(1, 500), reasons: WAITS })
  ms = 20_000
  expect(await round()).toMatchObject({ looks: [1], ids: [501], reasons: [] })
  expect(await round()).toMatchObject({ looks: [], reasons: [] })
  time.at += LOOK_MS
  expect(await round()).toMatchObject({ looks: [250], ids: ids(1, 250), reasons: WAITS })
})

it('a batch that is the last one and full is looked at once, and nothing is erased that nobody held', async () => {
  const { round, time, pass, clocks, erased, proof, query } = await openRounds(250)
  await round()
  await pass(24)
  time.at += LOOK_MS
  // Of the others one waits, one is contradicted, and one goes while it is looked at.
  proof.look = async (rows) => {
    await query(sql`delete from erasure_clocks where validator_id = 3`)
    await query(sql`update validators set registered_at = null, beacon_index = null where id = 3`)
    return {
      ...allHeld(rows.filter(({ id }) => id === 4)),
      broken: [2],
      reasons: [{ reason: 'why', validators: 249 }],
    }
  }
  expect(await round()).toEqual({
    ...{ looks: [250], ids: ids(1, 250), erased: [1], announced: 1 },
    reasons: [...WAITS, ['erase', 'why', 249]],
  })
  expect([await erased(), await clocks()]).toEqual([[4], 248])
  time.at += LOOK_MS
  proof.look = async (rows) => {
    await query(sql`delete from erasure_clocks`)
    await query(sql`update validators set registered_at = null, beacon_index = null`)
    return { ...NOTHING, held: [], broken: rows.map(({ id }) => id) }
  }
  expect(await round()).toMatchObject({ looks: [248], erased: [], announced: 0 })
})

it('nobody is told where what was to be erased is somebody else’s by then', async () => {
  const { round, time, pass, proof, query, erased } = await openRounds(1)
  await round()
  await pass(24)
  time.at += LOOK_MS
  proof.look = async (rows) => {
    await query(sql`update messages set state = 'erased', signature = null`)
    return allHeld(rows)
  }
  expect(await round()).toMatchObject({ looks: [1], erased: [], announced: 0 })
  expect(await erased()).toEqual([1])
})

it('where exits are kept, those that an owner is to have a copy of are looked at, and nothing is erased', async () => {
  const { db, round, time, pass, clocks, erased, proof } = await openRounds(3, {
    exitRetention: 'keep',
    owners: [OWNER],
  })
  await storeCheckpoint(db, 'registry', {})
  proof.look = async (rows) => ({ ...allHeld(rows), reasons: [{ reason: 'why', validators: 1 }] })
  expect(await round()).toEqual({ looks: [3], ids: [1, 2, 3], erased: [], reasons: [['copy', 'why', 1]], announced: 0 })
  await pass(24)
  time.at += LOOK_MS
  expect(await round()).toMatchObject({ looks: [3], erased: [], announced: 0 })
  expect([await clocks(), await erased()]).toEqual([3, []])
})
