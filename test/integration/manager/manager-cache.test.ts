/** What the manager tells of, and what it keeps in memory: each record told once, and no more signatures than it needs. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { createManagerWallet } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { deleteManagerSignatures } from '@dvt-relayer/db/queries/manager-signatures.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { createManager } from '../../../apps/relayer/src/services/registrations/manager.ts'
import { openMessages } from '../../support/stages/messages.ts'

const VAULT = new Uint8Array(20).fill(1)
const wallet = createManagerWallet(new Uint8Array(32).fill(7))

/** A manager on a database of its own: how often its wallet signed, and what it told. */
async function openManager(managerDailyLimitGwei?: number) {
  const { db, query } = await openMessages()
  let nowMs = 0
  const told: unknown[][] = []
  let signed = 0
  const manager = createManager(
    {
      config: { network: networks.hoodi, managerDailyLimitGwei } as Parameters<typeof createManager>[0]['config'],
      db,
      wallet: {
        ...wallet,
        sign: (message) => {
          signed++
          return wallet.sign(message)
        },
      },
      events: {
        managerSigned: (action, _, count, requester) => void told.push([action, count, requester]),
      } as Parameters<typeof createManager>[0]['events'],
    },
    () => nowMs,
  )
  return {
    db,
    query,
    /** Has time pass for the rate. */
    pass: (ms: number) => {
      nowMs += ms
    },
    told,
    signed: () => signed,
    rows: async () => (await query(sql`select from manager_signatures`)).length,
    /** Has the number-th thing signed. */
    sign: (
      number: number,
      action: 'register' | 'fund' = 'register',
      requester: string | null = 'first',
      { vault = VAULT, count = 1, root = 3 } = {},
    ) =>
      manager.sign({
        action,
        vault,
        requester,
        registryRoot: new Uint8Array(32).fill(root),
        validators: new Uint8Array(Buffer.alloc(176 * count, `validator ${number}`)),
        validatorCount: count,
        amountGwei: 1n,
      }),
  }
}

describe('the log of the manager', () => {
  it.each(['register', 'fund'] as const)(
    'has each new record once, and none for one that was there: %s',
    async (action) => {
      const { sign, told, rows } = await openManager()
      const first = await sign(1, action)
      expect(told).toEqual([[action, 1, 'first']])
      expect(await sign(1, action)).toEqual(first)
      expect([told.length, await rows()]).toEqual([1, 1])
      // Another requester, and something else, are other records.
      expect(await sign(1, action, null)).toEqual(first)
      await sign(2, action)
      expect(told).toEqual([
        [action, 1, 'first'],
        [action, 1, null],
        [action, 1, 'first'],
      ])
      expect(await rows()).toBe(3)
    },
  )

  it('has nothing of what was refused', async () => {
    const { sign, told, rows, signed } = await openManager(2)
    await sign(1, 'fund')
    await sign(2, 'fund')
    await expect(sign(3, 'fund')).rejects.toMatchObject({ code: 'DAILY_LIMIT' })
    expect([told.length, await rows(), signed()]).toEqual([2, 2, 2])
    // What was signed today is signed again, and a registration moves nothing.
    await sign(1, 'fund')
    await sign(4)
    expect([told.length, await rows(), signed()]).toEqual([3, 3, 4])
  })
})

describe('signatures of registrations', () => {
  it('are kept for the next poll, the 64 newest of them', async () => {
    const { sign, signed, told } = await openManager()
    const numbers = Array.from({ length: 64 }, (_, position) => position + 1)
    for (const number of numbers) await sign(number)
    expect(signed()).toBe(64)
    for (const number of numbers) await sign(number)
    expect(signed()).toBe(64)
    // One more, and the oldest is made anew, which is told no second time.
    const first = await sign(1)
    await sign(65)
    expect(signed()).toBe(65)
    await sign(2)
    expect(signed()).toBe(65)
    expect(await sign(1)).toEqual(first)
    expect([signed(), told.length]).toEqual([66, 65])
  })

  it('are those of registrations alone', async () => {
    const { sign, signed } = await openManager()
    expect(await sign(1, 'fund')).toEqual(await sign(1, 'fund'))
    expect(signed()).toBe(2)
  })
})

describe('new records', () => {
  const other = { vault: new Uint8Array(20).fill(2) }

  it('of one requester for one vault come at a rate, and what is recorded already is given out all the same', async () => {
    const { sign, pass, rows } = await openManager()
    for (let i = 0; i < 240; i++) await sign(i, 'fund')
    await expect(sign(240, 'fund')).rejects.toMatchObject({ code: 'RATE_LIMIT', retryAfterSeconds: 1 })
    expect(await rows()).toBe(240)
    for (const again of [0, 239]) await sign(again, 'fund')
    // Neither another requester nor another vault waits for it.
    await sign(240, 'fund', 'second')
    await sign(240, 'fund', 'first', other)
    pass(999)
    await expect(sign(240, 'fund')).rejects.toMatchObject({ code: 'RATE_LIMIT' })
    pass(1)
    await sign(240, 'fund')
    expect(await rows()).toBe(243)
  })

  it('of many validators count as several', async () => {
    const { sign, rows } = await openManager()
    for (let i = 0; i < 12; i++) await sign(i, 'fund', 'first', { count: 1000 })
    await expect(sign(12, 'fund')).rejects.toMatchObject({ code: 'RATE_LIMIT' })
    expect(await rows()).toBe(12)
  })
})

describe('old records', () => {
  const YEAR = 366 * 86_400

  it('are deleted after a year, but those of a nonce or root that may still be the vault’s', async () => {
    const { db, query, sign } = await openManager()
    await sign(1, 'fund', 'first', { root: 1 })
    await sign(2, 'fund', 'first', { root: 2 })
    await sign(3, 'register', 'first', { root: 9 })
    await sign(4, 'register', 'first', { root: 4 })
    const prune = () => db.transaction((tx) => deleteManagerSignatures(tx, YEAR, 500))
    const roots = async () =>
      (
        await query<{ root: number }>(
          sql`select get_byte(registry_root, 0) as root from manager_signatures order by id`,
        )
      ).map(({ root }) => root)
    expect(await prune()).toBe(0)
    // What no clock does in a test: the triggers are put aside, and everything is two years old.
    await query(sql`alter table manager_signatures disable trigger user`)
    await query(sql`update manager_signatures set signed_at = signed_at - interval '2 years'`)
    await query(sql`alter table manager_signatures enable trigger user`)
    expect(await prune()).toBe(2)
    expect(await roots()).toEqual([2, 4])
    expect(await prune()).toBe(0)
    // By hand they are not deleted, however old.
    await expect(query(sql`delete from manager_signatures`)).rejects.toThrow()
    expect(await roots()).toEqual([2, 4])
  })

  it('are not deleted sooner, whatever is asked for', async () => {
    const { db, sign, rows } = await openManager()
    await sign(1, 'fund', 'first', { root: 1 })
    await sign(2, 'fund', 'first', { root: 2 })
    await expect(db.transaction((tx) => deleteManagerSignatures(tx, -60, 500))).rejects.toThrow()
    expect(await rows()).toBe(2)
  })
})
