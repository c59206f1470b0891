/** Reservations of keys for vaults, as rows: whose they are, since when, and what asking for them again changes. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { findReserved, reserveValidators, touchReservations } from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { RelayerConfig } from '../../../apps/relayer/src/config.ts'
import { createMessageRate } from '../../../apps/relayer/src/services/exits/message-rate.ts'
import { createKeyChoice, findChosen } from '../../../apps/relayer/src/services/registrations/choose-keys.ts'
import { createKeysOnChain } from '../../../apps/relayer/src/services/registrations/keys-on-chain.ts'
import { openMessages } from '../../support/stages/messages.ts'

const VAULT = new Uint8Array(20).fill(1)
const HOUR = 3600
const OTHER_VAULT = new Uint8Array(20).fill(2)

/** A database with one cluster, whose validators have the places in which they are added. */
async function openReservations() {
  const store = await openMessages()
  await store.query(sql`insert into clusters (id, name, threshold) values (1, 'a', 3)`)
  let place = 0
  return {
    ...store,
    /** A validator of the cluster, asked for and reserved so many seconds ago where it is a vault's. */
    async add(vault?: Uint8Array, { askedAgo = 0, reservedAgo = 0, isHeld = false } = {}) {
      const { id, publicKey } = await store.addValidator(vault)
      await store.query(sql`
        update validators set cluster_id = 1, place = ${place++}, is_held = ${isHeld},
               vault_asked_at = vault_asked_at - make_interval(secs => ${askedAgo}::float8),
               reserved_at = reserved_at - make_interval(secs => ${reservedAgo}::float8) where id = ${id}`)
      return { id, publicKey }
    },
    /** Vault, and how many seconds ago it was asked for and reserved, to the hour. */
    async row(id: number) {
      const [row] = await store.query<{ vault: Buffer | null; asked: number; reserved: number; is_held: boolean }>(sql`
        select vault, round(extract(epoch from now() - vault_asked_at) / 3600)::int * 3600 as asked,
               round(extract(epoch from now() - reserved_at) / 3600)::int * 3600 as reserved, is_held from validators where id = ${id}`)
      return { ...row, vault: row?.vault?.[0] }
    },
  }
}

describe('a reservation', () => {
  it('is touched for its own vault, where it was named, and not again within the time', async () => {
    const store = await openReservations()
    const old = { askedAgo: 4 * HOUR }
    const [named, unnamed] = [await store.add(VAULT, old), await store.add(VAULT, old)]
    const [others, recent] = [await store.add(OTHER_VAULT, old), await store.add(VAULT, { askedAgo: HOUR })]
    await touchReservations(store.db, [named.id, others.id, recent.id], VAULT, 2 * HOUR)
    const asked = async ({ id }: { id: number }) => (await store.row(id)).asked
    expect([await asked(named), await asked(unnamed), await asked(others), await asked(recent)]).toEqual([
      0,
      4 * HOUR,
      4 * HOUR,
      HOUR,
    ])
  })

  it('is touched the moment after that time, and not at the moment itself', async () => {
    const store = await openReservations()
    const { id } = await store.add(VAULT)
    const isTouchedAfter = (seconds: number) =>
      store.db.transaction(async (tx) => {
        // One transaction has one time.
        await tx.execute(sql`update validators set vault_asked_at = now() - make_interval(secs => ${seconds}::float8)`)
        await touchReservations(tx, [id], VAULT, HOUR)
        return (await tx.execute(sql`select from validators where vault_asked_at = now()`)).rowCount === 1
      })
    expect(await isTouchedAfter(HOUR)).toBe(false)
    expect(await isTouchedAfter(HOUR + 1)).toBe(true)
  })

  it('that is made again keeps its place and its hold; for another vault it begins anew, and holds nothing', async () => {
    const store = await openReservations()
    const old = { askedAgo: 4 * HOUR, reservedAgo: 4 * HOUR, isHeld: true }
    const [own, others, free, unnamed] = [
      await store.add(VAULT, old),
      await store.add(OTHER_VAULT, old),
      await store.add(),
      await store.add(OTHER_VAULT, old),
    ]
    await store.db.transaction((tx) => reserveValidators(tx, [own.id, others.id, free.id], VAULT))
    expect(await store.row(own.id)).toEqual({ vault: 1, asked: 0, reserved: 4 * HOUR, is_held: true })
    expect(await store.row(others.id)).toEqual({ vault: 1, asked: 0, reserved: 0, is_held: false })
    expect(await store.row(free.id)).toEqual({ vault: 1, asked: 0, reserved: 0, is_held: false })
    expect(await store.row(unnamed.id)).toEqual({ vault: 2, asked: 4 * HOUR, reserved: 4 * HOUR, is_held: true })
  })

  it('is found in the order in which it was made, while nothing else has the key', async () => {
    const store = await openReservations()
    const second = await store.add(VAULT, { reservedAgo: 60 })
    const first = await store.add(VAULT, { reservedAgo: 120 })
    const third = await store.add(VAULT)
    const excluded = await store.add(VAULT)
    await store.add(OTHER_VAULT)
    await store.add()
    /** Reserved for the vault, and something else as well. */
    const withMore = async (statement: (of: { id: number; publicKey: Buffer }) => ReturnType<typeof sql>) => {
      const { id, publicKey } = await store.add(VAULT)
      await store.query(statement({ id, publicKey: Buffer.from(publicKey) }))
      return id
    }
    const other = Buffer.from(OTHER_VAULT)
    await withMore(({ id }) => sql`update validators set withdrawal_address = ${other} where id = ${id}`)
    await withMore(({ id }) => sql`update validators set listed_vault = ${other} where id = ${id}`)
    await withMore(({ id }) => sql`update validators set registered_at = now(), beacon_index = 1 where id = ${id}`)
    await withMore(
      ({ publicKey }) => sql`insert into registry_validators (public_key, block_number) values (${publicKey}, 1)`,
    )
    await withMore(({ id }) => sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${other})`)
    const own = Buffer.from(VAULT)
    const named = [
      await withMore(({ id }) => sql`update validators set withdrawal_address = ${own} where id = ${id}`),
      await withMore(({ id }) => sql`update validators set listed_vault = ${own} where id = ${id}`),
      await withMore(({ id }) => sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${own})`),
    ]
    const found = await findReserved(store.db, VAULT, { limit: 99, excluded: [excluded.publicKey] })
    expect(found.map(({ id }) => id)).toEqual([first.id, second.id, third.id, ...named])
    expect(found.every(({ isReserved, threshold }) => isReserved && threshold === 3)).toBe(true)
    expect(await findReserved(store.db, VAULT, { limit: 2, excluded: [] })).toHaveLength(2)
  })
})

