/** Of which exits an owner is to have a copy, and which copies it is shown, row by row. */

import { randomBytes } from 'node:crypto'
import {
  findCopiesDue,
  findCopySources,
  findOwnerCopies,
  storeOwnerCopies,
} from '@dvt-relayer/db/queries/messages/retention.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../support/stages/messages.ts'
import { credentials } from '../../support/stages/registered.ts'

const [VAULT, OTHER] = [Buffer.alloc(20, 0xaa), Buffer.alloc(20, 0xbb)]
const [KEY, OTHER_KEY] = [Buffer.alloc(65, 4), Buffer.alloc(65, 5)]
const OWNERS = [{ vault: VAULT, publicKey: KEY }]

interface Made {
  state?: string
  lockVault?: Buffer | null
  binding?: Buffer
  /** Registered at the index of its exit plus this, with this vault. */
  onChain?: { indexOff?: number; vault: Buffer | null; set?: number }
  clock?: { indexOff?: number; vault: Buffer; set?: number }
  copy?: { vault: Buffer; key: Buffer }
}

/** Exits that are ready, of validators whose lock names the vault, unless told; the index of each is its own. */
async function openCopies() {
  const store = await openMessages()
  const { query, addValidator, addExit } = store
  let index = 100
  const add = async ({ state = 'ready', lockVault = VAULT, binding, onChain, clock, copy }: Made) => {
    const { id, publicKey } = await addValidator()
    index += 100
    const exit = await addExit(id, { index, state: state === 'collecting' ? state : 'ready' })
    await query(sql`update messages set state = ${state} where id = ${exit}`)
    await query(sql`update validators set withdrawal_address = ${lockVault} where id = ${id}`)
    if (binding) await query(sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${binding})`)
    if (onChain)
      await query(sql`
        update validators set registered_at = now(), beacon_index = ${index + (onChain.indexOff ?? 0)},
                              beacon_vault = ${onChain.vault}, oracle_set_id = ${onChain.set ?? null} where id = ${id}`)
    if (clock)
      await query(sql`
        insert into erasure_clocks (validator_id, beacon_index, withdrawal_credentials, deposit_block, oracle_set_id)
        values (${id}, ${index + (clock.indexOff ?? 0)}, ${Buffer.from(credentials(clock.vault))}, 1, ${clock.set ?? null})`)
    if (copy)
      await query(sql`
        insert into owner_copies (message_id, vault, owner_public_key, ciphertext)
        values (${exit}, ${copy.vault}, ${copy.key}, ${Buffer.from([exit])})`)
    return { id, publicKey: Buffer.from(publicKey), exit, index }
  }
  const [set] = await query<{ id: number }>(sql`
    insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at)
    values ('a', 1, ${Buffer.alloc(65)}, '{}', 1, now()) returning id`)
  return { ...store, add, set: Number(set?.id) }
}

it('a copy is due of each exit that is ready, may be of use, is certainly of the vault and has none under the key of its owner', async () => {
  const { db, query, add, addDeposit, set } = await openCopies()
  const ofChain = { lockVault: null, onChain: { vault: VAULT } }
  const due = [
    await add({}),
    await add({ lockVault: null, binding: VAULT }),
    await add({ copy: { vault: OTHER, key: KEY } }),
    await add({ copy: { vault: VAULT, key: OTHER_KEY } }),
    await add({ state: 'expired' }),
    await add({ onChain: { vault: VAULT } }),
    await add({ onChain: { vault: null } }),
    await add({ ...ofChain, clock: { vault: VAULT } }),
    await add({ lockVault: null, onChain: { vault: VAULT, set }, clock: { vault: VAULT, set } }),
    await add({ lockVault: OTHER, onChain: { vault: VAULT }, clock: { vault: VAULT } }),
  ]
  const none: [why: string, made: Made][] = [
    ['it has one', { copy: { vault: VAULT, key: KEY } }],
    ['its content changed', { state: 'superseded' }],
    ['it is not ready', { state: 'collecting' }],
    ['it is of another vault', { lockVault: OTHER }],
    ['it is of no vault', { lockVault: null }],
    ['it is bound to another vault', { lockVault: null, binding: OTHER }],
    ['it is registered at another index', { onChain: { vault: VAULT, indexOff: 1 } }],
    ['it is registered with another vault', { onChain: { vault: OTHER } }],
    ['the chain alone says so, without a clock', ofChain],
    ['the clock is of another index', { ...ofChain, clock: { vault: VAULT, indexOff: 1 } }],
    ['the clock is of another oracle set', { ...ofChain, clock: { vault: VAULT, set } }],
    ['the clock is of another vault', { ...ofChain, clock: { vault: OTHER } }],
  ]
  const others = new Map<string, number>()
  for (const [why, made] of none) others.set(why, (await add(made)).exit)
  const { id } = await add({ state: 'superseded' })
  others.set('it is a deposit', await addDeposit(id, { vault: VAULT, state: 'ready' }))

  const found = await findCopiesDue(db, OWNERS, 0, 99)
  expect([...others].filter(([, exit]) => found.includes(exit))).toEqual([])
  const ids = due.map(({ exit }) => exit)
  expect(found).toEqual(ids)
  expect(await findCopiesDue(db, OWNERS, ids[1] ?? 0, 3)).toEqual(ids.slice(2, 5))
  expect(await findCopiesDue(db, [], 0, 99)).toEqual([])
  const both = [...OWNERS, { vault: OTHER, publicKey: OTHER_KEY }]
  expect(await findCopiesDue(db, both, 0, 99)).toEqual(
    [...ids, others.get('it is of another vault') ?? 0, others.get('it is bound to another vault') ?? 0].sort(
      (a, b) => a - b,
    ),
  )

  const asked = [...ids.slice(1, 3), ...others.values()]
  const signatures = await query<{ id: number; signature: Buffer }>(sql`select id, signature from messages`)
  expect(await findCopySources(db, OWNERS, asked)).toEqual(
    due.slice(1, 3).map(({ exit, index }) => ({
      id: exit,
      kind: 'exit',
      epoch: 0,
      validatorIndex: index,
      signature: signatures.find((row) => Number(row.id) === exit)?.signature,
      vault: VAULT,
      ownerPublicKey: KEY,
    })),
  )
})

it('a copy is stored once, in place of the one for another key or vault, and only where its exit is there', async () => {
  const { db, query, add } = await openCopies()
  const [a, b] = [await add({}), await add({})]
  const stored = () =>
    query(sql`select message_id::int as id, vault, owner_public_key as key, ciphertext as text, created_at = now() as now
              from owner_copies order by 1`)
  const copy = (messageId: number, text: string, vault = VAULT, ownerPublicKey = KEY) => ({
    messageId,
    vault,
    ownerPublicKey,
    ciphertext: Buffer.from(text),
  })
  expect(await storeOwnerCopies(db, [])).toBe(0)
  expect(await storeOwnerCopies(db, [copy(a.exit, 'a')])).toBe(1)
  expect(await storeOwnerCopies(db, [copy(b.exit, 'b'), copy(a.exit, 'again'), copy(9999, 'gone')])).toBe(1)
  const as = (id: number, text: string, vault = VAULT, key = KEY) => ({
    id,
    vault,
    key,
    text: Buffer.from(text),
    now: false,
  })
  expect(await stored()).toEqual([as(a.exit, 'a'), as(b.exit, 'b')])
  await query(sql`update owner_copies set created_at = created_at - interval '1 day'`)
  expect(await storeOwnerCopies(db, [copy(a.exit, 'c', VAULT, OTHER_KEY), copy(b.exit, 'd', OTHER, KEY)])).toBe(2)
  expect(await stored()).toEqual([as(a.exit, 'c', VAULT, OTHER_KEY), as(b.exit, 'd', OTHER, KEY)])
  expect(await query(sql`select from owner_copies where created_at < now() - interval '1 hour'`)).toEqual([])
})

it('a vault is shown its copies, but none of no use, and none of a validator that went to another vault', async () => {
  const { db, query, add } = await openCopies()
  const copy = { vault: VAULT, key: KEY }
  const shown = [
    await add({ copy }),
    await add({ lockVault: null, copy }),
    await add({ onChain: { vault: VAULT }, copy }),
    await add({ state: 'erased', copy }),
    await add({ lockVault: null, binding: VAULT, copy }),
    await add({ lockVault: OTHER, onChain: { vault: VAULT }, copy }),
  ]
  const hidden: Made[] = [
    { copy: { vault: OTHER, key: KEY } },
    { lockVault: OTHER, copy: { vault: OTHER, key: KEY } },
    { lockVault: OTHER, copy },
    { lockVault: null, binding: OTHER, copy },
    { onChain: { vault: OTHER }, copy },
    { onChain: { vault: VAULT, indexOff: 1 }, copy },
    { state: 'superseded', copy },
    {},
  ]
  for (const made of hidden) await add(made)
  await query(sql`update owner_copies set created_at = to_timestamp(1700000000.9)`)
  const rows = shown.map(({ exit, publicKey, index }) => ({
    messageId: exit,
    publicKey,
    validatorIndex: index,
    epoch: 0,
    ownerPublicKey: KEY,
    ciphertext: Buffer.from([exit]),
    createdAtSeconds: 1_700_000_000,
  }))
  expect(await findOwnerCopies(db, VAULT, 0, 99)).toEqual(rows)
  expect(await findOwnerCopies(db, VAULT, rows[1]?.messageId ?? 0, 2)).toEqual(rows.slice(2, 4))
  expect(await findOwnerCopies(db, randomBytes(20), 0, 99)).toEqual([])
})
