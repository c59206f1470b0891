/** What is deleted in time: old rows that callers can cause, and nothing that may still matter. */

import { randomBytes } from 'node:crypto'
import { deleteForgotten, insertValidators, lockForgotten } from '@dvt-relayer/db/queries/messages/validators.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { createSweep } from '../../../apps/relayer/src/services/signatures/sweep.ts'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const DAY = 86_400
const KEPT = { unready: 7 * DAY, ready: 180 * DAY }

/** Makes all there is as old as so many days. */
const age = async ({ query }: MessageStore, days: number) => {
  await query(sql`update validators set created_at = created_at - make_interval(days => ${days}::int)`)
  await query(sql`update messages set requested_at = requested_at - make_interval(days => ${days}::int)`)
}
const forget = ({ db }: MessageStore) =>
  db.transaction(async (tx) => deleteForgotten(tx, await lockForgotten(tx, KEPT, 500), KEPT))
const idsOf = async ({ query }: MessageStore, table: 'validators' | 'messages') =>
  (await query<{ id: string }>(sql`select id from ${sql.raw(table)} order by id`)).map(({ id }) => Number(id))

/** A validator with an exit in this state; the revisions are those of their order. */
async function addAsked(store: MessageStore, state: string, signature = false) {
  const { id, publicKey } = await store.addValidator()
  const exit = await store.addExit(id, { state: signature ? 'ready' : state })
  await store.query(sql`update messages set state = ${state}, revision = ${exit} where id = ${exit}`)
  return { id, publicKey, exit }
}

