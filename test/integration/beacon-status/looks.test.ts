/** Looks at the finalized state: when those that are registered are asked about again, in which batches, and what a look leaves for the next. */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { sql } from 'drizzle-orm'
import { afterEach, expect, it, vi } from 'vitest'
import { createBeaconStatus } from '../../../apps/relayer/src/services/beacon-status/beacon-status.ts'
import { openMessages } from '../../support/stages/messages.ts'

afterEach(() => vi.restoreAllMocks())
const never = new AbortController().signal
const HOUR = 3_600_000

/** Registered validators that the state has at their index plus `off`, and a service that counts what it asks and notes. */
async function openLooks(count: number) {
  const store = await openMessages()
  const { db, query } = store
  await query(sql`
    insert into validators (public_key, registered_at, beacon_index)
    select sha256(n::text::bytea) || substr(sha256(n::text::bytea), 1, 16), now(), n from generate_series(1, ${count}::int) n`)
  // Nobody counts these here.
  await query(sql`delete from validator_changes`)
  const keys = await query<{ id: number; public_key: Buffer }>(
    sql`select id::int, public_key from validators order by id`,
  )
  const state = new Map<string, ChainValidator>()
  const put = (id: number, publicKey: Uint8Array, more: Partial<ChainValidator> = {}) =>
    state.set(toHex(publicKey), {
      ...{ index: id, status: 'active_ongoing', withdrawalCredentials: `0x01${'00'.repeat(11)}${'07'.repeat(20)}` },
      ...more,
    } as ChainValidator)
  for (const { id, public_key: key } of keys) put(id, key)
  const time = { at: 50_000 }
  vi.spyOn(performance, 'now').mockImplementation(() => time.at)
  const said = { asked: [] as number[], registered: [] as number[], exited: [] as number[] }
  const chain = { root: 'a' }
  const registry = {
    finalizedRoot: async () => chain.root,
    async findFinal(): Promise<never> {
      throw new Error('asked for another state')
    },
    async findFinalized(publicKeys: readonly Uint8Array[], root: string) {
      expect(root).toBe(chain.root)
      if (said.asked.push(publicKeys.length) > 9) throw new Error('too many questions')
      return state
    },
  }
  const createService = (of: typeof db = db) =>
    createBeaconStatus({
      db: of,
      chain: { registry },
      events: {
        validatorsRegistered: (marked: number) => void said.registered.push(marked),
        validatorsExited: (marked: number) => void said.exited.push(marked),
        registrationDisagrees: () => {},
      },
    } as unknown as Parameters<typeof createBeaconStatus>[0])
  const service = createService()
  return {
    ...store,
    keys,
    put,
    time,
    createService,
    /** What one look at a state asks and notes. */
    async look(root: string, by = service) {
      Object.assign(said, { asked: [], registered: [], exited: [] })
      chain.root = root
      return { isNew: await by.look(never), ...said }
    },
  }
}
const quiet = { isNew: true, asked: [], registered: [], exited: [] }

it('those that are registered are asked about once an hour, each state once', async () => {
  const { look, time, put, keys } = await openLooks(1)
  expect(await look('a')).toEqual({ ...quiet, asked: [1] })
  expect(await look('a')).toEqual({ ...quiet, isNew: false })
  put(1, keys[0]?.public_key ?? new Uint8Array(), { status: 'active_exiting' })
  time.at += HOUR
  expect(await look('b')).toEqual(quiet)
  time.at += 1
  expect(await look('b')).toEqual({ ...quiet, isNew: false })
  expect(await look('c')).toEqual({ ...quiet, asked: [1], exited: [1] })
  time.at += HOUR + 1
  // It has left for good.
  expect(await look('d')).toEqual(quiet)
})

it('many are asked about in batches, each of them once', async () => {
  const { look } = await openLooks(1001)
  expect(await look('a')).toEqual({ ...quiet, asked: [1000, 1] })
})

it('what a look has found of a validator is noted with its shares shown again, and told where there is any', async () => {
  const { look, put, query, addValidator, addExit } = await openLooks(0)
  const { id, publicKey } = await addValidator()
  const exit = await addExit(id, { index: 5, state: 'ready' })
  await query(sql`
    insert into oracle_sets (id, cid, threshold, public_keys, config, block_number, announced_at, is_current)
    values (1, 'a', 1, ${Buffer.alloc(65)}, '{}', 1, now(), false), (2, 'b', 1, ${Buffer.alloc(65)}, '{}', 2, now(), true)`)
  await query(sql`
    insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision)
    values (${exit}, 1, ${Buffer.alloc(48)}, ${Buffer.alloc(193)}, ${Buffer.alloc(32)}, 0)`)
  const revision = async () =>
    (await query<{ revision: string }>(sql`select revision from oracle_shares`)).map(({ revision: of }) => Number(of))
  expect(await look('a')).toEqual({ ...quiet, asked: [1] })
  expect(await revision()).toEqual([0])
  put(5, publicKey)
  // The new one is asked about again with the others that are registered.
  expect(await look('b')).toEqual({ ...quiet, asked: [1], registered: [1] })
  expect((await revision())[0]).toBeGreaterThan(0)
})

it('a look that could not count everything yet asks nothing, and the next one does', async () => {
  const { db, look, createService, addValidator } = await openLooks(1)
  await addValidator()
  // Where others have taken the changes and do not get on, tallies stay as they are.
  const busy = createService(Object.create(db, { transaction: { value: async () => {} } }))
  expect(await look('a', busy)).toEqual({ ...quiet, isNew: false })
  expect(await look('a')).toEqual({ ...quiet, asked: [1] })
})
