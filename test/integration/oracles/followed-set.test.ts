/** Which of the announced configs comes into force, what is told of that, and when who asks for the newest set is answered. */

import { findCurrentOracleSetId } from '@dvt-relayer/db/queries/oracle-shares.ts'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import type { AnnouncedConfig, Context } from '../../../apps/relayer/src/context.ts'
import { createOracleSets } from '../../../apps/relayer/src/services/oracles/sets.ts'
import { openMessages } from '../../support/stages/messages.ts'

const configOf = (cid: string, blockNumber: number): AnnouncedConfig => ({ cid, blockNumber, announcedAt: 7 })

/** The service over a database and a chain that says what the test says; what was told and how often it was asked. */
async function setUp() {
  const { db, query, addValidator } = await openMessages()
  const chain = {
    config: undefined as AnnouncedConfig | undefined,
    doubt: undefined as string | undefined,
    denial: undefined as string | undefined,
    /** What is wrong with every config. */
    fault: undefined as Error | undefined,
    head: 'a',
    /** Called at each look. */
    onLook: undefined as (() => void) | undefined,
    looks: 0,
    fetched: [] as string[],
  }
  const told: unknown[][] = []
  const oracleSets = {
    head: async () => chain.head,
    newest: async () => {
      chain.looks++
      chain.onLook?.()
      return { config: chain.config, nextBlock: 10, doubt: chain.doubt }
    },
    findDenial: async () => chain.denial,
    fetch: async (cid: string) => {
      chain.fetched.push(cid)
      if (chain.fault !== undefined) throw chain.fault
      return { threshold: 1, publicKeys: [Buffer.alloc(65, 1), Buffer.alloc(65, 2)], config: { of: cid } }
    },
  }
  const sets = createOracleSets({
    db,
    chain: { oracleSets },
    events: {
      oracleSetAdopted: (...of: unknown[]) => told.push(['adopted', ...of]),
      oracleSetRefused: (cid: string) => told.push(['refused', cid]),
      validatorsOutdated: (...of: unknown[]) => told.push(['outdated', ...of]),
    },
  } as unknown as Context)
  const current = async () =>
    (await query(sql`select cid, block_number::int as block from oracle_sets where is_current`))[0]
  const follow = (more: Partial<typeof chain>) => {
    Object.assign(chain, more)
    return sets.follow()
  }
  return {
    ...{ db, query, addValidator, sets, chain, follow, current },
    takeTold: () => told.splice(0),
    takeFetched: () => chain.fetched.splice(0),
  }
}

it('the newest one is fetched once, and comes into force unless it is of before the current one', async () => {
  const { query, addValidator, sets, follow, current, takeTold, takeFetched } = await setUp()
  expect(await follow({})).toBe('the Keeper has not announced an oracle config yet')
  expect(await follow({ doubt: 'doubt' })).toBe('doubt')
  expect(await sets.hasCurrent()).toBe(false)
  const denied = 'the newest oracle config is not in force: no'
  expect(await follow({ config: configOf('one', 5), doubt: undefined, denial: 'no' })).toBe(denied)
  expect([await current(), takeFetched()]).toEqual([undefined, []])
  expect(await follow({ denial: undefined })).toBeUndefined()
  expect(takeTold()).toEqual([['adopted', 'one', 2, 1, 5]])
  expect(await query(sql`select value from checkpoints`)).toEqual([
    { value: { next_block: 10, announced: { cid: 'one', block_number: 5, time: 7 } } },
  ])
  expect(await sets.hasCurrent()).toBe(true)
  expect([await follow({ doubt: 'doubt' }), await follow({ doubt: undefined })]).toEqual(['doubt', undefined])
  expect(takeFetched()).toEqual(['one'])

  await query(sql`update validators set registered_at = now(), beacon_index = id, beacon_vault = ${Buffer.alloc(20)},
                         oracle_set_id = (select id from oracle_sets) where id = ${(await addValidator()).id}`)
  expect(await follow({ config: configOf('older', 4) })).toBeUndefined()
  expect([await current(), takeFetched(), takeTold()]).toEqual([{ cid: 'one', block: 5 }, [], []])
  expect(await follow({ config: configOf('two', 5) })).toBeUndefined()
  expect([await current(), takeFetched()]).toEqual([{ cid: 'two', block: 5 }, ['two']])
  expect(takeTold()).toEqual([
    ['adopted', 'two', 2, 1, 5],
    ['outdated', 'two', 1, 1],
  ])
  // A node that lags behind says nothing of it yet.
  await query(sql`delete from checkpoints`)
  expect(await follow({ config: undefined })).toBeUndefined()
  expect([await follow({ doubt: 'doubt' }), await current()]).toEqual(['doubt', { cid: 'two', block: 5 }])
})

it('that cannot be had is told of once, and tried again at each look', async () => {
  const { follow, current, takeTold, takeFetched } = await setUp()
  const [one, two, fault] = [configOf('one', 5), configOf('two', 6), new Error('no gateway')]
  const wrong = (cid: string) => `the newest oracle config ${cid} is not in force: no gateway`
  expect([await follow({ config: one, fault }), await follow({})]).toEqual([wrong('one'), wrong('one')])
  expect([takeTold(), takeFetched()]).toEqual([[['refused', 'one']], ['one', 'one']])
  expect([await follow({ config: two }), await follow({})]).toEqual([wrong('two'), wrong('two')])
  expect(takeTold()).toEqual([['refused', 'two']])
  expect(await follow({ fault: undefined })).toBeUndefined()
  expect([takeTold().length, await current()]).toEqual([1, { cid: 'two', block: 6 }])
})

it('who asks for the newest has it of the head that there is, looked at once, and otherwise is told to come again', async () => {
  const { db, sets, chain } = await setUp()
  const away = { code: 'DEPENDENCY_AWAY', message: expect.stringContaining('is not in force here yet') }
  await expect(sets.newest()).rejects.toMatchObject(away)
  chain.config = configOf('one', 5)
  const first = await sets.newest()
  expect(first).toBe(await findCurrentOracleSetId(db))
  // Adopted at this look, and seen to be the newest at the next.
  await sets.newest()
  const { looks } = chain
  expect([await sets.newest(), chain.looks]).toEqual([first, looks])
  chain.head = 'b'
  chain.onLook = () => {
    chain.head = 'c'
  }
  expect([await sets.newest(), chain.looks]).toEqual([first, looks + 1])
  // Neither head was seen to be settled: the chain moved meanwhile.
  chain.onLook = undefined
  expect([await sets.newest(), await sets.newest(), chain.looks]).toEqual([first, first, looks + 2])
  chain.head = 'd'
  chain.config = configOf('two', 6)
  const second = await sets.newest()
  expect([second > first, second]).toEqual([true, await findCurrentOracleSetId(db)])
  chain.head = 'e'
  chain.config = configOf('three', 7)
  chain.fault = new Error('no gateway')
  for (let again = 0; again < 2; again++) await expect(sets.newest()).rejects.toMatchObject(away)
})
