import { setImmediate as settle } from 'node:timers/promises'
import type { ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { currentAccount, onAccountOf } from '@dvt-relayer/common/account.ts'
import { toFunctionSelector } from 'viem/utils'
import { describe, expect, it, vi } from 'vitest'
import { createVaultReader } from './vault-state.ts'

const VAULT = new Uint8Array(20).fill(1)
const PATIENCE_MS = 600_000
const OURS = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
const [MANAGER, KEY] = [toFunctionSelector('validatorsManager()'), toFunctionSelector('v2Validators(bytes32)')]

const keys = (count: number) => Array.from({ length: count }, (_, position) => new Uint8Array(48).fill(position))

/** An execution node that answers when the test says so what it is asked about a key, and all else at once. */
function startNode() {
  const open: { who: string; answer(): void }[] = []
  const seen = { most: 0, asked: 0, isFree: false }
  const word = (last: number) => new Uint8Array(32).fill(last, 31)
  const askKey = (signal: AbortSignal | undefined) =>
    new Promise<Uint8Array>((resolve, reject) => {
      const one = {
        who: currentAccount().name,
        answer() {
          open.splice(open.indexOf(one), 1)
          resolve(word(1))
        },
      }
      seen.asked++
      open.push(one)
      seen.most = Math.max(seen.most, open.length)
      signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true })
      if (seen.isFree) one.answer()
    })
  const node: Pick<ExecutionClient, 'host' | 'getBlock' | 'call'> & { request(): Promise<string> } = {
    host: 'node',
    getBlock: async () => ({ number: 1, hash: `0x${'11'.repeat(32)}` }) as never,
    call: async ({ data, signal }) => {
      if (data.startsWith(KEY)) return askKey(signal)
      return data.startsWith(MANAGER) ? new Uint8Array(32).fill(7, 12) : word(0)
    },
    request: async () => '0x',
  }
  return { open, seen, execution: node as unknown as ExecutionClient }
}

describe('what is asked about keys of vaults', () => {
  it('is bounded for all callers together, and who asks for little waits for little of what others ask', async () => {
    const { open, seen, execution } = startNode()
    const reader = createVaultReader({ chain: { execution }, wallet: undefined, patienceMs: PATIENCE_MS })
    const read = (name: string, count: number) =>
      onAccountOf({ group: 'operator', name }, () => reader.read(VAULT, keys(count)))
    const of = (name: string) => open.filter(({ who }) => who === name).length
    const until = (holds: () => boolean) => vi.waitFor(() => expect(holds()).toBe(true), { timeout: 60_000 })

    const greedy = [read('greedy', 20), read('greedy', 20), read('greedy', 20)]
    await until(() => of('greedy') === 8)
    const other = read('other', 20)
    await until(() => of('other') === 8)
    const small = read('small', 1)
    let answered = 0
    for (; of('small') === 0; answered++) {
      open[0]?.answer()
      await until(() => open.length === 16)
    }
    // Three calls of its own, before each of which every other caller has one turn at most.
    expect(answered).toBeLessThan(10)
    expect(seen.most).toBe(16)

    seen.isFree = true
    for (const one of [...open]) one.answer()
    await Promise.all([...greedy, other, small])
    expect(seen.asked).toBe(81)
  })

  it('is asked no more once nothing is signed anyway', async () => {
    const { seen, execution } = startNode()
    const wallet = { address: OURS, sign: () => Promise.reject(new Error('nothing is to be signed')) } as never
    const reader = createVaultReader({ chain: { execution }, wallet, patienceMs: PATIENCE_MS })
    await expect(reader.read(VAULT, keys(100))).rejects.toMatchObject({ code: 'MANAGER_FOREIGN' })
    for (let round = 0; round < 10; round++) await settle()
    expect(seen.asked).toBeLessThanOrEqual(8)
  })
})
