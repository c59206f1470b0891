/** The list of keys as rows: which are the list's, which it names no more, and whose vaults it may not name. */

import { randomBytes } from 'node:crypto'
import {
  findListedElsewhere,
  findLockedKeys,
  storeKeyList,
  storeListedVaults,
  unlistKeys,
} from '@dvt-relayer/db/queries/messages/registrations.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { openMessages } from '../../../support/stages/messages.ts'

const [A, B] = [Buffer.alloc(20, 1), Buffer.alloc(20, 2)]

/** A database with a cluster of each source, and keys of each of them, by name. */
async function openLists() {
  const store = await openMessages()
  const clusters = new Map<string, number>()
  for (const source of ['lock', 'ssv', 'list']) {
    const [row] = await store.query<{ id: string }>(
      sql`insert into clusters (name, threshold, source) values (${source}, 3, ${source}) returning id`,
    )
    clusters.set(source, Number(row?.id))
  }
  const names = new Map<string, string>()
  return {
    ...store,
    names,
    async add(name: string, cluster: 'lock' | 'ssv' | 'list' | null) {
      const { id, publicKey } = await store.addValidator()
      names.set(Buffer.from(publicKey).toString('hex'), name)
      const of = cluster === null ? null : clusters.get(cluster)
      await store.query(
        sql`update validators set cluster_id = ${of}, place = ${of === null ? null : 7} where id = ${id}`,
      )
      return { id, publicKey: Buffer.from(publicKey) }
    },
    /** The source of the cluster of each key, and its place in it, by names. */
    async placed() {
      const rows = await store.query<{ key: Buffer; source: string | null; place: number | null }>(
        sql`select public_key as key, source, place from validators v left join clusters c on c.id = v.cluster_id order by v.id`,
      )
      return rows.map(({ key, source, place }) => [names.get(key.toString('hex')), source, place])
    },
  }
}

it('keys that the list names no more are nobody’s, and those of locks and SSV clusters stay what they are', async () => {
  const { db, add, placed } = await openLists()
  const { publicKey: listed } = await add('listed', 'list')
  await add('listed before', 'list')
  await add('of a lock', 'lock')
  await add('of SSV', 'ssv')
  await add('of nobody', null)
  expect(await unlistKeys(db, [listed])).toBe(1)
  const others = [
    ['listed before', null, null],
    ['of a lock', 'lock', 7],
    ['of SSV', 'ssv', 7],
    ['of nobody', null, null],
  ]
  expect(await placed()).toEqual([['listed', 'list', 7], ...others])
  expect(await unlistKeys(db, [listed])).toBe(0)
  expect(await unlistKeys(db, [])).toBe(1)
  expect(await placed()).toEqual([['listed', null, null], ...others])
})

it('keys are the list’s in its order, and its threshold theirs, unless a lock or SSV has them', async () => {
  const { db, query, names, add, placed } = await openLists()
  const of = [await add('of a lock', 'lock'), await add('of SSV', 'ssv')].map(({ publicKey }) => publicKey)
  const moved = await add('moved', 'list')
  const nobodys = await add('of nobody', null)
  const fresh = randomBytes(48)
  names.set(fresh.toString('hex'), 'new')
  expect(await storeKeyList(db, 5, [fresh, ...of, nobodys.publicKey, moved.publicKey])).toBe(3)
  expect(await placed()).toEqual([
    ['of a lock', 'lock', 7],
    ['of SSV', 'ssv', 7],
    ['moved', 'list', 5],
    ['of nobody', 'list', 4],
    ['new', 'list', 1],
  ])
  expect(await query(sql`select source, threshold from clusters order by source`)).toEqual([
    { source: 'list', threshold: 5 },
    { source: 'lock', threshold: 3 },
    { source: 'ssv', threshold: 3 },
  ])
  const found = await findLockedKeys(db, [...of.slice(0, 1), moved.publicKey, nobodys.publicKey, randomBytes(48)])
  expect(found).toEqual(of.slice(0, 1))
  expect(await findLockedKeys(db, of)).toHaveLength(2)
})