describe('a key that only a request made known', () => {
  it('is deleted a week after it was asked for last, with its exit, its candidates and its hints', async () => {
    const store = await openMessages()
    const { id, exit } = await addAsked(store, 'expired')
    const bare = await store.addValidator()
    await store.query(sql`insert into partial_signatures (message_id, share_index, digest, sealed, state)
                          values (${exit}, 1, ${randomBytes(32)}, ${randomBytes(32)}, 'unverified')`)
    await store.query(sql`insert into message_keys (message_id, sealed) values (${exit}, ${randomBytes(32)})`)
    await store.query(
      sql`insert into key_share_hints (validator_id, share_index, shares) values (${id}, 1, ${randomBytes(56)})`,
    )
    await age(store, 8)
    const last = await addAsked(store, 'collecting')
    expect(await forget(store)).toBe(2)
    expect(await idsOf(store, 'validators')).toEqual([last.id])
    expect(await idsOf(store, 'messages')).toEqual([last.exit])
    expect(bare.id).not.toBe(last.id)
    expect(
      await store.query(sql`select 1 from partial_signatures union all select 1 from message_keys
                                 union all select 1 from key_share_hints`),
    ).toEqual([])
  })

  it('stays while anything of it may matter', async () => {
    const store = await openMessages()
    const kept: number[] = []
    for (const state of ['collecting', 'ready', 'erased'])
      kept.push((await addAsked(store, state, state === 'ready')).id)
    // An exit that was ready may have been given to oracles for a deposit that waits on the chain.
    kept.push((await addAsked(store, 'expired', true)).id)
    const change = async (statement: (of: { id: number; publicKey: Uint8Array }) => ReturnType<typeof sql>) => {
      const made = await addAsked(store, 'expired')
      await store.query(statement(made))
      kept.push(made.id)
    }
    const vault = randomBytes(20)
    await store.query(sql`insert into clusters (id, name, threshold) values (1, 'a', 1)`)
    await change(({ id }) => sql`update validators set cluster_id = 1 where id = ${id}`)
    await change(
      ({ id }) =>
        sql`update validators set vault = ${vault}, reserved_at = now(), vault_asked_at = now() where id = ${id}`,
    )
    await change(({ id }) => sql`update validators set withdrawal_address = ${vault} where id = ${id}`)
    await change(({ id }) => sql`update validators set listed_vault = ${vault} where id = ${id}`)
    await change(({ id }) => sql`update validators set is_held = true where id = ${id}`)
    await change(({ id }) => sql`insert into deposit_blocks (validator_id, block_number) values (${id}, 1)`)
    // Its clock was started by a round that had looked before its registration was undone.
    await change(
      ({ id }) => sql`insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block)
                                 values (${id}, 1, ${randomBytes(32)}, 1)`,
    )
    await change(({ id }) => sql`update validators set beacon_index = 1, registered_at = now() where id = ${id}`)
    await change(({ id }) => sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${vault})`)
    await change(
      ({ id }) => sql`insert into lock_deposits (validator_id, vault, validator_type, amount_gwei, signature)
                                 values (${id}, ${vault}, '0x01', 32000000000, ${randomBytes(96)})`,
    )
    await change(
      ({ id }) => sql`insert into key_shares (validator_id, share_index, public_key_share, source)
                                 values (${id}, 1, ${randomBytes(48)}, 'lock')`,
    )
    await change(
      ({ publicKey }) =>
        sql`insert into registry_validators (public_key, block_number) values (${Buffer.from(publicKey)}, 1)`,
    )
    // A node may still sign a deposit that expired: the key is then that vault's for good.
    const expired = await addAsked(store, 'expired')
    await store.addDeposit(expired.id, { state: 'expired' })
    kept.push(expired.id)
    await age(store, 100)
    // Asked for a moment ago; and the newest revision of all, which processes that start come by.
    kept.push((await addAsked(store, 'expired')).id, (await addAsked(store, 'expired')).id)
    expect(await forget(store)).toBe(0)
    expect(await idsOf(store, 'validators')).toEqual(kept)
  })

  it('is kept by every table that refers to it, or is deleted with what stands there', async () => {
    const store = await openMessages()
    const referring = await store.query<{ name: string }>(sql`
      select conrelid::regclass::text as name from pg_constraint where contype = 'f' and confrelid = 'validators'::regclass order by 1`)
    // A row of any other table would make each round of the sweep fail.
    const known = [
      ...[
        'deposit_bindings',
        'deposit_blocks',
        'erasure_clocks',
        'key_share_hints',
        'key_shares',
        'lock_deposits',
        'messages',
      ],
    ]
    expect(referring.map(({ name }) => name)).toEqual(known)
  })

  it('is not deleted when it is asked for meanwhile', async () => {
    const store = await openMessages()
    const { id, publicKey } = await addAsked(store, 'expired')
    await age(store, 8)
    await addAsked(store, 'collecting')
    await store.db.transaction(async (tx) => {
      expect(await lockForgotten(tx, KEPT, 500)).toEqual([id])
      // As if it had been committed before the lock was there, and after the look.
      await store.query(sql`update messages set requested_at = now() where validator_id = ${id}`)
      expect(await deleteForgotten(tx, [id], KEPT)).toBe(0)
    })
    await insertValidators(store.db, [publicKey])
    expect(await idsOf(store, 'validators')).toContain(id)
  })
})

/** The sweep, and how many exits and deposits it said have expired, each time. */
function sweepOf({ db }: MessageStore) {
  const expired: number[][] = []
  const sweep = createSweep({
    config: { validatorLifetimeSeconds: 3600 } as never,
    db,
    queue: { add: async () => 'added', counts: async () => undefined } as never,
    events: { messagesExpired: (...counts: number[]) => expired.push(counts), messagesCounted() {} } as never,
    announced() {},
  })
  return { sweep, expired }
}

it('a round of the sweep expires what nobody asks for any more, and counts exits and deposits apart', async () => {
  const store = await openMessages()
  const ids: number[] = []
  for (let n = 0; n < 3; n++) {
    const { id } = await store.addValidator()
    ids.push(await store.addExit(id))
    if (n > 0) continue
    const deposit = await store.addDeposit(id)
    await store.query(sql`update messages set requested_at = now() - interval '2 hours' where id = ${deposit}`)
  }
  const [first, second] = ids
  await store.query(
    sql`update messages set requested_at = now() - interval '2 hours' where id in (${first}, ${second})`,
  )
  const { sweep, expired } = sweepOf(store)
  await sweep.run()
  await sweep.run()
  expect(expired).toEqual([[2, 1]])
})

it('a round of the sweep deletes more old rows than fit into one batch', async () => {
  const store = await openMessages()
  const { id } = await store.addValidator()
  await store.query(sql`
    insert into oracle_nonces (oracle, nonce, seen_at)
    select decode(repeat('11', 20), 'hex'), int8send(n) || int8send(n), now() - interval '1 hour' from generate_series(1, 1700) n`)
  await store.query(sql`
    insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state, requested_at, revision)
    select ${id}, 'exit', n, 0, decode(repeat('22', 32), 'hex'), 1, 'superseded', now() - interval '2 days', n from generate_series(1, 1700) n`)
  const { sweep } = sweepOf(store)
  await sweep.run()
  expect(await store.query(sql`select 1 from oracle_nonces`)).toEqual([])
  // The newest revision stays.
  expect(await store.query(sql`select revision::int from messages`)).toEqual([{ revision: 1700 }])
})
