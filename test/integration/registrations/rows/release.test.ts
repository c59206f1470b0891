/** A key that is released from its vault: what ends with it, and what an administrator is told. */

import { lockAllocation } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { expect, it, vi } from 'vitest'
import { releaseKey } from '../../../../apps/relayer/src/services/registrations/release.ts'
import { openMessages } from '../../../support/stages/messages.ts'

const [VAULT, OTHER] = [new Uint8Array(20).fill(1), new Uint8Array(20).fill(2)]

async function openKeys() {
  const store = await openMessages()
  const { query, addValidator, addExit, addDeposit } = store
  return {
    ...store,
    /** A key of a vault with an exit and a deposit. */
    async add() {
      const { id, publicKey } = await addValidator(VAULT)
      return { id, publicKey, exit: await addExit(id), deposit: await addDeposit(id, { vault: VAULT }) }
    },
    bind: (id: number, vault: Uint8Array) =>
      query(sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${Buffer.from(vault)})`),
    /** A candidate of a deposit that nobody has judged. */
    send: (deposit: number) =>
      query(sql`
        insert into partial_signatures (message_id, share_index, digest, sealed, state)
        values (${deposit}, 1, ${Buffer.alloc(32)}, ${Buffer.of(1)}, 'unverified')`),
    kept: () =>
      query<{ id: number; vault: Buffer | null; bound: Buffer | null }>(sql`
        select v.id::int, v.vault, b.vault as bound
        from validators v left join deposit_bindings b on b.validator_id = v.id order by v.id`),
  }
}

it('frees it and ends its messages, which lists are told of, and nothing of other keys', async () => {
  const { db, add, bind, send, kept, message } = await openKeys()
  const [reserved, asked, bound, other] = [await add(), await add(), await add(), await add()]
  await send(asked.deposit)
  await bind(bound.id, OTHER)
  await bind(other.id, VAULT)
  for (const [key, told] of [
    [reserved, { vault: VAULT, wasBound: false, wasSigned: false }],
    [asked, { vault: VAULT, wasBound: false, wasSigned: true }],
    [bound, { vault: OTHER, wasBound: true, wasSigned: true }],
  ] as const) {
    const before = Math.max((await message(key.exit)).revision, (await message(key.deposit)).revision)
    const { vault, ...rest } = await releaseKey(db, key.publicKey)
    expect({ vault: new Uint8Array(vault), ...rest }).toEqual(told)
    for (const id of [key.exit, key.deposit]) {
      const { state, revision } = await message(id)
      expect(state).toBe('superseded')
      expect(revision).toBeGreaterThan(before)
    }
  }
  expect(await kept()).toEqual([
    ...[reserved, asked, bound].map(({ id }) => ({ id, vault: null, bound: null })),
    { id: other.id, vault: Buffer.from(VAULT), bound: Buffer.from(VAULT) },
  ])
  for (const id of [other.exit, other.deposit]) expect((await message(id)).state).toBe('collecting')
})

it('changes nothing of one that is unknown, registered or free', async () => {
  const { db, add, bind, addValidator, query, kept, message } = await openKeys()
  const [registered, free] = [await add(), await addValidator()]
  await bind(registered.id, VAULT)
  await query(sql`update validators set registered_at = now(), beacon_index = 1 where id = ${registered.id}`)
  const before = await kept()
  await expect(releaseKey(db, new Uint8Array(48))).rejects.toMatchObject({ code: 'KEY_UNKNOWN' })
  await expect(releaseKey(db, registered.publicKey)).rejects.toMatchObject({ code: 'KEY_REGISTERED' })
  await expect(releaseKey(db, free.publicKey)).rejects.toMatchObject({ code: 'KEY_FREE' })
  expect(await kept()).toEqual(before)
  expect((await message(registered.deposit)).state).toBe('collecting')
  // One that only its binding ties to a vault is not free.
  await bind(free.id, OTHER)
  expect(await releaseKey(db, free.publicKey)).toMatchObject({ wasBound: true })
})

it('waits for whoever gives out keys', async () => {
  const { db, add, query } = await openKeys()
  const { publicKey } = await add()
  const releasing = await db.transaction(async (tx) => {
    await lockAllocation(tx)
    const begun = releaseKey(db, publicKey)
    const waiting = sql`select from pg_locks where locktype = 'advisory' and not granted`
    await vi.waitFor(async () => expect(await query(waiting)).toHaveLength(1), { timeout: 5000 })
    return { begun }
  })
  expect(await releasing.begun).toMatchObject({ wasBound: false })
})
