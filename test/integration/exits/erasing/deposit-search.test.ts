/** The deposits of the relayer's validators where no registry is followed: from which block they are searched, and what is not believed. */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { storeCheckpoint } from '@dvt-relayer/db/queries/state.ts'
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDepositSearch } from '../../../../apps/relayer/src/services/exits/deposit-search.ts'
import { openMessages } from '../../../support/stages/messages.ts'

afterEach(() => vi.restoreAllMocks())
const never = new AbortController().signal
const DAY = 86_400
const FINAL = 1000
/** The block of a day before the first validator came here. */
const BEGIN = 914
const timeOf = (block: number) => 1_699_000_000 + block * 1000

interface Deposit {
  block: number
  index: number
  key?: Uint8Array
  isWrong?: true
}

/** A search of two validators, of which the first came a day after a block, at a chain that has no deposits yet. */
async function openSearch({ validators = 2 } = {}) {
  const { db, query, addValidator } = await openMessages()
  const ours = [] as Awaited<ReturnType<typeof addValidator>>[]
  for (let n = 0; n < validators; n++) ours.push(await addValidator())
  /** Says how many seconds more than a day after the block the first one came. */
  const come = (seconds: number) =>
    query(
      sql`update validators set created_at = to_timestamp(${timeOf(BEGIN) + DAY + seconds}::float8 + 5000 * (id - 1))`,
    )
  await come(0)
  const network = { ...networks.hoodi, depositContractBlock: 50 }
  const chain = {
    final: FINAL as number | undefined,
    /** Blocks before this one are not there any more. */
    oldest: 0,
    /** Where ranges of logs end. */
    ends: [] as number[],
    deposits: [] as Deposit[],
    count: undefined as number | undefined,
    asked: [] as number[],
    /** From which block logs were read. */
    read: [] as number[],
    onRange: async (): Promise<void> => {},
  }
  const bytes = (text: string) => Buffer.from(text, 'hex')
  const execution = {
    host: 'node',
    each: [],
    async getBlock(block: number | 'finalized') {
      const number = block === 'finalized' ? chain.final : block
      if (number === undefined || number < chain.oldest) return undefined
      if (block !== 'finalized') chain.asked.push(number)
      return { number, hash: 'a', timestamp: timeOf(number) }
    },
    async call() {
      const count = chain.count ?? Math.max(0, ...chain.deposits.map(({ index }) => index + 1))
      return bytes(
        `${'20'.padStart(64, '0')}${'08'.padStart(64, '0')}${count.toString(16).padStart(2, '0').padEnd(64, '0')}`,
      )
    },
    async *scanLogs({ fromBlock, toBlock }: { fromBlock: number; toBlock: number }) {
      chain.read.push(fromBlock)
      let from = fromBlock
      for (const end of [...chain.ends.filter((end) => end >= fromBlock && end < toBlock), toBlock]) {
        const logs = chain.deposits
          .filter(({ block }) => block >= from && block <= end)
          .map(({ block, index, key = new Uint8Array(48).fill(9), isWrong }) => ({
            blockNumber: block,
            logIndex: 0,
            args: {
              pubkey: toHex(key),
              withdrawal_credentials: toHex(new Uint8Array(32)),
              amount: toHex(new Uint8Array(8)),
              signature: toHex(new Uint8Array(96).fill(isWrong ? 1 : 0)),
              index: toHex(new Uint8Array(new BigUint64Array([BigInt(index)]).buffer)),
            },
          }))
        await chain.onRange()
        yield { fromBlock: from, toBlock: end, logs, undecodable: 0 }
        from = end + 1
      }
    },
  }
  const searched: number[] = []
  const search = () =>
    createDepositSearch({
      config: { network },
      db,
      crypto: {
        verify: async (triples: { signature: Uint8Array }[]) => triples.map(({ signature }) => signature[0] === 0),
      },
      chain: { execution },
      events: { depositsSearched: (block: number) => void searched.push(block) },
    } as unknown as Parameters<typeof createDepositSearch>[0])
  const one = search()
  return {
    db,
    query,
    ours,
    chain,
    searched,
    search,
    network,
    come,
    beginAnew: one.beginAnew,
    run: () => one.run(never),
    checkpoint: async () =>
      (await query<{ value: object }>(sql`select value from checkpoints where name = 'erasure_deposits'`))[0]?.value,
    found: () =>
      query<{ id: number; block: number }>(
        sql`select validator_id::int as id, block_number::int as block from deposit_blocks order by 1`,
      ),
  }
}
const key = (ours: { publicKey: Uint8Array }[], position: number) => ours[position]?.publicKey ?? new Uint8Array()
const gap = (words: RegExp) => ({ code: 'EXECUTION_INVALID', message: expect.stringMatching(words) })

