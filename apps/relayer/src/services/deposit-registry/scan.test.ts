import { networks } from '@dvt-relayer/chain/networks.ts'
import { afterEach, expect, it, vi } from 'vitest'
import { createDepositScan } from './scan.ts'

afterEach(() => vi.restoreAllMocks())
const never = new AbortController().signal
const FROM = { nextBlock: 10, nextDepositIndex: 5, count: 3 }

/** A scan at nodes that have no deposits, with the blocks each range ends at; `read` is which node was asked for logs, `told` the log. */
function startScan({ nodes = 1, final = 40, ends = [40], fault = undefined as string | undefined } = {}) {
  const read: string[] = []
  const told: unknown[][] = []
  const nodeOf = (host: string) => ({
    host,
    getBlock: async (block: string | number) => ({
      number: block === 'finalized' ? final : block,
      hash: 'a',
      timestamp: 0,
    }),
    async *scanLogs() {
      read.push(host)
      if (fault !== undefined) throw new Error(fault)
      for (const toBlock of ends) yield { fromBlock: 10, toBlock, logs: [], undecodable: 0 }
    },
    // get_deposit_count(): five, as eight bytes.
    call: async () => Buffer.from(`${'20'.padStart(64, '0')}${'08'.padStart(64, '0')}${'05'.padEnd(64, '0')}`, 'hex'),
  })
  const execution = { ...nodeOf('any'), each: Array.from({ length: nodes }, (_, position) => nodeOf(`${position}`)) }
  const { settleFinal } = createDepositScan({
    config: { network: networks.hoodi },
    // Another process is always there before.
    db: { transaction: async () => 'moved' },
    crypto: {},
    chain: { execution },
    events: {
      registryRead: (...line: unknown[]) => void told.push(line),
      registrySettled: () => void told.push(['settled']),
    },
  } as unknown as Parameters<typeof createDepositScan>[0])
  return { settleFinal, read, told }
}

it.each([
  [1, ['any', 'any', 'any', 'any', 'any', 'any', 'any']],
  [2, ['any', '0', '1', 'any', '0', '1', 'any']],
  [3, ['any', '0', '1', '2', 'any', '0', '1']],
])(
  'after each round that fails, of %i nodes the next one is asked alone, and then whoever answers',
  async (nodes, asked) => {
    const { settleFinal, read } = startScan({ nodes, fault: 'left out' })
    for (const _round of asked) await expect(settleFinal(FROM, never, () => {})).rejects.toThrow('left out')
    expect(read).toEqual(asked)
  },
)

it('a single new final block is read, and none where nothing new is final', async () => {
  for (const [final, reads] of [
    [9, []],
    [10, ['any']],
    [11, ['any']],
  ] as const) {
    const { settleFinal, read } = startScan({ final, ends: [final] })
    await settleFinal(FROM, never, () => {})
    expect(read).toEqual(reads)
  }
})

it('a long scan says after each range how far it is, and logs it every ten seconds', async () => {
  const clock = vi.spyOn(performance, 'now').mockReturnValue(1_000_000)
  const { settleFinal, told } = startScan({ ends: [15, 20, 25, 30, 35, 40] })
  const words: string[] = []
  const at = [9_999, 10_000, 19_999, 20_000, 40_000]
  await settleFinal(FROM, never, (progress) => {
    words.push(progress)
    clock.mockReturnValue(1_000_000 + (at[words.length - 1] ?? 0))
  })
  expect(words.map((text) => /\d+ of \d+$/.exec(text)?.[0])).toEqual(
    [15, 20, 25, 30, 35].map((block) => `${block} of 40`),
  )
  // Where another process has settled it, nothing was settled here.
  expect(told).toEqual([20, 30, 35].map((block) => [block, 40, 3]))
})
