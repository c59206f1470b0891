/** Validators of a page: which are listed, for whom, in which order, and where the next page goes on. */

import { Buffer } from 'node:buffer'
import { findByKeyRange, findCollectingPage } from '@dvt-relayer/db/queries/status/validators.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { type MessageStore, openMessages } from '../../support/stages/messages.ts'

const [A, B, C] = [1, 2, 3].map((byte) => Buffer.alloc(20, byte)) as [Buffer, Buffer, Buffer]
const EVERYTHING = { vaults: undefined, shareIndexes: undefined }

/** Validators with numbers for keys, and the numbers of keys. */
async function openNumbered(count: number) {
  const store = await openMessages()
  const ids: number[] = []
  for (let n = 1; n <= count; n++) {
    const { id } = await store.addValidator()
    await store.query(sql`update validators set public_key = ${keyOf(n)} where id = ${id}`)
    ids.push(id)
  }
  const idOf = (n: number) => ids[n - 1] ?? 0
  return { store, idOf }
}
const keyOf = (n: number) => Buffer.alloc(48, n)
const numbersOf = (keys: readonly Buffer[]) => keys.map((key) => key[0])

async function pageOf(
  { db }: MessageStore,
  { after = 0, limit = 9, mostLooked = 99, scope = EVERYTHING as Parameters<typeof findCollectingPage>[1] } = {},
): Promise<[(number | undefined)[], number | null]> {
  const { publicKeys, next } = await findCollectingPage(db, scope, { after, limit, mostLooked })
  return [numbersOf(publicKeys), next]
}

it('of those with something that is collected, by the message that was asked for first', async () => {
  const { store, idOf } = await openNumbered(6)
  const deposit = (n: number, state = 'collecting') => store.addDeposit(idOf(n), { state })
  const exit = (n: number, state = 'collecting') => store.addExit(idOf(n), { state })
  expect(await pageOf(store)).toEqual([[], null])
  await exit(1, 'ready')
  await exit(2, 'superseded')
  const first = await deposit(3)
  const second = await exit(4)
  await exit(2, 'ready')
  const third = await exit(5)
  await exit(3)
  await deposit(4)
  const sixth = await deposit(2)
  await deposit(6, 'expired')
  expect(await pageOf(store)).toEqual([[3, 4, 5, 2], null])
  expect(await pageOf(store, { after: first })).toEqual([[4, 5, 2], null])
  expect(await pageOf(store, { after: third })).toEqual([[2], null])
  expect(await pageOf(store, { after: sixth })).toEqual([[], null])
  // As many as a page takes, with more behind it and without.
  expect(await pageOf(store, { limit: 1 })).toEqual([[3], first])
  expect(await pageOf(store, { limit: 2 })).toEqual([[3, 4], second])
  expect(await pageOf(store, { limit: 3 })).toEqual([[3, 4, 5], third])
  expect(await pageOf(store, { limit: 4 })).toEqual([[3, 4, 5, 2], null])
  // Of so many messages, though none of them may be a validator's first: the next page goes on behind the last that was looked at.
  expect(await pageOf(store, { mostLooked: 1 })).toEqual([[3], first])
  expect(await pageOf(store, { mostLooked: 3 })).toEqual([[3, 4, 5], third])
  expect(await pageOf(store, { mostLooked: 5, after: second })).toEqual([[5, 2], null])
  expect(await pageOf(store, { mostLooked: 4, after: second })).toEqual([[5, 2], sixth])
  expect(await pageOf(store, { mostLooked: 1, after: third })).toEqual([[], third + 1])
})