describe('the search begins', () => {
  it('once, with a line of the log, and goes on behind what was read', async () => {
    const { run, checkpoint, searched, chain } = await openSearch()
    expect(await run()).toBeUndefined()
    expect(await checkpoint()).toEqual({ next_block: FINAL + 1 })
    // In steps that halve what is left.
    expect(chain.asked.length).toBeLessThan(12)
    expect(await run()).toBeUndefined()
    chain.final = FINAL + 1
    expect(await run()).toBeUndefined()
    expect(await checkpoint()).toEqual({ next_block: FINAL + 2 })
    expect([searched, chain.read]).toEqual([[BEGIN], [BEGIN, FINAL + 1]])
  })

  it('at the first block of that very second or later, of those that the contract and the node have', async () => {
    const { run, searched, chain, network, come, beginAnew } = await openSearch()
    for (const { seconds = 0, firstBlock = 50, oldest = 0, begin } of [
      { begin: BEGIN },
      { seconds: 1, begin: BEGIN + 1 },
      { firstBlock: BEGIN + 7, begin: BEGIN + 7 },
      { oldest: BEGIN + 20, begin: BEGIN + 20 },
      { seconds: 1e6, begin: FINAL },
      { seconds: -BEGIN * 1000, firstBlock: 0, begin: 0 },
    ]) {
      await come(seconds)
      Object.assign(network, { depositContractBlock: firstBlock })
      Object.assign(chain, { oldest, read: [] })
      await run()
      expect([searched.at(-1), chain.read]).toEqual([begin, [begin]])
      await beginAnew()
    }
  })

  it('never without validators, nor beside a registry, nor before a block is final', async () => {
    const empty = await openSearch({ validators: 0 })
    expect(await empty.run()).toBeUndefined()
    expect(await empty.checkpoint()).toBeUndefined()
    const { db, run, chain, checkpoint } = await openSearch()
    chain.final = undefined
    expect(await run()).toBe('the execution node does not say yet which block is final')
    chain.final = FINAL
    await storeCheckpoint(db, 'registry', {})
    expect(await run()).toBeUndefined()
    expect([await checkpoint(), chain.read]).toEqual([undefined, []])
  })
})