it('fewer keys than are asked for are no poll, and the chain is not asked for them', async () => {
  const store = await openReservations()
  for (let keys = 0; keys < 2; keys++) await store.add(VAULT)
  const asked: string[] = []
  const absent = (who: string) => async (keys: readonly Uint8Array[]) => {
    asked.push(`${who} ${keys.length}`)
    return keys.map(() => false)
  }
  const view = { isRegistered: absent('contract') } as unknown as Parameters<typeof createKeysOnChain>[0]
  const context = { db: store.db, config: { validatorLifetimeSeconds: HOUR } } as Parameters<typeof findChosen>[0]
  const poll = (count: number) =>
    findChosen(context, {
      request: {
        vault: VAULT,
        startIndex: 7,
        amountsGwei: Array<number>(count).fill(32e9),
        validatorType: '0x01',
        caller: null,
      },
      requester: 'a',
      nextIndex: 7,
      onChain: createKeysOnChain(view, { knownKeys: absent('node') }),
    })
  expect([await poll(3), asked]).toEqual([undefined, []])
  // These are enough, and have no messages yet.
  expect([await poll(2), asked]).toEqual([undefined, ['contract 2', 'node 2']])
})

it('a vault that asks again for more keys than there are changes nothing, until there is one more', async () => {
  const store = await openReservations()
  const keys = [await store.add(), await store.add()]
  const config = {
    network: networks.hoodi,
    limits: { keys: 10, openExits: 10 },
    validatorLifetimeSeconds: HOUR,
  } as unknown as RelayerConfig
  const seen = { announced: 0, assigned: 0 }
  const choosing = createKeyChoice({
    config,
    db: store.db,
    events: { registrationsAssigned: () => seen.assigned++ } as unknown as Parameters<
      typeof createKeyChoice
    >[0]['events'],
    announced: () => seen.announced++,
    messageRate: createMessageRate(config),
  })
  const absent = async (of: readonly Uint8Array[]) => of.map(() => false)
  const view = { isRegistered: absent } as unknown as Parameters<typeof createKeysOnChain>[0]
  const ask = (startIndex: number) =>
    choosing.choose({
      request: { vault: VAULT, startIndex, amountsGwei: [32e9, 32e9, 32e9], validatorType: '0x01', caller: null },
      requester: 'vault:1',
      nextIndex: 7,
      onChain: createKeysOnChain(view, { knownKeys: absent }),
    })
  /** Which transaction wrote each row last: what is written again has another, whatever is in it. */
  const written = async () =>
    (
      await store.query<{ row: string }>(sql`
        select xmin || ' ' || id as row from validators union all select xmin || ' ' || id from messages order by 1`)
    ).map(({ row }) => row)

  const chosen = await ask(7)
  expect(chosen.map(({ publicKey }) => publicKey)).toEqual(keys.map(({ publicKey }) => Buffer.from(publicKey)))
  expect(seen).toEqual({ announced: 1, assigned: 1 })
  const before = await written()
  expect(await ask(7)).toEqual(chosen)
  expect([await written(), seen]).toEqual([before, { announced: 1, assigned: 1 }])

  const third = await store.add()
  expect((await ask(7)).map(({ publicKey }) => publicKey)).toEqual(
    [...keys, third].map(({ publicKey }) => Buffer.from(publicKey)),
  )
  expect(seen).toEqual({ announced: 2, assigned: 2 })
  // Another index is another exit, whatever keys there are.
  await ask(9)
  expect(seen).toEqual({ announced: 3, assigned: 3 })
})