it('that the caller may see: of its vaults, its nodes and its clusters', async () => {
  const { store, idOf } = await openNumbered(6)
  const { query, trust } = store
  await query(sql`insert into clusters (id, name, threshold) values (1, 'a', 3), (2, 'b', 3)`)
  const set = (n: number, what: ReturnType<typeof sql>) =>
    query(sql`update validators set ${what} where id = ${idOf(n)}`)
  const reserved = (vault: Buffer) => sql`vault = ${vault}, reserved_at = now(), vault_asked_at = now()`
  await set(1, sql`beacon_vault = ${A}, withdrawal_address = ${B}, ${reserved(C)}, cluster_id = 1`)
  await set(2, sql`withdrawal_address = ${B}, ${reserved(C)}, cluster_id = 1`)
  await set(3, sql`${reserved(C)}, cluster_id = 2`)
  await set(4, sql`listed_vault = ${A}, ${reserved(B)}`)
  for (const [n, index] of [
    [1, 1],
    [1, 2],
    [2, 2],
    [3, 3],
  ] as const)
    await trust(idOf(n), index, Buffer.alloc(48, index))
  for (let n = 1; n <= 6; n++) await store.addExit(idOf(n))
  const from = { from: keyOf(0), to: keyOf(255), limit: 9, mostLooked: 9 }
  const cases: [Parameters<typeof findCollectingPage>[1], number[]][] = [
    [EVERYTHING, [1, 2, 3, 4, 5, 6]],
    [{ vaults: [A], shareIndexes: undefined }, [1, 4]],
    [{ vaults: [B], shareIndexes: undefined }, [2]],
    [{ vaults: [C, A], shareIndexes: undefined }, [1, 3, 4]],
    [{ vaults: [], shareIndexes: undefined }, []],
    // Where no node is known, each may be one.
    [{ vaults: undefined, shareIndexes: [1] }, [1, 4, 5, 6]],
    [{ vaults: undefined, shareIndexes: [2, 3] }, [1, 2, 3, 4, 5, 6]],
    [{ vaults: undefined, shareIndexes: [9] }, [4, 5, 6]],
    [{ ...EVERYTHING, clusterIds: new Set([1]) }, [1, 2]],
    [{ ...EVERYTHING, clusterIds: new Set([]) }, []],
    [{ vaults: [A, B], shareIndexes: [2], clusterIds: new Set([1, 2]) }, [1, 2]],
    [{ vaults: [B, C], shareIndexes: [2], clusterIds: new Set([1, 2]) }, [2]],
    [{ vaults: [A, B, C], shareIndexes: [1], clusterIds: new Set([1, 2]) }, [1]],
    [{ vaults: [A, B, C], shareIndexes: [2, 3], clusterIds: new Set([2]) }, [3]],
  ]
  for (const [scope, numbers] of cases) {
    expect([scope, await pageOf(store, { scope })]).toEqual([scope, [numbers, null]])
    expect([scope, numbersOf(await findByKeyRange(store.db, scope, from))]).toEqual([scope, numbers])
  }
  // Whatever is not seen is looked at: the page goes on behind it.
  const scope = { vaults: [C], shareIndexes: undefined }
  expect((await pageOf(store, { scope, mostLooked: 2 }))[0]).toEqual([])
  expect((await pageOf(store, { scope, mostLooked: 2 }))[1]).not.toBeNull()
})

it('whose key lies between two, these among them', async () => {
  const { store, idOf } = await openNumbered(5)
  await store.query(sql`update validators set withdrawal_address = ${A} where id in (${idOf(3)}, ${idOf(4)})`)
  const between = async (from: number, to: number, more: Partial<{ limit: number; mostLooked: number }> = {}) =>
    numbersOf(
      await findByKeyRange(store.db, EVERYTHING, {
        from: keyOf(from),
        to: keyOf(to),
        limit: 9,
        mostLooked: 9,
        ...more,
      }),
    )
  expect(await between(2, 4)).toEqual([2, 3, 4])
  expect(await between(6, 9)).toEqual([])
  expect(await between(1, 5, { limit: 2 })).toEqual([1, 2])
  expect(await between(1, 5, { mostLooked: 3 })).toEqual([1, 2, 3])
  const looked = { from: keyOf(1), to: keyOf(5), limit: 9, mostLooked: 3 }
  expect(numbersOf(await findByKeyRange(store.db, { vaults: [A], shareIndexes: undefined }, looked))).toEqual([3])
})
