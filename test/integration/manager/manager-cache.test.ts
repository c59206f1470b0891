/** What the manager tells of, and what it keeps in memory: each record told once, and no more signatures than it needs. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { createManagerWallet } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { createManager } from '../../../apps/relayer/src/services/registrations/manager.ts'
import { openMessages } from '../../support/stages/messages.ts'

const VAULT = new Uint8Array(20).fill(1)
const wallet = createManagerWallet(new Uint8Array(32).fill(7))

/** A manager on a database of its own: how often its wallet signed, and what it told. */
async function openManager(managerDailyLimitGwei?: number) {
  const { db, query } = await openMessages()
  const told: unknown[][] = []
  let signed = 0
  const manager = createManager({
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
  })
  return {
    told,
    signed: () => signed,
    rows: async () => (await query(sql`select from manager_signatures`)).length,
    /** Has the number-th thing signed. */
    sign: (number: number, action: 'register' | 'fund' = 'register', requester: string | null = 'first') =>
      manager.sign({
        action,
        vault: VAULT,
        requester,
        registryRoot: new Uint8Array(32).fill(3),
        validators: new Uint8Array(176).fill(number),
        validatorCount: 1,
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
