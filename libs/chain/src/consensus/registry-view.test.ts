import { HttpError } from '@dvt-relayer/common/http/client.ts'
import { describe, expect, it } from 'vitest'
import type { BeaconApi } from './beacon-api.ts'
import { byKey, createKnownKeys } from './known-keys.ts'
import { createDepositFilter, type PendingDeposit } from './pending-deposits.ts'
import { createRegistryReader } from './registry-view.ts'

const keyOf = (index: number) => `0x${index.toString(16).padStart(96, '0')}`
const status = (code: number) => new HttpError('HTTP_STATUS', 'a', `answers ${code}`, { status: code })
const depositOf = (key: number, mark = 0): PendingDeposit => ({
  publicKey: keyOf(key),
  withdrawalCredentials: `0x${mark.toString(16).padStart(64, '0')}`,
  amountGwei: BigInt(1_000 + mark),
  signature: `0x${mark.toString(16).padStart(192, '0')}`,
})

interface Chain {
  /** Validators of the state, in order. */
  keys: string[]
  queue: PendingDeposit[]
  head: { root: string; slot: number; stateRoot: string }
}
/** A node; what it was asked is noted, and anything may be answered otherwise. */
function nodeOf(chain: Chain, other: Partial<Record<keyof BeaconApi, (...asked: never[]) => unknown>> = {}) {
  const asked: string[] = []
  const validator = (index: number) => ({ index, publicKey: chain.keys[index] ?? '' })
  const api = {
    head: async () => chain.head,
    stateRoot: async (name: string) =>
      name === chain.head.stateRoot || name === String(chain.head.slot) ? chain.head.stateRoot : undefined,
    validator: async (_: string, index: number) => (index < chain.keys.length ? validator(index) : undefined),
    validators: async (_: string, ids: readonly string[]) =>
      ids
        .map((id) => (id.startsWith('0x') ? chain.keys.indexOf(id) : Number(id)))
        .filter((index) => index >= 0 && index < chain.keys.length)
        .map(validator),
    pendingDeposits: async () => chain.queue,
    ...other,
  }
  const noted = Object.fromEntries(
    Object.entries(api).map(([name, answer]) => [
      name,
      (...args: unknown[]) => {
        asked.push([name, ...args.map((arg) => (Array.isArray(arg) ? arg.length : arg))].join(' '))
        return (answer as (...args: unknown[]) => unknown)(...args)
      },
    ]),
  )
  return { api: noted as unknown as BeaconApi, asked }
}
const chainOf = (validators: number, ...queue: PendingDeposit[]): Chain => ({
  keys: Array.from({ length: validators }, (_, index) => keyOf(index)),
  queue,
  head: { root: '0xhead', slot: 70, stateRoot: '0xstate' },
})
const move = (chain: Chain) => {
  const slot = chain.head.slot + 1
  chain.head = { root: `0xhead${slot}`, slot, stateRoot: `0xstate${slot}` }
}
const allValid = createDepositFilter(new Uint8Array(4), async (triples) => triples.map(() => true))