it('a first list makes its cluster', async () => {
  const { db, query } = await openMessages()
  const keys = [randomBytes(48), randomBytes(48)]
  expect(await storeKeyList(db, 3, keys)).toBe(2)
  expect(await query(sql`select name, threshold, source from clusters`)).toEqual([
    { name: 'PUBLIC_KEYS_FILE', threshold: 3, source: 'list' },
  ])
  expect(
    await query(sql`select public_key, place from validators where cluster_id is not null order by place`),
  ).toEqual(keys.map((key, i) => ({ public_key: key, place: i + 1 })))
})

it('vaults of keys become what the list says, and are gone where it does not name them: of those the ids are told', async () => {
  const { db, query, add } = await openLists()
  const [same, changed, named, dropped, never] = [
    await add('same', 'list'),
    await add('changed', 'list'),
    await add('named', null),
    await add('dropped', 'lock'),
    await add('never', null),
  ]
  await query(sql`update validators set listed_vault = ${A} where id in (${same.id}, ${changed.id}, ${dropped.id})`)
  const fresh = randomBytes(48)
  const listed = [
    { publicKey: same.publicKey, vault: A },
    { publicKey: changed.publicKey, vault: B },
    { publicKey: named.publicKey, vault: A },
    { publicKey: fresh, vault: B },
  ]
  const ids = await storeListedVaults(db, listed)
  const rows = await query<{ id: number; listed_vault: Buffer | null }>(
    sql`select id::int, listed_vault from validators order by id`,
  )
  const [added] = await query<{ id: number }>(sql`select id::int from validators where public_key = ${fresh}`)
  expect(rows).toEqual([
    { id: same.id, listed_vault: A },
    { id: changed.id, listed_vault: B },
    { id: named.id, listed_vault: A },
    { id: dropped.id, listed_vault: null },
    { id: never.id, listed_vault: null },
    { id: added?.id, listed_vault: B },
  ])
  expect(ids.toSorted((a, b) => a - b)).toEqual([changed.id, named.id, dropped.id, added?.id])
  expect(await storeListedVaults(db, listed)).toEqual([])
})

it('a vault that the list names is compared with the lock and the binding of its own key', async () => {
  const { db, query, add, names } = await openLists()
  const vaults = { lock: 'withdrawal_address', bound: 'vault' } as const
  const cases: { name: string; of: Partial<Record<keyof typeof vaults, Buffer>>; isLocked?: boolean }[] = [
    { name: 'of nobody', of: {} },
    { name: 'of this vault', of: { lock: A, bound: A } },
    { name: 'by its lock another’s', of: { lock: B, bound: A }, isLocked: true },
    { name: 'by its binding another’s', of: { lock: A, bound: B }, isLocked: false },
    { name: 'without a lock, by its binding another’s', of: { bound: B }, isLocked: false },
    { name: 'by both another’s', of: { lock: B, bound: B }, isLocked: true },
  ]
  const make = async ({ name, of }: (typeof cases)[number]) => {
    const { id, publicKey } = await add(name, null)
    if (of.lock !== undefined) await query(sql`update validators set withdrawal_address = ${of.lock} where id = ${id}`)
    if (of.bound !== undefined)
      await query(sql`insert into deposit_bindings (validator_id, vault) values (${id}, ${of.bound})`)
    return { publicKey, vault: A }
  }
  const listed: Awaited<ReturnType<typeof make>>[] = []
  for (const one of cases) listed.push(await make(one))
  // Not listed.
  await make({ name: 'another’s', of: { lock: B, bound: B } })
  const found = await findListedElsewhere(db, listed)
  const told = new Map(found.map(({ publicKey, isLocked }) => [names.get(publicKey.toString('hex')), isLocked]))
  expect(told).toEqual(
    new Map(cases.flatMap(({ name, isLocked }) => (isLocked === undefined ? [] : [[name, isLocked]]))),
  )
})