describe('the search', () => {
  it('finds the first validly signed deposit of each validator of ours, range by range', async () => {
    const { run, ours, chain, found, checkpoint } = await openSearch()
    const [a, b] = [key(ours, 0), key(ours, 1)]
    chain.ends = [920, 930]
    chain.deposits = [
      { block: 915, index: 4, key: a, isWrong: true },
      { block: 916, index: 5, key: a },
      { block: 917, index: 6 },
      { block: 925, index: 7, key: a },
      { block: 931, index: 8, key: b },
    ]
    expect(await run()).toBeUndefined()
    expect(await found()).toEqual([
      { id: ours[0]?.id, block: 916 },
      { id: ours[1]?.id, block: 931 },
    ])
    expect(await checkpoint()).toEqual({ next_block: FINAL + 1, next_deposit_index: 9 })
  })

  it('believes nothing where the node leaves logs out or repeats them, and begins anew', async () => {
    const { run, ours, chain, found, checkpoint, searched, beginAnew } = await openSearch()
    const at = (block: number, index: number) => ({ block, index, key: key(ours, 0) })
    for (const [deposits, count, words] of [
      [[at(915, 4), at(916, 6)], 7, /deposit 6 follows deposit 4/],
      [[at(915, 4), at(950, 6)], 7, /deposit 6 follows deposit 4/],
      [[at(915, 4), at(950, 4)], 5, /deposit 4 follows deposit 4/],
      [[at(915, 4)], 6, /deposit 4 is the last one, the contract counts 6/],
    ] as const) {
      Object.assign(chain, { ends: [920], deposits, count })
      await expect(run()).rejects.toMatchObject(gap(words))
      expect([await found(), await checkpoint()]).toEqual([[], undefined])
      searched.length = 0
      chain.deposits = [at(915, count - 1)]
      expect(await run()).toBeUndefined()
      expect(await found()).toEqual([{ id: ours[0]?.id, block: 915 }])
      expect(searched).toEqual([BEGIN])
      await beginAnew()
      expect([await found(), await checkpoint()]).toEqual([[], undefined])
    }
  })

  it('knows from one round to the next which deposit is the next', async () => {
    const { run, chain, checkpoint } = await openSearch()
    chain.deposits = [{ block: 950, index: 4 }]
    await run()
    chain.final = FINAL + 10
    // No log is a proof only with the contract's count.
    chain.count = 6
    await expect(run()).rejects.toMatchObject(gap(/deposit 4 is the last one, the contract counts 6/))
    chain.count = 5
    await run()
    chain.final = FINAL + 20
    await run()
    expect(await checkpoint()).toEqual({ next_block: FINAL + 21, next_deposit_index: 5 })
  })

  it('keeps what it has where the node is away', async () => {
    const { run, ours, chain, found, checkpoint } = await openSearch()
    chain.ends = [920]
    chain.deposits = [{ block: 915, index: 4, key: key(ours, 0) }]
    let ranges = 0
    chain.onRange = async () => {
      if (ranges++ === 1) throw new Error('away')
    }
    await expect(run()).rejects.toThrow('away')
    expect(await found()).toHaveLength(1)
    expect(await checkpoint()).toEqual({ next_block: 921, next_deposit_index: 5 })
  })

  it('leaves to another process what that has read meanwhile', async () => {
    const { run, search, ours, chain, found, checkpoint } = await openSearch()
    chain.ends = [920]
    chain.deposits = [{ block: 915, index: 4, key: key(ours, 0) }]
    let isFirst = true
    chain.onRange = async () => {
      if (!isFirst) return
      isFirst = false
      await search().run(never)
      chain.deposits = [{ block: 917, index: 4, key: key(ours, 1) }]
    }
    expect(await run()).toBeUndefined()
    expect(await found()).toEqual([{ id: ours[0]?.id, block: 915 }])
    expect(await checkpoint()).toEqual({ next_block: FINAL + 1, next_deposit_index: 5 })
    expect(chain.read).toEqual([BEGIN, BEGIN])
  })

  it('stops after twenty seconds, with words, and goes on from there the next time', async () => {
    const { run, chain, checkpoint } = await openSearch()
    const clock = vi.spyOn(performance, 'now').mockReturnValue(1_000_000)
    chain.ends = [920, 930, 940]
    const at = [20_000, 20_001]
    chain.onRange = async () => void clock.mockReturnValue(1_000_000 + (at.shift() ?? 90_000))
    expect(await run()).toBe('the deposits of the chain are being read')
    expect(await checkpoint()).toEqual({ next_block: 931 })
    at.push(0, 0)
    clock.mockReturnValue(1_090_000)
    chain.ends = [940]
    chain.onRange = async () => void clock.mockReturnValue(1_200_000)
    chain.final = 940
    // The last range is the end, however long it took.
    expect(await run()).toBeUndefined()
    expect([chain.read, await checkpoint()]).toEqual([[BEGIN, 931], { next_block: 941 }])
  })

  it('begins anew where it stands further behind the final block than nodes are apart, and keeps what it has else', async () => {
    const { run, chain, checkpoint, query, ours, found } = await openSearch()
    const stand = (next: number) =>
      query(
        sql`update checkpoints set value = jsonb_build_object('next_block', ${next}::int) where name = 'erasure_deposits'`,
      )
    chain.deposits = [{ block: 915, index: 4, key: key(ours, 0) }]
    await run()
    for (const next of [FINAL + 1, FINAL + 1000]) {
      await stand(next)
      expect(await run()).toBeUndefined()
      expect(await checkpoint()).toEqual({ next_block: next })
      expect(await found()).toHaveLength(1)
    }
    await stand(FINAL + 1001)
    expect(await run()).toBeUndefined()
    expect([await checkpoint(), await found()]).toEqual([undefined, []])
    await run()
    expect(await checkpoint()).toEqual({ next_block: FINAL + 1, next_deposit_index: 5 })
  })
})