describe('a view of the registry', () => {
  it('counts the validators and the pending keys that are none of them', async () => {
    const { api } = nodeOf(chainOf(10, depositOf(3), depositOf(77, 5), depositOf(88)))
    const { view, state } = await createRegistryReader(api, allValid, () => 0)()
    expect(view).toEqual({
      nextIndex: 12,
      headRoot: '0xhead',
      headSlot: 70,
      stateCount: 10,
      pendingKeys: new Set([keyOf(77), keyOf(88)]),
      pendingCredentials: new Map(
        [77, 88].map((key) => [keyOf(key), depositOf(key, key === 77 ? 5 : 0).withdrawalCredentials]),
      ),
    })
    expect(state).toBe('0xstate')
  })

  it('is good for as long as who asks says, and read anew for nobody while the head is the same', async () => {
    let nowMs = 5_000
    const chain = chainOf(10)
    const { api, asked } = nodeOf(chain)
    const read = createRegistryReader(api, allValid, () => nowMs)
    const first = await read(500)
    asked.length = 0
    nowMs = 5_499
    expect(await read(500)).toBe(first)
    expect(asked).toEqual([])
    nowMs = 5_500
    expect(await read(500)).toBe(first)
    expect(await read()).toBe(first)
    expect(asked).toEqual(['head', 'head'])
    chain.keys.push(keyOf(10))
    move(chain)
    expect((await read()).view).toMatchObject({ nextIndex: 11, headSlot: 71 })
  })

  it('is of the slot where the node knows no state roots, as long as that means the same state', async () => {
    const chain = chainOf(10)
    const bySlot = async (name: string) => (name === String(chain.head.slot) ? chain.head.stateRoot : undefined)
    expect((await createRegistryReader(nodeOf(chain, { stateRoot: bySlot }).api, allValid, () => 0)()).state).toBe('70')
    let looks = 0
    const once = async (name: string) => (name === '70' ? (++looks === 2 ? '0xother' : '0xstate') : undefined)
    const { api, asked } = nodeOf(chain, { stateRoot: once })
    expect((await createRegistryReader(api, allValid, () => 0)()).view.nextIndex).toBe(10)
    expect(asked.filter((question) => question === 'head')).toHaveLength(2)
  })

  it('is tried four times where the head moves, and no more', async () => {
    const chain = chainOf(10)
    const answers = (unknown: number) => {
      let looks = 0
      const stateRoot = async (name: string) => {
        if (name === chain.head.stateRoot) looks++
        return looks <= unknown ? undefined : chain.head.stateRoot
      }
      return nodeOf(chain, { stateRoot })
    }
    const late = answers(3)
    expect((await createRegistryReader(late.api, allValid, () => 0)()).view.nextIndex).toBe(10)
    expect(late.asked.filter((question) => question === 'head')).toHaveLength(4)
    const never = answers(4)
    await expect(createRegistryReader(never.api, allValid, () => 0)()).rejects.toThrow('the head moved each time')
    expect(never.asked.filter((question) => question === 'head')).toHaveLength(4)
  })

  it('is tried again where the node has forgotten the state meanwhile, and for no other failure', async () => {
    for (const [code, isForgotten, heads] of [
      [400, true, 2],
      [404, true, 2],
      [400, false, 0],
      [500, true, 0],
    ] as const) {
      const chain = chainOf(10)
      let fails = true
      const { api, asked } = nodeOf(chain, {
        pendingDeposits: async () => {
          if (!fails) return []
          fails = false
          if (isForgotten) move(chain)
          throw status(code)
        },
      })
      const reading = createRegistryReader(api, allValid, () => 0)()
      if (heads === 0) await expect(reading).rejects.toThrow(`answers ${code}`)
      else {
        expect((await reading).view.headSlot).toBe(71)
        expect(asked.filter((question) => question === 'head')).toHaveLength(heads)
      }
    }
  })
})

