/** The keys that vaults have left: whose are counted, when they are counted anew, and for how long a count is told. */

import { randomBytes } from 'node:crypto'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { sql } from 'drizzle-orm'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { createVaultKeyCount, findVaultKeys } from '../../../apps/relayer/src/services/census/vault-keys.ts'
import { openMessages } from '../../support/stages/messages.ts'

const [A, B, C] = [1, 2, 3].map((byte) => Buffer.alloc(20, byte)) as [Buffer, Buffer, Buffer]
const NOW = 1_800_000_000_000
const MANAGER = { keyFile: 'a', passwordFile: 'b' }

/** Two keys that any vault may get, four of one vault, one of them reserved, five that another has reserved, and one that is used. */
async function setUp(config: { manager?: typeof MANAGER; vaults?: Uint8Array[] }) {
  const { db, query } = await openMessages()
  const add = async (validators: number, key: string, vault: Buffer | null) => {
    const plain = { is_registered: false, has_exited: false, is_index_wrong: false, is_split_anew: false }
    const [id, of] = [randomBytes(32), vault].map((bytes) => bytes && `\\x${bytes.toString('hex')}`)
    const row = JSON.stringify({ ...plain, id, key, key_vault: of, validators })
    await query(sql`insert into tallies select * from jsonb_populate_record(null::tallies, ${row}::jsonb)`)
  }
  await add(2, 'free', null)
  await add(3, 'free', A)
  await add(1, 'reserved', A)
  await add(5, 'reserved', B)
  await add(9, 'used', A)
  const clock = { at: NOW }
  const now = vi.spyOn(Date, 'now').mockImplementation(() => clock.at)
  onTestFinished(() => now.mockRestore())
  const count = createVaultKeyCount({ db, config } as unknown as Context)
  const found = async () => (await findVaultKeys(db)).map(({ vault, keys }) => [vault, keys])
  return { add, clock, count, found }
}
const left = (vault: Uint8Array, keys: number) => [checksumAddress(vault), keys]

it('are counted for the vaults that are named, else for those that have keys, the fewest first', async () => {
  const named = await setUp({ vaults: [B, C] })
  expect(await named.found()).toEqual([])
  await named.count?.()
  expect(await named.found()).toEqual([left(C, 2), left(B, 7)])
  const every = await setUp({ manager: MANAGER })
  await every.count?.()
  expect(await every.found()).toEqual([left(A, 6), left(B, 7)])
  expect((await setUp({})).count).toBeUndefined()
})

it('are told of 256 vaults, those with the fewest', async () => {
  const others = Array.from({ length: 256 }, (_, n) => Buffer.alloc(20, `${n}.`.padEnd(20, 'x')))
  const { count, found } = await setUp({ vaults: [B, ...others] })
  await count?.()
  expect(await found()).toEqual(others.map((vault) => left(vault, 2)))
})

it('are counted anew after 45 seconds by whichever clock, and told for ten minutes', async () => {
  const { add, clock, count, found } = await setUp({ vaults: [C] })
  await count?.()
  await add(1, 'free', C)
  for (const at of [NOW + 44_999, NOW - 44_999]) {
    clock.at = at
    await count?.()
    expect(await found()).toEqual([left(C, 2)])
  }
  clock.at = NOW - 45_000
  await count?.()
  expect(await found()).toEqual([left(C, 3)])
  await add(1, 'free', C)
  clock.at = NOW
  await count?.()
  expect(await found()).toEqual([left(C, 4)])
  clock.at = NOW + 599_999
  expect(await found()).toEqual([left(C, 4)])
  clock.at = NOW + 600_000
  expect(await found()).toEqual([])
})

it('are none where nobody may get any', async () => {
  const { db } = await openMessages()
  await createVaultKeyCount({ db, config: { vaults: [A] } } as unknown as Context)?.()
  expect(await findVaultKeys(db)).toEqual([{ vault: checksumAddress(A), keys: 0 }])
})
