import { setImmediate as settle } from 'node:timers/promises'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { currentAccount, onAccountOf } from '@dvt-relayer/common/account.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { toFunctionSelector } from 'viem/utils'
import { describe, expect, it, vi } from 'vitest'
import { createVaultReader } from './vault-state.ts'

const VAULT = new Uint8Array(20).fill(1)
const PATIENCE_MS = 600_000
const OURS = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
const [MANAGER, KEY] = [toFunctionSelector('validatorsManager()'), toFunctionSelector('v2Validators(bytes32)')]

const keys = (count: number) => Array.from({ length: count }, (_, position) => new Uint8Array(48).fill(position))

/** An execution node that answers when the test says so what it is asked about a key, and all else at once: every vault has this manager. */
function startNode(manager = '07'.repeat(20)) {
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
      return data.startsWith(MANAGER) ? new Uint8Array(Buffer.from(manager.padStart(64, '0'), 'hex')) : word(0)
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

  it('is waited for no longer than who asks does, also for a turn', async () => {
    const { open, seen, execution } = startNode(OURS.slice(2))
    const reader = createVaultReader({
      chain: { execution },
      wallet: { address: OURS } as never,
      patienceMs: PATIENCE_MS,
    })
    // All turns of this caller are taken.
    const reading = reader.read(VAULT, keys(20))
    await vi.waitFor(() => expect(open).toHaveLength(8))
    const stopping = new AbortController()
    let ended: unknown
    const looking = reader.findForeign([VAULT], stopping.signal).catch((error: unknown) => {
      ended = error
    })
    for (let round = 0; round < 10; round++) await settle()
    expect(ended).toBeUndefined()
    stopping.abort()
    for (let round = 0; round < 10; round++) await settle()
    expect(ended).toMatchObject({ code: 'TOO_BUSY', message: expect.stringContaining('ask again in a moment') })
    seen.isFree = true
    for (const one of [...open]) one.answer()
    await Promise.all([looking, reading])
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

describe('what the manager of a vault is', () => {
  const ADDRESS = { ours: OURS.slice(2).toLowerCase(), other: 'ab'.repeat(20), nobody: '00'.repeat(20) }
  const ACCEPTED = `1626ba7e${'00'.repeat(28)}`

  interface Manager {
    who: keyof typeof ADDRESS
    hasCode?: true
    /** What a contract answers to a signature. */
    says?: string
  }
  /** A node whose newest block is the test's to name, with vaults by the first byte of their addresses. */
  function startVaults(vaults: Readonly<Record<number, Manager>>) {
    const state = { block: '11', asked: [] as number[], fault: undefined as Error | undefined }
    const signed: unknown[] = []
    const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex.padStart(64, '0'), 'hex'))
    const execution = {
      host: 'node',
      getBlock: async () => (state.block === '' ? undefined : { number: 1, hash: `0x${state.block.repeat(32)}` }),
      call: async ({ to, data }: { to: Uint8Array; data: string }) => {
        if (state.fault !== undefined) throw state.fault
        const [number = 0] = to
        if (data.startsWith(MANAGER)) {
          state.asked.push(number)
          return bytesOf(ADDRESS[vaults[number]?.who ?? 'nobody'])
        }
        return bytesOf(Object.values(vaults).find(({ who }) => toHex(to).slice(2) === ADDRESS[who])?.says ?? '0')
      },
      request: async (_method: string, [address]: [string]) => {
        const manager = Object.values(vaults).find(({ who }) => address.slice(2).toLowerCase() === ADDRESS[who])
        return manager?.hasCode ? '0xef' : '0x'
      },
    } as unknown as ExecutionClient
    const wallet = {
      address: OURS,
      sign: async (message: unknown) => {
        signed.push(message)
        return { digest: new Uint8Array(32), signature: new Uint8Array(65) }
      },
    } as never
    const reader = createVaultReader({ chain: { execution }, wallet, patienceMs: PATIENCE_MS })
    const without = createVaultReader({ chain: { execution }, wallet: undefined, patienceMs: PATIENCE_MS })
    return { reader, without, state, signed }
  }
  const vaultOf = (number: number) => new Uint8Array(20).fill(number)
  const blockOf = (number: string) => `0x${number.repeat(32)}`
  const { signal } = new AbortController()
  const FOREIGN = expect.objectContaining({ code: 'MANAGER_FOREIGN' })

  it.each<{ what: string; manager: Manager; problem: string | undefined }>([
    { what: 'our account', manager: { who: 'ours' }, problem: undefined },
    {
      what: 'another account',
      manager: { who: 'other' },
      problem: 'is 0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB; the key',
    },
    { what: 'nobody', manager: { who: 'nobody' }, problem: ', nobody; the key' },
    {
      what: 'a contract that takes our signature',
      manager: { who: 'other', hasCode: true, says: ACCEPTED },
      problem: undefined,
    },
    {
      what: 'a contract that takes none',
      manager: { who: 'other', hasCode: true },
      problem: 'does not accept its signatures',
    },
    {
      what: 'our account with a contract that takes none',
      manager: { who: 'ours', hasCode: true },
      problem: 'does not accept',
    },
  ])('is told of $what, for what is to be signed and for whoever looks', async ({ manager, problem }) => {
    const { reader, without, signed } = startVaults({ 1: manager })
    const words = await reader.findForeign([vaultOf(1)], signal)
    if (problem === undefined) {
      expect(words).toBeUndefined()
      await reader.assertManager(vaultOf(1), blockOf('11'))
      await reader.read(vaultOf(1), [])
    } else {
      expect(words).toContain(problem)
      await expect(reader.assertManager(vaultOf(1), blockOf('11'))).rejects.toEqual(FOREIGN)
      await expect(reader.read(vaultOf(1), [])).rejects.toEqual(FOREIGN)
    }
    // What is not signed for any vault needs none that takes it.
    expect(await without.findForeign([vaultOf(1)], signal)).toBeUndefined()
    await without.assertManager(vaultOf(1), blockOf('11'))
    await without.read(vaultOf(1), [])
    // A contract is shown a signature of nothing that any vault of any chain would take.
    for (const message of signed)
      expect(message).toEqual({
        chainId: 0,
        vault: new Uint8Array(20),
        validatorsRegistryRoot: new Uint8Array(32),
        validators: new Uint8Array(1),
      })
    expect(signed).toHaveLength(manager.hasCode ? 3 : 0)
  })

  it('is told of each vault that would take nothing', async () => {
    const { reader } = startVaults({ 1: { who: 'ours' }, 2: { who: 'other' }, 3: { who: 'nobody' } })
    const words = await reader.findForeign([1, 2, 3].map(vaultOf), signal)
    expect(words?.match(/validatorsManager\(\) of the vault 0x\d\d/g)?.map((found) => found.slice(-2))).toEqual([
      '02',
      '03',
    ])
    expect(await reader.findForeign([vaultOf(1)], signal)).toBeUndefined()
    expect(await reader.findForeign([], signal)).toBeUndefined()
  })

  it('is asked once of each vault at each block, and again of one that took nothing', async () => {
    const { reader, state } = startVaults({ 1: { who: 'ours' }, 2: { who: 'ours' }, 3: { who: 'other' } })
    const ask = async (vault: number, block: string) => {
      state.asked = []
      await reader.assertManager(vaultOf(vault), blockOf(block)).catch(() => {})
      return state.asked.length
    }
    expect([await ask(1, '11'), await ask(1, '11'), await ask(2, '11'), await ask(1, '11')]).toEqual([1, 0, 1, 0])
    expect([await ask(3, '11'), await ask(3, '11')]).toEqual([1, 1])
    expect([await ask(1, '22'), await ask(2, '22'), await ask(1, '22'), await ask(1, '11')]).toEqual([1, 1, 0, 1])
  })

  it('is not known while the node has no block, or while it cannot say', async () => {
    const { reader, state } = startVaults({ 1: { who: 'ours' } })
    state.block = ''
    await expect(reader.read(vaultOf(1), [])).rejects.toMatchObject({ code: 'DEPENDENCY_AWAY' })
    await expect(reader.findForeign([vaultOf(1)], signal)).rejects.toMatchObject({ code: 'DEPENDENCY_AWAY' })
    state.block = '11'
    for (const [fault, code] of [
      [new Error('gone'), 'DEPENDENCY_AWAY'],
      [new ChainError('EXECUTION_INVALID', 'nonsense'), 'DEPENDENCY_AWAY'],
      [new ChainError('EXECUTION_REVERTED', 'no such function'), 'VAULT_UNKNOWN'],
      [new ChainError('EXECUTION_EMPTY', 'no contract'), 'VAULT_UNKNOWN'],
    ] as const) {
      state.fault = fault
      await expect(reader.read(vaultOf(1), [])).rejects.toMatchObject({ code, cause: fault })
    }
    state.fault = new Error('gone')
    await expect(reader.assertManager(vaultOf(1), blockOf('11'))).rejects.toMatchObject({ code: 'DEPENDENCY_AWAY' })
    await expect(reader.findForeign([vaultOf(1)], signal)).rejects.toThrow('gone')
  })
})