describe('what stays known of the registry', () => {
  it('is all but what came after it, while the last key is the same', async () => {
    const chain = chainOf(10)
    const { api, asked } = nodeOf(chain)
    const known = createKnownKeys(api)
    expect(await known.count('s')).toBe(10)
    const keys = new Set([3, 11, 12].map(keyOf))
    expect(await known.present('s', keys)).toEqual(new Set([keyOf(3)]))
    for (const [fresh, present] of [
      [[11], [3, 11]],
      [
        [13, 12],
        [3, 11, 12],
      ],
    ] as const) {
      const before = chain.keys.length
      chain.keys.push(...fresh.map(keyOf))
      asked.length = 0
      expect(await known.count('s')).toBe(chain.keys.length)
      expect([asked[0], asked.at(-1)]).toEqual([`validator s ${before - 1}`, `validators s ${fresh.length}`])
      asked.length = 0
      expect(await known.present('s', keys)).toEqual(new Set(present.map(keyOf)))
      expect(asked).toEqual(['validators s 0'])
    }
    // Nothing new: one question for the last, one for the next.
    asked.length = 0
    await known.count('s')
    expect(asked).toEqual(['validator s 12', 'validator s 13'])
  })

  it('is nothing where the last key is another, or more came than is looked up one by one', async () => {
    const asks = async (change: (chain: Chain) => void) => {
      const chain = chainOf(10)
      const { api, asked } = nodeOf(chain)
      const known = createKnownKeys(api)
      await known.count('s')
      await known.present('s', new Set([keyOf(3)]))
      change(chain)
      await known.count('s')
      asked.length = 0
      await known.present('s', new Set([keyOf(3)]))
      return asked
    }
    const grow = (by: number) => (chain: Chain) => {
      for (let i = 0; i < by; i++) chain.keys.push(keyOf(10 + i))
    }
    expect(await asks(grow(1_000))).toEqual(['validators s 0'])
    expect(await asks(grow(1_001))).toEqual(['validators s 1'])
    expect(await asks((chain) => chain.keys.splice(9, 1, keyOf(99)))).toEqual(['validators s 1'])
  })

  it('is by key, each once and only what was asked for', () => {
    const one = { publicKey: 'a' } as Parameters<typeof byKey>[0][number]
    expect(byKey([one], new Set(['a', 'b']))).toEqual(new Map([['a', one]]))
    expect(() => byKey([one], new Set(['b']))).toThrow('not asked for')
    expect(() => byKey([one, one], new Set(['a']))).toThrow('not asked for')
  })
})

describe('pending deposits', () => {
  /** Those whose mark is even have a right signature. */
  function filter() {
    const portions: string[][] = []
    const newKeys = createDepositFilter(new Uint8Array(4), async (triples) => {
      portions.push(triples.map(({ signature }) => String(signature[95])))
      return triples.map(({ signature }) => (signature[95] ?? 0) % 2 === 0)
    })
    return { newKeys, portions }
  }

  it('make the validator of the first one of a key that is right, and later ones cost nothing', async () => {
    const { newKeys, portions } = filter()
    const queue = [depositOf(1, 1), depositOf(2, 2), depositOf(1, 4), depositOf(2, 6), depositOf(3, 8), depositOf(4, 3)]
    const made = await newKeys(queue, new Set([keyOf(3)]))
    expect(made).toEqual(
      new Map([
        [keyOf(2), depositOf(2, 2).withdrawalCredentials],
        [keyOf(1), depositOf(1, 4).withdrawalCredentials],
      ]),
    )
    expect(portions).toEqual([['1', '2', '3'], ['4']])
  })

  it('are verified once for as long as they are pending', async () => {
    const { newKeys, portions } = filter()
    const queue = [depositOf(1, 1), depositOf(2, 2)]
    const first = await newKeys(queue, new Set())
    expect(await newKeys(queue, new Set())).toEqual(first)
    expect(portions).toEqual([['1', '2']])
    await newKeys([depositOf(2, 2)], new Set())
    await newKeys(queue, new Set())
    expect(portions).toEqual([['1', '2'], ['1']])
    // Another deposit of the key is another one.
    await newKeys([{ ...depositOf(2, 2), amountGwei: 5n }], new Set())
    expect(portions.at(-1)).toEqual(['2'])
  })

  it('are handed over by 256, and others work in between', async () => {
    const { newKeys, portions } = filter()
    const queue = Array.from({ length: 513 }, (_, i) => depositOf(i, 2))
    let turns = 0
    const turn = () => {
      turns++
      timer = setImmediate(turn)
    }
    let timer = setImmediate(turn)
    expect((await newKeys(queue, new Set())).size).toBe(513)
    clearImmediate(timer)
    expect(portions.map(({ length }) => length)).toEqual([256, 256, 1])
    expect(turns).toBeGreaterThanOrEqual(2)
  })
})
