import { expect, it } from 'vitest'
import type { Context } from '../../context.ts'
import { createCoverage } from './coverage.ts'

const COLUMNS = { lock_hash: 17, name: 25, source: 25, threshold: 23, validators: 20, share_indexes: 25 }
const hashOf = (byte: number) => Buffer.alloc(32, byte)
const vaultOf = (byte: number) => new Uint8Array(20).fill(byte)
const row = (name: string, lock: number | null, share_indexes: string) => ({
  ...{ name, source: lock === null ? 'ssv' : 'lock', lock_hash: lock === null ? null : hashOf(lock) },
  ...{ threshold: 3, validators: 2, share_indexes },
})
const ROWS = [row('ours', 1, '1,2,3,4'), row('theirs', 2, '1,2,3'), row('bare', 3, ''), row('ssv', null, '4,300')]

/** What a database with these clusters is asked, at the time that `clock` says. */
function open() {
  const clock = { now: 1_000_000, isAway: false, asked: 0 }
  const execute = async () => {
    clock.asked++
    if (clock.isAway) throw new Error('away')
    return { fields: Object.entries(COLUMNS).map(([name, dataTypeID]) => ({ name, dataTypeID })), rows: ROWS }
  }
  const coverage = createCoverage({ db: { execute } } as unknown as Pick<Context, 'db'>, () => clock.now)
  const namesOf = async (binding: Partial<Parameters<typeof coverage.of>[0]>) =>
    (await coverage.of({ vaults: undefined, shareIndexes: undefined, ...binding })).map(({ name }) => name)
  return { clock, coverage, namesOf }
}

it('clusters are told with their lock and their share indexes, where they have any', async () => {
  const { coverage } = open()
  const [ours, , bare, ssv] = await coverage.of({ vaults: undefined, shareIndexes: undefined })
  const of = { threshold: 3, validators: 2 }
  expect(ours).toEqual({
    ...of,
    name: 'ours',
    source: 'lock',
    lock_hash: `0x${'01'.repeat(32)}`,
    share_indexes: [1, 2, 3, 4],
  })
  expect(bare).toMatchObject({ name: 'bare', share_indexes: [] })
  expect(ssv).toEqual({ ...of, name: 'ssv', source: 'ssv', lock_hash: null, share_indexes: [4, 300] })
})

it('a token has the clusters with a node of its share indexes, and those whose nodes are not known', async () => {
  const { namesOf } = open()
  expect(await namesOf({})).toEqual(['ours', 'theirs', 'bare', 'ssv'])
  expect(await namesOf({ shareIndexes: [4] })).toEqual(['ours', 'bare', 'ssv'])
  expect(await namesOf({ shareIndexes: [9, 300] })).toEqual(['bare', 'ssv'])
  expect(await namesOf({ shareIndexes: [] })).toEqual(['bare'])
})

it('a node that signs has the clusters of its locks, and an operator those of the SSV contract with it', async () => {
  const { namesOf } = open()
  const place = (byte: number) => ({ lockHash: hashOf(byte), shareIndex: 1 })
  expect(await namesOf({ node: { locks: [place(2), place(9)] } })).toEqual(['theirs'])
  expect(await namesOf({ node: { locks: [] }, shareIndexes: [4] })).toEqual([])
  expect(await namesOf({ node: { operatorId: 4 } })).toEqual(['ssv'])
  expect(await namesOf({ node: { operatorId: 5 } })).toEqual([])
})

it('who asks again within fifteen seconds, for the same vaults, is told what was counted; what failed is not kept', async () => {
  const { clock, namesOf } = open()
  const asked = async (vaults?: Uint8Array[]) => {
    clock.asked = 0
    await namesOf({ vaults })
    return clock.asked
  }
  expect([await asked(), await asked(), await asked([vaultOf(1)]), await asked([vaultOf(2)])]).toEqual([1, 0, 1, 1])
  expect([await asked([]), await asked([vaultOf(1), vaultOf(2)]), await asked([vaultOf(1)])]).toEqual([1, 1, 0])
  clock.now += 14_999
  expect(await asked()).toBe(0)
  clock.now += 1
  expect([await asked(), await asked()]).toEqual([1, 0])
  clock.now += 15_000
  clock.isAway = true
  await expect(namesOf({})).rejects.toThrow()
  clock.isAway = false
  expect(await asked()).toBe(1)
})
