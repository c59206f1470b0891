/** Vaults that asked for keys in vain, as processes leave them in the database for whoever looks. */

import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createUnserved, findUnserved } from '../../../../apps/relayer/src/services/registrations/unserved.ts'
import { openMessages } from '../../../support/stages/messages.ts'

const NOW_MS = 1_700_000_000_000
const vaultOf = (number: number) => new Uint8Array(20).fill(number)
const nameOf = (number: number) => checksumAddress(vaultOf(number))

async function setUp() {
  const store = await openMessages()
  let now = NOW_MS
  const events = { vaultUnserved: () => {} } as unknown as Parameters<typeof createUnserved>[0]['events']
  const start = () => {
    const { note, write } = createUnserved({ db: store.db, events }, () => now)
    return {
      write,
      note: (vault: number, validators: number) =>
        note({ vault: vaultOf(vault), amountsGwei: Array<number>(validators).fill(32e9), caller: null }),
    }
  }
  return {
    ...store,
    start,
    pass(seconds: number) {
      now += seconds * 1000
    },
    found: async (seconds = 0) =>
      (await findUnserved(store.db, now + seconds * 1000)).map(({ vault, asked_at, validators }) => [
        vault,
        asked_at,
        validators,
      ]),
  }
}
const ASKED = Math.floor(NOW_MS / 1000)

it('are those of all processes, each as it asked last, for ten minutes', async () => {
  const store = await setUp()
  const [one, other] = [store.start(), store.start()]
  expect(await store.found()).toEqual([])
  one.note(1, 2)
  await one.write()
  expect(await store.found()).toEqual([[nameOf(1), ASKED, 2]])
  store.pass(100)
  other.note(2, 1)
  other.note(2, 3)
  await other.write()
  expect(await store.found()).toEqual([
    [nameOf(2), ASKED + 100, 3],
    [nameOf(1), ASKED, 2],
  ])
  store.pass(100)
  one.note(1, 5)
  await one.write()
  expect(await store.found()).toEqual([
    [nameOf(1), ASKED + 200, 5],
    [nameOf(2), ASKED + 100, 3],
  ])
  expect(await store.found(499)).toHaveLength(2)
  expect(await store.found(500)).toEqual([[nameOf(1), ASKED + 200, 5]])
  expect(await store.found(600)).toEqual([])
})

it('are the 32 that asked last, and are written only where something new was noted', async () => {
  const store = await setUp()
  const [one, other] = [store.start(), store.start()]
  for (let vault = 1; vault <= 40; vault++) one.note(vault, 1)
  await one.write()
  expect((await store.found()).map(([name]) => name)).toEqual(Array.from({ length: 32 }, (_, i) => nameOf(i + 1)))
  other.note(50, 1)
  await other.write()
  const names = (await store.found()).map(([name]) => name)
  expect(names).toEqual([nameOf(50), ...Array.from({ length: 31 }, (_, i) => nameOf(i + 1))])
  await store.query(sql`delete from checkpoints`)
  await one.write()
  expect(await store.found()).toEqual([])
})

it('are told each why, by the keys there are now', async () => {
  const store = await setUp()
  const one = store.start()
  one.note(1, 1)
  one.note(2, 1)
  await one.write()
  const reasons = async () => (await findUnserved(store.db, NOW_MS)).map(({ vault, reason }) => [vault, reason])
  const none = 'no imported key is left, as last counted: all are registered, or none was imported'
  expect(await reasons()).toEqual([1, 2].map((number) => [nameOf(number), none]))
  await store.query(sql`
    insert into tallies (id, key, key_vault, validators, is_registered, has_exited, is_index_wrong, is_split_anew)
    values ('x', 'reserved', ${Buffer.from(vaultOf(1))}, 2, false, false, false, false)`)
  expect(await reasons()).toEqual([
    [nameOf(1), 'the keys it could have are reserved, or the chain has deposits of them'],
    [nameOf(2), 'the keys that are left are reserved for other vaults, or named for them'],
  ])
})
